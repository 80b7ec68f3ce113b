"""Accuracy, F1 and their kin as functions of a confusion matrix; robustness over missing rates and available sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, stdev

import torch
from torch import Tensor

from mer_zoo.errors import MERError

__all__ = [
    "DropGap",
    "accuracy",
    "auilc",
    "check_finite",
    "drop_gap",
    "f1_per_class",
    "macro_f1",
    "mean_std",
    "precision_per_class",
    "recall_per_class",
    "sample_confusion",
    "unweighted_recall",
    "weighted_f1",
]


def check_finite(logits: Tensor) -> None:
    """Refuse scores that are no numbers, which a comparison would count as a class.

    Args:
        logits: Scores of any shape.

    Raises:
        MERError: If one is NaN or infinite.

    Example:
        >>> check_finite(torch.tensor([0.5, float("nan")]))
        Traceback (most recent call last):
        mer_zoo.errors.MERError: 1 of 2 scores are not finite numbers; no metric is defined for them
    """
    bad = int((~logits.isfinite()).sum())
    if bad:
        raise MERError(f"{bad} of {logits.numel()} scores are not finite numbers; no metric is defined for them")


def sample_confusion(prediction: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """The confusion matrix of each sample alone; summed over samples it is that of all.

    Args:
        prediction: (N, ...) integer classes.
        truth: (N, ...) integer classes; a sample whose true class is -1 does not count.
        num_classes: Number of classes C.

    Returns:
        (N, ..., C, C) bool, truth in rows, prediction in columns.

    Example:
        >>> sample_confusion(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 0, 1, -1]), 2).sum(0).tolist()
        [[1, 1], [0, 1]]
    """
    classes = torch.arange(num_classes, device=truth.device)
    # comparing instead of bincount: the same on every device, also under deterministic algorithms
    return (truth[..., None, None] == classes[:, None]) & (prediction[..., None, None] == classes)


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    return numerator / torch.where(denominator > 0, denominator, 1)


def accuracy(confusion: Tensor) -> Tensor:
    """Share of right predictions.

    Args:
        confusion: (..., C, C) counts or sums of weights, truth in rows.

    Returns:
        (...,) accuracies; 0 without samples.

    Example:
        >>> accuracy(torch.tensor([[3, 1], [0, 4]])).item()
        0.875
    """
    return _ratio(confusion.diagonal(dim1=-2, dim2=-1).sum(-1), confusion.sum((-2, -1)))


def precision_per_class(confusion: Tensor) -> Tensor:
    """Share of right predictions among those of each class.

    Args:
        confusion: (..., C, C) counts or sums of weights, truth in rows.

    Returns:
        (..., C) values; 0 for a class that is never predicted.

    Example:
        >>> precision_per_class(torch.tensor([[1, 1], [0, 3]])).tolist()
        [1.0, 0.75]
    """
    return _ratio(confusion.diagonal(dim1=-2, dim2=-1), confusion.sum(-2))


def recall_per_class(confusion: Tensor) -> Tensor:
    """Share of right predictions among the samples of each class.

    Args:
        confusion: (..., C, C) counts or sums of weights, truth in rows.

    Returns:
        (..., C) values; 0 for a class without samples.

    Example:
        >>> recall_per_class(torch.tensor([[1, 1], [0, 3]])).tolist()
        [0.5, 1.0]
    """
    return _ratio(confusion.diagonal(dim1=-2, dim2=-1), confusion.sum(-1))


def unweighted_recall(confusion: Tensor) -> Tensor:
    """Recall averaged with equal weight over the classes that have samples (UAR, also called balanced accuracy).

    Args:
        confusion: (..., C, C) counts or sums of weights, truth in rows.

    Returns:
        (...,) values; 0 without samples.

    Example:
        >>> unweighted_recall(torch.tensor([[1, 1, 0], [0, 3, 0], [0, 0, 0]])).item()
        0.75
    """
    return _ratio(recall_per_class(confusion).sum(-1), (confusion.sum(-1) > 0).sum(-1))


def f1_per_class(confusion: Tensor) -> Tensor:
    """Harmonic mean of precision and recall of each class.

    Args:
        confusion: (..., C, C) counts or sums of weights, truth in rows.

    Returns:
        (..., C) values; 0 for a class that is neither present nor predicted.

    Example:
        >>> f1_per_class(torch.tensor([[1, 1], [0, 2]])).tolist()
        [0.666..., 0.800...]
    """
    hits = confusion.diagonal(dim1=-2, dim2=-1)
    return _ratio(2 * hits, confusion.sum(-1) + confusion.sum(-2))


def weighted_f1(confusion: Tensor) -> Tensor:
    """F1 averaged over the classes, weighted by how often each is true.

    Args:
        confusion: (..., C, C) counts or sums of weights, truth in rows. Transposed, it gives the value with swapped
            arguments.

    Returns:
        (...,) values; 0 without samples.

    Example:
        >>> weighted_f1(torch.tensor([[1, 1], [0, 2]])).item()
        0.733...
    """
    support = confusion.sum(-1)
    return _ratio((f1_per_class(confusion) * support).sum(-1), support.sum(-1))


def macro_f1(confusion: Tensor) -> Tensor:
    """F1 averaged with equal weight over the classes that are present or predicted.

    Args:
        confusion: (..., C, C) counts or sums of weights, truth in rows.

    Returns:
        (...,) values; 0 without samples.

    Example:
        >>> macro_f1(torch.tensor([[1, 1, 0], [0, 2, 0], [0, 0, 0]])).item()
        0.733...
    """
    seen = confusion.sum(-1) + confusion.sum(-2) > 0
    return _ratio(f1_per_class(confusion).sum(-1), seen.sum(-1))


def auilc(rates: Sequence[float], values: Sequence[float]) -> float:
    r"""Area under the curve of a metric over missing rates, :math:`\sum_i \frac{1}{2} (v_i + v_{i+1}) (p_{i+1} - p_i)`.

    Args:
        rates: Increasing missing rates p_0 .. p_t.
        values: The metric at each rate.

    Raises:
        MERError: For fewer than two rates, rates that do not increase, or a different number of values.

    References:
        CIDer, Eq. 31.

    Example:
        >>> auilc([0.0, 0.5, 1.0], [0.8, 0.7, 0.4])
        0.65
    """
    if len(rates) != len(values) or len(rates) < 2 or any(p >= q for p, q in pairwise(rates)):
        raise MERError(
            f"AUILC got rates {list(rates)} and {len(values)} values; give one value for each of >= 2 rising rates"
        )
    steps = range(len(rates) - 1)
    return sum((values[i] + values[i + 1]) / 2 * (rates[i + 1] - rates[i]) for i in steps)


def mean_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1), over seeds or sets; a single value has no deviation: None.

    Raises:
        MERError: Without values.

    Example:
        >>> mean_std([1.0, 2.0, 3.0]), mean_std([1.0])
        ((2.0, 1.0), (1.0, None))
    """
    if not values:
        raise MERError("no value to average; give the result of at least one seed")
    return fmean(values), stdev(values) if len(values) > 1 else None


@dataclass(frozen=True)
class DropGap:
    """How far a metric falls when modalities are missing.

    Attributes:
        gaps: value(set) - value(full) for each availability set; negative where the metric falls.
        mean: Mean of the gaps.
        std: Sample standard deviation (n - 1) of the gaps, as in the published tables; None for a single set.
    """

    gaps: dict[str, float]
    mean: float
    std: float | None


def drop_gap(values: Mapping[str, float], full: float) -> DropGap:
    """Compare a metric under each availability set with the complete data.

    Args:
        values: The metric for each availability set, named such as ``{l,a}``.
        full: The metric with every modality.

    Raises:
        MERError: Without any availability set.

    References:
        CausalMER, Tables 3 and 4.

    Example:
        >>> gap = drop_gap({"{l}": 0.75, "{a}": 0.5, "{v}": 0.25}, full=0.75)
        >>> gap.gaps, gap.mean, gap.std
        ({'{l}': 0.0, '{a}': -0.25, '{v}': -0.5}, -0.25, 0.25)
    """
    if not values:
        raise MERError("the drop gap got no availability set; test with conditions such as {l} and {a,v}")
    gaps = {name: value - full for name, value in values.items()}
    return DropGap(gaps, *mean_std(list(gaps.values())))
