"""What is missing in the views that CUMDF's student is trained on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import MODALITIES, Batch, DataSpec
from mer_zoo.data.missing.drop import protected, steps
from mer_zoo.data.missing.frames import keep_one
from mer_zoo.data.missing.pattern import AVAILABILITY, MissingPattern, check_rate
from mer_zoo.data.missing.sets import CHOICE_KEY, draw_sets
from mer_zoo.errors import MERError
from mer_zoo.functional.draws import dropped_at, uniform

__all__ = ["UncertainMissing", "stack_views"]

# These keep the draws of rates, of sets, and of whether there is a set, apart from each other and from those of the
# positions.
RATE_KEY, SET_KEY = 0x5851F42D4C957F2D, 0x2545F4914F6CDD1D


class UncertainMissing(MissingPattern):
    """Frames missing at uncertain rates, and with them, in some samples, whole modalities (MRMS with SMM).

    Each modality of each sample draws its own rate from 0.0, 0.1, ... ``max_rate``, and loses each position with that
    probability. A share of the samples also keeps one of the availability sets only, drawn uniformly among all, the
    complete one too. At least one position of every sample is kept. Inferred: the manuscript says which rates and sets
    there are, not how they are mixed.

    Args:
        max_rate: The largest rate, a multiple of 0.1.
        set_rate: Share of the samples that draw an availability set.

    Raises:
        MERError: If a rate lies outside [0, 1], or the largest one is no multiple of 0.1.

    Example:
        >>> UncertainMissing()
        UncertainMissing(max_rate=0.7, set_rate=0.5)
    """

    def __init__(self, max_rate: float = 0.7, set_rate: float = 0.5) -> None:
        self.max_rate, self.set_rate = check_rate(max_rate), check_rate(set_rate)
        if abs(max_rate * 10 - round(max_rate * 10)) > 1e-6:
            raise MERError(f"max_rate is {max_rate}; give a multiple of 0.1, in which steps rates are drawn")

    @override
    def kept(self, batch: Batch, spec: DataSpec, key: int) -> dict[str, Tensor]:
        places = torch.tensor([MODALITIES.index(name) for name in spec.modalities], device=batch.index.device)
        levels = round(self.max_rate * 10) + 1
        rates = (uniform(key ^ RATE_KEY, batch.index, places) * levels).floor() / 10
        available = self._available(batch, spec, key)
        draws, free = {}, {}
        for i, name in enumerate(spec.modalities):
            modality = batch.modality(name)
            u = uniform(key, batch.index, steps(modality) * len(MODALITIES) + places[i])
            # Above 1 iff the modality is there and u above its rate, so that one rule serves all rates.
            draws[name] = torch.where(available[:, [i]], u + (1 - rates[:, [i]]), u)
            free[name] = modality.mask & ~protected(modality, spec) if name == "text" else modality.mask
        return keep_one(1.0, draws, free)

    def _available(self, batch: Batch, spec: DataSpec, key: int) -> Tensor:
        """(B, n) bool: which modalities in use a sample keeps."""
        used = spec.modalities
        sets = [[name in available for name in used] for available in AVAILABILITY if set(available) <= set(used)]
        start = torch.zeros(1, dtype=torch.long, device=batch.index.device)
        chosen = draw_sets(key ^ CHOICE_KEY, batch.index, sets)
        return chosen | ~dropped_at(self.set_rate, uniform(key ^ SET_KEY, batch.index, start))


def stack_views(views: Sequence[Batch]) -> Batch:
    """One batch of several views of a batch, one after the other.

    Args:
        views: The views, all of the same shapes.

    Example:
        >>> from mer_zoo.task import SentimentClassification
        >>> batch = Batch.random(DataSpec(), SentimentClassification(3), size=2)
        >>> stack_views([batch, batch]).index.tolist()
        [0, 1, 0, 1]
    """
    return views[0] if len(views) == 1 else Batch.joined(views)
