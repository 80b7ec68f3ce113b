"""EMT-DLFR against the numbers of its released code, and what is its own."""

import functools
import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from golden_cases import Case, golden
from torch import Tensor
from toys import TINY_BERT

from mer_zoo.backbones.emtdlfr import network as emtdlfr
from mer_zoo.backbones.emtdlfr.emt import PromotionUnit
from mer_zoo.backbones.emtdlfr.network import EMTDLFR
from mer_zoo.backbones.emtdlfr.packing import Packing
from mer_zoo.backbones.emtdlfr.simsiam import SimSiam
from mer_zoo.backbones.emtdlfr.views import Restoration
from mer_zoo.batch import Batch, DataSpec, Modality, Output
from mer_zoo.compat import load_released
from mer_zoo.compat.released import LoadReport
from mer_zoo.task import SentimentRegression

CASES = ["emt_dlfr_shared", "emt_dlfr_unshared"]
RELEASED = {"tokens": "gmc_tokens", "text": "text", "audio": "audio", "vision": "video"}


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)


def network(case: Case) -> tuple[EMTDLFR, LoadReport]:
    config = case.config
    lengths, dims = (
        dict(zip(("text", "audio", "vision"), config[key], strict=True)) for key in ("lens", "feature_dims")
    )
    spec = DataSpec(
        tokens=True,
        **{f"{name}_len": length for name, length in lengths.items()},
        **{f"{name}_dim": dim for name, dim in dims.items()},
    )
    bert = {
        "model_type": "bert",
        "hidden_size": config["bert"]["hidden"],
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    bert |= {"intermediate_size": 2 * config["bert"]["hidden"], "max_position_embeddings": 64}
    predictors = tuple(config[f"{name}_pred_dim"] for name in RELEASED.values())
    model = EMTDLFR(
        spec,
        SentimentRegression(),
        bert,
        dim=config["d_model"],
        depth=config["fusion_layers"],
        heads=config["heads"],
        lstm_dims=(config["a_lstm_hidden_size"], config["v_lstm_hidden_size"]),
        utterance_dims=(config["audio_out"], config["video_out"]),
        ff_expansion=config["ff_expansion"],
        share_directions=config["mpu_share"],
        share_modalities=config["modality_share"],
        share_layers=config["layer_share"],
        pool_activation=config["attn_act_fn"],
        fusion_dim=config["post_fusion_dim"],
        predictor_dims=(predictors[0], predictors[1], predictors[2], predictors[3]),
        frame_loss="mse" if config["recon_loss"] == "MSELoss" else "smooth_l1",
        attraction_weight=config["loss_attra_weight"],
        reconstruction_weight=config["loss_recon_weight"],
    ).eval()
    return model, load_released(model, case.params, "emtdlfr")


def view(case: Case, suffix: str = "") -> Batch:
    """The complete view, or with the suffix "_m" the incomplete one, whose masks are those of the complete one."""
    given = case.inputs
    x = {
        "text": given[f"text{suffix}"][:, 0].long(),
        **{name: given[f"{name}{suffix}"] for name in ("audio", "vision")},
    }
    masks = {"text": given["text"][:, 1].bool(), **{name: given[f"{name}_mask"].bool() for name in ("audio", "vision")}}
    observed = {name: given[f"{name}_missing_mask"].bool() if suffix else masks[name] for name in masks}
    parts = {name: Modality(x[name], masks[name], observed[name]) for name in masks}
    labels = given["labels"]
    return Batch(parts["text"], parts["audio"], parts["vision"], labels, torch.arange(len(labels)))


@pytest.fixture(params=itertools.product(CASES, [True, False]), ids=str)
def run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Case, EMTDLFR, Output, Output]:
    """The case, our network, its output on the complete view alone, and on both;
    with packed steps, and as a GPU computes it.
    """
    name, packed = request.param
    monkeypatch.setattr(emtdlfr, "Packing", functools.partial(Packing, packed=packed))
    case = golden(name)
    model = network(case)[0]
    return case, model, model(view(case)), model.both(view(case), view(case, "_m"))


