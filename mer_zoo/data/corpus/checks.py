"""Faults of a corpus, and the checks of single fields that the reader and the validator share."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.data.corpus.arrays import ObjectArray, StoredArray
from mer_zoo.errors import MERError
from mer_zoo.foreign import Budget

__all__ = [
    "NOT_IN_IDS",
    "NOT_IN_TEXT",
    "Fault",
    "as_numbers",
    "as_texts",
    "as_transcripts",
    "fault_error",
    "plural",
    "size_of",
    "take_array",
    "unwritable",
]

MAX_ID = 1000
MAX_SPLITS = 64
MAX_SAMPLES = 2**19  # each takes far more memory than the byte that it may have in the file
MAX_TOKENS = 2**20  # the largest vocabularies have a quarter of that; a larger one would be a network of gigabytes
SPLIT_NAME = re.compile(r"train|valid|test(_[A-Za-z0-9_]{1,40})?")
SHOWN_FAULTS = 8
NOT_IN_TEXT = re.compile("[\\x00\\ud800-\\udfff]")
"""Half a character has no bytes in any file, and no file of text holds a zero."""
NOT_IN_IDS = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff]")
"""What would also end a line, or be an order to the terminal."""
_MAX_COLUMNS = 8
_ROWS = 2**16
ARRAY_OPENED = 40  # steps: to open an array takes a few microseconds
_TIMES_HELD = 8  # checking numbers takes as many arrays of their size at a time


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a corpus.

    Args:
        split: The split, empty if the fault concerns the whole file.
        field: The key of the file, empty if the fault concerns no single one.
        message: What is wrong.
        ids: The samples concerned, as far as single ones are.
        remedy: What mends it, if it is more special than mending the file.

    Example:
        >>> str(Fault("train", "audio", "audio holds 2 NaN", ids=("a", "b", "c", "d")))
        'train: audio holds 2 NaN (samples a, b, c and 1 more)'
    """

    split: str
    field: str
    message: str
    ids: tuple[str, ...] = ()
    remedy: str = ""

    def __str__(self) -> str:
        where = f"{self.split}: " if self.split else ""
        return where + self.message + (f" (samples {_some(self.ids)})" if self.ids else "")


def fault_error(source: str, faults: Sequence[Fault]) -> MERError:
    """Put faults into the one sentence of an error.

    Args:
        source: Name of the file.
        faults: At least one.
    """
    shown = "; ".join(str(fault) for fault in faults[:SHOWN_FAULTS])
    if len(faults) > SHOWN_FAULTS:
        shown += f"; and {len(faults) - SHOWN_FAULTS} more"
    remedies = list(dict.fromkeys(fault.remedy for fault in faults if fault.remedy))
    if any(not fault.remedy for fault in faults):
        remedies.append("mend the file (`mer-zoo validate-data` lists every fault)")
    return MERError(f"{source} cannot be used: {shown}; {', and '.join(remedies)}")


def plural(count: int, word: str) -> str:
    """Write a count with its word.

    Example:
        >>> plural(1, "value"), plural(2, "value")
        ('1 value', '2 values')
    """
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def size_of(value: Any) -> int | None:
    """Number of samples in a field, or None if it is neither an array nor a list."""
    if isinstance(value, (StoredArray, ObjectArray)):
        return len(value) if value.shape else None
    return len(value) if isinstance(value, (list, tuple)) else None


def as_numbers(value: Any, budget: Budget) -> npt.NDArray[Any] | None:
    """Load a field of numbers, an array of any rank or a flat list; None if it is something else.

    Where a list has nothing (Python's None), the number is NaN.

    Args:
        value: An array or a list.
        budget: Of the file.
    """
    if isinstance(value, StoredArray):
        if value.dtype.kind not in "biuf":
            return None
        take_array(value, budget)
        budget.hold(_TIMES_HELD * 8 * math.prod(value.shape))
        return value.load()
    if isinstance(value, ObjectArray):
        numbers = as_numbers(value.items, budget)
        return None if numbers is None else numbers.reshape(value.shape)
    budget.take(len(value))
    budget.hold(_TIMES_HELD * 8 * len(value))
    if all(item is None or isinstance(item, float) or (isinstance(item, int) and abs(item) < 2**63) for item in value):
        return np.array(value, dtype=np.float64)
    return None


def as_texts(value: Any, budget: Budget, columns: int = 1, numbers: bool = False) -> list[list[str]] | None:
    """Read the first columns of a field of text, one where it is flat or has rows of one; None if it is no text.

    Args:
        value: An array of text, bytes or whole numbers, or a list of those or of short lists of those.
        budget: Of the file.
        columns: How many columns are of interest.
        numbers: Whether lists may hold numbers with a fraction, as starts and ends of clips.

    Returns:
        At least one column of N texts, and at most ``columns``.
    """
    found: list[list[str]] = []
    for part in _text_columns(value, columns, budget):
        texts = [_texts(column, budget, numbers) for column in part]
        if not texts or any(column is None for column in texts):
            return None
        found = [[*before, *column] for before, column in zip(found or [[]] * len(texts), texts, strict=True) if column]
    return found


