"""The metrics that epochs are chosen by, and which way each is better."""

from __future__ import annotations

from functools import cache
from typing import Literal

from mer_zoo.task import EmotionDetection, NominalClassification, SentimentClassification, SentimentRegression, Task

__all__ = ["ACCURACY", "AUTO", "DECONFOUNDED", "SIZE", "WORST", "Direction", "direction", "monitor_of"]

Direction = Literal["min", "max"]

AUTO = "auto"
DECONFOUNDED = "_deconfounded"  # behind the name of a metric, or of the loss, under weights
WORST = "_worst"  # likewise, of the group that is worst
ACCURACY = "accuracy"  # of a group, whatever the task calls its own
SIZE = "ess"  # of a sample under such weights: an effective sample size


def direction(name: str, task: Task | None = None) -> Direction | None:
    """Which way a metric is better: ``min`` or ``max``; None where nobody can say, as of ``step``.

    Args:
        name: The metric, as it is logged.
        task: The task that is trained for, where it is known; its metrics come before those of the zoo's tasks.

    Example:
        >>> direction("val/MAE"), direction("val/Acc7_deconfounded"), direction("val/loss_worst"), direction("step")
        ('min', 'max', 'min', None)
    """
    split, _, metric = name.rpartition("/")
    plain = metric.removesuffix(DECONFOUNDED).removesuffix(WORST)
    if split == "train" or split.startswith("train/") or (split and plain == "loss"):
        return "min"  # whatever is logged of training is a loss
    if not split:
        return None
    if metric in (f"{SIZE}{DECONFOUNDED}", f"{ACCURACY}{WORST}"):
        return "max"
    own = {} if task is None else _directions(task)
    return own[plain] if plain in own else _known().get(plain)


def _directions(task: Task) -> dict[str, Direction | None]:
    ways: dict[bool | None, Direction | None] = {True: "max", False: "min", None: None}
    return {name: ways[metric.higher_is_better] for name, metric in task.metrics().items()}


@cache
def _known() -> dict[str, Direction | None]:
    classes = [SentimentClassification(number) for number in (2, 3, 5, 7)]
    tasks: list[Task] = [SentimentRegression(), *classes, EmotionDetection(), NominalClassification(["a", "b"])]
    return {name: way for task in tasks for name, way in _directions(task).items()}


def monitor_of(given: str, task: Task) -> str:
    """The metric that is followed: what is given, or the task's own for ``auto``.

    Example:
        >>> monitor_of("auto", SentimentClassification(7)), monitor_of("val/loss", SentimentClassification(7))
        ('val/Acc7', 'val/loss')
    """
    return task.monitor[0] if given == AUTO else given
