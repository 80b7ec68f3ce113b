"""Missing patterns that drop single frames and words."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import MODALITIES, Batch, DataSpec
from mer_zoo.data.draws import dropped_at, uniform
from mer_zoo.data.missing import MissingPattern, check_rate, steps
from mer_zoo.errors import MERError

__all__ = ["RMFM"]

RandomRate = Literal["per_sample", "per_position"]
RATE_KEY = 0x5851F42D4C957F2D  # keeps the draws of the rate apart from those of the positions


class RMFM(MissingPattern):
    """Random modality frame missing: every position of every modality is missing independently.

    Args:
        rate: Probability that a position is missing; or, for training, ``per_sample`` or ``per_position``, which draw the
            rate itself, uniform in [0, 1), once a sample or anew for each position.

    Raises:
        MERError: If the rate lies outside [0, 1] or is another word.

    Example:
        >>> RMFM(0.5), RMFM("per_sample")
        (RMFM(rate=0.5), RMFM(rate='per_sample'))
    """

    def __init__(self, rate: float | RandomRate) -> None:
        if isinstance(rate, str) and rate not in ("per_sample", "per_position"):
            raise MERError(f"rate is {rate!r}; give a number in [0, 1], per_sample or per_position")
        self.rate: float | RandomRate = rate if isinstance(rate, str) else check_rate(rate)

    @override
    def kept(self, batch: Batch, spec: DataSpec, key: int) -> dict[str, Tensor]:
        keep = {}
        for place, name in enumerate(MODALITIES):
            if name in spec.modalities:
                counter = steps(batch.modality(name)) * len(MODALITIES) + place
                keep[name] = ~dropped_at(self._rate(batch, counter, key), uniform(key, batch.index, counter))
        return keep

    def _rate(self, batch: Batch, counter: Tensor, key: int) -> float | Tensor:
        if not isinstance(self.rate, str):
            return self.rate
        if self.rate == "per_sample":
            counter = torch.zeros_like(counter[:, :1])
        return uniform(key ^ RATE_KEY, batch.index, counter)
