"""Blocks of Arrow files, and the arrays in their columns, which stay in the file until they are read."""

from __future__ import annotations

import io
import mmap
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from mer_zoo.data.corpus.arrays import StoredArray, open_at
from mer_zoo.data.corpus.checks import ARRAY_OPENED
from mer_zoo.errors import MERError
from mer_zoo.foreign import Budget, open_regular
from mer_zoo.text import told

__all__ = ["Block", "bytes_of", "is_array", "read_blocks", "rows_of"]

_STREAM, _DICTIONARY, _BATCH = 0xFFFFFFFF, 2, 3
_COMPRESSION = 3  # the field of a batch


@dataclass(frozen=True)
class Block:
    """A block of rows, mapped from its file.

    Args:
        batch: A record batch of pyarrow.
        file: The file.
        start: Where in memory the file begins.
        size: Bytes of the file.
    """

    batch: Any
    file: Path
    start: int
    size: int

    def opener(self, numbers: npt.NDArray[Any]) -> Callable[[], IO[bytes]]:
        """Opens the bytes of numbers of the block in its file, so that it need not stay mapped."""
        offset = int(numbers.__array_interface__["data"][0]) - self.start
        if 0 <= offset <= self.size - numbers.nbytes:
            return partial(open_at, self.file, offset)
        return partial(bytes_of, numbers)  # which pyarrow has copied


def read_blocks(file: Path, budget: Budget) -> Iterator[Block]:
    """The blocks of an Arrow file, checked through and through.

    Args:
        file: An Arrow file as ``datasets`` writes it, a stream.
        budget: Of the folder.

    Raises:
        MERError: If it is no such file, or compressed, or pyarrow is lacking.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise MERError(f"{file} is read by pyarrow, which is not installed; pip install 'mer-zoo[hf]'") from None
    with open_regular(file) as opened:
        data = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    for _ in _check_uncompressed(memoryview(data), file):
        budget.take(ARRAY_OPENED)
    try:
        whole = pa.py_buffer(data)
        with pa.ipc.open_stream(whole) as reader:
            for batch in reader:
                budget.take(ARRAY_OPENED * (1 + batch.num_columns))
                batch.validate(full=True)
                yield Block(batch, file, whole.address, whole.size)
    except pa.ArrowException as error:
        raise MERError(f"{file} is no sound Arrow file ({told(str(error))[:200]}); save the data set again") from error


def _check_uncompressed(data: memoryview, file: Path) -> Iterator[None]:
    """Refuse blocks that are unpacked when they are read, of which a small file could hold many; ``datasets`` has none.

    The heads of messages are FlatBuffers tables: an offset to a list of offsets of the fields.
    """

    def number(form: str, at: int) -> int:
        if at < 0:
            raise MERError(f"{file} is no sound Arrow file; save the data set again")
        value: int = struct.unpack_from(form, data, at)[0]
        return value

    def place(table: int, slot: int) -> int:
        offsets = table - number("<i", table)
        offset = number("<H", offsets + 4 + 2 * slot) if 4 + 2 * slot < number("<H", offsets) else 0
        return table + offset if offset else 0

    at = 0
    while at + 8 <= len(data) and (size := number("<i", at + 4)) > 0:
        if number("<I", at) != _STREAM:
            raise MERError(f"{file} is no stream of Arrow as datasets writes it; save the data set again")
        at += 8
        message = at + number("<I", at)
        kind, head, body = (place(message, slot) for slot in (1, 2, 3))
        is_packed = bool(head) and bool(place(head + number("<I", head), _COMPRESSION))
        if kind and (number("<B", kind) == _DICTIONARY or (number("<B", kind) == _BATCH and is_packed)):
            raise MERError(f"{file} is compressed or has a dictionary, which datasets does not write; save it again")
        at += size + max(number("<q", body) if body else 0, 0)
        yield


def is_array(column: Any) -> bool:
    """Whether a column has lists of numbers, and not of words.

    Args:
        column: Of pyarrow.
    """
    return hasattr(column, "values") and not str(_inner(column).type).endswith("string")


def _inner(column: Any) -> Any:
    while hasattr(column, "values"):
        column = column.values
    return column


def rows_of(block: Block, place: int, name: str, budget: Budget) -> list[StoredArray | None]:
    """The array of each row, (steps, features) or (features,); None where a row has none.

    Args:
        block: The rows.
        place: Of the column, of lists or lists of lists.
        name: What to call it in messages.
        budget: Of the folder.

    Raises:
        MERError: If it holds anything else than numbers, or steps of different widths in one row.
    """
    column = block.batch.column(place)
    budget.take(ARRAY_OPENED * len(column))
    bounds = _bounds(column)
    steps, values = None, column.values
    if hasattr(values, "values"):
        steps, values = _bounds(values), values.values
        if column.values.null_count:
            raise MERError(f"{name} has rows with steps that are missing; write zeros there")
    if hasattr(values, "values") or values.null_count or str(values.type) in ("bool", "null"):
        raise MERError(f"{name} is not one array of numbers (steps, features) or (features,) a row; save it so")
    numbers = values.to_numpy(zero_copy_only=True)
    if numbers.dtype.kind not in "iuf":
        raise MERError(f"{name} holds {numbers.dtype}, not numbers; extract features first")
    missing = column.is_null().to_numpy(zero_copy_only=False)
    return [
        None if absent else _array(block, numbers, int(start), int(stop), steps, name)
        for absent, start, stop in zip(missing, bounds[:-1], bounds[1:], strict=True)
    ]


def _bounds(column: Any) -> npt.NDArray[np.int64]:
    """Where each row begins, and the last one ends."""
    if hasattr(column, "offsets"):
        return np.asarray(column.offsets.to_numpy(), np.int64)
    size: int = column.type.list_size
    return np.arange(len(column) + 1, dtype=np.int64) * size


def _array(
    block: Block, numbers: npt.NDArray[Any], start: int, stop: int, steps: npt.NDArray[np.int64] | None, name: str
) -> StoredArray:
    shape: tuple[int, ...] = (stop - start,)
    if steps is not None:
        widths = np.unique(np.diff(steps[start : stop + 1]))
        if len(widths) > 1:
            raise MERError(f"{name} has a row of {widths[0]} and {widths[-1]} features; give all steps one width")
        shape = (stop - start, int(widths[0]) if len(widths) else 0)
        start, stop = int(steps[start]), int(steps[stop])
    return StoredArray(numbers.dtype, shape, block.opener(numbers[start:stop]), name=name)


def bytes_of(numbers: npt.NDArray[Any]) -> io.BytesIO:
    r"""The bytes of numbers, as a file.

    Args:
        numbers: Any shape.

    Example:
        >>> bytes_of(np.array([1, 2], "u1")).read()
        b'\x01\x02'
    """
    return io.BytesIO(numbers.tobytes())
