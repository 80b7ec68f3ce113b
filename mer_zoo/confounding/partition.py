"""Groups of samples by label and attribute, as methods that are robust to groups look at them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mer_zoo.batch import Batch, BatchSource, DataSpec
from mer_zoo.confounding.propensity import Propensity
from mer_zoo.confounding.reader import GroupOption, TraceReader
from mer_zoo.confounding.spelling import PADDING
from mer_zoo.confounding.trace import WordRule
from mer_zoo.data.corpus.conversation import NAMED
from mer_zoo.errors import MERError
from mer_zoo.functional.group_robust import group_lookup
from mer_zoo.task import Task

__all__ = ["NO_FILE", "OTHER", "Partition"]

NO_FILE = ("words", "recording", *NAMED)
"""Words for ``groups`` that name no file."""
OTHER = -2  # the attribute of a label's small groups together; numbers of names and classes are not negative
CAPACITY = 256
DEFAULT_RULE = WordRule()


class Partition(nn.Module):
    """Parts the samples by label and attribute: a group has one label, and one value of the attribute.

    The attribute ``words`` is the class that the biased words of a sample go with, as the propensities of
    :class:`~mer_zoo.confounding.Propensity` say, out of sample for the training split. Groups with few training samples
    are joined with the other small ones of their label. Where a task has several problems, such as emotions, each is
    parted by its own labels.

    Args:
        spec: Shapes of the data.
        task: Whose classes; a single real-valued output is rounded to seven.
        groups: The attribute: ``words``, the ``recording`` that an id tells, ``speaker`` or ``dialogue`` where the data
            tell it, a CSV file with the columns id and group, or a mapping from id to group.
        least: Fewest training samples of a group of its own.
        rule: For ``words``, which of them count as biased.

    Attributes:
        label: (P, 256) class of each group in each of P problems; -1 where there are fewer groups.
        attribute: (P, 256) number of its attribute; -2 for small groups together.
        count: (P, 256) training samples.
        train_group: (N, P) groups of the training samples by their index; not saved.

    Raises:
        MERError: If a file of groups cannot be read; in ``fit`` if a training sample has no group, or there are no
            words.

    Example:
        >>> from mer_zoo.task import SentimentClassification
        >>> task = SentimentClassification(2)
        >>> batch = Batch.random(DataSpec(), task, size=6).replace(target=torch.tensor([0, 0, 0, 1, 1, 1]))
        >>> partition = Partition(DataSpec(), task, {f"random$_${i}": str(i % 2) for i in range(6)}, least=2)
        >>> partition.fit([batch])
        >>> partition.train_group.flatten().tolist(), [row["samples"] for row in partition.rows()]
        ([0, 1, 0, 2, 3, 2], [2, 1, 2, 1])
    """

    label: Tensor
    attribute: Tensor
    count: Tensor
    fitted: Tensor

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        groups: GroupOption = "words",
        least: int = 10,
        rule: WordRule = DEFAULT_RULE,
    ) -> None:
        super().__init__()
        if groups is None:
            raise MERError(
                "groups is not given; say by what samples are grouped: words, recording, speaker, dialogue, or a CSV"
                " file with the columns id and group"
            )
        if least < 1:
            raise MERError(f"min_group is {least}; give the fewest training samples of a group, at least 1")
        self.task, self.least, self.kind = task, least, groups if groups in NO_FILE else "groups"
        self.propensity = Propensity(spec, task, rule) if groups == "words" else None
        if groups == "recording":
            self.reader = TraceReader(spec, "recording", option="groups")
        elif self.propensity is None:
            self.reader = TraceReader(spec, "groups", groups, "groups")
        else:
            self.reader = self.propensity.reader
        *problems, self.num_classes = task.graded_shape
        self.problems = problems[0] if problems else 1
        for name in ("label", "attribute", "count"):
            self.register_buffer(name, torch.full((self.problems, CAPACITY), 0 if name == "count" else -1))
        self.register_buffer("fitted", torch.tensor(False))
        self.train_group = torch.zeros(0, self.problems, dtype=torch.long)
        self._names: dict[int, str] = {}

    @torch.no_grad()
    def fit(self, train: BatchSource) -> None:
        """Find the groups of the training split.

        Raises:
            MERError: If a sample has no group, or the words cannot be read.
        """
        label, attribute = self._read(train)
        for p in range(self.problems):
            self._fit_problem(p, label[:, p], attribute[:, p])
        self.train_group = self._look_up(label, attribute)
        self.fitted.fill_(True)

    def _read(self, train: BatchSource) -> tuple[Tensor, Tensor]:
        if self.propensity is not None:
            self.propensity.fit(train)
            size = len(self.propensity.target)
            names = self.task.class_names if self.task.is_classification and self.problems == 1 else []
            self._names = {k: f"words of {name}" for k, name in enumerate(names)}
            return self.propensity.target.view(size, -1), self.propensity.out_of_fold.argmax(-1).view(size, -1)
        split = self.reader.read(train, lambda batch: self.task.grades(batch.target))
        number = torch.cat(split.words)
        self._names = dict(zip(number.tolist(), split.texts, strict=True))
        return split.classes, number[:, None].expand(-1, self.problems)

    def _fit_problem(self, p: int, label: Tensor, attribute: Tensor) -> None:
        pairs, counts = torch.unique(torch.stack([label, attribute], 1), dim=0, return_counts=True)
        room = CAPACITY - self.num_classes
        large = (counts >= self.least) & (counts.argsort(descending=True, stable=True).argsort() < room)
        small = torch.bincount(pairs[~large, 0], counts[~large].double(), self.num_classes).long()
        rest = small.nonzero()[:, 0]
        pairs = torch.cat([pairs[large], torch.stack([rest, torch.full_like(rest, OTHER)], 1)])
        counts = torch.cat([counts[large], small[rest]])
        order = pairs[:, 0].argsort(stable=True)
        for buffer, values, empty in ((self.label, pairs[:, 0], -1), (self.attribute, pairs[:, 1], -1)):
            buffer[p] = empty
            buffer[p, : len(order)] = values[order].to(buffer)
        self.count[p] = 0
        self.count[p, : len(order)] = counts[order].to(self.count)

    def _look_up(self, label: Tensor, attribute: Tensor) -> Tensor:
        columns = [
            group_lookup(label[:, p], attribute[:, p], self.label[p], self.attribute[p], OTHER)
            for p in range(self.problems)
        ]
        return torch.stack(columns, 1)

    def of(self, batch: Batch) -> Tensor:
        """Groups of samples that are not of the training split.

        Args:
            batch: The samples, with their labels.

        Returns:
            (B, P) numbers; -1 where the training split has no such group, and no other of small ones of the label.
        """
        label = self.task.grades(batch.target).view(len(batch), -1)
        if self.propensity is not None:
            attribute = self.propensity.log_p(batch).argmax(-1).view(len(batch), -1)
        else:
            attribute = self.reader.numbers(batch, by_token=False).clamp(min=PADDING).expand(-1, self.problems)
        return self._look_up(label, attribute)

    def of_train(self, index: Tensor) -> Tensor:
        """(B, P) groups of training samples by their places.

        Raises:
            MERError: If they are not of the split that was read.
        """
        if index.device.type == "cpu" and (not len(self.train_group) or int(index.max()) >= len(self.train_group)):
            raise MERError(
                f"sample {int(index.max())} is trained on, but groups were made of a training split of"
                f" {len(self.train_group)}; prepare the model with the split that it trains on"
            )
        self.train_group = self.train_group.to(index.device)
        return self.train_group[index]

    @property
    def size(self) -> int:
        """How many groups the problem with most of them has."""
        return int((self.count > 0).sum(1).max())

    def name(self, p: int, g: int) -> str:
        """A group in words."""
        label, attribute = int(self.label[p, g]), int(self.attribute[p, g])
        problem, classes = self.task.problems[p], self.task.class_names if self.task.is_classification else []
        if self.problems > 1:
            said = f"{problem}: {'present' if label else 'absent'}"
        else:
            said = classes[label] if classes else f"label {label - self.num_classes // 2}"
        return f"{said}, {'other' if attribute == OTHER else self._names.get(attribute, f'attribute {attribute}')}"

    def rows(self) -> list[dict[str, Any]]:
        """A row a group: its name and its training samples."""
        return [
            {"group": self.name(p, g), "samples": int(self.count[p, g])}
            for p in range(self.problems)
            for g in range(CAPACITY)
            if self.count[p, g] > 0
        ]
