"""How well scores order positive before negative samples, and whether they do so equally well everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Heterogeneity", "area_under_roc", "areas_under_roc", "heterogeneity"]


def area_under_roc(scores: Tensor, positive: Tensor) -> float:
    """Probability that a positive sample has the higher score than a negative one; equal scores count half.

    Args:
        scores: (N,) scores.
        positive: (N,) bool.

    Returns:
        NaN without samples of both kinds.

    Example:
        >>> area_under_roc(torch.tensor([0.1, 0.4, 0.4, 0.9]), torch.tensor([False, False, True, True]))
        0.875
    """
    return areas_under_roc(scores[:, None], positive[:, None]).item()


def areas_under_roc(scores: Tensor, positive: Tensor) -> Tensor:
    """The areas of several scores for several questions, see :func:`area_under_roc`.

    Args:
        scores: (N, d) scores.
        positive: (N, Q) bool.

    Returns:
        (d, Q) areas, NaN where a question has no samples of both kinds.

    Example:
        >>> areas_under_roc(torch.tensor([[0.1, 4.0], [0.4, 3.0]]), torch.tensor([[False], [True]])).T
        tensor([[1., 0.]], dtype=torch.float64)
    """
    positives = positive.sum(0)
    pairs = (positives * (len(positive) - positives)).double()
    columns = scores.T.contiguous()
    ordered = columns.sort(1).values
    below, upto = (torch.searchsorted(ordered, columns, right=right) for right in (False, True))
    ranks = (below + upto + 1).double() / 2  # of equal scores the mean rank
    return (ranks @ positive.double() - positives * (positives + 1) / 2) / torch.where(pairs > 0, pairs, math.nan)


class Heterogeneity(NamedTuple):
    """Whether areas of several groups are those of one and the same ranking.

    Args:
        areas: Of each group that has two samples of both kinds.
        area: Their weighted mean.
        ratio: Cochran's Q by its degrees of freedom, 1 where the groups differ by chance alone.
        p: Probability of so large a Q by chance; NaN with fewer than two groups.
    """

    areas: list[float]
    area: float
    ratio: float
    p: float


def heterogeneity(scores: Sequence[Tensor], positive: Sequence[Tensor]) -> Heterogeneity:
    r"""Cochran's Q of the areas of groups, with Hanley's and McNeil's variances at the mean area.

    Args:
        scores: (N_g,) scores of each group.
        positive: (N_g,) bool of each group.

    References:
        Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve",
        Radiology 143(1), 1982. Cochran, "The combination of estimates from different experiments", Biometrics 10(1),
        1954.

    Example:
        >>> half = torch.arange(20.0), torch.arange(20) >= 10
        >>> found = heterogeneity([half[0], half[0], half[0], -half[0]], [half[1]] * 4)
        >>> found.areas, found.p < 0.001
        ([1.0, 1.0, 1.0, 0.0], True)
    """
    areas, sizes = [], []
    for values, signs in zip(scores, positive, strict=True):
        ones = int(signs.sum())
        if min(ones, len(signs) - ones) >= 2:
            areas.append(area_under_roc(values, signs))
            sizes.append((ones, len(signs) - ones))
    if len(areas) < 2:
        return Heterogeneity(areas, areas[0] if areas else math.nan, math.nan, math.nan)
    weights = [1 / _variance(0.75, *size) for size in sizes]
    area = sum(weight * value for weight, value in zip(weights, areas, strict=True)) / sum(weights)
    middle = min(max(area, 0.55), 0.97)  # towards 0 and 1 the variance vanishes
    q = sum((value - area) ** 2 / _variance(middle, *size) for value, size in zip(areas, sizes, strict=True))
    freedom = len(areas) - 1
    p = torch.special.gammaincc(torch.tensor(freedom / 2.0).double(), torch.tensor(q / 2.0).double())
    return Heterogeneity(areas, area, q / freedom, float(p))


def _variance(area: float, positives: int, negatives: int) -> float:
    """Hanley's and McNeil's variance of an area."""
    one, other = area / (2 - area), 2 * area**2 / (1 + area)
    spread = (positives - 1) * (one - area**2) + (negatives - 1) * (other - area**2)
    return (area * (1 - area) + spread) / (positives * negatives)
