"""Faults of a corpus, and the checks of single fields that the reader and the validator share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.data.corpus.arrays import StoredArray
from mer_zoo.errors import MERError

__all__ = ["Fault", "as_numbers", "as_texts", "fault_error", "plural", "size_of"]

MAX_ID = 1000
MAX_TEXT = 2**28
SHOWN_FAULTS = 8


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
    if isinstance(value, StoredArray):
        return len(value) if value.ndim else None
    return len(value) if isinstance(value, (list, tuple)) else None


def as_numbers(value: Any) -> npt.NDArray[Any] | None:
    """Load a field of numbers, an array of any rank or a flat list; None if it is something else."""
    if isinstance(value, StoredArray):
        return value.load() if value.dtype.kind in "biuf" else None
    if all(isinstance(item, float) or (isinstance(item, int) and abs(item) < 2**63) for item in value):
        return np.array(value, dtype=np.float64)
    return None


def as_texts(value: Any) -> list[list[str]] | None:
    """Read a field of text: one row of columns a sample, one column where the field is flat; None if it is no text.

    Args:
        value: An array of text, bytes or whole numbers, or a list of those or of short lists of those.
    """
    if isinstance(value, StoredArray):
        if value.dtype.kind not in "SUiu":
            return None
        try:
            rows = [row for block in value.blocks() for row in block.reshape(len(block), -1).tolist()]
        except ValueError:  # bytes that are no characters
            return None
    else:
        rows = [list(item[:9]) if isinstance(item, (list, tuple)) else [item] for item in value]
    if any(len(row) > 8 or any(not isinstance(item, (str, bytes, int)) for item in row) for row in rows):
        return None
    if sum(len(item) for row in rows for item in row if isinstance(item, (str, bytes))) > MAX_TEXT:
        return None
    return [[item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in row] for row in rows]


def _some(ids: Sequence[str]) -> str:
    shown = ", ".join(i if i.isprintable() else repr(i) for i in ids[:3])
    return shown if len(ids) <= 3 else f"{shown} and {len(ids) - 3} more"