def test_outputs_of_both_views(run: tuple[Case, EMTDLFR, Output, Output]) -> None:
    case, model, alone, output = run
    aux: Restoration = output.aux
    close(alone.logits, case.outputs["pred"])
    close(alone.features, case.outputs["joint"])
    close(output.logits, case.outputs["pred_m"])
    for part, suffix in ((aux.complete, ""), (aux.incomplete, "_m")):
        close(part.features, case.outputs[f"joint{suffix}"])
        close(part.vectors["tokens"], case.outputs[f"gmc_tokens{suffix}"].flatten(1))
        close(part.vectors["audio"], case.outputs[f"audio_utt{suffix}"])
        vectors = [part.vectors[name] for name in ("text", "audio", "vision", "tokens")]
        close(torch.cat(vectors, 1), case.outputs[f"fusion_input{suffix}"])
        for name, released in RELEASED.items():
            z, p = model.simsiam[name](part.vectors[name])
            close(z, case.outputs[f"z_{released}{suffix}"])
            close(p, case.outputs[f"p_{released}{suffix}"])


def test_steps_of_both_views(run: tuple[Case, EMTDLFR, Output, Output]) -> None:
    case, model, alone, output = run
    aux: Restoration = output.aux
    batch = view(case)
    assert alone.hidden is not None
    for name, released in (("text", "text"), ("audio", "audio"), ("vision", "video")):
        first = name == "text"  # the released sequences of text start behind [CLS]
        real = batch.modality(name).mask[:, first:]
        scored = model(view(case, "_m")).hidden[name]
        lost = aux.lost[name][:, first:]
        for states, suffix in ((alone.hidden[name], ""), (scored, "_m"), (aux.hidden[name], "_m")):
            expected = case.outputs[f"{name}_seq_out{suffix}"]
            length = expected.shape[1]
            states, chosen = (
                states[:, first:][:, :length],
                (lost if states is not scored and suffix else real)[:, :length],
            )
            close(states[chosen], expected[chosen])
            if suffix:
                close(model.decoders[name](states)[chosen], case.outputs[f"{released}_recon"][chosen])
    close(aux.frames["text"][:, 1:][batch.text.mask[:, 1:]], case.outputs["text_for_recon"][batch.text.mask[:, 1:]])
    close(model.encoders["audio"](batch.audio.x, batch.audio.mask)[0][:, :23], case.outputs["audio_seq"])


def test_losses(run: tuple[Case, EMTDLFR, Output, Output]) -> None:
    case, model, _, output = run
    batch = view(case, "_m")
    losses = {name.removeprefix("emtdlfr/"): loss for name, loss in model.losses(output, batch).items()}
    expected = {name.removeprefix("loss."): x for name, x in case.outputs.items() if name.startswith("loss.")}
    attracted, restored = case.config["loss_attra_weight"], case.config["loss_recon_weight"]
    pairs = {f"attraction_{ours}": attracted * expected[f"attra_{name}"] for ours, name in RELEASED.items()}
    pairs |= {
        f"reconstruction_{ours}": restored * expected[f"recon_{RELEASED[ours]}"] for ours in ("text", "audio", "vision")
    }
    pairs["complete"] = attracted * expected["pred"]
    assert losses.keys() == pairs.keys()
    for name, value in pairs.items():
        torch.testing.assert_close(losses[name], value, atol=0, rtol=1e-5)
    task = model.task.criterion(output.logits, batch.target).mean()
    torch.testing.assert_close(task, expected["pred_m"], atol=0, rtol=1e-5)
    torch.testing.assert_close(task + sum(losses.values()), expected["total"], atol=0, rtol=1e-5)


SPEC = DataSpec(text_len=6, audio_len=110, vision_len=7)
TINY: dict[str, Any] = {"dim": 8, "heads": 2, "depth": 2, "lstm_dims": (4, 6), "utterance_dims": (4, 8)}
TINY |= {"fusion_dim": 8, "predictor_dims": (8, 6, 4, 4)}
CALM: dict[str, Any] = {"attn_dropout": 0.0, "res_dropout": 0.0, "out_dropout": 0.0}


def small(spec: DataSpec = SPEC, **options: Any) -> tuple[EMTDLFR, Batch]:
    task = SentimentRegression()
    torch.manual_seed(0)
    return EMTDLFR(spec, task, **TINY | options), Batch.random(spec, task, size=4)


