"""OGM-GE around small models: whose gradients change and by how much, noise, nests and refusals."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor
from toys import TwoStep, step_loss

from mer_zoo.backbones import EFLSTM, LFLSTM, TFN
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task
from mer_zoo.training.gradient_hooks import GradientHooks
from mer_zoo.wrappers import CLUE, CUMDF, GEAR, JTT, MACI, MSSD, OGMGE, CausalMER, PropensityWeighting

SPEC, THREE = DataSpec(), SentimentClassification(3)
pytestmark = pytest.mark.filterwarnings("ignore:PropensityWeighting")  # that so few samples tell nothing


def wrap(task: Task = THREE, spec: DataSpec = SPEC, **options: Any) -> OGMGE:
    torch.manual_seed(0)
    model = OGMGE(LFLSTM(spec, task, dim=4, out_dropout=0.0), **options)
    model.prepare([Batch.random(spec, task, size=6)])
    return model


def gradients(model: Model, batch: Batch) -> dict[str, Tensor]:
    model.zero_grad()
    for step in model.steps(batch):
        torch.autograd.backward(step_loss(model, step))
    return {
        name.removeprefix("backbone."): p.grad.clone() for name, p in model.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize("task", [THREE, SentimentRegression(), EmotionDetection()], ids=lambda task: task.name)
def test_own_gradients_are_multiplied(task: Task) -> None:
    model, batch = wrap(task, noise=False), Batch.random(SPEC, task, size=6)
    plain, found = gradients(model.backbone, batch), gradients(model, batch)
    k = dict(zip(SPEC.modalities, model.coefficients.tolist(), strict=True))
    assert min(k.values()) < 1 == max(k.values())
    for name, gradient in plain.items():
        modality = next((m for m in k if f".{m}." in name), None)
        factor = k[modality] if modality and gradient.dim() > 1 else 1.0
        torch.testing.assert_close(found[name], factor * gradient)


def test_noise_is_as_large_as_the_gradient_and_of_its_own() -> None:
    batch = Batch.random(SPEC, THREE, size=6)
    state = torch.get_rng_state()
    model, calm = wrap(seed=1), wrap(noise=False)
    torch.set_rng_state(state)
    plain, without, found = gradients(model.backbone, batch), gradients(calm, batch), gradients(model, batch)
    assert torch.equal(torch.get_rng_state(), state)
    name = "lstms.text.weight_hh_l0"
    added = found[name] - without[name]
    assert added.std() == pytest.approx(plain[name].std().item(), rel=0.5)
    assert torch.equal(found["linear.weight"], plain["linear.weight"])
    again = gradients(model, batch)
    assert not torch.equal(again[name], found[name])  # another step, other noise
    other = wrap(seed=2)
    other.load_state_dict(model.state_dict())
    assert (other.seed, other.drawn) == (1, 2)
    assert torch.equal(gradients(other, batch)[name], gradients(model, batch)[name])


def test_hooks_are_off_where_nothing_is_to_be_changed() -> None:
    batch = Batch.random(SPEC, THREE, size=6)
    for model in (wrap(start=1), wrap().eval(), wrap(alpha=0.0, noise=False)):
        for name, gradient in gradients(model, batch).items():
            torch.testing.assert_close(gradient, gradients(model.backbone, batch)[name])


def test_copies_begin_without_hooks() -> None:
    model, batch = wrap(noise=False), Batch.random(SPEC, THREE, size=6)
    gradients(model, batch)
    copied = copy.deepcopy(model)
    assert not copied._hooks.installed
    for name, gradient in gradients(copied, batch).items():
        torch.testing.assert_close(gradient, gradients(model, batch)[name])
    assert not pickle.loads(pickle.dumps(model._hooks)).installed
    assert isinstance(copy.deepcopy(GradientHooks()), GradientHooks)


def test_embeddings_get_no_noise() -> None:
    spec = DataSpec(tokens=True, vocab_size=200)
    model, batch = wrap(spec=spec), Batch.random(spec, THREE, size=6)
    unseen = sorted(set(range(200)) - set(batch.text.x.flatten().tolist()))
    assert not gradients(model, batch)["text_embedding.weight"][unseen].any()


@pytest.mark.parametrize("outer", [CausalMER, CLUE, PropensityWeighting, JTT])
@pytest.mark.parametrize("inside", [True, False])
def test_nests(outer: Any, inside: bool) -> None:
    spec = DataSpec(tokens=True, vocab_size=200)
    batch = Batch.random(spec, THREE, size=9).replace(target=torch.arange(9) % 3)
    options = {"epochs": 1} if outer is JTT else {}
    net = LFLSTM(spec, THREE, dim=4)
    model: Model = outer(OGMGE(net), **options) if inside else OGMGE(outer(net, **options))
    model.prepare([batch])
    assert torch.cat([gradient.flatten() for gradient in gradients(model, batch).values()]).isfinite().all()


def test_outside_of_what_drops_the_classifier() -> None:
    batch = Batch.random(SPEC, THREE, size=9).replace(target=torch.arange(9) % 3)
    for inner in (GEAR(LFLSTM(SPEC, THREE, dim=4)), MACI(LFLSTM(SPEC, THREE, dim=4), language=False)):
        model = OGMGE(inner)
        model.prepare([batch])
        gradients(model, batch)
        assert model.diagnostics()["ogmge/k_text"] <= 1


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: OGMGE(LFLSTM(DataSpec(modalities=["text"]), THREE)), "OGMGE weighs modalities against each other"),
        (lambda: OGMGE(TwoStep(LFLSTM(SPEC, THREE))), "OGMGE changes the gradient of one step a batch"),
        (lambda: OGMGE(MSSD(LFLSTM(SPEC, THREE))), "OGMGE changes the gradient of one step a batch"),
        (lambda: MSSD(OGMGE(LFLSTM(SPEC, THREE))), "MSSD trains on incomplete views"),
        (lambda: CUMDF(OGMGE(LFLSTM(SPEC, THREE))), "CUMDF trains on incomplete views"),
        (lambda: MACI(OGMGE(LFLSTM(SPEC, THREE)), language=False), "OGMGE goes by the scores of the network's own"),
        (lambda: GEAR(OGMGE(LFLSTM(SPEC, THREE))), "OGMGE goes by the scores of the network's own"),
        (lambda: OGMGE(EFLSTM(SPEC, THREE)).prepare([]), r"of which EFLSTM has none \(fusion 100.0 %\)"),
        (lambda: OGMGE(EFLSTM(DataSpec(tokens=True, vocab_size=200), THREE)).prepare([]), "of which EFLSTM has none"),
        (lambda: OGMGE(LFLSTM(SPEC, THREE), alpha=-1.0), "alpha"),
        (lambda: list(OGMGE(LFLSTM(SPEC, THREE)).steps(Batch.random(SPEC, THREE))), "OGMGE does not know yet whose"),
        (lambda: OGMGE(LFLSTM(SPEC, THREE)).set_extra_state(torch.ones(3)), "other than OGMGE's seed and count"),
    ],
)
def test_refusals(build: Any, message: str) -> None:
    with pytest.raises(MERError, match=message):
        build()


def test_few_parameters_are_warned_of() -> None:
    model = OGMGE(TFN(SPEC, THREE))
    with pytest.warns(UserWarning, match=r"few parameters of TFN belong to one modality \(text 0.8 %"):
        model.prepare([])
    assert "little to act on" in model.notes()[0]
