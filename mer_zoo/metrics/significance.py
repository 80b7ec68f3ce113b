"""Is the difference between two models more than the choice of test samples or of seeds?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric

from mer_zoo.errors import MERError
from mer_zoo.functional.metrics import mean_std
from mer_zoo.metrics.confusion import ConfusionMetric

__all__ = ["Interval", "mean_std", "paired_bootstrap", "paired_bootstrap_area"]


@dataclass(frozen=True)
class Interval:
    """A difference and the interval that holds it with the given confidence.

    Attributes:
        difference: metric(a) - metric(b) on all samples.
        low: Lower end.
        high: Upper end.
        confidence: Share of the resampled differences inside.
    """

    difference: float
    low: float
    high: float
    confidence: float

    @property
    def significant(self) -> bool:
        """Whether zero lies outside."""
        return not self.low <= 0 <= self.high


def paired_bootstrap(
    metric: Metric,
    logits_a: Tensor | Sequence[Tensor],
    logits_b: Tensor | Sequence[Tensor],
    target: Tensor,
    samples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Interval for metric(a) - metric(b), both models resampled together (percentile bootstrap).

    Args:
        metric: Any metric updated with (logits, target); it is not changed.
        logits_a: (N, *task shape) logits of the first model; a list of them, one a seed, stands for their mean metric.
        logits_b: The same of the second model for the same samples.
        target: (N, ...) labels.
        samples: Number of resamplings.
        seed: Seed of the resampling.
        confidence: Coverage of the interval.

    Raises:
        MERError: Where the two models did not score the same number of samples, or an option is out of range.

    Example:
        >>> from mer_zoo.metrics import MeanAbsoluteError
        >>> target = torch.linspace(-3, 3, 50)
        >>> interval = paired_bootstrap(MeanAbsoluteError(), target[:, None], target[:, None] + 0.5, target, samples=20)
        >>> round(interval.difference, 3), interval.significant
        (-0.5, True)
    """
    return _bootstrap(metric, [1.0], [logits_a], [logits_b], target, samples, seed, confidence)


def paired_bootstrap_area(
    metric: Metric,
    rates: Sequence[float],
    logits_a: Sequence[Tensor | Sequence[Tensor]],
    logits_b: Sequence[Tensor | Sequence[Tensor]],
    target: Tensor,
    samples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
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
        confidence: Coverage of the interval.

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
    edges = [rates[0], *rates, rates[-1]]
    weights = [(after - before) / 2 for before, after in zip(edges, edges[2:], strict=False)]  # of the trapezoid rule
    return _bootstrap(metric, weights, logits_a, logits_b, target, samples, seed, confidence)


def _bootstrap(
    metric: Metric,
    weights: Sequence[float],
    logits_a: Sequence[Tensor | Sequence[Tensor]],
    logits_b: Sequence[Tensor | Sequence[Tensor]],
    target: Tensor,
    samples: int,
    seed: int,
    confidence: float,
) -> Interval:
    """Interval for the difference of a weighted sum of the metric over conditions."""
    models = [[[x] if isinstance(x, Tensor) else list(x) for x in logits] for logits in (logits_a, logits_b)]
    count, sizes = len(target), [len(x) for model in models for seeds in model for x in seeds]
    if count == 0 or not all(seeds for model in models for seeds in model) or any(size != count for size in sizes):
        raise MERError(f"scores of {sizes} samples for {count} labels; compare models on the same samples")
    if samples < 1 or not 0 < confidence < 1:
        raise MERError(f"samples {samples}, confidence {confidence}; give samples >= 1 and a confidence inside (0, 1)")
    draws = torch.randint(count, (samples, count), generator=torch.Generator().manual_seed(seed))
    # the last row is the sample itself
    draws = torch.cat([draws, torch.arange(count)[None]]).to(target.device)
    difference = torch.zeros(len(draws), dtype=torch.float64)
    for weight, seeds_a, seeds_b in zip(weights, *models, strict=True):
        a, b = (torch.stack([_values(metric, x, target, draws) for x in seeds]).mean(0) for seeds in (seeds_a, seeds_b))
        difference += weight * (a - b).double().cpu()
    tail = (1 - confidence) / 2
    low, high = difference[:-1].quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Interval(float(difference[-1]), low, high, confidence)


def _values(metric: Metric, logits: Tensor, target: Tensor, draws: Tensor) -> Tensor:
    """The metric's value on each of the drawn lists of samples."""
    if isinstance(metric, ConfusionMetric):
        weights = torch.zeros(draws.shape, device=draws.device).scatter_add_(1, draws, torch.ones_like(draws).float())
        return metric.resampled(logits, target, weights)
    metric = metric.clone()
    values = []
    for draw in draws:
        metric.reset()
        metric.update(logits[draw], target[draw])
        values.append(metric.compute())
    return torch.stack(values)