def total(model: EMTDLFR, batch: Batch) -> Tensor:
    (step,) = model.steps(batch)
    return torch.stack([model.task.criterion(step.output.logits, batch.target).mean(), *step.losses.values()]).sum()


@pytest.mark.parametrize("shared", list(itertools.product([True, False], repeat=3)), ids=str)
def test_sharing_decides_how_many_units_there_are(shared: tuple[bool, bool, bool]) -> None:
    directions, modalities, layers = shared
    model, batch = small(share_directions=directions, share_modalities=modalities, share_layers=layers)
    units = [module for module in model.modules() if isinstance(module, PromotionUnit)]
    assert len(units) == (2 - directions) * (3 - 2 * modalities) * (2 - layers)
    assert len(model.fusion.pools) == 2 - layers
    torch.autograd.backward(total(model, batch))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_shared_checkpoint_loads_into_one_tensor_or_into_many() -> None:
    case = golden("emt_dlfr_shared")
    model, report = network(case)
    units = [key for key in case.params if key.startswith("fusion.mpus.")]
    assert {report.used[key].split(".")[2:5][0] for key in units} == {"0"}
    assert len(units) == 3 * 3 * 2 * len({report.used[key] for key in units})
    apart = case.config | {"mpu_share": False, "layer_share": False}
    many, report = network(case._replace(config=apart))
    assert len(units) == 3 * len({report.used[key] for key in units})
    assert torch.equal(model(view(case)).logits, many(view(case)).logits)
    assert {why.split(",")[0] for why in report.unused.values()} == {
        "the table of positions",
        "token states are used",
    }


def test_a_checkpoint_that_shares_nothing_is_refused_by_a_network_that_does() -> None:
    case = golden("emt_dlfr_unshared")
    shared = case._replace(config=case.config | {"layer_share": True})
    with pytest.raises(ValueError, match=r"are one tensor in EMTDLFR but differ in the checkpoint"):
        network(shared)


def test_views_side_by_side_are_as_one_after_the_other() -> None:
    model, batch = small(**CALM)
    incomplete: Batch = model.views(batch, SPEC)
    both = model.both(batch, incomplete)
    first, second = model(batch), model(incomplete)
    aux: Restoration = both.aux
    close(aux.complete.features, first.features)
    close(both.features, second.features)
    close(both.logits, second.logits)
    for name, states in second.hidden.items():
        assert aux.lost[name].any()
        close(aux.hidden[name][aux.lost[name]], states[aux.lost[name]])
        assert torch.equal(both.inputs[name], incomplete.modality(name).x)
        assert torch.equal(aux.frames[name], batch.modality(name).x)


def test_each_view_has_batch_statistics_of_its_own() -> None:
    model, batch = small(**CALM)
    output = model.both(batch, model.views(batch, SPEC))
    model.losses(output, batch)
    expected = torch.zeros(8)
    simsiam = model.simsiam["vision"]
    assert isinstance(simsiam, SimSiam)
    for part in (output.aux.complete, output.aux.incomplete):
        expected = 0.9 * expected + 0.1 * simsiam.project(part.vectors["vision"]).mean(0)
    assert simsiam.project_norm.running_mean is not None
    close(simsiam.project_norm.running_mean, expected)


def test_one_sample_can_be_trained_on() -> None:
    model, batch = small()
    one = Batch.random(SPEC, model.task, size=1)
    torch.autograd.backward(total(model, one))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    torch.autograd.backward(total(model, batch))


def test_views_lose_what_the_rate_says_anew_each_time() -> None:
    model, batch = small(rate=0.0, seed=1)
    (step,) = model.steps(batch)
    assert all(not lost.any() for lost in step.output.aux.lost.values())
    assert step.losses["emtdlfr/reconstruction_audio"] == 0
    model, batch = small(rate=0.5, seed=1)
    drawn = [next(iter(model.steps(batch))).batch.audio.observed for _ in range(2)]
    assert not torch.equal(*drawn)
    again = small(rate=0.5, seed=1)[0]
    assert torch.equal(next(iter(again.steps(batch))).batch.audio.observed, drawn[0])
    shares = [small(rate="per_sample", seed=i)[0].views(batch, SPEC).audio.observed.sum() for i in range(5)]
    assert len({int(share) for share in shares}) > 2


