"""What a file says about its labels: an entry ``about`` beside its splits, or the words that stand beside numbers."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from mer_zoo.batch import MODALITIES
from mer_zoo.data.corpus.arrays import StoredArray
from mer_zoo.data.corpus.checks import NOT_IN_IDS, Fault, as_numbers, as_texts, size_of, unwritable
from mer_zoo.data.corpus.meaning import (
    IEMOCAP_EMOTIONS,
    MAX_CLASSES,
    REMEDY,
    LabelKind,
    Meaning,
    outside,
    read_meaning,
)
from mer_zoo.data.files.drafts import Draft, SplitDraft
from mer_zoo.data.files.labels import UNIMODAL_FIELDS
from mer_zoo.errors import MERError
from mer_zoo.feature_spec import read_specs
from mer_zoo.fields import Fields
from mer_zoo.foreign import Budget

__all__ = [
    "ABOUT",
    "annotated_meaning",
    "compare_labels",
    "note_signs",
    "parse_meaning",
    "read_about",
    "read_words",
    "without_about",
]

ABOUT, FEATURES = "about", "features"
KEYS = ("labels", "range", "names", FEATURES)
MAX_NAME = 1000
_POLARITY = {"negative": 0, "neutral": 1, "positive": 2}
_LARGEST = 2**16  # bytes of a field: a name takes a few


def read_about(value: Any, budget: Budget) -> Meaning:
    """Read the entry ``about`` of a corpus.

    Args:
        value: A mapping with ``labels`` (sentiment, classes, binary or emotions), ``range`` (two numbers) and ``names``
            (texts), each of which may be left out; arrays, lists or texts. What makes the features may stand there too.
        budget: Of the file.

    Raises:
        MERError: If it says something else.

    Example:
        >>> read_about({"labels": "binary", "names": ["sincere", "sarcastic"]}, Budget("corpus"))
        Meaning(kind='binary', range=None, names=('sincere', 'sarcastic'))
    """
    if not isinstance(value, Mapping) or not all(key in KEYS for key in value):
        raise MERError(f"its entry {ABOUT} is not a mapping with {', '.join(KEYS)}")
    numbers = as_numbers(_flat(value["range"]), budget) if "range" in value else None
    if "range" in value and (numbers is None or numbers.size != 2):
        raise MERError(f"range of its entry {ABOUT} is not two numbers")
    kind, names = _texts(value, "labels", budget), _texts(value, "names", budget)
    limits = None if numbers is None else [float(number) for number in numbers.reshape(-1)]
    if len(kind) > 1:
        raise MERError(f"labels of its entry {ABOUT} is not one word")
    return parse_meaning(kind[0] if kind else None, limits, names)


def without_about(tree: Mapping[Any, Any], draft: Draft, budget: Budget) -> dict[Any, Any]:
    """The splits of a file; the draft gets what its entry ``about`` says, or that it says nothing.

    Args:
        tree: What the file holds.
        draft: Where it goes.
        budget: Of the file.
    """
    if ABOUT in tree:
        try:
            meaning = read_about(tree[ABOUT], budget)
            draft.told = None if meaning == Meaning() else meaning
            if FEATURES in tree[ABOUT]:
                given = Fields(tree[ABOUT][FEATURES], f"{FEATURES} of its entry {ABOUT}", "extract them again")
                draft.made_by = read_specs(given, MODALITIES)
        except MERError as error:
            draft.faults.append(Fault("", ABOUT, str(error)))
    return {name: fields for name, fields in tree.items() if name != ABOUT}


def parse_meaning(kind: Any, limits: Any, names: Any) -> Meaning:
    """Check what a file or a store says labels mean.

    Args:
        kind: One of the kinds, or None.
        limits: Two numbers, or None.
        names: Names of classes or emotions.

    Raises:
        MERError: If they mean nothing.

    Example:
        >>> parse_meaning("sentiment", [-1, 1], [])
        Meaning(kind='sentiment', range=(-1.0, 1.0), names=())
    """
    if kind is not None and kind not in get_args(LabelKind):
        raise MERError(f"labels of its entry {ABOUT} are {str(kind)[:40]!r}; write {', '.join(get_args(LabelKind))}")
    if not isinstance(names, (list, tuple)) or len(names) > MAX_CLASSES:
        raise MERError(f"names of its entry {ABOUT} are not up to {MAX_CLASSES} texts")
    if not all(isinstance(name, str) and len(name) <= MAX_NAME for name in names):
        raise MERError(f"names of its entry {ABOUT} are not short texts")
    if unwritable(names, NOT_IN_IDS) is not None:
        raise MERError(f"names of its entry {ABOUT} hold line ends, control characters or halves of characters")
    pair = None
    if limits is not None:
        if (
            not isinstance(limits, (list, tuple))
            or len(limits) != 2
            or not all(type(x) in (int, float) for x in limits)
        ):
            raise MERError(f"range of its entry {ABOUT} is not two numbers")
        pair = (float(limits[0]), float(limits[1]))
    return Meaning(kind, pair, tuple(names))


def _flat(value: Any) -> Any:
    return value if isinstance(value, (StoredArray, list)) else list(value) if isinstance(value, tuple) else [value]


def _texts(value: Mapping[Any, Any], key: str, budget: Budget) -> list[str]:
    if key not in value:
        return []
    given = _flat(value[key])
    if isinstance(given, StoredArray):
        if given.dtype.kind not in "SU" or given.nbytes > _LARGEST:
            raise MERError(f"{key} of its entry {ABOUT} is no short text")
        given = given.load().reshape(-1).tolist()
    columns = as_texts(given, budget) if size_of(given) else []
    if columns is None or len(columns) > 1:
        raise MERError(f"{key} of its entry {ABOUT} is no text")
    return columns[0] if columns else []


def read_words(words: Any, labels: npt.NDArray[np.int64], budget: Budget) -> set[tuple[int, str]]:
    """Each whole number with a word that stands beside it in a field ``annotations``; none where they are no words.

    Args:
        words: The field.
        labels: (N,) classes.
        budget: Of the file.
    """
    columns = as_texts(words, budget) if size_of(words) == len(labels) else None
    if not columns or len(columns) > 1:
        return set()
    return {(int(number), word.strip()) for number, word in zip(labels, columns[0], strict=True)}


def note_signs(draft: SplitDraft, field: Any, words: Any, budget: Budget) -> None:
    """Keep with the labels of a split what their shape, or words beside them, say about them.

    Args:
        draft: With its labels.
        field: The field that they were read from.
        words: The field ``annotations``.
        budget: Of the file.
    """
    if draft.labels is not None and draft.label_field == "classification_labels":
        draft.words = read_words(words, draft.labels, budget)
    elif getattr(field, "shape", ())[1:] == (len(IEMOCAP_EMOTIONS), 2):  # as MulT's file has them
        draft.told = Meaning("emotions", names=IEMOCAP_EMOTIONS)


def annotated_meaning(pairs: Set[tuple[int, str]]) -> Meaning | None:
    """What words beside whole numbers say about them: MMSA writes Negative, Neutral and Positive beside 0, 1 and 2.

    Args:
        pairs: Each number with its word.

    Returns:
        Sentiment, where the words are those of a polarity in its order; the names of classes, where each number up to
        the largest has one word of its own; else None.

    Example:
        >>> annotated_meaning({(1, "joy"), (0, "anger")}).names
        ('anger', 'joy')
    """
    if pairs and all(_POLARITY.get(word.lower()) == number for number, word in pairs):
        return Meaning("sentiment")
    named = dict(pairs)
    if not pairs or len(set(named.values())) < len(pairs) or sorted(named) != list(range(len(pairs))):
        return None
    try:
        return parse_meaning("classes", None, [named[number] for number in sorted(named)])
    except MERError:  # words that are no names
        return None


def compare_labels(draft: Draft, told: Meaning | None = None, task: LabelKind | None = None) -> None:
    """Decide what labels mean, and find those that are something else; the draft gets the meaning and the faults.

    Args:
        draft: With the labels of all splits.
        told: What the user says.
        task: See :func:`~mer_zoo.data.corpus.meaning.read_meaning`.
    """
    labelled = [split for split in draft.splits.values() if split.labels is not None]
    if draft.told is None:
        by_shape = {split.told for split in labelled}
        words: set[tuple[int, str]] = set().union(*(split.words for split in labelled))
        draft.told = by_shape.pop() if len(by_shape) == 1 and None not in by_shape else annotated_meaning(words)
    known = {name: split.labels for name, split in draft.splits.items()}
    try:
        reading = read_meaning(known, (told or Meaning()).over(draft.told), task)
    except MERError as error:
        draft.faults.append(Fault("", "", str(error)))
        return
    draft.meaning, draft.question = reading.meaning, reading.question
    wrongs = [(name, draft.splits[name].label_field, message, wrong) for name, message, wrong in reading.faults]
    limits = None if reading.meaning is None else reading.meaning.range
    wrongs += [
        (name, UNIMODAL_FIELDS[modality], message, wrong)
        for name, split in draft.splits.items()
        for modality, values in split.unimodal.items()
        for message, wrong in (() if limits is None else outside(values, limits))
    ]
    for name, key, message, wrong in wrongs:
        ids = tuple(draft.splits[name].ids[row] for row in np.flatnonzero(wrong))
        draft.faults.append(Fault(name, key, f"{key} {message}", ids, REMEDY))
