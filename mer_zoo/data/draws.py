"""Batches that are told by seed and epoch, dealt out to processes; training samples drawn as often as weights say."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DistributedSampler
from typing_extensions import override

from mer_zoo.errors import MERError

__all__ = ["EpochBatches", "TrainDraws", "WeightedBatches"]


@dataclass(eq=False)
class TrainDraws:
    """How often a model wants each training sample to be drawn; it offers this to the datamodule.

    Args:
        weights: (N,) by the samples' places in the training split, known once the model is prepared.

    Example:
        >>> TrainDraws().weights is None
        True
    """

    weights: Tensor | None = None


class EpochBatches(DistributedSampler[list[int]]):
    """Places of the samples of each batch, for a loader without batches of its own (``batch_size=None``).

    Lightning leaves a sampler of this kind as it is: each of several processes has its share of the batches, all as
    many, for which the first ones repeat.

    Example:
        >>> class Pairs(EpochBatches):
        ...     def batches(self, generator):
        ...         return [[0, 1], [2, 3], [4]]
        >>> [list(Pairs([2, 2, 1], num_replicas=2, rank=rank)) for rank in (0, 1)]
        [[[0, 1], [4]], [[2, 3], [0, 1]]]
    """

    @abstractmethod
    def batches(self, generator: torch.Generator) -> list[list[int]]:
        """All batches of an epoch, as many as the sampler was made with.

        Args:
            generator: Told by seed and epoch, alike on all processes.
        """

    @override
    def __iter__(self) -> Iterator[list[int]]:
        batches = self.batches(torch.Generator().manual_seed((self.seed + self.epoch) % 2**63))
        for place in range(self.rank, self.total_size, self.num_replicas):
            yield batches[place % len(batches)]


class WeightedBatches(EpochBatches):
    """Places of the samples of each batch, for a loader without batches of its own (``batch_size=None``).

    An epoch has as many samples as the split. Lightning leaves a sampler of this kind as it is: each of several
    processes has its share of the batches, all as many.

    Args:
        weights: (N,) chances of the samples, in any unit.
        batch_size: Samples a batch and process.
        seed: Of the draws, alike on all processes.
        processes: How many there are.
        rank: Which this is.

    Raises:
        MERError: If the weights are no chances.

    Example:
        >>> batches = WeightedBatches(torch.tensor([0.0, 1.0, 1.0]), batch_size=2)
        >>> drawn = list(batches)
        >>> [len(batch) for batch in drawn], 0 in sum(drawn, [])
        ([2, 1], False)
        >>> batches.set_epoch(1)
        >>> list(batches) == drawn
        False
    """

    def __init__(self, weights: Tensor, batch_size: int, seed: int = 0, processes: int = 1, rank: int = 0) -> None:
        weights = weights.double().cpu()
        if not weights.isfinite().all() or (weights < 0).any() or not weights.any():
            raise MERError("training samples can't be drawn by weights that are negative, not finite, or all zero")
        self.weights, self.batch_size = weights, batch_size
        self.sizes = [min(batch_size, len(weights))] * math.ceil(len(weights) / batch_size)
        super().__init__(self.sizes, processes, rank, seed=seed)  # type: ignore[arg-type]  # of which it takes the length

    @override
    def batches(self, generator: torch.Generator) -> list[list[int]]:
        # By hand: torch.multinomial takes at most 2^24 weights.
        edges = self.weights.cumsum(0)
        chances = torch.rand(len(edges), generator=generator, dtype=torch.float64) * edges[-1]
        drawn = torch.searchsorted(edges, chances, right=True).clamp(max=len(edges) - 1).tolist()
        return [drawn[start : start + self.batch_size] for start in range(0, len(drawn), self.batch_size)]
