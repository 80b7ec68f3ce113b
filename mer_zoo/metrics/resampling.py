"""What resamplings of test samples need: checked clusters, and metrics of samples that come several times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric

from mer_zoo.errors import MERError
from mer_zoo.metrics.confusion import ConfusionMetric
from mer_zoo.metrics.regression import ScoreMetric

__all__ = [
    "Draws",
    "Logits",
    "area_weights",
    "checked_clusters",
    "checked_draws",
    "own_values",
    "resampled",
    "resamplings",
    "seeds_of",
    "values_of",
]

Logits = Tensor | Sequence[Tensor]


@dataclass(frozen=True)
class Draws:
    """Which samples resamplings consist of.

    Attributes:
        times: (samples + 1, N) how often each sample comes, the last row being the samples themselves.
        count: Number of clusters.
    """

    times: Tensor
    count: int


def seeds_of(logits: Logits) -> list[Tensor]:
    """Scores of each seed."""
    return [logits] if isinstance(logits, Tensor) else list(logits)


def checked_clusters(
    models: Sequence[Sequence[Sequence[Tensor]]], target: Tensor, clusters: Sequence[object] | None, samples: int
) -> tuple[Tensor, int]:
    """(N,) number of each sample's cluster, and the number of clusters."""
    count, sizes = len(target), [len(x) for model in models for seeds in model for x in seeds]
    if count == 0 or not all(seeds for model in models for seeds in model) or any(size != count for size in sizes):
        raise MERError(f"scores of {sizes} samples for {count} labels; compare models on the same samples")
    if samples < 1:
        raise MERError(f"samples is {samples}; give the number of resamplings, at least 1")
    if clusters is None:
        return torch.arange(count), count
    if len(clusters) != count:
        raise MERError(f"{len(clusters)} clusters for {count} samples; give each sample's own")
    numbers = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
    return torch.tensor([numbers[name] for name in clusters]), len(numbers)


def checked_draws(
    models: Sequence[Sequence[Sequence[Tensor]]],
    target: Tensor,
    clusters: Sequence[object] | None,
    samples: int,
    seed: int = 0,
) -> Draws:
    """Draw clusters of samples.

    Args:
        models: Scores by model, condition and seed, which must be of these samples.
        target: (N, ...) labels.
        clusters: The cluster of each sample; None where each is one.
        samples: Number of resamplings.
        seed: Seed of the draws.
    """
    place, count = checked_clusters(models, target, clusters, samples)
    if count < 2:
        raise MERError("all samples are of one cluster, which tells nothing about others; test on several recordings")
    return Draws(resamplings(count, samples, seed)[:, place].to(target.device), count)


def resamplings(count: int, samples: int, seed: int) -> Tensor:
    """(samples + 1, count) how often each cluster is drawn; the last row is the sample itself."""
    # one less than there are, so that the variance over resamplings is that of the mean without a bias
    draws = torch.randint(count, (samples, count - 1), generator=torch.Generator().manual_seed(seed))
    times = torch.ones(samples + 1, count, dtype=torch.long)
    times[:-1] = torch.zeros(samples, count, dtype=torch.long).scatter_add_(1, draws, torch.ones_like(draws))
    return times


def resampled(metric: Metric, logits: Sequence[Tensor], target: Tensor, draws: Draws) -> Tensor:
    """(samples + 1, seeds) values of a metric in each resampling.

    Args:
        metric: The metric.
        logits: (N, *task shape) of each seed.
        target: (N, ...) labels.
        draws: The resamplings.
    """
    return torch.stack([values_of(metric, scores, target, draws.times) for scores in logits], 1)


def own_values(metric: Metric, logits: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """(seeds,) values of a metric where each seed has samples of its own.

    Args:
        metric: The metric.
        logits: (N, *task shape) of each seed.
        targets: (N, ...) labels of each seed.
    """
    once = [target.new_ones(1, len(target), dtype=torch.long) for target in targets]
    return torch.cat([values_of(metric, *each) for each in zip(logits, targets, once, strict=True)])


def values_of(metric: Metric, logits: Tensor, target: Tensor, times: Tensor) -> Tensor:
    """(S,) the metric's value where each sample comes so often, float64 on the CPU; ``times`` is (S, N)."""
    if isinstance(metric, (ConfusionMetric, ScoreMetric)):
        return metric.resampled(logits, target, times).double().cpu()
    metric = metric.clone()
    values = []
    for row in times:
        chosen = torch.arange(len(target), device=target.device).repeat_interleave(row)
        metric.reset()
        metric.update(logits[chosen], target[chosen])
        values.append(metric.compute())
    return torch.stack(values).double().cpu()


def area_weights(rates: Sequence[float]) -> list[float]:
    """Weights of the values at rising rates in the area under their curve, by the trapezoid rule.

    Example:
        >>> area_weights([0.0, 0.5, 1.0])
        [0.25, 0.5, 0.25]
    """
    edges = [rates[0], *rates, rates[-1]]
    return [(after - before) / 2 for before, after in zip(edges, edges[2:], strict=False)]
