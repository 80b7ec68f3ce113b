"""Scores of a whole split, gathered from every process and every batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mer_zoo.task import Task

__all__ = ["Scores", "first_of_each", "keep_inner", "measure"]

_INNER = "inner/"


def first_of_each(index: Tensor) -> Tensor:
    """Where each value of (N,) indices stands first, in the order of the values.

    Example:
        >>> first_of_each(torch.tensor([4, 2, 4, 0])).tolist()
        [3, 1, 0]
    """
    order = index.argsort(stable=True)
    fresh = torch.ones_like(order, dtype=torch.bool)
    fresh[1:] = index[order][1:] != index[order][:-1]
    return order[fresh]


def keep_inner(effects: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Effects of an inner model under names that leave room for those of the wrapper around it; see :meth:`Scores.inner`.

    Example:
        >>> list(keep_inner({"factual": torch.zeros(1)}))
        ['inner/factual']
    """
    return {f"{_INNER}{name}": value for name, value in effects.items()}


@dataclass
class Scores:
    """Test-time scores of samples, in the order of the split.

    Args:
        logits: (N, *task shape) test-time logits.
        effects: Named extras of every sample, each (N, ...).
        target: The labels as they stand in a Batch.
        index: (N,) place of each sample in its split.

    Example:
        >>> len(Scores(torch.zeros(4, 1), {}, torch.zeros(4), torch.arange(4)))
        4
    """

    logits: Tensor
    effects: dict[str, Tensor]
    target: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def cpu(self) -> Scores:
        """Return the scores in float32 on the CPU."""
        effects = {name: value.float().cpu() for name, value in self.effects.items()}
        return Scores(self.logits.float().cpu(), effects, self.target.cpu(), self.index.cpu())

    def inner(self, logits: str) -> Scores:
        """What the inner model alone would have kept, from what its wrapper kept with :func:`keep_inner`.

        Args:
            logits: The wrapper's effect that is the inner model's test-time logits.
        """
        found = {name.removeprefix(_INNER): value for name, value in self.effects.items() if name.startswith(_INNER)}
        return Scores(self.effects[logits], found, self.target, self.index)

    @classmethod
    def concat(cls, parts: Sequence[Scores]) -> Scores:
        """Join parts into one, sorted by index, each sample once.

        A distributed sampler repeats samples to even out the shards; counting them twice would bend the metrics.

        Example:
            >>> part = Scores(torch.tensor([[1.0], [2.0]]), {}, torch.zeros(2), torch.tensor([1, 0]))
            >>> Scores.concat([part, part]).logits.flatten().tolist()
            [2.0, 1.0]
        """
        index = torch.cat([part.index for part in parts])
        order = first_of_each(index)
        names = parts[0].effects
        return cls(
            torch.cat([part.logits for part in parts])[order],
            {name: torch.cat([part.effects[name] for part in parts])[order] for name in names},
            torch.cat([part.target for part in parts])[order],
            index[order],
        )

    @classmethod
    def gather(cls, parts: Sequence[Scores]) -> Scores:
        """Join the parts of every process; every process gets the whole."""
        mine = [part.cpu() for part in parts]
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return cls.concat(mine)
        theirs: list[list[Scores]] = [[] for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather_object(theirs, mine)
        return cls.concat([part for parts_of_rank in theirs for part in parts_of_rank])


def measure(task: Task, scores: Scores, candidates: Sequence[Tensor] = ()) -> dict[str, float]:
    """Loss of the training-time logits and metrics of the test-time logits.

    Args:
        task: What the logits mean.
        scores: The scores of a whole split; its effect "factual", where it has one, is the training-time logits.
        candidates: Test-time logits (N, *task shape) to choose from for each metric separately, by the labels of this very
            split: the protocol of an oracle.

    Returns:
        ``loss`` and the metrics of the task.

    Example:
        >>> from mer_zoo.task import SentimentClassification
        >>> right, wrong = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 0.0]])
        >>> scores, task = Scores(wrong, {}, torch.tensor([2]), torch.tensor([0])), SentimentClassification(3)
        >>> measure(task, scores)["Acc3"], measure(task, scores, [wrong, right])["Acc3"]
        (0.0, 1.0)
    """
    loss = task.criterion(scores.effects.get("factual", scores.logits), scores.target).mean()
    tables = []
    for logits in candidates or [scores.logits]:
        metrics = task.metrics()
        metrics.update(logits, scores.target)
        tables.append({name: float(value) for name, value in metrics.compute().items()})
    best = {}
    for name, metric in metrics.items():
        defined = [table[name] for table in tables if not math.isnan(table[name])]
        best[name] = (max if metric.higher_is_better else min)(defined, default=math.nan)
    return {"loss": float(loss), **best}
