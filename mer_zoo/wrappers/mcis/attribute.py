"""MCIS's third term: what a network says on average of the training samples of a group."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_zoo.batch import Batch, BatchSource, DataSpec
from mer_zoo.confounding.reader import GroupOption, TraceReader
from mer_zoo.data.corpus.conversation import NAMED
from mer_zoo.distributed import global_sum
from mer_zoo.errors import MERError
from mer_zoo.task import Task

__all__ = ["NO_FILE", "GroupAnswers"]

NO_FILE = ("recording", *NAMED)
"""Words for ``attribute`` that name no file."""
CAPACITY = 256


class GroupAnswers(nn.Module):
    """Mean training logits of each group, gathered while an epoch trains.

    Args:
        spec: Shapes of the data.
        task: What the logits mean.
        attribute: ``recording``, ``speaker``, ``dialogue``, a CSV file with the columns id and group, or a mapping;
            None for what a loaded state tells.

    Attributes:
        group: (256,) numbers of the most frequent groups; the last place is that of the others.
        total: (256, *task shape) sums of their logits since the last validation.
        count: (256,) how many.
        closed: Whether they have been read, so that the next training step begins anew.

    Raises:
        MERError: If a file of groups cannot be read.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> batch = Batch.random(spec, task, size=3)
        >>> answers = GroupAnswers(spec, task, dict(zip(batch.ids, "AAB", strict=True)))
        >>> answers.fit([batch])
        >>> answers.add(batch, torch.tensor([[1.0], [3.0], [5.0]]))
        >>> answers.of(batch).flatten().tolist()
        [2.0, 2.0, 5.0]
    """

    group: Tensor
    total: Tensor
    count: Tensor
    closed: Tensor

    def __init__(self, spec: DataSpec, task: Task, attribute: GroupOption) -> None:
        super().__init__()
        if attribute == "words":
            raise MERError(
                f"attribute of MCIS is words, which the context term takes off; choose from {', '.join(NO_FILE)}, or"
                " give a CSV file with the columns id and group"
            )
        self.task = task
        self.reader = None
        if attribute is not None:
            by_id = attribute == "recording"
            self.reader = TraceReader(
                spec, "recording" if by_id else "groups", None if by_id else attribute, option="attribute"
            )
        self.register_buffer("group", torch.full((CAPACITY,), -1))
        self.register_buffer("total", torch.zeros(CAPACITY, *task.shape))
        self.register_buffer("count", torch.zeros(CAPACITY))
        self.register_buffer("closed", torch.tensor(False))

    def fit(self, train: BatchSource) -> None:
        """Find the groups of the training split.

        Raises:
            MERError: If a sample has none.
        """
        if self.reader is None:
            return
        split = self.reader.read(train, lambda batch: self.task.grades(batch.target))
        names, counts = torch.unique(torch.cat(split.words), return_counts=True)
        kept = names[counts.argsort(descending=True, stable=True)][: CAPACITY - 1]
        self.group[: len(kept)] = kept.to(self.group)

    @torch.no_grad()
    def add(self, batch: Batch, logits: Tensor) -> None:
        """Take training logits (B, *task shape) into the means."""
        place = self._places(batch)
        sums = torch.zeros_like(self.total).index_add_(0, place, logits.detach().to(self.total))
        counts = torch.zeros_like(self.count).index_add_(0, place, torch.ones_like(place, dtype=self.count.dtype))
        kept = (~self.closed).to(self.total)
        self.total.mul_(kept).add_(global_sum(sums))
        self.count.mul_(kept).add_(global_sum(counts))
        self.closed.fill_(False)

    def of(self, batch: Batch) -> Tensor:
        """(B, *task shape) mean of each sample's group; of all samples where that was not trained on."""
        self.closed.fill_(True)
        wide = self.count.view(-1, *[1] * len(self.task.shape))
        overall = self.total.sum(0) / self.count.sum().clamp(min=1)
        means = torch.where(wide > 0, self.total / wide.clamp(min=1), overall)
        means[-1] = overall
        return means[self._places(batch)]

    def _places(self, batch: Batch) -> Tensor:
        if self.reader is None:
            return torch.full_like(batch.index, CAPACITY - 1)
        numbers = self.reader.numbers(batch, by_token=False)
        same = (numbers == self.group) & (numbers >= 0)
        return torch.where(same.any(1), same.int().argmax(1), CAPACITY - 1)
