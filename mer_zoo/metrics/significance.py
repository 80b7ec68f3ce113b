"""Is a value, or the difference between two models, more than the choice of test samples or of seeds?

Clips of one recording resemble each other, so that the samples of a test split say less than as many independent ones
would. Every function here takes the cluster of each sample, and whole clusters are drawn. Where each seed has test
samples of its own, as with a corpus that is drawn anew, ``target`` is a list of the seeds' labels; seeds then are
independent tests, and the interval is Student's over their values, whatever samples have in common.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric

from mer_zoo.errors import MERError
from mer_zoo.functional.metrics import mean_std
from mer_zoo.functional.student import effective_freedom, student_quantile, two_sided_p
from mer_zoo.metrics.resampling import Logits, area_weights, checked_draws, own_values, resampled, seeds_of

__all__ = [
    "Interval",
    "Labels",
    "bootstrap",
    "interval_of",
    "interval_over_seeds",
    "mean_std",
    "paired_bootstrap",
    "paired_bootstrap_area",
]


Labels = Tensor | Sequence[Tensor]  # those of each seed, where they differ


@dataclass(frozen=True)
class Interval:
    """An estimate and the interval that holds the truth with the given confidence.

    Attributes:
        difference: metric(a) - metric(b) on all samples, or the metric where there is one model.
        low: Lower end.
        high: Upper end.
        confidence: How often such intervals hold the truth.
        p: Two-sided p-value of the estimate being zero; the interval excludes zero where it is below 1 - confidence.
            NaN, as the ends are, where the metric is not defined on some resampling.
        clusters: Number of clusters of samples; that of the samples where each is one of its own, and that of the seeds
            where each has test samples of its own.
        seeds: Number of seeds, the smaller one of two models'; 1 tells nothing about other seeds.
    """

    difference: float
    low: float
    high: float
    confidence: float
    p: float
    clusters: int
    seeds: int

    @property
    def significant(self) -> bool:
        """Whether zero lies outside; ends that are not known exclude nothing."""
        return self.low > 0 or self.high < 0


def bootstrap(
    metric: Metric,
    logits: Logits,
    target: Labels,
    samples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    clusters: Sequence[object] | None = None,
) -> Interval:
    """Interval for the metric of one model.

    Args:
        metric: Any metric updated with (logits, target); it is not changed.
        logits: (N, *task shape) logits; a list of them, one a seed, stands for their mean metric.
        target: (N, ...) labels; a list of them where each seed has samples of its own.
        samples: Number of resamplings.
        seed: Seed of the resampling.
        confidence: How often such intervals hold the truth.
        clusters: The cluster of each sample, such as its recording; None takes samples for independent. Nothing where
            each seed has samples of its own.

    Raises:
        MERError: See :func:`paired_bootstrap`.

    Example:
        >>> from mer_zoo.metrics import MeanAbsoluteError
        >>> target = torch.linspace(-3, 3, 60)
        >>> found = bootstrap(MeanAbsoluteError(), target.sin()[:, None], target, clusters=[i // 3 for i in range(60)])
        >>> found.low < found.difference < found.high, found.clusters
        (True, 20)
    """
    return _bootstrap(metric, [1.0], [[logits]], target, clusters, samples, seed, confidence)


def paired_bootstrap(
    metric: Metric,
    logits_a: Logits,
    logits_b: Logits,
    target: Labels,
    samples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    clusters: Sequence[object] | None = None,
) -> Interval:
    """Interval for metric(a) - metric(b), both models resampled together.

    Its half width is Student's quantile times a standard error, at Satterthwaite's degrees of freedom. The variance has
    two parts: that of the choice of clusters, from resamplings of C - 1 of C clusters, and that of the choice of seeds,
    from their spread, less what both tell (by how much the seeds' order changes between resamplings).

    Args:
        metric: Any metric updated with (logits, target); it is not changed.
        logits_a: (N, *task shape) logits of the first model; a list of them, one a seed, stands for their mean metric.
        logits_b: The same of the second model for the same samples. Lists of equal length belong together pair by pair.
        target: (N, ...) labels; a list of them where each seed has samples of its own.
        samples: Number of resamplings.
        seed: Seed of the resampling.
        confidence: How often such intervals hold the truth.
        clusters: The cluster of each sample, such as its recording; None takes samples for independent. Nothing where
            each seed has samples of its own.

    Raises:
        MERError: Where the two models did not score the same number of samples, an option is out of range, or all
            samples are of one cluster.

    Example:
        >>> from mer_zoo.metrics import MeanAbsoluteError
        >>> target = torch.linspace(-3, 3, 50)
        >>> interval = paired_bootstrap(MeanAbsoluteError(), target[:, None], target[:, None] + 0.5, target, samples=20)
        >>> round(interval.difference, 3), interval.significant
        (-0.5, True)
    """
    return _bootstrap(metric, [1.0], [[logits_a], [logits_b]], target, clusters, samples, seed, confidence)


def paired_bootstrap_area(
    metric: Metric,
    rates: Sequence[float],
    logits_a: Sequence[Logits],
    logits_b: Sequence[Logits],
    target: Labels,
    samples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    clusters: Sequence[object] | None = None,
) -> Interval:
    """Interval for AUILC(a) - AUILC(b), the same samples resampled at every missing rate and for both models.

    Args:
        metric: See :func:`paired_bootstrap`.
        rates: Rising missing rates.
        logits_a: What :func:`paired_bootstrap` takes, for each rate.
        logits_b: The same of the second model.
        target: (N, ...) labels.
        samples: Number of resamplings.
        seed: Seed of the resampling.
        confidence: How often such intervals hold the truth.
        clusters: See :func:`paired_bootstrap`.

    Raises:
        MERError: As :func:`paired_bootstrap`, and where rates and logits differ in number.

    Example:
        >>> from mer_zoo.metrics import MeanAbsoluteError
        >>> target = torch.linspace(-3, 3, 50)
        >>> right, wrong = target[:, None], target[:, None] + 0.5
        >>> a, b = [right, right], [right, wrong]
        >>> area = paired_bootstrap_area(MeanAbsoluteError(), [0, 1], a, b, target, samples=20)
        >>> round(area.difference, 3)
        -0.25
    """
    if len(rates) < 2 or not len(rates) == len(logits_a) == len(logits_b):
        raise MERError(f"{len(logits_a)} and {len(logits_b)} scores for {len(rates)} rates; give both models' at each")
    return _bootstrap(metric, area_weights(rates), [logits_a, logits_b], target, clusters, samples, seed, confidence)


def _bootstrap(
    metric: Metric,
    weights: Sequence[float],
    models: Sequence[Sequence[Logits]],
    target: Labels,
    clusters: Sequence[object] | None,
    samples: int,
    seed: int,
    confidence: float,
) -> Interval:
    """Interval for a weighted sum of the metric over conditions, of one model or of the first less the second."""
    scored = [[seeds_of(logits) for logits in model] for model in models]
    if samples < 2 or not 0 < confidence < 1:
        raise MERError(f"samples {samples}, confidence {confidence}; give samples >= 2 and a confidence inside (0, 1)")
    if not isinstance(target, Tensor) and len(target) > 1:
        return interval_over_seeds([_own(metric, weights, model, target) for model in scored], confidence)
    target = target if isinstance(target, Tensor) else target[0]
    draws = checked_draws(scored, target, clusters, samples, seed)
    tables = [_sum(weights, [resampled(metric, logits, target, draws) for logits in model]) for model in scored]
    return interval_of(tables, draws.count, confidence)


def _sum(weights: Sequence[float], values: Sequence[Tensor]) -> Tensor:
    return torch.stack([weight * value for weight, value in zip(weights, values, strict=True)]).sum(0)


def _own(
    metric: Metric, weights: Sequence[float], model: Sequence[Sequence[Tensor]], targets: Sequence[Tensor]
) -> Tensor:
    """(seeds,) values of the weighted sum where each seed has samples of its own."""
    if any(len(seeds) != len(targets) for seeds in model):
        raise MERError(f"labels of {len(targets)} seeds; give every model's scores of each of these seeds")
    if any(len(scores) != len(target) for seeds in model for scores, target in zip(seeds, targets, strict=True)):
        raise MERError("a seed has scores of other samples than it has labels of; give each seed's own")
    return _sum(weights, [own_values(metric, seeds, targets) for seeds in model])


def interval_over_seeds(values: Sequence[Tensor], confidence: float = 0.95) -> Interval:
    """Student's interval for the mean over independent seeds of a value, or of the first less that of the second.

    Args:
        values: (S,) values of S seeds, each on test samples of its own; two belong together seed by seed.
        confidence: How often such intervals hold the truth.

    Raises:
        MERError: For a single seed, which tells nothing of others.

    Example:
        >>> found = interval_over_seeds([torch.tensor([0.6, 0.7, 0.8])])
        >>> round(found.low, 3), round(found.high, 3), found.seeds
        (0.452, 0.948, 3)
    """
    each = (values[0] if len(values) == 1 else values[0] - values[1]).double()
    seeds = len(each)
    if seeds < 2:
        raise MERError("one seed has no deviation; give its labels alone, and its samples are drawn")
    return _student(float(each.mean()), [float(each.var()) / seeds], [seeds - 1], confidence, seeds, seeds)


def interval_of(tables: Sequence[Tensor], clusters: int, confidence: float = 0.95) -> Interval:
    """Interval for the mean over seeds of a value, or of the first of two tables less that of the second.

    Args:
        tables: (S + 1, seeds) values of each seed in S resamplings, then on the samples themselves. Two of equal shape
            belong together seed by seed.
        clusters: How many clusters of samples resamplings were made of.
        confidence: How often such intervals hold the truth.

    Example:
        >>> from mer_zoo.metrics.resampling import resamplings
        >>> right = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
        >>> times = resamplings(4, 500, seed=0).float()
        >>> found = interval_of([times @ right / times.sum(1, keepdim=True)], 4)
        >>> found.difference, found.seeds
        (0.625, 2)
    """
    if len(tables) == 2 and tables[0].shape == tables[1].shape:
        tables = [tables[0] - tables[1]]
    means = [table.double().mean(1) for table in tables]
    mean = means[0] if len(means) == 1 else means[0] - means[1]
    seeds = [(_seed_variance(table.double()), table.shape[1] - 1) for table in tables if table.shape[1] > 1]
    variances = [float(mean[:-1].var()), *(part for part, _ in seeds)]
    freedoms = [clusters - 1, *(freedom for _, freedom in seeds)]
    fewest = min(table.shape[1] for table in tables)
    return _student(float(mean[-1]), variances, freedoms, confidence, clusters, fewest)


def _student(
    estimate: float,
    variances: Sequence[float],
    freedoms: Sequence[int],
    confidence: float,
    clusters: int,
    seeds: int,
) -> Interval:
    """The interval of an estimate whose variance is the sum of parts, each known with degrees of freedom of its own."""
    error, freedom = sum(variances) ** 0.5, effective_freedom(variances, freedoms)
    half = student_quantile(confidence, freedom) * error
    noise = 1e-9 * max(1.0, abs(estimate))  # resamplings of a constant differ by rounding
    if math.isnan(error):
        p = math.nan  # the metric is not defined for some choice of clusters, so that nothing is known
    else:
        p = two_sided_p(estimate / error, freedom) if error > noise else float(abs(estimate) <= noise)
    return Interval(estimate, estimate - half, estimate + half, confidence, p, clusters, seeds)


def _seed_variance(table: Tensor) -> float:
    """Variance of the mean over the seeds, less the part that depends on the samples."""
    seeds = table.shape[1]
    apart = table - table.mean(1, keepdim=True)
    shared = float(apart[:-1].var(0).mean()) / (seeds - 1)
    return max(0.0, float(table[-1].var()) / seeds - shared)