def as_transcripts(value: Any, budget: Budget) -> tuple[list[str], bool] | None:
    """Read a field of transcripts, each of which is one text or its words; None if it is something else.

    Args:
        value: A list or an array of texts, or of rows of words.
        budget: Of the file.

    Returns:
        N texts, empty where there is nothing, and whether words were put together.

    Example:
        >>> as_transcripts([["so", "good"], [b"yes", ""]], Budget("a list"))
        (['so good', 'yes'], True)
    """
    rows: list[Any] = []
    if isinstance(value, ObjectArray):
        width = math.prod(value.shape[1:])
        rows = [value.items[start : start + width] for start in range(0, len(value.items), max(width, 1))]
    elif isinstance(value, StoredArray) and value.ndim > 1:
        words = _all_texts(value, budget)
        width = max(1, len(words or []) // max(len(value), 1))
        rows = [[()]] if words is None else [words[start : start + width] for start in range(0, len(words), width)]
    elif not isinstance(value, StoredArray) and {list, tuple, StoredArray} & set(map(type, value)):
        rows = [_words_of(row, budget) for row in value]
    else:
        columns = as_texts(value, budget)
        return None if columns is None else (columns[0] if columns else [], False)
    texts = []
    for row in rows:
        words = _texts(row, budget)
        if words is None:
            return None
        texts.append(" ".join(filter(None, words)))
    budget.hold(sum(map(sys.getsizeof, texts)))
    return texts, any(len(row) > 1 for row in rows)


def _words_of(row: Any, budget: Budget) -> Sequence[Any]:
    if isinstance(row, StoredArray):
        budget.take(ARRAY_OPENED)
        words = _all_texts(row, budget)
        return [()] if words is None else words
    return row if isinstance(row, (list, tuple)) else [row]


def _all_texts(array: StoredArray, budget: Budget) -> list[Any] | None:
    """The items of an array of text, the last axis the fastest; None where it holds anything else."""
    budget.take(2 * math.prod(array.shape))
    budget.hold(array.nbytes)
    if array.dtype.kind not in "SU":
        return None
    if array.dtype.itemsize == 0:  # texts that are all empty take no bytes
        return [""] * math.prod(array.shape)
    items = np.ascontiguousarray(array.load())
    if items.dtype.kind == "U" and _code_points(items).max(initial=0) > sys.maxunicode:
        return None  # numpy would make Python fail
    found: list[Any] = items.reshape(-1).tolist()
    return found


def _texts(items: Sequence[Any], budget: Budget, numbers: bool = False) -> list[str] | None:
    budget.take(2 * len(items))
    types = set(map(type, items))
    if not types <= {str, bytes, int, float, type(None)}:
        return None
    if int in types and any(type(item) is int and abs(item) >= 2**64 for item in items):
        return None
    if float in types and not numbers and any(type(item) is float and item == item for item in items):
        return None
    if types & {float, type(None)}:  # what a table has where a text is missing
        items = ["" if item is None or item != item else item for item in items]
    texts = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in items]
    size = sum(map(sys.getsizeof, texts))
    budget.hold(size)
    budget.take(size // 64)
    return texts


def take_array(array: StoredArray, budget: Budget) -> None:
    """Account for reading an array that is no feature, however few bytes of the file it takes."""
    budget.take(max(array.nbytes // 256, math.prod(array.shape) // 32))


def _text_columns(value: Any, columns: int, budget: Budget) -> Iterator[list[Sequence[Any]]]:
    """The first columns, a part of the samples at a time; none where it is no text."""
    if isinstance(value, ObjectArray):
        width = math.prod(value.shape[1:])
        for start in range(0, len(value.items) if 0 < width <= _MAX_COLUMNS else 0, width * _ROWS):
            part = value.items[start : start + width * _ROWS]
            yield [part[place::width] for place in range(min(columns, width))]
        if not 0 < width <= _MAX_COLUMNS:
            yield []
        return
    if not isinstance(value, StoredArray):
        for start in range(0, len(value), _ROWS):
            yield _columns_of(value[start : start + _ROWS], columns)
        return
    take_array(value, budget)
    if value.dtype.kind not in "SUiu" or not 0 < math.prod(value.shape[1:]) <= _MAX_COLUMNS:
        yield []
        return
    if value.dtype.itemsize == 0:  # texts that are all empty take no bytes
        budget.take(2 * len(value))
        yield [[""] * len(value)]
        return
    for block in value.blocks():
        flat = np.ascontiguousarray(block).reshape(len(block), -1)
        if flat.dtype.kind == "U" and _code_points(flat).max(initial=0) > sys.maxunicode:
            yield []  # numpy would make Python fail
            return
        yield flat[:, :columns].T.tolist()


def _columns_of(rows: Sequence[Any], columns: int) -> list[Sequence[Any]]:
    if not {list, tuple} & set(map(type, rows)):
        return [rows]
    rows = [row if isinstance(row, (list, tuple)) else [row] for row in rows]
    if not all(0 < len(row) <= _MAX_COLUMNS for row in rows):
        return []
    return [[row[place] for row in rows] for place in range(min(columns, *map(len, rows)))]


def _code_points(texts: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
    points: npt.NDArray[np.uint32] = texts.view(np.dtype("u4").newbyteorder(texts.dtype.byteorder))
    return points


def unwritable(texts: Sequence[str], pattern: re.Pattern[str]) -> npt.NDArray[np.bool_] | None:
    r"""Which texts hold characters that a file could not, or not in a line; None where all can be written.

    Args:
        texts: N of them.
        pattern: :data:`NOT_IN_TEXT` or :data:`NOT_IN_IDS`.

    Example:
        >>> unwritable(["a", "\ud800"], NOT_IN_TEXT).tolist()
        [False, True]
    """
    # to ask whether all is printable takes a tenth of the time, and mostly it is
    wrong = np.array([not text.isprintable() and pattern.search(text) is not None for text in texts], dtype=bool)
    return wrong if wrong.any() else None


def _some(ids: Sequence[str]) -> str:
    shown = ", ".join(i if i.isprintable() else repr(i) for i in ids[:3])
    return shown if len(ids) <= 3 else f"{shown} and {len(ids) - 3} more"
