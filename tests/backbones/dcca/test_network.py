"""DCCA and DCCAE beside the usual code, what stands for a missing modality, and their two stages."""

from pathlib import Path
from typing import Any

import pytest
import torch
from golden_cases import golden, gradients
from lightning.pytorch import Trainer
from torch import Tensor

from mer_zoo.backbones import DCCA, DCCAE
from mer_zoo.backbones.dcca.correlated import ORDER, Correlated, Variant
from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.missing.pattern import SMM
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.functional.canonical import canonical_loss
from mer_zoo.module import MERModule
from mer_zoo.task import SentimentRegression

SPEC, TASK = DataSpec(), SentimentRegression()
KINDS: dict[str, type[DCCA] | type[DCCAE]] = {"dcca": DCCA, "dccae": DCCAE}
SMALL: dict[str, Any] = {"dim": 3, "hidden_dim": 8}


def close(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4, check_dtype=False)


def make(kind: type[DCCA] | type[DCCAE] = DCCA, spec: DataSpec = SPEC, **options: Any) -> DCCA | DCCAE:
    torch.manual_seed(0)
    return kind(spec, TASK, **{**SMALL, **options})


def one_vector(x: Tensor, seen: Tensor | None = None) -> Modality:
    there = torch.ones(len(x), 1, dtype=torch.bool)
    return Modality(x[:, None], there, there if seen is None else seen.bool()[:, None])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("variant", ["released", "ours"])
@pytest.mark.parametrize("name", KINDS)
def test_the_usual_network(name: str, variant: Variant, training: bool) -> None:
    case, config = golden(name), golden(name).config
    audio, vision, text = config["dims"]
    spec = DataSpec(text, audio, vision, 1, 1, 1)
    model = KINDS[name](spec, TASK, dim=config["k"], hidden_dim=config["hidden"], variant=variant)
    report = load_released(model, case.params, name)
    assert all(("3." in key) for key in report.unused)
    assert bool(report.unused) == (variant == "released")
    model = model.double().train(training)
    given = {view: one_vector(case.inputs[view].double()) for view in ORDER}
    batch = Batch(given["text"], given["audio"], given["vision"], torch.zeros(config["B"]), torch.arange(config["B"]))
    (step,) = model.steps(batch)
    prefix = ("" if variant == "released" else "own.") + ("train." if training else "eval.")
    out, projected = case.outputs, step.output.aux
    for number, view in enumerate(ORDER, 1):
        close(projected.z[view], out[f"{prefix}z{number}"])
        if not training and name == "dccae":
            assert model.decoders is not None
            close(model.decoders[model.network_of[view]](projected.z[view]), out[f"{prefix}r{number}"])
    if not training:
        return
    close(step.losses[f"{name}/correlation"], out[f"{prefix}loss.cca"])
    if name == "dccae":
        close(step.losses[f"{name}/reconstruction"], 0.001 * out[f"{prefix}loss.reconstruction"])
    total = sum(step.losses.values(), torch.zeros(()))
    close(total, out[f"{prefix}loss.total"])
    torch.autograd.backward(total)
    parameters = dict(model.named_parameters())
    expected = {
        key.removeprefix("own."): value
        for key, value in gradients(name).items()
        if key.startswith("own.") == (variant == "ours")
    }
    assert len(expected) == len(KINDS) * 3 * (3 if variant == "ours" else 2) // (2 if name == "dcca" else 1)
    for key, value in expected.items():
        close(parameters[report.used[key]].grad, value)


def test_as_released_the_network_of_vision_is_used_twice() -> None:
    case, config = golden("dcca"), golden("dcca").config
    audio, vision, text = config["dims"]
    spec = DataSpec(text, audio, vision, 1, 1, 1)
    model = DCCA(spec, TASK, dim=config["k"], hidden_dim=config["hidden"], variant="released")
    load_released(model, case.params, "dcca")
    given = {view: one_vector(case.inputs[view]) for view in ORDER}
    model.train()(Batch(given["text"], given["audio"], given["vision"], torch.zeros(24), torch.arange(24)))
    norm = model.networks["vision"].get_submodule("1")
    close(norm.running_mean, case.outputs["train.running_mean_after.model2.model.1"])
    with pytest.raises(MERError, match="DCCA as released sends text through the network of vision, but they have"):
        make(variant="released")


