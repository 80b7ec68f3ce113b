"""The scaler of audio and vision, fitted on the real positions of the training split."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["Scaler", "inside"]

CHUNK = 256  # samples read at a time while statistics are fitted; bounds memory on mapped corpora


@dataclass
class Scaler:
    """Standardises audio and vision with the mean and deviation of the training split's real positions.

    Args:
        mean: (d,) of each modality.
        std: (d,) of each modality, 1 where a column is constant.
        limit: Largest absolute value after scaling, in deviations; a column that hardly varies in the training split
            would otherwise explode elsewhere.

    Example:
        >>> x = np.array([[[1.0, 7.0], [3.0, 7.0]]], dtype=np.float32)
        >>> scaler = Scaler.fit({"audio": x}, {"audio": np.array([[0, 2]], dtype=np.int32)})
        >>> scaler("audio", torch.from_numpy(x)).tolist()
        [[[-1.0, 0.0], [1.0, 0.0]]]
    """

    mean: dict[str, Tensor]
    std: dict[str, Tensor]
    limit: float = 10.0

    @classmethod
    def fit(
        cls,
        features: dict[str, npt.NDArray[np.float32]],
        spans: dict[str, npt.NDArray[np.int32]],
        gaps: Collection[str] = (),
    ) -> Scaler:
        """Fit on (N, T, d) arrays; positions inside (N, 2) spans count, of ``gaps`` those that are not zero."""
        mean, std = {}, {}
        for name in features.keys() - {"text"}:
            count, total, square = 0, np.zeros(features[name].shape[-1]), np.zeros(features[name].shape[-1])
            shift = np.zeros_like(total)
            for start in range(0, len(features[name]), CHUNK):
                rows = np.asarray(features[name][start : start + CHUNK], dtype=np.float64)
                there = inside(spans[name][start : start + CHUNK], rows.shape[1])
                real = rows[there & rows.any(2) if name in gaps else there]
                if count == 0 and len(real):
                    shift = real.mean(0)  # squares of the raw values would cancel in columns far from zero
                count, total, square = (
                    count + len(real),
                    total + (real - shift).sum(0),
                    square + ((real - shift) ** 2).sum(0),
                )
            center = total / max(count, 1)
            deviation = np.sqrt(np.maximum(square / max(count, 1) - center**2, 0.0))
            constant = deviation <= 1e-6 * np.maximum(np.abs(center + shift), 1e-6)
            mean[name] = torch.from_numpy(center + shift).float()
            std[name] = torch.from_numpy(np.where(constant, 1.0, deviation)).float()
        return cls(mean, std)

    def __call__(self, name: str, x: Tensor) -> Tensor:
        """Scale (..., d) features of a modality; text passes through."""
        if name not in self.mean:
            return x
        return (x - self.mean[name]).div_(self.std[name]).clamp_(-self.limit, self.limit)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """The statistics as plain tensors, for a checkpoint."""
        return {"mean": self.mean, "std": self.std}


def inside(spans: npt.NDArray[np.int32], length: int) -> npt.NDArray[np.bool_]:
    """(N, T) whether a position is real.

    Args:
        spans: (N, 2) first and last + 1 real position.
        length: T.
    """
    time = np.arange(length, dtype=spans.dtype)
    found: npt.NDArray[np.bool_] = (time >= spans[:, :1]) & (time < spans[:, 1:])
    return found
