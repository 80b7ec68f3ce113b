"""Labels in the shapes that files have them: sentiment, classes, and emotions one-hot or 0/1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.batch import MODALITIES
from mer_zoo.data.corpus.checks import as_numbers
from mer_zoo.data.corpus.meaning import MAX_CLASSES
from mer_zoo.foreign import Budget

__all__ = ["LABEL_FIELDS", "UNIMODAL_FIELDS", "Labels", "check_labels", "count_labels", "read_labels", "read_unimodal"]

LABEL_FIELDS = ("regression_labels", "labels", "classification_labels")
UNIMODAL_FIELDS = {name: f"regression_labels_{name[0].upper()}" for name in MODALITIES}  # of MMSA's CH-SIMS
_WORDS = (
    "mend the labels: number classes from 0 in classification_labels, and put their names beside them into annotations"
)
_LACKING = (
    "mend the labels: leave samples without one out, or put them into a split of their own, where every label is NaN"
)
_CLASSES = ("negative", "neutral", "positive")


@dataclass
class Labels:
    """Labels as read; what they mean is decided for all splits together, see :mod:`mer_zoo.data.corpus.meaning`.

    Args:
        values: Float32 (N,) numbers, int64 (N,) classes or int64 (N, E) emotions; None if there are none to be read.
        faults: Message and (N,) affected samples, if single ones are affected.
        is_missing: Whether every one is NaN or None, as extractors write them for clips without labels.
        remedy: What mends the faults, if it is more special than mending the file.
    """

    values: npt.NDArray[Any] | None = None
    faults: list[tuple[str, npt.NDArray[np.bool_] | None]] = field(default_factory=list)
    is_missing: bool = False
    remedy: str = ""


def read_labels(key: str, value: Any, budget: Budget | None = None) -> Labels:
    """Read a label field.

    Args:
        key: ``regression_labels`` and ``labels`` hold a number a sample as (N,), (N, 1) or (N, 1, 1), or emotions as
            (N, E) zeros and ones or (N, E, 2) one-hot; ``classification_labels`` hold classes from 0.
        value: An array or a flat list.
        budget: Of the file; by default one of its own.

    Example:
        >>> read_labels("regression_labels", [-3.0, 0.5]).values.tolist()
        [-3.0, 0.5]
        >>> read_labels("labels", [-3.0, float("inf")]).faults[0][0]
        'labels hold NaN or infinite values'
    """
    numbers = as_numbers(value, budget or Budget(key))
    if numbers is None:
        return Labels(faults=[(f"{key} are not numbers", None)], remedy=_WORDS)
    if numbers.dtype.kind == "f" and numbers.size and np.isnan(numbers).all():
        return Labels(is_missing=True)
    return check_labels(key, numbers)


def read_unimodal(key: str, value: Any, budget: Budget | None = None) -> Labels:
    """Read what a modality alone says; samples may lack it.

    Args:
        key: Name of the field.
        value: (N,), (N, 1) or (N, 1, 1) numbers, NaN or None where a sample has none, as an array or a flat list.
        budget: Of the file; by default one of its own.

    Example:
        >>> read_unimodal("regression_labels_A", [-0.4, None]).values.tolist()
        [-0.4000000059604645, nan]
    """
    numbers = as_numbers(value, budget or Budget(key))
    if numbers is None or numbers.size != len(numbers):
        return Labels(faults=[(f"{key} are not one number a sample", None)])
    flat = numbers.reshape(-1)
    missing = np.isnan(flat) if flat.dtype.kind == "f" else np.zeros(len(flat), bool)
    if missing.all():
        return Labels(is_missing=True)
    found = _numbers(key, np.where(missing, 0, flat))
    if found.values is not None:
        found.values = np.where(missing, np.float32(np.nan), found.values)
    return found


def check_labels(key: str, numbers: npt.NDArray[Any]) -> Labels:
    """Check labels that are in memory, or mapped, as those of a store.

    Args:
        key: See :func:`read_labels`.
        numbers: (N, ...).

    Example:
        >>> check_labels("labels", np.array([0.5, np.nan])).faults[0][0]
        'labels hold NaN or infinite values'
    """
    flat = numbers.reshape(len(numbers), -1)
    missing = ~np.isfinite(flat).all(1)
    if missing.any():
        return Labels(faults=[(f"{key} hold NaN or infinite values", missing)], remedy=_LACKING)
    if flat.shape[1] == 1:
        return _classes(key, flat[:, 0]) if key == "classification_labels" else _numbers(key, flat[:, 0])
    if numbers.ndim == 3 and numbers.shape[2] == 2 and numbers.shape[1] > 1:
        wrong = (numbers.sum(2) != 1).any(1) | (numbers * (1 - numbers) != 0).any((1, 2))
        return _checked(numbers.argmax(2), f"{key} are not one-hot", wrong)
    if numbers.ndim == 2:
        with np.errstate(over="ignore", invalid="ignore"):
            values, wrong = numbers.astype(np.int64), (numbers * (1 - numbers)).any(1)
        return _checked(values, f"{key} of emotions are not 0 or 1", wrong)
    return Labels(faults=[(f"{key} have shape {numbers.shape}, which is neither sentiment nor emotions", None)])


def count_labels(labels: npt.NDArray[Any] | None, names: Sequence[str] = ()) -> str:
    """Describe how often each label occurs.

    Args:
        labels: (N,) or (N, E); None where there are none.
        names: Of the classes, or of the emotions; none of a sentiment.

    Example:
        >>> count_labels(np.array([-1.0, 0.0, 2.5, 3.0]))
        'negative 1, neutral 1, positive 2'
        >>> count_labels(np.array([0, 2, 2]), ["joy", "fear", "anger"])
        'joy 1, fear 0, anger 2'
    """
    if labels is None:
        return "none"
    if labels.ndim == 2:
        counts = [int(count) for count in (labels > 0).sum(0)]
        named = [f"{name} {count}" for name, count in zip(names, counts, strict=False)]
        return "present " + (", ".join(named) if named else " ".join(map(str, counts)))
    if names:
        found = dict(zip(*(column.tolist() for column in np.unique(labels, return_counts=True)), strict=True))
        return ", ".join(f"{name} {found.get(place, 0)}" for place, name in enumerate(names))
    if labels.dtype.kind == "f":
        return ", ".join(
            f"{name} {int((np.sign(labels) == sign).sum())}" for name, sign in zip(_CLASSES, (-1, 0, 1), strict=True)
        )
    return ", ".join(
        f"class {value}: {count}" for value, count in zip(*np.unique(labels, return_counts=True), strict=True)
    )


def _numbers(key: str, values: npt.NDArray[Any]) -> Labels:
    with np.errstate(over="ignore"):
        numbers = values.astype(np.float32)
    return _checked(numbers, f"{key} hold numbers beyond float32", ~np.isfinite(numbers))


def _classes(key: str, values: npt.NDArray[Any]) -> Labels:
    wrong = (values < 0) | (values >= MAX_CLASSES) | (values != np.floor(values))
    return _checked(values.astype(np.int64), f"{key} hold what is no class from 0 to {MAX_CLASSES - 1}", wrong)


def _checked(values: npt.NDArray[Any], message: str, wrong: npt.NDArray[np.bool_]) -> Labels:
    return Labels(values, [(message, wrong)] if wrong.any() else [])
