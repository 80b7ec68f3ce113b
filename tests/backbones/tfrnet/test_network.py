from typing import Any

import pytest
import torch
from golden_cases import golden, gradients

from mer_zoo.backbones import TFRNet
from mer_zoo.backbones.tfrnet.generator import Generator, reconstruction_loss
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.errors import MERError
from mer_zoo.task import SentimentRegression

TASK = SentimentRegression()
SMALL: dict[str, Any] = {"dim": 8, "heads": 2, "depth": 1, "fusion_dims": (4, 5, 6), "gru_depth": 1, "hidden_dim": 4}
SMALL |= {"rate": 0.5, "seed": 0}
LETTERS = {"text": "l", "audio": "a", "vision": "v"}
CASE = golden("tfr_net")


def close(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def make(spec: DataSpec | None = None, **options: Any) -> TFRNet:
    torch.manual_seed(0)
    return TFRNet(spec or DataSpec(), TASK, **{**SMALL, **options})


def released() -> tuple[TFRNet, Batch, Batch, dict[str, str]]:
    """The network of the case, its batch and the view of it."""
    config, given = CASE.config, CASE.inputs
    d_t, d_a, d_v = config["feature_dims"]
    t_t, t_a, t_v = config["lens"]
    vocabulary = config["bert"]["vocab_size"]
    spec = DataSpec(d_t, d_a, d_v, t_t, t_a, t_v, tokens=True, vocab_size=vocabulary)
    dim, heads = config["dst_feature_dim_nheads"]
    sizes = {"dim": dim, "heads": heads, "depth": config["nlevels"], "generator_heads": config["num_temporal_head"]}
    sizes |= {"gru_depth": config["fusion_gru_layers"], "hidden_dim": config["cls_hidden_dim"]}
    kernels = tuple(config[f"conv1d_kernel_size_{letter}"] for letter in "lav")
    widths = tuple(config[f"fusion_{letter}_hid"] for letter in "tav")
    weights = tuple(config["weight_gen_loss"])
    model = TFRNet(
        *(spec, TASK, {"model_type": "bert", **config["bert"]}),
        **sizes,
        kernels=kernels,
        fusion_dims=widths,
        reconstruction_weights=weights,
        similarity_weight=config["weight_sim_loss"],
        variant="released",
    ).eval()
    report = load_released(model, CASE.params, "tfrnet")
    assert set(report.kept) <= {"views._extra_state", "head.0.num_batches_tracked"}
    mask = {name: given[f"{name}_mask"].bool() for name in ("audio", "vision")}
    mask["text"] = given["text"][:, 1].bool()

    def batch(end: str) -> Batch:
        x = {name: given[f"{name}{end}"] for name in MODALITIES}
        x["text"] = x["text"][:, 0].long()
        observed = {name: given[f"{name}_observed"].bool() & mask[name] if end else mask[name] for name in MODALITIES}
        text, audio, vision = (Modality(x[name], mask[name], observed[name]) for name in MODALITIES)
        return Batch(text, audio, vision, given["labels"].squeeze(1), torch.arange(len(mask["text"])))

    return model, batch(""), batch("_m"), report.used


def test_the_released_network() -> None:
    model, complete, view, used = released()
    out = CASE.outputs
    handle = model.views.register_forward_hook(lambda *_: view)
    (step,) = model.steps(complete)
    handle.remove()
    output = step.output
    close(output.logits, out["output"])
    close(output.features, out["joint"])
    close(output.inputs["text"], out["text_hidden_m"])
    close(output.aux.frames["text"], out["text_hidden"])
    for i, (name, letter) in enumerate(LETTERS.items()):
        hidden, mask = (output.hidden or {})[name], view.modality(name).mask
        close(hidden, out[f"h_{letter}"])
        generate = model.generators[name]
        assert isinstance(generate, Generator)
        close(generate.encode(hidden, mask), out[f"g_{letter}"])
        close(generate(hidden, mask), out[f"generated_{name[0]}"])
        error = CASE.config["weight_gen_loss"][i] * out[f"loss.gen_{name[0]}"].squeeze()
        close(step.losses[f"tfrnet/{name}"], error)
    total = (output.logits.squeeze(1) - complete.target).abs().mean() + sum(step.losses.values())
    close(total, out["loss.total"].squeeze())
    torch.autograd.backward(total)
    parameters = dict(model.named_parameters())
    expected = gradients("tfr_net")
    assert "text_model.model.encoder.layer.0.attention.self.query.weight" in expected
    for key in expected:
        close(parameters[used[key]].grad, expected[key])


@pytest.mark.parametrize("variant", ["ours", "released"])
def test_what_the_generators_make_hangs_on_other_samples_only_as_released(variant: Any) -> None:
    spec = DataSpec(text_len=6, audio_len=6, vision_len=6)
    model, batch = make(spec, variant=variant).eval(), Batch.random(spec, TASK, size=3)
    (step,) = model.steps(batch)
    hidden, mask = (step.output.hidden or {})["audio"], batch.audio.mask
    generate = model.generators["audio"]
    alone = generate(hidden[1:2], mask[1:2])
    assert torch.allclose(generate(hidden, mask)[1:2], alone, atol=1e-5) == (variant == "ours")


def test_padding_is_nothing_to_a_generator() -> None:
    generate = make().eval().generators["audio"]
    x, mask = torch.randn(2, 5, 24), torch.tensor([[True] * 5, [True, True, True, False, False]])
    bare = generate(x, mask)
    wide, front = torch.cat([torch.full((2, 40, 24), 7.0), x], 1), torch.zeros(2, 40, dtype=torch.bool)
    made = generate(wide, torch.cat([front, mask], 1))[:, 40:]
    torch.testing.assert_close(made[mask], bare[mask])


def test_only_what_the_view_has_lost_is_to_be_made() -> None:
    batch = Batch.random(DataSpec(), TASK, size=4)
    (step,) = make(rate=0.0).steps(batch)
    assert [loss.item() for loss in step.losses.values()] == [0.0] * 3
    (step,) = make(rate=0.5).steps(batch)
    lost = step.output.aux.positions
    for name in MODALITIES:
        assert torch.equal(lost[name], batch.modality(name).mask & ~step.batch.modality(name).observed)
        assert step.losses[f"tfrnet/{name}"] > 0
    made, frames = torch.randn(4, 5, 3), torch.randn(4, 5, 3)
    gone = torch.zeros(4, 5, dtype=torch.bool)
    gone[1, 2] = True
    for rows in (True, False):
        losses = [reconstruction_loss(each, frames, gone, 5.0, rows) for each in (made, made + ~gone[..., None])]
        assert losses[0] == losses[1] > reconstruction_loss(made, frames, gone, 0.0, rows)


def test_the_reconstruction_may_begin_later() -> None:
    batch, model = Batch.random(DataSpec(), TASK, size=4), make(reconstruct_after=2)
    for learnt in (False, False, True):
        (step,) = model.steps(batch)
        assert all(bool(loss > 0) == learnt for loss in step.losses.values())


@pytest.mark.parametrize(("variant", "learns"), [("ours", False), ("released", True)])
def test_what_is_to_be_made_of_the_text_learns_only_as_released(variant: Any, learns: bool) -> None:
    spec = DataSpec(tokens=True, vocab_size=200)
    (step,) = make(spec, variant=variant).steps(Batch.random(spec, TASK, size=3))
    assert step.output.aux.frames["text"].requires_grad == learns


def test_a_prediction_runs_no_generator() -> None:
    model, batch = make().eval(), Batch.random(DataSpec(), TASK, size=2)
    model.generators.register_module("audio", None)
    assert model.predict(batch).logits.shape == (2, 1)


def test_refusals() -> None:
    with pytest.raises(MERError, match=r"kernels \[0, 1, 1\] and generator_heads 25 of TFRNet"):
        make(kernels=(0, 1, 1))
    with pytest.raises(MERError, match="reconstruct_after of TFRNet is -1"):
        make(reconstruct_after=-1)
    with pytest.raises(MERError, match="3 heads do not divide"):
        make(heads=3)
