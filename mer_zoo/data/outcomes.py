"""What each task would make of the labels of a corpus: how many samples each class gets, or why the task is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from mer_zoo.data.corpus.corpus import Corpus, SplitData, with_meaning
from mer_zoo.data.corpus.meaning import Meaning
from mer_zoo.data.dataset import check_labels
from mer_zoo.data.files.drafts import Draft
from mer_zoo.data.labelling import build_for, missing_classes, taken_for
from mer_zoo.errors import MERError
from mer_zoo.task import TASKS, Task

__all__ = ["Outcome", "outcomes"]


@dataclass(frozen=True)
class Outcome:
    """What a task makes of labels.

    Args:
        task: Its name.
        counts: By split and class, or emotion, the number of samples.
        scores: By split lowest, mean and highest score and their deviation, where the task has scores.
        lacking: Classes that no training sample has, a sentence each.
        refusal: Why the task cannot be had; empty where it can.
    """

    task: str
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    scores: Mapping[str, tuple[float, float, float, float]] = field(default_factory=dict)
    lacking: tuple[str, ...] = ()
    refusal: str = ""

    @property
    def reason(self) -> str:
        """Why the task is refused, the same words for tasks that are refused for the same."""
        return self.refusal.replace(f", which does not suit this task, {self.task};", ", which does not suit;")

    def told(self, split: str) -> str:
        """What the samples of a split become, in words.

        Example:
            >>> Outcome("two", {"train": {"negative": 3, "non-negative": 1}}).told("train")
            'negative 3, non-negative 1'
        """
        if split in self.scores:
            low, mean, high, deviation = self.scores[split]
            return f"{low:.3g} to {high:.3g}, mean {mean:.3g} ±{deviation:.3g}"
        return ", ".join(f"{name} {count}" for name, count in self.counts.get(split, {}).items())


def outcomes(draft: Draft, source: str, told: Meaning | None = None) -> list[Outcome]:
    """Try every task on the labels of a corpus, as a data module does.

    Args:
        draft: The corpus, whose labels have no faults.
        source: Its name.
        told: What the user says about its labels.

    Returns:
        Those of all tasks, in their usual order; none without labels.

    Example:
        >>> from mer_zoo.data.files.drafts import SplitDraft
        >>> split = SplitDraft(["a", "b", "c"], labels=np.array([0, 2, 2]))
        >>> draft = Draft({"train": split}, told=Meaning("classes", names=("joy", "fear", "anger")))
        >>> found = {one.task: one for one in outcomes(draft, "clips.pkl")}
        >>> found["classes"].told("train"), found["classes"].lacking
        ('joy 1, fear 0, anger 2', ('no training sample is of class fear',))
        >>> found["seven"].refusal
        'has labels of classes (whole numbers from 0 to 2), which does not suit this task, seven; set data.task ...'
    """
    splits = {
        name: SplitData({}, {}, None, split.labels, split.ids, [""] * len(split.ids))
        for name, split in draft.splits.items()
    }
    if all(split.labels is None for split in splits.values()):
        return []
    corpus = Corpus(splits, draft.aligned, source, meaning=draft.told)
    return [_outcome(corpus, told, name) for name in TASKS]


def _outcome(corpus: Corpus, told: Meaning | None, name: str) -> Outcome:
    try:
        corpus = with_meaning(corpus, told, taken_for(name), sealed=True)
        task = build_for(corpus, name)
        for split in corpus.splits.values():
            check_labels(split, task, corpus.source)
    except MERError as error:
        return Outcome(name, refusal=str(error).removeprefix(corpus.source).lstrip(": "))
    known = {
        split: torch.from_numpy(np.array(own.labels)) for split, own in corpus.splits.items() if own.labels is not None
    }
    lacking = tuple(missing_classes(corpus, task))
    if not task.is_classification:
        return Outcome(name, scores={split: _spread(target) for split, target in known.items()}, lacking=lacking)
    return Outcome(name, {split: _counts(task, target) for split, target in known.items()}, lacking=lacking)


def _spread(target: torch.Tensor) -> tuple[float, float, float, float]:
    values = target.double()
    spread = values.min(), values.mean(), values.max(), values.std(correction=0)
    low, mean, high, deviation = map(float, spread)
    return low, mean, high, deviation


def _counts(task: Task, target: torch.Tensor) -> dict[str, int]:
    encoded = task.encode(target)
    if not task.is_single_label:
        return dict(zip(task.problems, (encoded > 0).sum(0).tolist(), strict=True))
    counts = torch.bincount(encoded, minlength=len(task.class_names)).tolist()
    return dict(zip(task.class_names, counts, strict=True))