def test_attraction_and_reconstruction_are_weighted() -> None:
    model, batch = small(**CALM)
    (plain,) = model.steps(batch)
    other = small(**CALM, attraction_weight=0.5, reconstruction_weight=3.0)[0]
    (weighted,) = other.steps(batch)
    for name, loss in plain.losses.items():
        factor = 3.0 if "reconstruction" in name else 0.5
        torch.testing.assert_close(weighted.losses[name], factor * loss)


def test_frames_are_restored_to_constants() -> None:
    model, batch = small()
    audio = batch.audio.x.clone().requires_grad_()
    step = next(iter(model.steps(batch.replace(audio=batch.audio.replace(x=audio)))))
    grad = torch.autograd.grad(step.losses["emtdlfr/reconstruction_audio"], audio)[0]
    assert grad[~step.batch.audio.observed].eq(0).all()


def test_without_head_the_complete_view_is_not_scored() -> None:
    model, batch = small()
    model.drop_head()
    (step,) = model.steps(batch)
    assert "emtdlfr/complete" not in step.losses
    assert len(step.losses) == 7


@pytest.mark.parametrize("front", [0, 3])
def test_the_first_token_is_the_utterance_and_the_last_is_no_key(front: int) -> None:
    spec = DataSpec(tokens=True, vocab_size=200, modalities=["text"])
    model, _ = small(spec, text_pool="first")
    model.eval()
    ids = torch.tensor([[101, 120, 130, 140, 102], [101, 102, 0, 0, 0], [101, 0, 0, 0, 0]])
    mask = ids != 0
    padded = Batch.random(spec, model.task, size=3).replace(
        text=Modality(F.pad(ids, (front, 2)), F.pad(mask, (front, 2)))
    )
    output = model(padded)
    hidden = output.hidden["text"][:, front : front + 5]
    assert hidden[:, 0].eq(0).all()
    assert hidden[~mask].eq(0).all()
    assert hidden[0, 1:].ne(0).all()
    alone = model(padded.replace(text=Modality(ids[:1], mask[:1])))
    close(output.logits[:1], alone.logits)
    # A word before the last is seen by the others, the last is not.
    other = model(padded.replace(text=Modality(torch.tensor([[101, 120, 130, 140, 199]]), mask[:1])))
    close(other.hidden["text"][:, 1:4], hidden[:1, 1:4])
    close(other.logits, alone.logits)
    inner = model(padded.replace(text=Modality(torch.tensor([[101, 120, 130, 199, 102]]), mask[:1])))
    assert not torch.allclose(inner.logits, alone.logits, atol=1e-5)


def test_only_an_encoder_makes_the_first_token_speak_for_the_text() -> None:
    spec = DataSpec(tokens=True, vocab_size=210)
    model, batch = small(spec)
    ids = batch.text.x.clone()
    ids[:, 0] = spec.cls_id
    begun = batch.replace(text=Modality(ids, batch.text.mask))
    vectors = model.both(begun, begun).aux.complete.vectors["text"]
    assert vectors.std(0).min() > 0  # the embedding of [CLS] is the same in every text
    encoder = {**TINY_BERT, "vocab_size": 210}
    assert (model.text_pool, small(spec, text_encoder=encoder)[0].text_pool) == ("mean", "first")


def test_text_features_may_have_an_utterance_token() -> None:
    model, batch = small(text_pool="first")
    output = model(batch)
    assert output.hidden["text"][:, 0].eq(0).all()
    mean = small()[0](batch)
    assert mean.hidden["text"][:, 0].ne(0).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "3 heads do not divide a width of 8"),
        ({"depth": 0}, "depth is 0"),
        ({"text_pool": "last"}, "unknown text_pool 'last' of EMTDLFR"),
        ({"pool_activation": "gelu"}, "unknown activation 'gelu' of EMT"),
        ({"frame_loss": "l1"}, "unknown frame_loss 'l1'"),
        ({"attraction_weight": -1.0}, "attraction_weight of EMTDLFR is -1.0"),
        ({"rate": 1.5}, r"rate is 1.5; give a number in \[0, 1\]"),
        ({"rate": "per_batch"}, "rate is 'per_batch'"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**options)
