"""Samples without labels in a split that is to be trained on: SIMSv2 mixes them with others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.data.corpus.arrays import ObjectArray, StoredArray
from mer_zoo.data.corpus.checks import as_numbers, size_of
from mer_zoo.data.files.labels import LABEL_FIELDS
from mer_zoo.foreign import Budget

__all__ = ["labelled_part"]


def labelled_part(fields: Mapping[Any, Any], budget: Budget) -> tuple[Mapping[Any, Any], int]:
    """The samples of a split that have a label, where some have and some have not.

    Args:
        fields: Of the split.
        budget: Of the file.

    Returns:
        The fields, of those samples alone, and how many others there are.

    Example:
        >>> labelled_part({"labels": [0.5, None, -1.0], "id": ["a", "b", "c"]}, Budget("corpus"))
        ({'labels': [0.5, -1.0], 'id': ['a', 'c']}, 1)
    """
    key = next((key for key in LABEL_FIELDS if key in fields), None)
    if key is None or not size_of(fields[key]):
        return fields, 0
    numbers = as_numbers(fields[key], budget)
    if numbers is None or numbers.dtype.kind != "f":
        return fields, 0
    missing = np.isnan(numbers.reshape(len(numbers), -1)).all(1)
    if missing.all() or not missing.any():
        return fields, 0
    rows = {key: _rows(value, ~missing) if size_of(value) == len(missing) else value for key, value in fields.items()}
    return rows, int(missing.sum())


def _rows(value: Any, kept: npt.NDArray[np.bool_]) -> Any:
    if isinstance(value, StoredArray):
        return value.take(kept)
    if isinstance(value, ObjectArray):
        width = math.prod(value.shape[1:])
        items = [item for place, item in enumerate(value.items) if kept[place // max(width, 1)]]
        return ObjectArray(items, (int(kept.sum()), *value.shape[1:]))
    return [item for item, there in zip(value, kept.tolist(), strict=True) if there]
