from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_cases import golden, gradients
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from mer_zoo.backbones import IMDer
from mer_zoo.backbones.imder.score import ScoreNetwork
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.errors import MERError
from mer_zoo.functional.diffusion import deviation, sample
from mer_zoo.module import MERModule
from mer_zoo.task import SentimentRegression

TASK = SentimentRegression()
SMALL: dict[str, Any] = {"dim": 8, "heads": 2, "depth": 1, "kernels": (1, 1, 1), "channels": (8, 8, 8), "time_dim": 4}
SMALL |= {"score_heads": 2, "score_depth": 1, "groups": (4, 2), "sampler_steps": 3, "refinement_depth": 1, "seed": 0}
LETTERS = {"text": "l", "audio": "a", "vision": "v"}
CASE = golden("imder_all_sets")
# The case is shortened: the network of vision, which is never missing in what is left of it, has audio's parameters.
SETS = ["v", "tv", "va", "tva"]
SHORTENED = {"score_a.": "score_v.", "rec_a.": "rec_v.", "cat_va.": "cat_la."}


def close(ours: Any, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5 + 1e-4 * float(theirs.detach().abs().max()), rtol=0)


def make(spec: DataSpec | None = None, **options: Any) -> IMDer:
    torch.manual_seed(0)
    return IMDer(spec or DataSpec(), TASK, **{**SMALL, **options})


def with_set(batch: Batch, letters: str) -> Batch:
    """Leave the modalities of some letters, of which text has t."""

    def take(modality: Modality, there: bool) -> Modality:
        return Modality(modality.x * there, modality.mask, modality.mask & there)

    return batch.replace(**{name: take(batch.modality(name), name[0] in letters) for name in MODALITIES})


@contextmanager
def keeping(model: IMDer, letters: str) -> Iterator[None]:
    """Training views of which all samples keep some modalities."""
    handle = model.views.register_forward_hook(lambda _, given, __: with_set(given[0], letters))
    yield
    handle.remove()


@pytest.fixture(scope="module")
def released() -> tuple[IMDer, Batch, dict[str, str]]:
    config, given = CASE.config, CASE.inputs
    steps = config["T"]
    d_t, d_a, d_v = config["feature_dims"]
    spec = DataSpec(d_t, d_a, d_v, steps, steps, steps, aligned=True)
    dim, heads = config["dst_feature_dim_nheads"]
    sizes = {"dim": dim, "heads": heads, "depth": config["nlevels"], "sampler_steps": config["sampler_steps"]}
    sizes |= {"channels": tuple(config["score_channels"][1:]), "time_dim": config["time_embed_dim"]}
    sizes |= {"score_heads": config["score_heads"], "score_depth": config["score_attention_layers"]}
    sizes |= {"groups": (config["groups"], config["first_groups"]), "refinement_depth": config["rcan_blocks"]}
    model = IMDer(spec, TASK, **sizes, kernels=(3, 3, 3), drop_rate=0.0, variant="released").eval()
    params = dict(CASE.params)
    for there, gone in SHORTENED.items():
        params |= {k.replace(there, gone): v for k, v in CASE.params.items() if k.startswith(there)}
    report = load_released(model, params, "imder")
    assert set(report.kept) == {"views._extra_state", "prepared"}
    mask = torch.ones(config["B"], steps, dtype=torch.bool)
    text, audio, vision = (Modality(given[name], mask) for name in MODALITIES)
    return model, Batch(text, audio, vision, given["labels"].squeeze(1), torch.arange(len(mask))), report.used


def given_noise(name: str, *_: Any) -> Iterator[Tensor]:
    """The draws of the case for a sample of a modality."""
    noise = {part: CASE.inputs[f"noise.{LETTERS[name]}.{part}"] for part in ("init", "condition", "step")}
    return chain([noise["init"]], chain(*zip(noise["condition"], noise["step"], strict=True)))


