"""Whoever chooses an epoch follows a metric of the validation split, the way in which it is better."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.optim.lr_scheduler import ReduceLROnPlateau

from mer_zoo.errors import MERError
from mer_zoo.monitors import AUTO, Direction, direction, monitor_of
from mer_zoo.task import Task

__all__ = ["direct_plateau", "follow", "follow_all"]


def follow(callback: EarlyStopping | ModelCheckpoint, task: Task, is_open: bool) -> None:
    """Let a callback follow its metric the way in which it is better.

    Args:
        callback: The callback, before the fit; its monitor may be ``auto``.
        task: The task that is trained for.
        is_open: Whether nobody has given its mode, which is then set.

    Raises:
        MERError: If its mode was given, and is against the metric.

    Example:
        >>> from mer_zoo.task import SentimentClassification
        >>> stopping = EarlyStopping("auto")
        >>> follow(stopping, SentimentClassification(7), is_open=True)
        >>> stopping.monitor, stopping.mode
        ('val/Acc7', 'max')
        >>> follow(EarlyStopping("val/Acc7", mode="min"), SentimentClassification(7), is_open=False)
        Traceback (most recent call last):
        mer_zoo.errors.MERError: val/Acc7 is better when larger, but EarlyStopping has mode min; give it mode max, ...
    """
    if callback.monitor is None:
        return
    callback.monitor = monitor_of(callback.monitor, task)
    way = direction(callback.monitor, task)
    if way is None or callback.mode == way:
        return
    if not is_open:
        raise MERError(
            f"{_better(callback.monitor, way)}, but {type(callback).__name__} has mode {callback.mode}; "
            f"give it mode {way}, or another monitor"
        )
    callback.mode = way
    worst = torch.tensor(torch.inf if way == "min" else -torch.inf)
    if isinstance(callback, EarlyStopping):
        callback.min_delta, callback.best_score = -callback.min_delta, worst
    else:
        callback.kth_value = worst


def follow_all(trainer: Trainer, monitor: str, task: Task, metrics: Iterable[str]) -> None:
    """Refuse to choose by a metric that does not exist, is of the test split, or is followed the wrong way.

    Args:
        trainer: The trainer, whose callbacks may choose; those that follow ``auto`` are told the task's metric.
        monitor: What a scheduler follows.
        task: The task that is trained for.
        metrics: The names of the validation metrics.

    Raises:
        MERError: Naming the first metric that is none of the validation split, or a mode that is against its metric.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
        >>> follow_all(trainer, "test/MAE", SentimentRegression(), ["MAE"])
        Traceback (most recent call last):
        mer_zoo.errors.MERError: monitor 'test/MAE' is not a validation metric of this task; choose from ...
    """
    known = {AUTO, "epoch", "step", "train/loss", "train/task", "val/loss", *(f"val/{name}" for name in metrics)}
    monitors = {getattr(callback, "monitor", None) for callback in trainer.callbacks}  # type: ignore[attr-defined]
    for name in sorted(name for name in {*monitors, monitor} if isinstance(name, str)):
        if name not in known and not name.startswith("train/"):
            raise MERError(
                f"monitor {name!r} is not a validation metric of this task; choose from {', '.join(sorted(known))}"
            )
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, EarlyStopping | ModelCheckpoint):
            follow(callback, task, is_open=callback.monitor == AUTO)


def direct_plateau(scheduler: ReduceLROnPlateau, monitor: str, way: Direction | None) -> None:
    """Let a fresh scheduler follow its metric the way in which it is better.

    Its mode ``min`` is that of whoever says nothing.

    Args:
        scheduler: The scheduler.
        monitor: The metric.
        way: Which way it is better.

    Raises:
        MERError: For mode ``max`` with a metric that is better when smaller.
    """
    if way is None or scheduler.mode == way:
        return
    if way == "min":
        raise MERError(
            f"{_better(monitor, way)}, but ReduceLROnPlateau has mode max; leave its mode out, or give another monitor"
        )
    scheduler._init_is_better(way, scheduler.threshold, scheduler.threshold_mode)
    scheduler._reset()


def _better(monitor: str, way: Direction) -> str:
    return f"{monitor} is better when {'smaller' if way == 'min' else 'larger'}"
