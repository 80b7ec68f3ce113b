from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mer_zoo.errors import MERError
from mer_zoo.functional.sentiment import class_values, to_classes
from mer_zoo.task import (
    EmotionDetection,
    NominalClassification,
    SentimentClassification,
    SentimentRegression,
    Task,
    build_task,
)

SCORES = torch.tensor([-3.0, -2.5, -1.5, -0.5, -0.2, 0.0, 0.2, 0.5, 1.5, 2.5, 3.0])


def test_seven_and_five_classes_round_as_numpy_does() -> None:
    expected = np.round(np.clip(SCORES.numpy(), -3, 3)) + 3
    assert to_classes(SCORES, 7).tolist() == expected.tolist()
    assert to_classes(SCORES, 5).tolist() == (np.round(np.clip(SCORES.numpy(), -2, 2)) + 2).tolist()


def test_two_and_three_classes_follow_the_sign() -> None:
    assert to_classes(SCORES, 3).tolist() == [0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2]
    assert to_classes(SCORES, 2).tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]


def test_integer_labels_are_classes_already() -> None:
    assert to_classes(torch.tensor([0, 2, 1]), 3).tolist() == [0, 2, 1]


@pytest.mark.parametrize("count", [2, 3, 5, 7])
def test_class_values_are_symmetric(count: int) -> None:
    values = class_values(count)
    assert len(values) == count
    assert torch.equal(values, -values.flip(0))


def test_criteria_have_one_loss_a_sample() -> None:
    regression = SentimentRegression().criterion(torch.tensor([[1.0], [-1.0]]), torch.tensor([0.0, -1.0]))
    assert regression.tolist() == [1.0, 0.0]
    logits = torch.randn(4, 7)
    target = torch.tensor([-3.0, 0.0, 1.2, 3.0])
    expected = F.cross_entropy(logits, torch.tensor([0, 3, 4, 6]), reduction="none")
    torch.testing.assert_close(SentimentClassification(7).criterion(logits, target), expected)


def test_emotion_criterion_is_the_mean_over_emotions() -> None:
    logits, target = torch.randn(3, 4, 2), torch.randint(0, 2, (3, 4))
    losses = EmotionDetection().criterion(logits, target)
    assert losses.shape == (3,)
    assert losses.mean().item() == pytest.approx(F.cross_entropy(logits.view(-1, 2), target.view(-1)).item(), rel=1e-5)


def test_score_of_certain_logits_is_the_class_value() -> None:
    assert SentimentClassification(7).score(torch.eye(7) * 100).tolist() == pytest.approx([-3, -2, -1, 0, 1, 2, 3])
    assert EmotionDetection().score(torch.tensor([[[0.0, 100.0]]])).tolist() == [[1.0]]


@pytest.mark.parametrize("name", ["regression", "two", "binary", "five", "seven", "emotions"])
def test_monitor_is_a_metric_of_the_task(name: str) -> None:
    task = build_task(name)
    metric, direction = task.monitor
    assert metric.removeprefix("val/") in task.metrics().keys()  # noqa: SIM118  # MetricCollection has no __contains__ for names
    assert direction in ("min", "max")


def test_unknown_names_and_counts_are_refused() -> None:
    with pytest.raises(MERError, match="unknown task 'sentiment'; choose from regression, two, binary"):
        build_task("sentiment")
    with pytest.raises(MERError, match="num_classes is 4; sentiment has 2, 3, 5 or 7 classes"):
        SentimentClassification(4)


def test_classes_are_weighted_in_the_loss_alone() -> None:
    logits, target = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    task = NominalClassification(["anger", "joy", "neutral"], class_weights=[1.0, 0.5, 4.0])
    plain = NominalClassification(["anger", "joy", "neutral"])
    expected = F.cross_entropy(logits, target, reduction="none") * torch.tensor([1.0, 4.0, 0.5, 0.5, 1.0])
    torch.testing.assert_close(task.criterion(logits, target), expected)
    torch.testing.assert_close(plain.criterion(logits, target), F.cross_entropy(logits, target, reduction="none"))
    assert task.name_predictions(logits) == plain.name_predictions(logits)


@pytest.mark.parametrize(
    ("classes", "weights", "told"),
    [
        (["joy"], None, "1 classes"),
        (["joy", "joy"], None, "two classes are called 'joy'"),
        (["joy", "val/loss"], None, "'val/loss' is no name of classes"),
        (["joy", "macro"], None, "'macro' is no name of classes"),
        (["joy", "a\nb"], None, "is no name of classes"),
        (["joy", "sad"], [1.0], "one positive number for each of 2 classes"),
        (["joy", "sad"], [1.0, 0.0], "one positive number"),
    ],
)
def test_classes_that_cannot_be_told_apart_are_refused(
    classes: list[str], weights: list[float] | None, told: str
) -> None:
    with pytest.raises(MERError, match=told):
        NominalClassification(classes, weights)


TASKS = [
    (build_task("regression"), 0, True, False),
    (build_task("two"), 2, True, True),
    (build_task("binary"), 3, True, True),
    (build_task("five"), 5, True, True),
    (build_task("seven"), 7, True, True),
    (build_task("emotions", names=["joy", "fear"]), 2, False, False),
    (build_task("classes", names=["joy", "fear", "anger"]), 3, False, True),
]


@pytest.mark.parametrize(
    ("task", "classes", "ordinal", "single"), TASKS, ids=lambda value: getattr(value, "name", None)
)
def test_a_task_tells_what_its_logits_mean(task: Task, classes: int, ordinal: bool, single: bool) -> None:
    assert (len(task.class_names), task.is_ordinal, task.is_single_label) == (classes, ordinal, single)
    assert not classes or task.shape[-1] == classes
    names = () if task.is_ordinal else task.given.get("classes") or task.given["emotions"]
    assert build_task(task.name, names=names).given == task.given


def test_names_are_of_tasks_without_their_own() -> None:
    with pytest.raises(MERError, match="task seven has names of its own"):
        build_task("seven", names=["joy", "fear"])


@pytest.mark.parametrize(
    ("name", "target", "expected"),
    [
        ("regression", [-0.5, 0.0, 2.0, torch.nan], ["negative", "neutral", "positive", ""]),
        ("seven", [-2.6, 0.4, torch.nan], ["-3", "0", ""]),
        ("binary", [0, 2], ["negative", "positive"]),
        ("emotions", [[0, 1, 1, 0], [0, 0, 0, 0], [-1, -1, -1, -1]], ["happy + sad", "none", ""]),
    ],
)
def test_labels_are_named_as_predictions_are(name: str, target: list[object], expected: list[str]) -> None:
    assert build_task(name).name_targets(torch.tensor(target)) == expected


def test_what_logits_say_is_a_probability_of_each_name() -> None:
    assert list(build_task("binary").answers(torch.zeros(2, 3))) == ["negative", "neutral", "positive"]
    assert build_task("seven").answers(torch.zeros(1, 7))["-2"].item() == pytest.approx(1 / 7)
    assert build_task("emotions").answers(torch.zeros(2, 4, 2))["sad"].tolist() == [0.5, 0.5]
    assert build_task("regression").answers(torch.tensor([[1.5]]))["score"].tolist() == [1.5]
