"""Samples of different lengths as one array, padded while it is read."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np
from typing_extensions import override

from mer_zoo.data.corpus.arrays import StoredArray
from mer_zoo.data.corpus.checks import ARRAY_OPENED
from mer_zoo.errors import MERError
from mer_zoo.foreign import Budget

__all__ = ["longest_of", "padded"]

MOST_PADDING = 256  # times the numbers themselves
LEAST = 2**22  # numbers that may be padding in any case


def padded(rows: Sequence[StoredArray | None], name: str, budget: Budget, least: int = 0) -> StoredArray:
    """Describe (T_i, d) arrays as one (N, T, d) array with zeros behind each; nothing is read yet.

    Args:
        rows: One array a sample, (T_i, d) or (d,) for one step; None where the sample has none.
        name: What to call the field in messages.
        budget: Of the file.
        least: The least T, so that it is that of other splits.

    Raises:
        MERError: If they do not have one width, are no numbers, or are nearly all padding.

    Example:
        >>> one, two = (StoredArray(np.dtype("u1"), (t, 2), lambda t=t: io.BytesIO(bytes([t] * 2 * t))) for t in (1, 2))
        >>> padded([one, two, None], "audio", Budget("a list")).load().tolist()
        [[[1, 1], [0, 0]], [[2, 2], [2, 2]], [[0, 0], [0, 0]]]
    """
    budget.take(ARRAY_OPENED * len(rows))
    known = [row for row in rows if row is not None and 0 not in row.shape]
    if not known or any(row.ndim not in (1, 2) or row.dtype.kind not in "biuf" for row in known):
        raise MERError(f"{name} is not one array of numbers (steps, features) a sample; save each clip as such a one")
    widths = {row.shape[-1] for row in known}
    if len(widths) > 1:
        raise MERError(f"{name} has samples of {min(widths)} and of {max(widths)} features; give all one width")
    width, longest = widths.pop(), max(least, longest_of(known))
    real, all_together = sum(math.prod(row.shape) for row in known), len(rows) * longest * width
    if all_together > MOST_PADDING * real + LEAST:
        raise MERError(
            f"{name} has {longest} steps in the longest sample and {real // (len(rows) * width)} on average, so that"
            " nearly all of it would be padding; cut the longest"
        )
    dtype = np.result_type(*{row.dtype for row in known}).newbyteorder("=")
    shape = (len(rows), longest, width)
    size = longest * width * dtype.itemsize

    def opened() -> IO[bytes]:
        return io.BufferedReader(_Padded(_bytes_of(row, dtype, size) for row in rows))

    return StoredArray(dtype, shape, opened, name=name)


def longest_of(rows: Any) -> int:
    """The most steps of samples that are arrays of their own; 0 where it is no list of these.

    Args:
        rows: A field.
    """
    if not isinstance(rows, (list, tuple)):
        return 0
    return max((len(row) if row.ndim == 2 else 1 for row in rows if isinstance(row, StoredArray)), default=0)


def _bytes_of(row: StoredArray | None, dtype: np.dtype[Any], size: int) -> bytes:
    if row is None or 0 in row.shape:
        return bytes(size)
    return np.ascontiguousarray(row.load(), dtype).tobytes().ljust(size, b"\0")


class _Padded(io.RawIOBase):
    """The bytes of one sample after the other."""

    def __init__(self, samples: Iterator[bytes]) -> None:
        self.samples, self.rest = samples, memoryview(b"")

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any, /) -> int:
        while not self.rest:
            sample = next(self.samples, None)
            if sample is None:
                return 0
            self.rest = memoryview(sample)
        count = min(len(buffer), len(self.rest))
        buffer[:count] = self.rest[:count]
        self.rest = self.rest[count:]
        return count
