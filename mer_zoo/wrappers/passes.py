"""How often a model has seen the training split, for wrappers that act in some of the epochs alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_zoo.batch import Batch, BatchSource
from mer_zoo.distributed import global_count
from mer_zoo.errors import MERError

__all__ = ["Passes"]


class Passes(nn.Module):
    """Counts passes through the training split and says whether one of them is to be acted in.

    Args:
        owner: The wrapper, for messages.
        start: The first pass, counted from 0.
        end: The first pass in which there is nothing to be done any more; None for never.

    Raises:
        MERError: If there would be no pass.

    Example:
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentRegression
        >>> batch, passes = Batch.random(DataSpec(), SentimentRegression(), size=4), Passes("AGM", start=1, end=2)
        >>> passes.measure([batch])
        >>> [passes.acts_on(batch, counts=True) for _ in range(3)]
        [False, True, False]
    """

    def __init__(self, owner: str, start: int, end: int | None) -> None:
        super().__init__()
        if start < 0 or (end is not None and end <= start):
            raise MERError(
                f"{owner} acts from pass {start} to {end}, which are none; give a start of at least 0 and a larger end"
            )
        self.owner, self.start, self.end = owner, start, end
        self.seen, self.split_size = 0, 0

    @property
    def counted(self) -> bool:
        """Whether there is anything to be counted for."""
        return self.start > 0 or self.end is not None

    def measure(self, train: BatchSource) -> None:
        """Note the size of the training split, where it is needed."""
        if self.counted and not self.split_size:
            self.split_size = sum(len(batch) for batch in train)

    def acts_on(self, batch: Batch, counts: bool) -> bool:
        """Whether the next batch belongs to one of the passes.

        Args:
            batch: The batch.
            counts: Whether it is trained on.

        Raises:
            MERError: Before :meth:`measure`.
        """
        if not self.counted:
            return True
        if not self.split_size:
            raise MERError(
                f"{self.owner} does not know the size of the training split yet; fit it, call prepare, load a"
                " checkpoint, or leave start and end out"
            )
        done = self.seen // self.split_size
        if counts:
            self.seen += int(global_count(len(batch), batch.index.device))
        return self.start <= done and (self.end is None or done < self.end)

    def get_extra_state(self) -> Tensor:
        """Both counts."""
        return torch.tensor([self.seen, self.split_size])

    def set_extra_state(self, state: Tensor) -> None:
        """Take counts over."""
        if state.shape != (2,) or state.is_floating_point() or state.is_complex():
            raise MERError(
                f"the checkpoint holds other than the counts of {self.owner}; use one that mer-zoo fit wrote"
            )
        if not state.is_meta:
            self.seen, self.split_size = state.tolist()
