"""Student's distribution, and tests of several hypotheses at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["effective_freedom", "holm", "student_quantile", "two_sided_p"]

_POINTS = 20_001
_NORMAL = 1e4  # degrees of freedom from which the normal distribution is the same to four digits


def _shares(freedom: float) -> tuple[Tensor, Tensor]:
    """Angles, and Student's probability of a value of at most sqrt(freedom) tan(angle) in size."""
    angle = torch.linspace(0, math.pi / 2, _POINTS, dtype=torch.float64)
    mass = torch.cumulative_trapezoid(angle.cos() ** (freedom - 1), angle)
    return angle, torch.cat([mass.new_zeros(1), mass / mass[-1]])


def student_quantile(share: float, freedom: float) -> float:
    """The value that holds a share of Student's distribution between itself and its negative.

    Args:
        share: Probability inside, between 0 and 1.
        freedom: Degrees of freedom, at least 1 and not necessarily whole.

    Example:
        >>> [round(student_quantile(0.95, freedom), 3) for freedom in (1, 4, 30, 1e6)]
        [12.706, 2.776, 2.042, 1.96]
    """
    if freedom > _NORMAL:
        return math.sqrt(2) * float(torch.erfinv(torch.tensor(share, dtype=torch.float64)))
    angle, inside = _shares(freedom)
    place = int(torch.searchsorted(inside, share).clamp(1, _POINTS - 2))
    low, high = inside[place - 1 : place + 1].tolist()
    step = (share - low) / (high - low) if high > low else 0.0
    return math.sqrt(freedom) * math.tan(float(angle[place - 1]) + step * float(angle[1]))


def two_sided_p(value: float, freedom: float) -> float:
    """Probability that a value of Student's distribution is at least this far from zero.

    Args:
        value: The value, an estimate divided by its standard error.
        freedom: Degrees of freedom, at least 1.

    Example:
        >>> round(two_sided_p(2.776, 4), 3), two_sided_p(0.0, 4), two_sided_p(float("inf"), 4)
        (0.05, 1.0, 0.0)
    """
    if freedom > _NORMAL:
        return math.erfc(abs(value) / math.sqrt(2))
    angle, inside = _shares(freedom)
    place = math.atan(abs(value) / math.sqrt(freedom)) / float(angle[1])
    below = min(int(place), _POINTS - 2)
    low, high = (float(inside[near]) for near in (below, below + 1))
    return max(0.0, 1.0 - low - (place - below) * (high - low))


def effective_freedom(variances: Sequence[float], freedoms: Sequence[float]) -> float:
    """Degrees of freedom of a sum of variances that were estimated from few values each (Satterthwaite).

    Args:
        variances: The parts.
        freedoms: Degrees of freedom of each.

    References:
        F. E. Satterthwaite, An approximate distribution of estimates of variance components, Biometrics 2, 1946.

    Example:
        >>> effective_freedom([1.0, 0.0], [4, 30]), effective_freedom([1.0, 1.0], [4, 4])
        (4.0, 8.0)
    """
    total = sum(variances)
    if total <= 0:
        return float(min(freedoms))
    return total**2 / sum(part**2 / freedom for part, freedom in zip(variances, freedoms, strict=True))


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for the number of hypotheses, in the order given: at most a share alpha of families errs.

    Args:
        values: p-values.

    References:
        S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.

    Example:
        >>> [round(value, 3) for value in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    corrected, least = [0.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        least = max(least, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = least
    return corrected
