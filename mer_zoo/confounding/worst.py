"""Validation by the group that a model is worst in."""

from __future__ import annotations

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from mer_zoo.batch import Batch
from mer_zoo.confounding.partition import Partition
from mer_zoo.model import Model
from mer_zoo.monitors import ACCURACY, WORST
from mer_zoo.scores import Scores

__all__ = ["WorstGroup"]

_GROUP = "worst/group"
LEAST = 10
"""Samples of a validation group that counts, where there are such groups."""
SURE = 50
"""Samples below which the worst group tells little of a model."""


class WorstGroup:
    """Measures each group of a model's partition in validation, and tells of the worst.

    Groups of fewer than 10 validation samples are left out, unless all are so small. Nothing is measured where the
    model has no partition, or its task has several problems.

    Args:
        model: The model that is validated.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentClassification
        >>> from mer_zoo.wrappers import RWG
        >>> task, groups = SentimentClassification(2), {f"random$_${i}": "ab"[i % 2] for i in range(4)}
        >>> model = RWG(LFLSTM(DataSpec(), task), groups=groups, min_group=1)
        >>> batch = Batch.random(DataSpec(), task, size=4).replace(target=torch.tensor([0, 0, 1, 1]))
        >>> model.prepare([batch])
        >>> worst, logits = WorstGroup(model), torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> worst.measure(Scores(logits, worst.effects(batch), batch.target, batch.index), quiet=True)
        {'loss_worst': 1.31..., 'accuracy_worst': 0.0}
    """

    def __init__(self, model: Model) -> None:
        found = model.offered(Partition)
        self.partition = None if found is None or found.problems > 1 else found
        self.task = model.task
        self._has_warned = False

    @property
    def names(self) -> list[str]:
        """What :meth:`measure` gives."""
        if self.partition is None:
            return []
        return [f"{name}{WORST}" for name in ("loss", *([ACCURACY] if self.task.is_classification else []))]

    def effects(self, batch: Batch) -> dict[str, Tensor]:
        """What has to be kept of a validation batch."""
        return {} if self.partition is None else {_GROUP: self.partition.of(batch)[:, 0].float()}

    def measure(self, scores: Scores, quiet: bool = False) -> dict[str, float]:
        """The largest mean loss of a group, and the smallest accuracy; nothing without groups.

        Args:
            scores: Scores with what was kept.
            quiet: Whether not to warn of few samples, as where they are only a part of the split.
        """
        group = scores.effects.pop(_GROUP, None)
        if self.partition is None or group is None or not (group >= 0).any():
            return {}
        known, group = group >= 0, group.long()
        losses = self.task.losses(scores.logits, scores.target)[known]
        counts = torch.bincount(group[known])
        taken = counts >= min(LEAST, int(counts.max()))
        if not quiet and not self._has_warned and int(counts[taken].min()) < SURE:
            self._has_warned = True
            g = int(torch.where(taken, counts, counts.max() + 1).argmin())
            rank_zero_warn(
                f"the worst group of validation is one of few samples, {self.partition.name(0, g)} with"
                f" {int(counts[g])} for one, so that epochs chosen by it are chosen by chance; choose by"
                " accuracy_deconfounded or loss"
            )
        found = {f"loss{WORST}": float(_means(losses, group[known], counts)[taken].max())}
        if self.task.is_classification:
            right = (scores.logits.argmax(-1) == self.task.encode(scores.target)).float()[known]
            found[f"{ACCURACY}{WORST}"] = float(_means(right, group[known], counts)[taken].min())
        return found


def _means(values: Tensor, group: Tensor, counts: Tensor) -> Tensor:
    return torch.zeros(len(counts)).index_add(0, group, values) / counts.clamp(min=1)
