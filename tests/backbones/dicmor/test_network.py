from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_cases import golden, gradients
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from mer_zoo.backbones import LFLSTM, DiCMoR
from mer_zoo.backbones.dicmor.flow import LARGEST, Flow, FlowKind
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task

TASK = SentimentRegression()
SMALL: dict[str, Any] = {"dim": 8, "heads": 2, "depth": 1, "kernels": (1, 1, 1), "flow_steps": 2, "flow_dim": 4}
SMALL |= {"refinement_depth": 1, "seed": 0}
LETTERS = {"text": "t", "audio": "a", "vision": "v"}
CASE = golden("dicmor_all_sets")


def close(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def make(spec: DataSpec | None = None, task: Task | None = None, **options: Any) -> DiCMoR:
    torch.manual_seed(0)
    return DiCMoR(spec or DataSpec(), task or TASK, **{**SMALL, **options})


def with_set(batch: Batch, letters: str) -> Batch:
    """Leave the modalities of some letters."""

    def take(modality: Modality, there: bool) -> Modality:
        return Modality(modality.x * there, modality.mask, modality.mask & there)

    return batch.replace(**{n: take(batch.modality(n), letter in letters) for n, letter in LETTERS.items()})


@contextmanager
def keeping(model: DiCMoR, letters: str) -> Iterator[None]:
    """Training views of which all samples keep some modalities."""
    handle = model.views.register_forward_hook(lambda _, given, __: with_set(given[0], letters))
    yield
    handle.remove()


@pytest.fixture(scope="module")
def released() -> tuple[DiCMoR, Batch, dict[str, str]]:
    config, given = CASE.config, CASE.inputs
    steps = config["T"]
    d_t, d_a, d_v = config["feature_dims"]
    spec = DataSpec(d_t, d_a, d_v, steps, steps, steps, aligned=True)
    dim, heads = config["dst_feature_dim_nheads"]
    sizes = {"dim": dim, "heads": heads, "depth": config["nlevels"], "flow_steps": config["n_flow"]}
    sizes |= {"flow_dim": config["coupling_width"], "refinement_depth": config["rcan_blocks"]}
    model = DiCMoR(spec, TASK, **sizes, kernels=(3, 3, 3), drop_rate=0.0, variant="released").eval()
    report = load_released(model, CASE.params, "dicmor")
    assert set(report.kept) == {"views._extra_state", "prepared"}
    mask = torch.ones(config["B"], steps, dtype=torch.bool)
    text, audio, vision = (Modality(given[name], mask) for name in MODALITIES)
    return model, Batch(text, audio, vision, given["labels"].squeeze(1), torch.arange(len(mask))), report.used


@pytest.mark.parametrize("letters", ["t", "a", "v", "ta", "tv", "va", "tva"])
def test_the_released_network(released: tuple[DiCMoR, Batch, dict[str, str]], letters: str) -> None:
    model, batch, used = released
    model.zero_grad()
    with keeping(model, letters):
        (step,) = model.steps(batch)
    out, output = CASE.outputs, step.output
    close(output.features, out[f"{letters}.joint"])
    close(output.logits, out[f"{letters}.output"])
    for name, letter in zip(LETTERS, "lav", strict=True):
        close(output.aux.complete[name], out[f"projected_{letter}"])
        close(model.recovery.flows[name](output.aux.complete[name])[0], out[f"latent_{letter}"])
        if LETTERS[name] not in letters:
            close(output.aux.sequences[name], out[f"{letters}.recovered_{letter}"])
    close(step.losses["dicmor/recovery"], 0.1 * out[f"{letters}.loss.rec"])
    close(step.losses["dicmor/likelihood"], 0.1 * torch.cat([out[f"nll_{letter}"] for letter in "lav"]).sum())
    total = (output.logits.squeeze(1) - batch.target).abs().mean() + sum(step.losses.values())
    close(total, out[f"{letters}.loss.total"].squeeze())
    torch.autograd.backward(total)
    parameters = dict(model.named_parameters())
    assert parameters["project.text.weight"].grad is None
    for key, expected in gradients("dicmor_all_sets").items():
        if key.startswith(f"{letters}."):
            found = parameters[used[key.removeprefix(f"{letters}.")]].grad
            assert found is not None
            close(found, expected.view_as(found))


@pytest.mark.parametrize("kind", ["glow", "couplings"])
def test_a_flow_is_invertible_and_knows_its_determinant(kind: FlowKind) -> None:
    torch.manual_seed(0)
    flow = Flow(4, 3, 5, kind).double()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.randn(1, 4, 2, dtype=torch.float64)
    z, logdet = flow(x)
    torch.testing.assert_close(flow.inverse(z), x)
    jacobian = torch.func.jacrev(lambda given: flow(given)[0])(x).view(8, 8)
    torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, logdet[0])
    assert torch.equal(z[:, :2], x[:, :2]) == (kind == "couplings")


def test_what_a_flow_leads_back_from_far_away_stays_finite() -> None:
    torch.manual_seed(0)
    flow = Flow(4, 8, 5)
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=2.0)
    assert flow.inverse(1000 * torch.randn(2, 4, 3)).abs().max() <= LARGEST


