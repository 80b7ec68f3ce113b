"""What the labels of a corpus mean: told by whoever made it or uses it, else by signs in the data, and never guessed.

Idea: a label is a number, and numbers look alike. 0 and 1 are absent and present, or neutral and positive; 0 to 6 are
seven emotions, or -3 to 3. Only signs that a corpus of another meaning would not show decide: a sentiment has negative
values; thirty labels of which none leaves [-1, 1] are not of a scale to 3. Where signs do not decide, it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from mer_zoo.errors import MERError

__all__ = [
    "IEMOCAP_EMOTIONS",
    "MAX_CLASSES",
    "MOSI_RANGE",
    "REMEDY",
    "SIMS_RANGE",
    "LabelKind",
    "Meaning",
    "Reading",
    "converted",
    "outside",
    "read_meaning",
]

LabelKind = Literal["sentiment", "classes", "binary", "emotions"]

MOSI_RANGE = (-3.0, 3.0)
SIMS_RANGE = (-1.0, 1.0)
IEMOCAP_EMOTIONS = ("neutral", "happy", "sad", "angry")
MAX_CLASSES = 256
SENTIMENT_CLASSES = 7  # as which whole numbers from 0 can stand for a sentiment: negative to positive, or -3 to 3
MANY = 30  # labels, of which some would leave [-1, 1] on a scale to 3: at least a quarter does in CMU-MOSEI
REMEDY = "mend the labels, or say what they mean by data.labels and data.label_range"
STEP = 0.2  # of CH-SIMS, where five people say -1, 0 or 1


@dataclass(frozen=True)
class Meaning:
    """What labels mean, as far as it is told.

    Args:
        kind: ``sentiment``; ``classes``, one of several without an order; ``binary``, no and yes; ``emotions``, each
            present or absent.
        range: Smallest and largest sentiment.
        names: Names of the classes, in the order of their numbers, or of the emotions, in that of their columns.

    Raises:
        MERError: For parts that do not go together.

    Example:
        >>> Meaning("classes", names=("joy", "anger")).over(Meaning("classes", names=("0", "1")))
        Meaning(kind='classes', range=None, names=('joy', 'anger'))
        >>> Meaning("binary", range=(0.0, 1.0))
        Traceback (most recent call last):
        mer_zoo.errors.MERError: labels of kind binary have no range; a range is of sentiment
    """

    kind: LabelKind | None = None
    range: tuple[float, float] | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in get_args(LabelKind):
            raise MERError(f"labels are of kind {str(self.kind)[:40]!r}; choose from {', '.join(get_args(LabelKind))}")
        if self.range is not None and not -np.inf < self.range[0] < self.range[1] < np.inf:
            raise MERError(f"the range of labels is {list(self.range)}; give the smallest and the largest sentiment")
        if self.range is not None and self.kind not in (None, "sentiment"):
            raise MERError(f"labels of kind {self.kind} have no range; a range is of sentiment")
        if self.names and self.kind == "sentiment":
            raise MERError("sentiment has no names of classes; names are of labels classes, binary and emotions")
        if self.kind == "binary" and len(self.names) not in (0, 2):
            raise MERError(f"binary labels got {len(self.names)} names; give two, that of 0 first")

    def over(self, other: Meaning | None) -> Meaning:
        """What is told here, and where nothing is told what the other says; of another kind nothing fits."""
        kind: LabelKind | None = self.kind or (None if self.range is None else "sentiment")
        if other is None or (None not in (kind, other.kind) and kind != other.kind):
            return replace(self, kind=kind)
        kind = kind or other.kind
        return Meaning(kind, self.range or other.range, () if kind == "sentiment" else self.names or other.names)

    def plain(self) -> dict[str, Any]:
        """As JSON has it, without what is not told."""
        found: dict[str, Any] = {} if self.kind is None else {"kind": self.kind}
        if self.range is not None:
            found["range"] = list(self.range)
        if self.names:
            found["names"] = list(self.names)
        return found

    def __str__(self) -> str:
        if self.kind == "sentiment":
            return "sentiment" if self.range is None else f"sentiment in [{self.range[0]:g}, {self.range[1]:g}]"
        return " ".join([self.kind or "not told", *([f"({', '.join(self.names)})"] if self.names else [])])


@dataclass
class Reading:
    """What the labels of all splits mean together.

    Args:
        meaning: Told, or read off signs; None where there are no labels, or nothing decides.
        question: What has to be told, one sentence without an end; empty where nothing has.
        faults: Split, what its labels do, and (N,) samples concerned, where they are not what they are said to be.
    """

    meaning: Meaning | None = None
    question: str = ""
    faults: list[tuple[str, str, npt.NDArray[np.bool_]]] = field(default_factory=list)


def read_meaning(
    labels: Mapping[str, npt.NDArray[Any] | None], told: Meaning | None = None, task: LabelKind | None = None
) -> Reading:
    """Decide what labels mean, by what is told of them, else by signs that only one meaning shows.

    Args:
        labels: By split: (N,) numbers, or (N, E) zeros and ones; finite, or None where a split has none.
        told: What is known; its kind decides, and what it leaves open is filled in.
        task: What a task takes them for, where nothing is told of their kind: a task of classes says that they are
            some. That a task takes them for sentiment, as by default, says nothing.

    Returns:
        The meaning with its range or number of names; a question where the data do not tell it; faults where labels
        are not what they are told to be.

    Example:
        >>> read_meaning({"train": np.array([-2.4, 0.0, 1.6])}).meaning
        Meaning(kind='sentiment', range=(-3.0, 3.0), names=())
        >>> read_meaning({"train": np.array([0, 1, 1, 2])}).meaning
        Meaning(kind='classes', range=None, names=('0', '1', '2'))
        >>> read_meaning({"train": np.array([0.2, 0.6])}).question
        'its labels lie from 0.2 to 0.6, which does not tell on what scale; say data.label_range: [-3, 3], [-1, 1] ...'
    """
    told, known = told or Meaning(), {name: split for name, split in labels.items() if split is not None}
    if not known:
        told = replace(told, kind=told.kind or (task if told.names else None))
        return Reading(told if told.kind else None)
    ranks = {split.ndim for split in known.values()} | {split.shape[1:] for split in known.values()}
    if len(ranks) > 2:
        return Reading(question="its splits have labels of different shapes; write those of one kind in all")
    if next(iter(known.values())).ndim == 2:
        return _columns(known, told, task)
    flat = np.concatenate([np.asarray(split, np.float64) for split in known.values()])
    kind = told.kind or _kind_by_signs(flat, told, task)
    if kind == "emotions":
        return Reading(
            question="its labels are one number a sample, and emotions are a column each; say data.labels: classes"
        )
    if kind in ("classes", "binary"):
        return _classes(known, flat, told, kind)
    if told.names:
        return Reading(
            question="its labels are no whole numbers from 0, but classes are named; leave data.label_names out"
        )
    return _sentiment(known, flat, told)


def _kind_by_signs(values: npt.NDArray[Any], told: Meaning, task: LabelKind | None) -> LabelKind:
    if told.range is not None:
        return "sentiment"
    whole = bool(np.all(values == np.floor(values)))
    if not whole or values.min() < 0:
        return "sentiment"
    if told.names or task == "classes":
        return "classes"
    return "binary" if values.max() == 1 else "classes"


def _columns(known: Mapping[str, npt.NDArray[Any]], told: Meaning, task: LabelKind | None) -> Reading:
    columns = next(iter(known.values())).shape[1]
    if told.kind in ("sentiment", "binary"):
        return Reading(
            question=f"its labels have {columns} columns, which is no {told.kind}; say data.labels: emotions"
        )
    if told.names and len(told.names) != columns:
        return Reading(
            question=f"its labels have {columns} columns, and {len(told.names)} names are given; name each column in"
            " data.label_names"
        )
    faults = [
        (name, "do not say one class a sample", wrong)
        for name, split in known.items()
        if (wrong := np.asarray(split).sum(1) != 1).any()
    ]
    names = told.names or _numbered(columns)
    if told.kind == "classes":
        return Reading(Meaning("classes", names=names), faults=faults)
    # one column a sample is read either way, and the task says which
    kind: LabelKind = "classes" if told.kind is None and task == "classes" and not faults else "emotions"
    return Reading(Meaning(kind, names=names))


def _classes(
    known: Mapping[str, npt.NDArray[Any]], values: npt.NDArray[Any], told: Meaning, kind: LabelKind
) -> Reading:
    signed = kind == "binary" and set(np.unique(values)) <= {-1.0, 1.0}
    count = 2 if kind == "binary" else len(told.names) or int(min(max(values.max(), 1) + 1, MAX_CLASSES))
    faults = [
        (name, f"are not whole numbers from 0 to {count - 1}, as labels of {kind} are", wrong)
        for name, split in known.items()
        if not signed and (wrong := (split != np.floor(split)) | (split < 0) | (split >= count)).any()
    ]
    return Reading(Meaning(kind, names=told.names or _numbered(count)), faults=faults)


def _sentiment(known: Mapping[str, npt.NDArray[Any]], values: npt.NDArray[Any], told: Meaning) -> Reading:
    if all(split.dtype.kind in "iu" for split in known.values()):  # its classes in order, from the most negative on
        faults = [
            (name, f"hold what is no class of sentiment from 0 to {SENTIMENT_CLASSES - 1}", wrong)
            for name, split in known.items()
            if (wrong := (np.asarray(split) < 0) | (np.asarray(split) >= SENTIMENT_CLASSES)).any()
        ]
        return Reading(Meaning("sentiment", told.range or MOSI_RANGE), faults=faults)
    limits = told.range or _range_by_signs(values)
    if limits is None:
        return Reading(question=_which_range(values, told))
    faults = [
        (name, message, wrong) for name, split in known.items() for message, wrong in outside(np.asarray(split), limits)
    ]
    return Reading(Meaning("sentiment", limits), faults=faults)


def outside(values: npt.NDArray[Any], limits: tuple[float, float]) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """What is wrong with a sentiment that should lie on a scale: nothing, or a message and the samples concerned.

    Args:
        values: (N,) numbers; NaN is nowhere.
        limits: Smallest and largest.

    Example:
        >>> outside(np.array([0.5, np.nan, 2.0]), (-1.0, 1.0))
        [('hold a sentiment outside [-1, 1]', array([False, False,  True]))]
    """
    slack = 1e-6 * (limits[1] - limits[0])
    wrong = (values < limits[0] - slack) | (values > limits[1] + slack)
    return [(f"hold a sentiment outside [{limits[0]:g}, {limits[1]:g}]", wrong)] if wrong.any() else []


def _range_by_signs(values: npt.NDArray[Any]) -> tuple[float, float] | None:
    largest = np.abs(values).max()
    if largest > MOSI_RANGE[1]:
        return MOSI_RANGE  # outside of which they then are
    if values.min() >= 0:
        return None
    if largest > SIMS_RANGE[1]:
        return MOSI_RANGE
    in_steps = bool(np.all(np.abs(values / STEP - np.round(values / STEP)) < 1e-3))
    return SIMS_RANGE if len(values) >= (MANY if in_steps else 4 * MANY) else None


def _which_range(values: npt.NDArray[Any], told: Meaning) -> str:
    seen = f"its labels lie from {values.min():.3g} to {values.max():.3g}, which does not tell on what scale"
    whole = bool(np.all(values == np.floor(values))) and told.kind is None
    other = ", or data.labels: classes or binary" if whole else ""
    return f"{seen}; say data.label_range: [-3, 3], [-1, 1] or that of the scale{other}"


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def converted(labels: npt.NDArray[Any], meaning: Meaning) -> npt.NDArray[Any]:
    """Labels in the form that those of their kind have in memory.

    Args:
        labels: Of one split, without faults.
        meaning: What they mean.

    Returns:
        Float32 (N,) sentiment, or int64 (N,) its classes; int64 (N,) classes; int64 (N, E) emotions.

    Example:
        >>> converted(np.array([-1.0, 1.0]), Meaning("binary")).tolist()
        [0, 1]
        >>> converted(np.array([[0, 1, 0], [1, 0, 0]]), Meaning("classes")).tolist()
        [1, 0]
    """
    if meaning.kind == "classes" and labels.ndim == 2:
        return np.asarray(np.asarray(labels).argmax(1))
    if meaning.kind == "binary" and np.asarray(labels).min() < 0:
        return (np.asarray(labels) > 0).astype(np.int64)
    if meaning.kind in ("classes", "binary") and labels.dtype.kind == "f":
        return np.asarray(labels).astype(np.int64)
    return labels