def test_a_missing_modality_is_the_mean_of_training_samples_that_have_it() -> None:
    given, expected = golden("dcca").inputs, golden("dcca").outputs["padmean_v3"]
    x, seen = given["pad_x"], given["observed"]
    spec = DataSpec(audio_dim=x.shape[1], audio_len=1, modalities=["audio"])

    def batch(rows: slice) -> Batch:
        nothing = Modality(torch.zeros(len(x[rows]), 1, 4), torch.zeros(len(x[rows]), 1, dtype=torch.bool))
        audio = one_vector(x[rows] * seen[rows][:, None], seen[rows])
        return Batch(nothing, audio, nothing, torch.zeros(len(x[rows])), torch.arange(len(x[rows])))

    model = make(spec=spec)
    unprepared = [model.needs_preparing]
    model.prepare([batch(slice(0, 4)), batch(slice(4, 6))])  # the first half is the training split
    assert [*unprepared, model.needs_preparing] == [True, False]
    close(model.eval()(batch(slice(None))).aux.x["audio"], expected)
    before = model.state_dict()["mean_audio"].clone()
    model.prepare([batch(slice(6, 12))])  # once
    assert torch.equal(model.state_dict()["mean_audio"], before)


def test_what_is_missing_is_not_read() -> None:
    model, batch = make().eval(), Batch.random(SPEC, TASK, 5)
    model.prepare([batch])
    view = SMM(["text"])(batch, SPEC, 0)
    loud = view.replace(audio=view.audio.replace(x=view.audio.x + 100))
    assert torch.equal(model(view).logits, model(loud).logits)


@pytest.mark.parametrize("correlation", [0.0, 0.6, 1.0])
def test_the_loss_is_of_canonical_correlations(correlation: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, 4000, 3, generator=generator, dtype=torch.float64)
    y = (correlation * x + (1 - correlation**2) ** 0.5 * noise) @ torch.randn(
        3, 3, generator=generator, dtype=torch.float64
    )
    loss = canonical_loss(x, y)
    assert abs(loss.item() + 3 * (correlation**2 + 1e-3) ** 0.5) < 0.06
    assert abs(canonical_loss(5 * x + 2, y) - loss) < 0.01
    x.requires_grad_()
    torch.autograd.backward(canonical_loss(x, x))  # of equal eigenvalues
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_few_samples_are_no_trouble() -> None:
    for size in (1, 2):
        x = torch.randn(size, 4, requires_grad=True)
        loss = canonical_loss(x, torch.randn(size, 4))
        torch.autograd.backward(loss)
        assert loss.isfinite()
        assert x.grad is not None
        assert x.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS.values())
def test_the_first_stage_learns_networks_and_the_second_the_classifier(
    kind: type[DCCA] | type[DCCAE], tmp_path: Path
) -> None:
    source = SyntheticMER(SyntheticConfig(train=16, valid=4, test=4), task="binary", batch_size=16)
    source.setup("fit")
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}

    def new(kind: type[DCCA] | type[DCCAE] = kind, **options: Any) -> DCCA | DCCAE:
        torch.manual_seed(0)
        return kind(source.spec, source.task, **SMALL, **options)

    def fit(model: Correlated) -> Trainer:
        trainer = Trainer(
            accelerator="cpu", max_steps=2, default_root_dir=tmp_path, enable_checkpointing=False, **quiet
        )
        trainer.fit(MERModule(model, optimizer=lambda p: torch.optim.Adam(p, lr=0.01)), source)
        return trainer

    first = new(task_weight=0.0)
    start = {name: value.clone() for name, value in first.state_dict().items()}
    fit(first).save_checkpoint(tmp_path / "first.ckpt")
    moved = {name.split(".")[0] for name, value in first.state_dict().items() if not torch.equal(value, start[name])}
    assert moved >= {"networks", "mean_text"}
    assert "head" not in moved
    second = new(pretrained=str(tmp_path / "first.ckpt"), rate=0.5)
    fit(second)
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value) == (not name.startswith("head"))
    (step,) = second.steps(next(iter(source.train_dataloader())))
    assert step.losses == {}
    assert step.task_weight == 1
    other = new(DCCAE if kind is DCCA else DCCA, pretrained=str(tmp_path / "first.ckpt"))
    with pytest.raises(MERError, match=f"holds {kind.__name__}; give the checkpoint of a run of"):
        other.prepare([])


def test_refusals() -> None:
    with pytest.raises(MERError, match="dim of DCCA is 0, but must be at least 1"):
        make(dim=0)
    with pytest.raises(MERError, match="rate is 2; give a number"):
        make(rate=2)
