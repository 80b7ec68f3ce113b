"""Sources of batches beside the loaders of training: for statistics, choices and scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch

from mer_zoo.batch import Batch, BatchSource
from mer_zoo.data.dataset import SplitDataset
from mer_zoo.data.dialogues import BatchKind, DialogueBatches, rows_of_dialogues

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
        kind: Whether it is made of samples as they come, or of whole dialogues.
    """

    def __init__(
        self,
        dataset: SplitDataset,
        batch_size: int,
        device: torch.device | str = "cpu",
        kind: BatchKind = "samples",
    ) -> None:
        self.dataset, self.device = dataset, device
        self.batches: Iterable[Sequence[int]]
        if kind == "dialogues":
            self.batches = DialogueBatches(rows_of_dialogues(dataset.conversation), batch_size)
        else:
            count = len(dataset)
            self.batches = [range(at, min(at + batch_size, count)) for at in range(0, count, batch_size)]

    def __iter__(self) -> Iterator[Batch]:
        for rows in self.batches:
            yield self.dataset.__getitems__(rows).to(self.device)
