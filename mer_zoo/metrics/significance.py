"""Is the difference between two models more than the choice of test samples or of seeds?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import torch
from torch import Tensor
from torchmetrics import Metric

from mer_zoo.errors import MERError

__all__ = ["Interval", "mean_std", "paired_bootstrap"]


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
    logits_a: Tensor,
    logits_b: Tensor,
    target: Tensor,
    samples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Interval for metric(a) - metric(b), both models resampled together (percentile bootstrap).

    Args:
        metric: Any metric updated with (logits, target); it is not changed.
        logits_a: (N, *task shape) logits of the first model.
        logits_b: (N, *task shape) logits of the second model for the same samples.
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
    count = len(target)
    if not len(logits_a) == len(logits_b) == count or count == 0:
        raise MERError(
            f"{len(logits_a)} and {len(logits_b)} scores for {count} labels; compare models on the same samples"
        )
    if samples < 1 or not 0 < confidence < 1:
        raise MERError(f"samples {samples}, confidence {confidence}; give samples >= 1 and a confidence inside (0, 1)")
    metric = metric.clone()

    def difference(index: Tensor) -> float:
        values = []
        for logits in (logits_a, logits_b):
            metric.reset()
            metric.update(logits[index], target[index])
            values.append(float(metric.compute()))
        return values[0] - values[1]

    generator = torch.Generator().manual_seed(seed)
    draws = torch.randint(count, (samples, count), generator=generator).to(target.device)
    resampled = torch.tensor([difference(draw) for draw in draws], dtype=torch.float64)
    tail = (1 - confidence) / 2
    low, high = resampled.quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Interval(difference(torch.arange(count, device=target.device)), low, high, confidence)


def mean_std(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1) over seeds; the deviation of a single value is 0.

    Raises:
        MERError: Without values.

    Example:
        >>> mean_std([1.0, 2.0, 3.0])
        (2.0, 1.0)
    """
    if not values:
        raise MERError("no value to average; give the result of at least one seed")
    return fmean(values), stdev(values) if len(values) > 1 else 0.0