def given_draws(name: str, like: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Those for the error of a score, the same noise on both."""
    key = f"noise.{LETTERS[name]}."
    noise = CASE.inputs.get(f"{key}z", torch.zeros_like(like))
    return CASE.inputs.get(f"{key}t", torch.zeros(len(like))), noise, noise


@pytest.mark.parametrize("letters", SETS)
def test_the_released_network(
    released: tuple[IMDer, Batch, dict[str, str]], letters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch, used = released
    monkeypatch.setattr(model, "noise", given_noise)
    monkeypatch.setattr(model, "score_draws", given_draws)
    model.zero_grad()
    with keeping(model, letters):
        (step,) = model.steps(batch)
    out, output = CASE.outputs, step.output
    close(output.features, out[f"{letters}.joint"])
    close(output.logits, out[f"{letters}.output"])
    for name, letter in LETTERS.items():
        close(output.aux.recovered.complete[name], out[f"projected_{letter}"])
        if name[0] not in letters:
            close(output.aux.samples[name], out[f"{letters}.sampled_{letter}"])
            close(output.aux.recovered.sequences[name], out[f"{letters}.recovered_{letter}"])
            if len(letters) == 2:
                close(output.aux.conditions[name], out[f"{letters}.condition"])
    close(step.losses["imder/recovery"], 0.1 * out[f"{letters}.loss.rec"])
    close(step.losses["imder/score"], 0.1 * torch.stack([out[f"{letters}.loss.score_{x}"] for x in "lav"]).sum())
    total = (output.logits.squeeze(1) - batch.target).abs().mean() + sum(step.losses.values())
    close(total, out[f"{letters}.loss.total"])
    torch.autograd.backward(total)
    parameters = dict(model.named_parameters())
    assert parameters["project.text.weight"].grad is None
    for key, expected in gradients("imder_all_sets").items():
        if key.startswith(f"{letters}."):
            found = parameters[used[key.removeprefix(f"{letters}.")]].grad
            assert found is not None
            close(found, expected.view_as(found))


def test_each_sample_is_drawn_by_its_own_set_and_place() -> None:
    model, batch = make().eval(), Batch.random(DataSpec(), TASK, size=7)
    views = [with_set(batch, letters) for letters in ("t", "a", "v", "ta", "tv", "va", "tva")]

    def mixed(name: str) -> Modality:
        x = torch.stack([view.modality(name).x[i] for i, view in enumerate(views)])
        observed = torch.stack([view.modality(name).observed[i] for i, view in enumerate(views)])
        return Modality(x, batch.modality(name).mask, observed)

    logits = model(batch.replace(**{name: mixed(name) for name in MODALITIES})).logits
    for i, view in enumerate(views):
        close(model(view).logits[i], logits[i])
        close(model(view.take([i])).logits[0], logits[i])


def test_draws_of_predictions_hang_on_the_seed_that_is_saved() -> None:
    view = with_set(Batch.random(DataSpec(), TASK, size=2), "t")
    first, second = make(seed=0).eval(), make(seed=1).eval()
    assert not torch.equal(first(view).logits, second(view).logits)
    torch.manual_seed(5)
    expected = first(view).logits
    assert torch.equal(first(view).logits, expected)
    second.load_state_dict(first.state_dict())
    assert torch.equal(second(view).logits, expected)


def test_what_is_missing_is_not_read() -> None:
    model, batch = make().eval(), Batch.random(DataSpec(), TASK, size=3)
    view = with_set(batch, "ta")
    loud = view.replace(vision=view.vision.replace(x=view.vision.x + 100))
    assert torch.equal(model(view).logits, model(loud).logits)
    zeros = batch.replace(**{n: batch.modality(n).replace(x=0 * batch.modality(n).x) for n in MODALITIES})
    assert torch.equal(model(with_set(batch, "")).logits, model(zeros).logits)


def test_losses_reach_what_they_are_to_teach() -> None:
    model, batch = make(drop_rate=1.0), Batch.random(DataSpec(), TASK, size=24)
    (step,) = model.steps(batch)
    for name, taught in {"score": {"scores", "join"}, "recovery": {"refine"}}.items():
        model.zero_grad()
        torch.autograd.backward(step.losses[f"imder/{name}"], retain_graph=True)
        moved = [key.split(".") for key, p in model.named_parameters() if p.grad is not None and p.grad.any()]
        assert {part for _, part, *_ in moved} == taught
        assert {first for first, *_ in moved} == {"recovery"}


def test_errors_of_scores_are_worked_out_for_samples_that_need_them() -> None:
    model, batch = make(drop_rate=1.0), Batch.random(DataSpec(), TASK, size=9)
    (step,) = model.steps(batch)
    rows: dict[str, int] = {}
    for name, network in model.recovery.scores.items():
        network.register_forward_pre_hook(lambda _, given, name=name: rows.update({name: len(given[0])}))
    found = model.losses(step.output, step.batch)
    assert list(rows.values()) == step.output.aux.recovered.missing.sum(0).tolist()
    assert 0 < max(rows.values()) < 9
    assert torch.equal(found["imder/score"], step.losses["imder/score"])


def test_complete_data_need_no_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = make(drop_rate=0.0), Batch.random(DataSpec(), TASK, size=3)
    monkeypatch.setattr(model, "noise", None)
    (step,) = model.steps(batch)
    assert [loss.item() for loss in step.losses.values()] == [0.0, 0.0]
    assert model.eval()(batch).aux.samples == {}


def test_the_sampler_finds_the_distribution_of_a_known_score() -> None:
    torch.manual_seed(0)
    mean, std, like = 2.0, 0.5, torch.zeros(4000, 1, 1)

    def score(x: Tensor, t: Tensor, _: Tensor) -> Tensor:
        return (mean - x) / (std**2 + deviation(t).square())[:, None, None]

    drawn = sample(score, like, iter(lambda: torch.randn_like(like), None), 500)
    assert drawn.mean().item() == pytest.approx(mean, abs=0.1)
    assert drawn.std().item() == pytest.approx(std, abs=0.1)


def test_a_norm_of_single_channels_loses_the_time_and_ours_does_not() -> None:
    for by_channel in (True, False):
        torch.manual_seed(0)
        network = ScoreNetwork(8, (8, 8, 8), 4, 2, 1, groups=32, first_groups=2, by_channel=by_channel)
        level = network.up[2]
        x, e = torch.randn(2, 16, 4), torch.randn(2, 4)
        now, later = (level(x, x[:, :8], each)[0] for each in (e, e + 1))
        assert torch.allclose(now, later, atol=1e-5) == by_channel


def test_stage_two_starts_with_the_weights_of_stage_one(tmp_path: Path) -> None:
    batch, model = Batch.random(DataSpec(), TASK, size=4), make(drop_rate=0.0)
    path = str(tmp_path / "one.ckpt")
    quiet: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False
    )
    trainer = Trainer(accelerator="cpu", max_epochs=1, **quiet)
    trainer.fit(MERModule(model), DataLoader([batch], batch_size=None))  # type: ignore[arg-type]
    trainer.save_checkpoint(path)
    second = make(pretrained=path, seed=1)
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.add_(1)
    head = second.get_parameter("head.weight").clone()
    second.prepare([batch])
    state = second.state_dict()
    for key, value in model.state_dict().items():
        if not key.startswith(("head.", "views.", "prepared")):
            assert torch.equal(state[key], value), key
    assert torch.equal(second.get_parameter("head.weight"), head)
    assert not second.needs_preparing  # a run that goes on does not read the file again
    other = make(pretrained=path, dim=16)
    with pytest.raises(MERError, match="the checkpoint does not fit this IMDer as its pretrained"):
        other.prepare([batch])


def test_refusals() -> None:
    with pytest.raises(MERError, match="needs all three, but the data is used with text, audio"):
        make(DataSpec(modalities=["text", "audio"]))
    with pytest.raises(MERError, match="dim of IMDer is 7"):
        make(dim=7)
    with pytest.raises(MERError, match="sampler_steps of IMDer is 1, but a draw takes at least 2"):
        make(sampler_steps=1)
    with pytest.raises(MERError, match="time_dim of IMDer is 5"):
        make(time_dim=5)
    with pytest.raises(MERError, match=r"kernels of IMDer is \[1, 1, 99\]"):
        make(kernels=(1, 1, 99), variant="released")


def test_batches_may_lose_modalities_together() -> None:
    batch, model = Batch.random(DataSpec(), TASK, size=4), make(drop_by="batches", drop_rate=0.7)
    with pytest.raises(MERError, match="the number of batches of an epoch is not known yet"):
        next(model.steps(batch))
    model.prepare([batch] * 8)
    (step,) = model.steps(batch)
    missing = step.output.aux.recovered.missing
    assert missing.sum(1).tolist() == [2] * 4
    assert (missing == missing[0]).all()
