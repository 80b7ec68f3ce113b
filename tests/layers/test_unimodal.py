"""Heads that learn what people said of modalities alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mer_zoo.backbones import LFDNN, LMF, TFN, SelfMM
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.errors import MERError
from mer_zoo.layers.unimodal import unimodal_losses
from mer_zoo.model import Backbone
from mer_zoo.task import EmotionDetection, NominalClassification, SentimentClassification, SentimentRegression, Task

SPEC = DataSpec()
SIMS = SentimentRegression("sims", (-1.0, 1.0))
LEARNING: list[tuple[type[Backbone], dict[str, Any]]] = [
    (LFDNN, {"unimodal_weight": 1.0}),
    (TFN, {"unimodal_weight": 1.0, "hidden_dims": (4, 3, 3), "text_out": 3}),
    (LMF, {"unimodal_weight": 1.0}),
    (SelfMM, {"unimodal_labels": "corpus"}),
]
LABELS = {
    "text": torch.tensor([0.4, -0.8, torch.nan, 1.0]),
    "audio": torch.tensor([torch.nan] * 4),
    "vision": torch.tensor([-1.0, 0.2, 0.0, 0.6]),
}


def labelled(task: Task = SIMS, **labels: torch.Tensor) -> Batch:
    return Batch.random(SPEC, task, size=4).replace(unimodal=labels or LABELS)


def built(network: type[Backbone], task: Task = SIMS, **options: Any) -> Backbone:
    torch.manual_seed(0)
    return network(SPEC, task, **options)


@pytest.mark.parametrize("task", [SIMS, SentimentClassification(5, "sims"), SentimentRegression()])
def test_a_loss_is_that_of_the_samples_that_have_a_label(task: Task) -> None:
    logits = {name: torch.randn(4, *task.shape, requires_grad=True) for name in LABELS}
    losses = unimodal_losses(task, logits, labelled())
    known = [0, 1, 3]
    expected = task.criterion(logits["text"][known], LABELS["text"][known]).mean()
    torch.testing.assert_close(losses["text"], expected)
    torch.testing.assert_close(losses["vision"], task.criterion(logits["vision"], LABELS["vision"]).mean())
    assert losses["audio"].item() == 0
    grads = torch.autograd.grad(torch.stack(list(losses.values())).sum(), list(logits.values()))
    for name, grad in zip(logits, grads, strict=True):
        assert grad.isfinite().all()
        assert not grad[LABELS[name].isnan()].any()


@pytest.mark.parametrize(("network", "options"), LEARNING)
def test_every_head_learns_from_its_own_labels_alone(network: type[Backbone], options: dict[str, Any]) -> None:
    model = built(network, **options).eval()
    (step,) = model.steps(labelled(text=LABELS["text"], vision=LABELS["vision"]))
    names = {name.rpartition("/")[2]: loss for name, loss in step.losses.items()}
    assert names.keys() == {"text", "audio", "vision"}
    assert names["text"] > 0
    assert names["audio"] == 0
    (other,) = model.steps(labelled(text=-LABELS["text"], vision=LABELS["vision"]))
    changed = [name for name, loss in other.losses.items() if loss != step.losses[name]]
    assert [name.rpartition("/")[2] for name in changed] == ["text"]


@pytest.mark.parametrize(("network", "options"), LEARNING)
def test_a_corpus_without_such_labels_is_refused_in_a_sentence(
    network: type[Backbone], options: dict[str, Any]
) -> None:
    batch = Batch.random(SPEC, SIMS, size=4)
    with pytest.raises(MERError, match=r"no labels of .*text.* alone \(regression_labels_T, _A, _V\).*; take a file"):
        list(built(network, **options).steps(batch))
    assert built(network, **options)(batch).logits.shape == (4, 1)  # predicting needs none
    for task in (EmotionDetection(), NominalClassification(["joy", "fear"])):
        with pytest.raises(MERError, match="which are a sentiment, and the task is"):
            built(network, task, **options)


@pytest.mark.parametrize(("network", "options"), LEARNING)
def test_the_rest_of_the_network_begins_as_without_them(network: type[Backbone], options: dict[str, Any]) -> None:
    sizes = {key: value for key, value in options.items() if not key.startswith("unimodal")}
    plain, learning = built(network, **sizes).state_dict(), built(network, **options).state_dict()
    assert all(
        torch.equal(value, learning[key])
        for key, value in plain.items()
        if isinstance(value, torch.Tensor) and key in learning
    )
    assert {key for key in plain if key not in learning} <= {"bank._extra_state"}


def test_self_mm_generates_where_it_is_not_asked_otherwise() -> None:
    model = built(SelfMM)
    with_labels, without = (next(iter(model.eval().steps(b))) for b in (labelled(), labelled(text=LABELS["text"])))
    assert with_labels.losses == without.losses


def test_options_are_checked() -> None:
    with pytest.raises(MERError, match="unknown unimodal_labels 'own' of SelfMM; choose from generated, corpus"):
        built(SelfMM, unimodal_labels="own")
    with pytest.raises(MERError, match="unimodal_weight of TFN is -1"):
        built(TFN, unimodal_weight=-1.0)
