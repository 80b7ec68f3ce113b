"""Are two models exchangeable? Tests that swap them cluster by cluster."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from mer_zoo.errors import MERError
from mer_zoo.functional.student import two_sided_p
from mer_zoo.metrics.resampling import Logits, checked_clusters, seeds_of, values_of

__all__ = ["mcnemar", "permutation_test"]


def permutation_test(
    metric: Metric,
    logits_a: Logits,
    logits_b: Logits,
    target: Tensor,
    samples: int = 1000,
    seed: int = 0,
    clusters: Sequence[object] | None = None,
) -> float:
    """p-value of the two models being exchangeable: which is which is drawn anew for each cluster of samples.

    It is NaN where the metric is not defined.

    Args:
        metric: Any metric updated with (logits, target); it is not changed.
        logits_a: As for :func:`mer_zoo.metrics.paired_bootstrap`.
        logits_b: As many seeds of the second model.
        target: (N, ...) labels.
        samples: Number of permutations; the p-value is at least 1 / (samples + 1).
        seed: Seed of the permutations.
        clusters: See :func:`mer_zoo.metrics.paired_bootstrap`.

    Raises:
        MERError: As :func:`mer_zoo.metrics.paired_bootstrap`, and where the models differ in their number of seeds.

    Example:
        >>> from mer_zoo.metrics import MeanAbsoluteError
        >>> target = torch.linspace(-3, 3, 50)
        >>> permutation_test(MeanAbsoluteError(), target[:, None], target[:, None] + 0.5, target, samples=99)
        0.01
    """
    a, b = seeds_of(logits_a), seeds_of(logits_b)
    if len(a) != len(b):
        raise MERError(f"{len(a)} and {len(b)} seeds cannot change places; give as many of each model")
    place, count = checked_clusters([[a], [b]], target, clusters, samples)
    swapped = torch.rand(samples + 1, count, generator=torch.Generator().manual_seed(seed))[:, place] < 0.5
    swapped[-1] = False  # the last row is as it is
    both, swapped = torch.cat([target, target]), swapped.to(target.device)
    ways = torch.cat([~swapped, swapped], 1).long(), torch.cat([swapped, ~swapped], 1).long()
    pairs = [torch.cat(pair) for pair in zip(a, b, strict=True)]
    one, other = (torch.stack([values_of(metric, pair, both, way) for pair in pairs]).mean(0) for way in ways)
    found = (one - other).abs()
    if found.isnan().any():
        return math.nan  # the metric is not defined, and every comparison with it would say no
    least = found[-1] * (1 - 1e-9)  # sums in another order
    return (int((found[:-1] >= least).sum()) + 1) / (samples + 1)


def mcnemar(right_a: Tensor, right_b: Tensor, clusters: Sequence[object] | None = None) -> float:
    """p-value of two models being right equally often, by the samples on which only one of them is.

    Without clusters this is McNemar's test; with them, b and c being the samples of a cluster that only the first and
    only the second model has right, (sum (b - c))^2 / sum (b - c)^2, referred to the same chi-squared distribution.

    Args:
        right_a: (N,) whether the first model is right.
        right_b: (N,) the same of the second model.
        clusters: See :func:`mer_zoo.metrics.paired_bootstrap`.

    Raises:
        MERError: Where the two models did not score the same number of samples.

    References:
        Q. McNemar, Psychometrika 12, 1947; N. A. Obuchowski, On the comparison of correlated proportions for clustered
        data, Statistics in Medicine 17, 1998.

    Example:
        >>> right = torch.tensor([True] * 10 + [False] * 10)
        >>> round(mcnemar(right, ~right), 3), round(mcnemar(right, right & (torch.arange(20) > 3)), 3)
        (1.0, 0.046)
    """
    place, count = checked_clusters([[[right_a]], [[right_b]]], right_a, clusters, 1)
    each = right_a.long().cpu() - right_b.long().cpu()
    sums = torch.zeros(count, dtype=torch.float64).index_add_(0, place, each.double())
    spread = float(sums.square().sum()) ** 0.5
    return two_sided_p(float(sums.sum()) / spread, float("inf")) if spread else 1.0
