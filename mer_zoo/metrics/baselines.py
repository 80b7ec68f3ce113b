"""What a prediction that ignores its input would score: the figure to read beside every accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from mer_zoo.errors import MERError
from mer_zoo.metrics.confusion import ConfusionMetric

if TYPE_CHECKING:
    from mer_zoo.task import Task

__all__ = ["baselines"]

_CERTAIN = 1000.0  # a logit whose softmax is one-hot to the last bit, so that a neutral prediction scores exactly 0


def baselines(task: Task, target: Tensor) -> dict[str, dict[str, float]]:
    """Metrics of the two predictors that ignore the sample, on the given labels themselves.

    Args:
        task: Names the metrics.
        target: Labels of the whole split as they stand in a Batch.

    Returns:
        ``majority``: each metric with the most frequent of the classes that this metric tells apart (for MAE and Corr,
        the most frequent class). ``constant``: all metrics with one prediction, the median score or the most frequent
        class of the task.

    Raises:
        MERError: Without a label.

    Example:
        >>> import torch
        >>> from mer_zoo.task import SentimentRegression
        >>> result = baselines(SentimentRegression(), torch.tensor([-1.0, 1.0, 2.0]))
        >>> round(result["majority"]["Acc2_non0"], 3), result["constant"]["MAE"]
        (0.667, 1.0)
    """
    labelled = ~target.flatten(1).isnan().any(1) if target.dim() > 1 else ~target.isnan()
    target = target[labelled]
    if not len(target):
        raise MERError("the split has no labels, so no baseline can be computed; use predict instead of test")
    constant = _measure(task, _constant_logits(task, target), target)
    return {"majority": _measure(task, _majority_logits(task, target), target, majority=True), "constant": constant}


def _measure(task: Task, logits: Tensor, target: Tensor, majority: bool = False) -> dict[str, float]:
    metrics = task.metrics().to(target.device)
    metrics.update(logits.expand(len(target), *task.shape), target)
    result = {}
    for name, metric in metrics.items():
        value = metric.majority() if majority and isinstance(metric, ConfusionMetric) else metric.compute()
        result[name] = float(value)
    return result


def _constant_logits(task: Task, target: Tensor) -> Tensor:
    if not task.is_classification:
        return target.float().median().view(1, 1)
    return _majority_logits(task, target)


def _majority_logits(task: Task, target: Tensor) -> Tensor:
    if not task.is_classification:
        return target.float().round().mode(0).values.view(1, 1)
    classes = task.encode(target).mode(0).values
    return F.one_hot(classes, task.shape[-1]).float()[None] * _CERTAIN
