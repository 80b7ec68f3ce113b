"""Labels and tasks brought together: what is told of labels, which task they are for, and what training lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from mer_zoo.data.corpus.corpus import Corpus, with_meaning
from mer_zoo.data.corpus.meaning import MOSI_RANGE, SIMS_RANGE, LabelKind, Meaning
from mer_zoo.errors import MERError
from mer_zoo.metrics.conventions import Convention
from mer_zoo.task import Task, build_task

__all__ = [
    "ClassWeights",
    "build_for",
    "check_kind",
    "missing_classes",
    "same_meaning",
    "taken_for",
    "tasks_for",
    "told_by",
    "usually",
]

ClassWeights = Literal["balanced"] | list[float]
_OF_TASKS: dict[str, LabelKind] = {"classes": "classes", "emotions": "emotions"}
_TASKS_OF_SIMS = "regression, two, binary (negative, neutral, positive) or five"
_CONVENTIONS: dict[tuple[float, float], tuple[Convention, ...]] = {
    MOSI_RANGE: ("mmsa", "mult", "causalmer"),
    SIMS_RANGE: ("sims",),
}
_TASKS = {
    "sentiment": "regression, two, binary (negative, neutral, positive), five or seven",
    "classes": "classes",
    "binary": "classes",
    "emotions": "emotions",
}


def told_by(
    task: Task | str,
    labels: LabelKind | None,
    label_range: tuple[float, float] | None,
    label_names: Sequence[str] | None,
    convention: Convention,
) -> Meaning:
    """What the options of a datamodule say about labels.

    Args:
        task: A task says it as well, with its names; the name of one does not, see :func:`taken_for`.
        labels: Their kind.
        label_range: Smallest and largest sentiment.
        label_names: Names of classes or emotions.
        convention: The convention ``sims`` is one of labels in [-1, 1].

    Raises:
        MERError: If they do not go together.

    Example:
        >>> told_by("classes", None, None, ["joy", "anger"], "mmsa").names
        ('joy', 'anger')
    """
    if convention == "sims" and label_range is None and labels in (None, "sentiment"):
        label_range = SIMS_RANGE
    told = Meaning(labels, None if label_range is None else (label_range[0], label_range[1]), tuple(label_names or ()))
    if isinstance(task, str):
        return told
    if label_names:
        raise MERError("the task has names of its own; leave data.label_names out")
    names = tuple(task.class_names) if task.is_single_label else tuple(task.problems)
    kind = labels or task.label_kind
    return Meaning(kind, told.range or getattr(task, "limits", None), names if kind not in (None, "sentiment") else ())


def taken_for(task: Task | str) -> LabelKind | None:
    """What a task takes labels for; None of a task of one's own.

    Example:
        >>> taken_for("seven"), taken_for("classes")
        ('sentiment', 'classes')
    """
    return _OF_TASKS.get(task, "sentiment") if isinstance(task, str) else task.label_kind


def usually(corpus: Corpus, emotions: Sequence[str], wanted: LabelKind | None) -> Corpus:
    """Name emotions as a corpus of this name has them, where neither its file nor the user has named them.

    Args:
        corpus: With the meaning of its labels.
        emotions: The usual names; none of a user's own corpus.
        wanted: What the task takes labels for.
    """
    if wanted != "emotions" or not emotions:
        return corpus
    meaning = corpus.meaning or Meaning("emotions")
    unnamed = meaning.names in ((), tuple(map(str, range(len(emotions)))))
    if meaning.kind != "emotions" or not unnamed:
        return corpus
    return replace(corpus, meaning=Meaning("emotions", names=tuple(emotions)))


def same_meaning(other: Corpus, corpus: Corpus) -> Corpus:
    """A corpus to test on, whose labels mean what those of the corpus that is trained on mean.

    Args:
        other: The corpus to test on.
        corpus: What is trained on.

    Returns:
        The other corpus; where its own labels do not tell what they mean, they are taken for that.

    Raises:
        MERError: If they are of another kind, or on another scale.
    """
    ours = corpus.meaning
    if ours is None:
        return other
    if other.meaning is None or other.meaning.kind != ours.kind:  # whole numbers from 0 may be classes or sentiment
        other = with_meaning(other, ours)
    theirs = other.meaning
    if theirs is None or theirs == ours:
        return other
    numbered = all(name.isdigit() for name in theirs.names) and len(theirs.names) <= len(ours.names)
    if theirs.kind == ours.kind and theirs.range == ours.range and numbered:
        return replace(other, meaning=ours)
    raise MERError(
        f"labels of {other.source} are {theirs}, those of {corpus.source} {ours}; cross-dataset tests need labels of"
        " one kind, on one scale, with the same names in the same order"
    )


def tasks_for(meaning: Meaning) -> str:
    """The tasks that labels of a meaning are for, in words.

    Example:
        >>> tasks_for(Meaning("sentiment", (-1.0, 1.0))), tasks_for(Meaning("binary"))
        ('regression, two, binary (negative, neutral, positive) or five', 'classes')
    """
    if meaning.kind != "sentiment" or meaning.range in (None, MOSI_RANGE):
        return _TASKS[meaning.kind or "sentiment"]
    return _TASKS_OF_SIMS if meaning.range == SIMS_RANGE else "regression"


def build_for(
    corpus: Corpus, task: Task | str, convention: Convention = "mmsa", class_weights: ClassWeights | None = None
) -> Task:
    """The task for the labels of a corpus.

    Args:
        corpus: With the meaning of its labels.
        task: A task, or the name of one, which gets the names and the scale of the labels.
        convention: Metric convention of sentiment.
        class_weights: Of the task ``classes``: ``balanced``, by how often each is true in the training split, or one a
            class.

    Raises:
        MERError: If the labels are of another kind, or nobody has said of which.
    """
    meaning, name = corpus.meaning, task if isinstance(task, str) else task.name
    check_kind(corpus, name, taken_for(task))
    if class_weights is not None and name != "classes":
        raise MERError(f"class_weights are of task classes, and data.task is {name}; leave them out")
    if isinstance(task, Task):
        if class_weights is not None:
            raise MERError("the task has class weights of its own; leave data.class_weights out")
        return task
    if taken_for(task) == "sentiment":
        limits = MOSI_RANGE if meaning is None or meaning.range is None else meaning.range
        return build_task(task, scale_of(limits, convention, corpus.source), limits=limits)
    names = () if meaning is None else meaning.names
    if not names:
        raise MERError(
            f"{corpus.source} has no labels that would tell how many {task} there are; name them in data.label_names,"
            " as the configuration of the run that trained the model does"
        )
    weights = _weights(corpus, len(names), class_weights) if task == "classes" else None
    return build_task(task, names=names, class_weights=weights)


def check_kind(corpus: Corpus, task: str, wanted: LabelKind | None) -> None:
    """Refuse labels of another kind than a task takes, or of which nobody has said what they mean.

    Args:
        corpus: With the meaning of its labels.
        task: Name of the task.
        wanted: What it takes labels for; None takes any.

    Raises:
        MERError: Naming the options that answer the question.
    """
    meaning = corpus.meaning
    if wanted is None or (meaning is None and not corpus.question):
        return
    if meaning is None or meaning.kind is None:
        raise MERError(f"{corpus.source} can't be used for task {task}: {corpus.question}")
    if (meaning.kind == "sentiment") == (wanted == "sentiment") and (meaning.kind == "emotions") == (
        wanted == "emotions"
    ):
        return
    told = f"{corpus.source} has labels of {meaning.kind}"
    if meaning.kind == "emotions":
        told = f"{corpus.source} has {len(meaning.names)} emotions a sample"
    elif meaning.kind in ("classes", "binary"):
        told += f" (whole numbers from 0 to {len(meaning.names) - 1})"
    other = ""
    if wanted == "sentiment" and meaning.kind in ("classes", "binary"):
        other = (
            "; or, if they are a sentiment, say data.labels: sentiment (its classes in order) or data.label_range:"
            " [-3, 3] (scores)"
        )
    raise MERError(
        f"{told}, which does not suit this task, {task}; set data.task accordingly, to {_TASKS[meaning.kind]}{other}"
    )


def scale_of(limits: tuple[float, float], convention: Convention, source: str) -> Convention:
    """The convention that is of a scale of sentiment: MMSA's own of [-1, 1] is ``sims``.

    Args:
        limits: Smallest and largest sentiment.
        convention: The one that was asked for; ``mmsa`` is the default.
        source: Name of the corpus, for the message.

    Raises:
        MERError: If the convention is of another scale.

    Example:
        >>> scale_of((-1.0, 1.0), "mmsa", "sims.pkl"), scale_of((1.0, 5.0), "mmsa", "vad.pkl")
        ('sims', 'scale')
    """
    fitting: tuple[Convention, ...] = _CONVENTIONS.get(limits, ("scale",))
    if convention in (*fitting, "scale"):
        return convention
    if convention == "mmsa":
        return fitting[0]
    raise MERError(
        f"labels of {source} lie in [{limits[0]:g}, {limits[1]:g}], which convention {convention} does not measure;"
        f" set data.convention: {' or '.join(fitting)}"
    )


def _weights(corpus: Corpus, classes: int, wanted: ClassWeights | None) -> list[float] | None:
    if not isinstance(wanted, str):
        return wanted
    train = corpus.splits.get("train")
    if train is None or train.labels is None:  # nothing is trained
        return None
    counts = np.bincount(np.asarray(train.labels), minlength=classes)
    return [float(counts.sum() / (np.count_nonzero(counts) * count)) if count else 1.0 for count in counts]


def missing_classes(corpus: Corpus, task: Task) -> list[str]:
    """Tell of classes that no training sample has: whatever a model predicts of them, it has not learnt it.

    Args:
        corpus: The corpus.
        task: Its task.

    Returns:
        One sentence, or one an emotion; none where all classes occur, or there is nothing to train on.
    """
    train = corpus.splits.get("train")
    if train is None or train.labels is None or task.label_kind is None:
        return []
    target = torch.from_numpy(np.array(train.labels))
    if not task.is_classification:
        lacking = [name for name, sign in (("negative", -1), ("positive", 1)) if not (target.sign() == sign).any()]
        is_centred = corpus.meaning is not None and corpus.meaning.range in (MOSI_RANGE, SIMS_RANGE)
        return [f"no training sample is {' or '.join(lacking)}"] if lacking and is_centred else []
    encoded = task.encode(target)
    if task.is_single_label:
        found = set(encoded.tolist())
        lacking = [name for place, name in enumerate(task.class_names) if place not in found]
        several = "class" if len(lacking) == 1 else "classes"
        return [f"no training sample is of {several} {', '.join(lacking)}"] if lacking else []
    return [
        f"emotion {name} is {'present' if column.all() else 'absent'} in every training sample"
        for name, column in zip(task.problems, encoded.bool().T, strict=True)
        if column.all() or not column.any()
    ]
