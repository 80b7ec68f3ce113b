"""Sums over the steps of a split, from which means, deviations and bounds of any union of splits follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Moments"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass
class Moments:
    """Sums over the real steps of a split, by column.

    Args:
        count: Number of steps.
        total: (d,) sums.
        square: (d,) sums of squares.
        low: (d,) least values.
        high: (d,) largest values.
        values: (d,) whether a column holds more than two values.
    """

    count: int
    total: Doubles
    square: Doubles
    low: Doubles
    high: Doubles
    values: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, steps: Floats) -> Moments:
        """Those of (S, d) steps."""
        x = steps.astype(np.float64)
        if not len(x):
            none = np.zeros(x.shape[1])
            return cls(0, none, none, none + np.inf, none - np.inf, none > 0)
        low, high = x.min(0), x.max(0)
        return cls(len(x), x.sum(0), np.square(x).sum(0), low, high, ((x != low) & (x != high)).any(0))

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.count + other.count,
            self.total + other.total,
            self.square + other.square,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            self.values | other.values,
        )

    @property
    def mean(self) -> Doubles:
        """(d,) means."""
        mean: Doubles = self.total / max(self.count, 1)
        return mean

    @property
    def deviation(self) -> Doubles:
        """(d,) deviations."""
        deviation: Doubles = np.sqrt(np.maximum(self.square / max(self.count, 1) - np.square(self.mean), 0.0))
        return deviation
