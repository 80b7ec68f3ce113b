"""Batches of samples that are about as long, so that little of a batch is padding.

Idea: a network works on a batch as far as its longest sample goes. A test in the order of lengths, and a training whose
batches are drawn from samples of like length, spend their time on steps that are there. Scores carry the place of their
sample, so that the order of a test changes none of them beyond rounding.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from typing_extensions import override

from mer_zoo.data.dataset import SplitDataset
from mer_zoo.data.draws import EpochBatches

__all__ = ["LengthBatches", "by_length"]

POOL = 50  # batches whose samples are sorted together in training: enough to be alike, few enough to be mixed


def by_length(dataset: SplitDataset) -> npt.NDArray[np.int64]:
    """The places of a split's samples, from the longest to the shortest.

    Args:
        dataset: The split; of token ids the text counts first, since a text encoder costs more than all that follows.

    Returns:
        (N,) places; samples of one length in the order of the file.

    Example:
        >>> from mer_zoo.data.synthetic.generate import SyntheticConfig, generate
        >>> from mer_zoo.task import build_task
        >>> corpus = generate(SyntheticConfig(train=4, valid=4, test=4))
        >>> data = SplitDataset(corpus.split("train"), corpus.spec(tokens=True), build_task("binary"))
        >>> data.__getitems__(by_length(data).tolist()).text.lengths.diff().le(0).all().item()
        True
    """
    lengths = {name: np.diff(dataset.split.spans[name], axis=1)[:, 0] for name in dataset.spec.modalities}
    total = np.add.reduce(list(lengths.values()))
    first = lengths["text"] if dataset.spec.tokens and "text" in lengths else total
    return np.lexsort((-total, -first)).astype(np.int64)


class LengthBatches(EpochBatches):
    """Places of the samples of each batch, for a loader without batches of its own (``batch_size=None``).

    Lightning leaves a sampler of this kind as it is: each of several processes has its share of the batches, all as
    many, for which the first ones repeat.

    Args:
        order: (N,) places of the samples, sorted by length.
        batch_size: Samples a batch and process.
        shuffle: Whether samples are drawn by chance, which seed and epoch tell, and only those of 50 batches sorted
            among themselves; else batches stand in the given order.
        seed: Of the chance, alike on all processes.
        processes: How many there are.
        rank: Which this is.

    Example:
        >>> list(LengthBatches(np.array([3, 0, 2, 1]), batch_size=3))
        [[3, 0, 2], [1]]
        >>> batches = LengthBatches(np.arange(1000), batch_size=4, shuffle=True)
        >>> drawn = list(batches)
        >>> max(max(batch) - min(batch) for batch in drawn) < 100, drawn == list(batches)
        (True, True)
    """

    def __init__(
        self,
        order: npt.NDArray[np.int64],
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        processes: int = 1,
        rank: int = 0,
    ) -> None:
        self.order, self.batch_size = order, batch_size
        self.sizes = [min(batch_size, len(order))] * math.ceil(len(order) / batch_size)
        super().__init__(self.sizes, processes, rank, shuffle, seed)  # type: ignore[arg-type]  # of which it takes the length

    @override
    def batches(self, generator: torch.Generator) -> list[list[int]]:
        size = self.batch_size
        if not self.shuffle:
            return [self.order[start : start + size].tolist() for start in range(0, len(self.order), size)]
        ranks = torch.randperm(len(self.order), generator=generator).numpy()  # a sample's rank by length
        pools = [np.sort(ranks[start : start + POOL * size]) for start in range(0, len(ranks), POOL * size)]
        batches = [self.order[pool[start : start + size]] for pool in pools for start in range(0, len(pool), size)]
        return [batches[place].tolist() for place in torch.randperm(len(batches), generator=generator).tolist()]
