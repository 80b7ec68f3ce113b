"""Metrics of weighted samples: scikit-learn's, and exactly the plain ones where all weigh alike."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error
from torch import Tensor
from torchmetrics import MeanSquaredError, MetricCollection
from typing_extensions import override

from mer_zoo.errors import MERError
from mer_zoo.scores import Scores, measure
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task, build_task


def scores(task: Task, size: int = 40, seed: int = 0) -> tuple[Scores, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits, target = torch.randn(size, *task.shape, generator=generator), task.random_target(size, generator)
    target = target if target.dim() == 2 else target.round()
    return Scores(logits, {}, target, torch.arange(size)), torch.rand(size, generator=generator).double() * 0.2


@pytest.mark.parametrize("convention", ["mmsa", "mult", "causalmer"])
@pytest.mark.parametrize("name", ["regression", "two", "binary", "five", "seven", "emotions"])
def test_equal_weights_are_no_weights(name: str, convention: str) -> None:
    for seed in range(3):
        task = build_task(name, convention)  # type: ignore[arg-type]
        kept, _ = scores(task, seed=seed, size=37)
        plain = measure(task, kept)
        ones = torch.ones(37, dtype=torch.float64)
        assert measure(task, kept, weights=ones) == plain
        assert measure(task, kept, weights=0.01 * ones) == pytest.approx(plain, rel=1e-6)
        if name == "emotions":
            assert measure(task, kept, weights=ones[:, None].expand(37, 4)) == plain


def test_repeated_samples_are_weights() -> None:
    for name in ("regression", "binary", "seven", "emotions"):
        task = build_task(name)
        kept, _ = scores(task)
        times = torch.arange(40) % 3
        again = Scores(
            kept.logits.repeat_interleave(times, 0),
            {},
            kept.target.repeat_interleave(times, 0),
            torch.arange(int(times.sum())),
        )
        assert measure(task, kept, weights=times.double()) == pytest.approx(measure(task, again), rel=1e-5), name


def test_against_sklearn() -> None:
    task = SentimentClassification(3)
    kept, weights = scores(task)
    found = measure(task, kept, weights=weights)
    truth, prediction = task.encode(kept.target).numpy(), kept.logits.argmax(1).numpy()
    w = weights.numpy()
    assert found["Acc3"] == pytest.approx(accuracy_score(truth, prediction, sample_weight=w))
    assert found["F1_3"] == pytest.approx(f1_score(truth, prediction, average="weighted", sample_weight=w))
    assert found["F1_3_macro"] == pytest.approx(f1_score(truth, prediction, average="macro", sample_weight=w))
    losses = task.criterion(kept.logits, kept.target).numpy()
    assert found["loss"] == pytest.approx(np.average(losses, weights=w), rel=1e-5)


def test_scores_against_numpy() -> None:
    task = SentimentRegression()
    kept, weights = scores(task)
    found = measure(task, kept, weights=weights)
    value, score, w = kept.target.numpy(), kept.logits[:, 0].numpy(), weights.numpy()
    assert found["MAE"] == pytest.approx(mean_absolute_error(value, score, sample_weight=w))
    covariance = np.cov(value, score, aweights=w)
    assert found["Corr"] == pytest.approx(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))


def test_each_emotion_by_its_own_weights() -> None:
    task = EmotionDetection()
    kept, _ = scores(task)
    weights = torch.rand(40, 4, generator=torch.Generator().manual_seed(1)).double()
    found = measure(task, kept, weights=weights)
    prediction = kept.logits.argmax(-1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for e, name in enumerate(task.emotions):
            columns = kept.target[:, e].numpy(), prediction[:, e].numpy()
            assert found[f"Acc_{name}"] == pytest.approx(accuracy_score(*columns, sample_weight=weights[:, e].numpy()))
            expected = f1_score(*columns, average="weighted", sample_weight=weights[:, e].numpy())
            assert found[f"F1_{name}"] == pytest.approx(expected)
    losses = torch.nn.functional.cross_entropy(kept.logits.flatten(0, 1), kept.target.flatten(), reduction="none").view(
        40, 4
    )
    assert found["loss"] == pytest.approx(float((losses * weights / weights.mean(0)).mean()), rel=1e-5)


def test_the_training_time_logits_give_the_loss() -> None:
    task = SentimentClassification(3)
    kept, weights = scores(task)
    other = Scores(kept.logits, {"factual": -kept.logits}, kept.target, kept.index)
    flipped = Scores(-kept.logits, {}, kept.target, kept.index)
    found, expected = measure(task, other, weights=weights), measure(task, flipped, weights=weights)
    assert found["loss"] == expected["loss"]
    assert found["Acc3"] == measure(task, kept, weights=weights)["Acc3"]


class Squared(SentimentRegression):
    @override
    def metrics(self) -> MetricCollection:
        return MetricCollection({"MSE": MeanSquaredError()})


def test_metrics_that_know_no_weights_are_named() -> None:
    kept, weights = scores(SentimentRegression())
    with pytest.raises(
        MERError, match="MSE is a MeanSquaredError, which knows no weights; leave deconfounded metrics off"
    ):
        measure(Squared(), kept, weights=weights)