def test_each_sample_is_recovered_by_its_own_set() -> None:
    model, batch = make().eval(), Batch.random(DataSpec(), TASK, size=7)
    sets = ["t", "a", "v", "ta", "tv", "va", "tva"]
    views = [with_set(batch, letters) for letters in sets]
    mixed = {
        name: Modality(
            torch.stack([view.modality(name).x[i] for i, view in enumerate(views)]),
            batch.modality(name).mask,
            torch.stack([view.modality(name).observed[i] for i, view in enumerate(views)]),
        )
        for name in MODALITIES
    }
    logits = model(batch.replace(**mixed)).logits
    for i, view in enumerate(views):
        close(model(view).logits[i], logits[i])


def test_what_is_missing_is_not_read() -> None:
    model, batch = make().eval(), Batch.random(DataSpec(), TASK, size=3)
    view = with_set(batch, "ta")
    loud = view.replace(vision=view.vision.replace(x=view.vision.x + 100))
    assert torch.equal(model(view).logits, model(loud).logits)
    assert not torch.equal(model(view).logits, model(batch).logits)


def test_nothing_at_all_is_read_as_it_is() -> None:
    model, batch = make().eval(), Batch.random(DataSpec(), TASK, size=2)
    zeros = batch.replace(**{n: batch.modality(n).replace(x=0 * batch.modality(n).x) for n in MODALITIES})
    assert torch.equal(model(with_set(batch, "")).logits, model(zeros).logits)


@pytest.mark.parametrize("task", [SentimentClassification(3), EmotionDetection()], ids=lambda t: type(t).__name__)
def test_likelihoods_are_of_the_class(task: Task) -> None:
    model, batch = make(task=task), Batch.random(DataSpec(), task, size=4)
    assert len(model.recovery.priors.bias) == (3 if task.shape == (3,) else 1)
    (step,) = model.steps(batch)
    torch.autograd.backward(step.losses["dicmor/likelihood"])
    touched = {int(i) for i, p in enumerate(model.recovery.priors.bias) if p.grad is not None and p.grad.any()}
    assert touched == (set(task.encode(batch.target).tolist()) if task.shape == (3,) else {0})


def test_losses_reach_what_they_are_to_teach() -> None:
    model, batch = make(drop_rate=1.0, dim=32), Batch.random(DataSpec(), TASK, size=24)
    (step,) = model.steps(batch)
    torch.autograd.backward(torch.stack(list(step.losses.values())).sum(), retain_graph=True)
    moved = {".".join(key.split(".")[:2]) for key, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {f"recovery.{part}" for part in ("flows", "priors", "join", "refine")}
    torch.autograd.backward(model.task.criterion(step.output.logits, batch.target).sum())
    rest = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # what stands behind a map that starts at zero, and classes that the batch does not have
    assert [key for key in rest if not key.startswith(("recovery.flows.", "recovery.priors."))] == []


def fit(folder: Path, model: Model, source: SyntheticMER, start: Path | None = None) -> Path:
    module = MERModule(model, optimizer=lambda p: torch.optim.Adam(p, lr=0.01))
    saving = ModelCheckpoint(folder, filename="one")
    quiet: dict[str, Any] = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    epochs = 1 if start is None else 2
    trainer = Trainer(accelerator="cpu", max_epochs=epochs, num_sanity_val_steps=0, callbacks=[saving], **quiet)
    trainer.fit(module, source, ckpt_path=start)
    return folder / "one.ckpt"


def test_stage_two_starts_with_the_weights_of_stage_one(tmp_path: Path) -> None:
    source = SyntheticMER(SyntheticConfig(train=8, valid=4, test=4), task="binary", batch_size=8)
    source.setup("fit")
    path = fit(tmp_path, make(source.spec, source.task, drop_rate=0.0), source)
    saved = torch.load(path, weights_only=True)["state_dict"]
    model = make(source.spec, source.task, pretrained=str(path))
    model.prepare([])
    for key, value in model.state_dict().items():
        if not key.startswith(("head.", "views.", "prepared")):
            assert torch.equal(value, saved[f"model.{key}"]), key
    options: dict[str, Any] = {"pretrained": str(path), "drop_by": "batches"}
    run = fit(tmp_path / "2", make(source.spec, source.task, **options), source)
    path.unlink()  # a run that goes on has what it read
    fit(tmp_path / "3", make(source.spec, source.task, **options), source, run)
    other = fit(tmp_path / "other", LFLSTM(source.spec, source.task, dim=4), source)
    with pytest.raises(MERError, match="holds LFLSTM; give the checkpoint of a run of DiCMoR without wrappers"):
        make(source.spec, source.task, pretrained=str(other)).prepare([])


def test_batches_may_lose_modalities_together() -> None:
    batch, model = Batch.random(DataSpec(), TASK, size=4), make(drop_by="batches", drop_rate=0.5)
    with pytest.raises(MERError, match="the number of batches of an epoch is not known yet"):
        next(model.steps(batch))
    model.prepare([batch] * 10)
    missing = [step.output.aux.missing for _ in range(10) for step in model.steps(batch)]
    assert [rows.sum(1).tolist() for rows in missing] == [[2] * 4] * 7 + [[1] * 4] + [[0] * 4] * 2
    assert all((rows == rows[0]).all() for rows in missing)


def test_refusals() -> None:
    with pytest.raises(MERError, match="needs all three, but the data is used with text, audio"):
        make(DataSpec(modalities=["text", "audio"]))
    with pytest.raises(MERError, match="dim of DiCMoR is 9"):
        make(dim=9)
    with pytest.raises(MERError, match=r"kernels of DiCMoR is \[1, 1, 99\]"):
        make(kernels=(1, 1, 99), variant="released")
    with pytest.raises(MERError, match="unknown flow 'river' of DiCMoR; choose from glow, couplings"):
        make(flow="river")
