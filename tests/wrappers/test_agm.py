"""AGM around small models: shares, gradients, what it remembers, nests and refusals."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from toys import MeanNet, TwoStep, step_loss
from zoo_cases import TINY

from mer_zoo.backbones import LFLSTM, LNLN
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task
from mer_zoo.training.modes import evaluating
from mer_zoo.wrappers import (
    AGM,
    CLUE,
    CUMDF,
    GEAR,
    JTT,
    MACI,
    MSSD,
    RWG,
    CausalMER,
    GroupDRO,
    PropensityWeighting,
)
from mer_zoo.wrappers.passes import Passes

SPEC, THREE = DataSpec(), SentimentClassification(3)
pytestmark = pytest.mark.filterwarnings("ignore:PropensityWeighting")  # that so few samples tell nothing


def lstm(task: Task = THREE, **options: Any) -> LFLSTM:
    torch.manual_seed(0)
    return LFLSTM(SPEC, task, **{"dim": 4, **options})


def gradient(model: Model, batch: Batch) -> torch.Tensor:
    model.zero_grad()
    torch.manual_seed(1)  # of the dropout
    for step in model.steps(batch):
        torch.autograd.backward(step_loss(model, step))
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("task", [THREE, SentimentRegression(), EmotionDetection()], ids=lambda task: task.name)
def test_logits_are_the_full_passes_and_their_shares(task: Task) -> None:
    model, batch = AGM(lstm(task)), Batch.random(SPEC, task, size=5)
    torch.manual_seed(1)
    (plain,) = model.backbone.steps(batch)
    torch.manual_seed(1)
    (step,) = model.steps(batch)
    assert torch.equal(step.output.logits, plain.output.logits)
    torch.testing.assert_close(torch.stack(list(model.shares(plain).values())).sum(0), plain.output.logits)


def test_without_modulation_gradients_are_the_plain_models() -> None:
    batch = Batch.random(SPEC, THREE, size=5)
    for options in ({"alpha": 0.0}, {"start": 1}):
        model = AGM(lstm(), **options)
        model.prepare([batch])
        torch.testing.assert_close(gradient(model, batch), gradient(lstm(), batch))
    model = AGM(lstm(), alpha=4.0)
    gradient(model, Batch.random(SPEC, THREE, size=5, seed=1))  # the scores of the same batch would be what they were
    assert not torch.allclose(gradient(model, batch), gradient(lstm(), batch), rtol=1e-3)


def test_scores_are_remembered_in_training_alone() -> None:
    model, batch = AGM(lstm()), Batch.random(SPEC, THREE, size=5)
    for _ in range(2):
        gradient(model, batch)
    assert int(model.count) == 2
    kept = {name: buffer.clone() for name, buffer in model.state_dict().items() if "backbone" not in name}
    gradient(model.eval(), batch)
    other = AGM(lstm())
    other.load_state_dict(model.state_dict())
    for name, buffer in other.state_dict().items():
        if name in kept:
            assert torch.equal(buffer, kept[name])
    assert model.diagnostics()["agm/loss_text"] > 0


def test_losses_that_are_not_finite_are_not_remembered() -> None:
    model, batch = AGM(lstm()), Batch.random(SPEC, THREE, size=5)
    gradient(model, batch)
    running = model.running.clone()
    gradient(model, batch.replace(text=batch.text.replace(x=batch.text.x * torch.nan)))
    assert torch.equal(model.running, running)


def test_passes_are_counted() -> None:
    model, batch = AGM(lstm(), start=1, end=2), Batch.random(SPEC, THREE, size=4)
    model.prepare([batch, batch])
    for _ in range(5):
        list(model.steps(batch))
    assert int(model.count) == 2
    other = AGM(lstm(), start=1, end=2)
    other.load_state_dict(model.state_dict())
    assert (other.passes.seen, other.passes.split_size) == (20, 8)
    with pytest.raises(MERError, match="AGM does not know the size of the training split yet"):
        list(AGM(lstm(), start=1).steps(batch))
    with pytest.raises(MERError, match="AGM acts from pass 2 to 2, which are none"):
        AGM(lstm(), start=2, end=2)
    with pytest.raises(MERError, match="other than the counts of AGM"):
        Passes("AGM", 0, None).set_extra_state(torch.ones(3))


def test_blanked_passes_draw_nothing_and_have_a_gradient() -> None:
    net = lstm(depth=2, out_dropout=0.5)
    with evaluating(net, differentiable=True):
        assert all(layer.training and layer.dropout == 0 for layer in net.lstms.values())
        state = torch.get_rng_state()
        net(Batch.random(SPEC, THREE))
        assert torch.equal(torch.get_rng_state(), state)
    assert all(layer.dropout == 0.5 for layer in net.lstms.values())


@pytest.mark.parametrize("outer", [CausalMER, CLUE, PropensityWeighting, JTT, RWG, GroupDRO])
def test_nests_outside(outer: Any) -> None:
    spec = DataSpec(tokens=True, vocab_size=200)
    batch = Batch.random(spec, THREE, size=9).replace(target=torch.arange(9) % 3)
    options: dict[Any, dict[str, Any]] = {JTT: {"epochs": 1}}
    speakers = {"groups": dict.fromkeys(batch.ids, "A"), "min_group": 1, "draw": False}
    options |= {RWG: speakers, GroupDRO: speakers}
    model = outer(AGM(LFLSTM(spec, THREE, dim=4)), **options.get(outer, {}))
    model.prepare([batch])
    assert gradient(model, batch).isfinite().all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: AGM(LFLSTM(DataSpec(modalities=["text"]), THREE)), "AGM weighs modalities against each other"),
        (lambda: AGM(CausalMER(lstm())), "AGM shares out the logits of a network"),
        (lambda: AGM(MSSD(lstm())), "AGM asks what the network says of complete samples"),
        (lambda: AGM(MSSD(lstm(), two_stage=False)), "AGM asks what the network says of complete samples"),
        (lambda: AGM(TwoStep(lstm())), "AGM asks what the network says of complete samples"),
        (lambda: AGM(PropensityWeighting(lstm(), mode="product")), "put PropensityWeighting outside"),
        (lambda: MSSD(AGM(lstm())), r"can't be weighed against each other as AGM\(LFLSTM\)"),
        (lambda: MACI(AGM(lstm())), "MACI computes its scores from the features"),
        (lambda: GEAR(AGM(lstm())), "GEAR computes its scores from the features"),
        (lambda: CUMDF(AGM(lstm())), "CUMDF computes its scores from hidden sequences"),
        (lambda: AGM(lstm(), alpha=-1.0), "alpha"),
    ],
)
def test_refusals(build: Any, message: str) -> None:
    with pytest.raises(MERError, match=message):
        build()


def test_networks_that_make_views_themselves() -> None:
    torch.manual_seed(0)
    model = AGM(LNLN(SPEC, THREE, **TINY["LNLN"]))
    batch = Batch.random(SPEC, THREE, size=4)
    model.prepare([batch])
    assert gradient(model, batch).isfinite().all()


@pytest.mark.parametrize("size", [1, 4])
def test_weights_of_samples_pass_through(size: int) -> None:
    batch = Batch.random(SPEC, THREE, size=size)
    model = partial(AGM, alpha=2.0)(MeanNet(SPEC, THREE))
    (step,) = model.steps(batch)
    assert step.task_weight == 1.0
    assert step.output.features.shape == (size, 8)
