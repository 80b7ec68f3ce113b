"""Sources of batches beside the loaders of training: for statistics, choices and scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from mer_zoo.batch import Batch, BatchSource
from mer_zoo.data.dataset import SplitDataset

__all__ = ["MappedSource", "SplitSource"]


class MappedSource:
    """A source whose batches are changed on their way.

    Args:
        source: The batches.
        change: What becomes of each.
    """

    def __init__(self, source: BatchSource, change: Callable[[Batch], Batch]) -> None:
        self.source, self.change = source, change

    def __iter__(self) -> Iterator[Batch]:
        return map(self.change, self.source)


class SplitSource:
    """A re-iterable over one split: unshuffled, complete on every rank, on the device.

    Args:
        dataset: The split.
        batch_size: Samples a batch.
        device: Where the batches go.
    """

    def __init__(self, dataset: SplitDataset, batch_size: int, device: torch.device | str = "cpu") -> None:
        self.dataset, self.batch_size, self.device = dataset, batch_size, device

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.dataset), self.batch_size):
            stop = min(start + self.batch_size, len(self.dataset))
            yield self.dataset.__getitems__(range(start, stop)).to(self.device)
