"""Arrays that stay in their file and are read block by block, so that memory does not grow with the file."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from mer_zoo.errors import MERError
from mer_zoo.foreign import open_regular

__all__ = ["CHUNK", "READ_ERRORS", "ObjectArray", "StoredArray", "open_at", "read_header"]

CHUNK = 32 * 2**20
_LONGEST_HEADER = 10_000
_LARGEST = 2**62  # bytes; numpy's own limit also counts the other axes of an array without elements
READ_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    RuntimeError,
    OverflowError,
    struct.error,
    zlib.error,
    BadZipFile,
)
"""What damaged .npy and .npz files make the libraries that read them raise."""


def open_at(path: Path, offset: int) -> IO[bytes]:
    """Open a file for reading at a position.

    Args:
        path: The file.
        offset: Position in bytes.

    Raises:
        MERError: If it is no regular file.
    """
    file = open_regular(path)
    file.seek(offset)
    return file


class StoredArray:
    """An array described by its type and shape whose numbers are read when they are asked for.

    Args:
        dtype: Type of the elements as stored, byte order included.
        shape: Shape as stored, in C order.
        opener: Opens the bytes, positioned at the first element.
        axes: Axis order of the array in terms of the stored axes, None for the stored order.
        name: What to call the array in messages.

    Raises:
        MERError: If no array can have such a shape.

    Example:
        >>> import io
        >>> data = np.arange(6, dtype=">f8")
        >>> array = StoredArray(data.dtype, (2, 3), lambda: io.BytesIO(data.tobytes()))
        >>> array.shape, [float(block.sum()) for block in array.blocks(limit=24)]
        ((2, 3), [3.0, 12.0])
    """

    def __init__(
        self,
        dtype: np.dtype[Any],
        shape: Sequence[int],
        opener: Callable[[], IO[bytes]],
        axes: Sequence[int] | None = None,
        name: str = "array",
    ) -> None:
        if len(shape) > 32 or math.prod(max(size, 1) for size in shape) * dtype.itemsize > _LARGEST:
            raise MERError(f"{name} has a shape that no array can have; write or copy the file again")
        self.dtype = dtype
        self.stored_shape = tuple(shape)
        self.axes = tuple(range(len(self.stored_shape)) if axes is None else axes)
        self.shape = tuple(self.stored_shape[axis] for axis in self.axes)
        self.name = name
        self._open = opener
        self._taken: npt.NDArray[np.bool_] | None = None  # which rows as stored, None for all

    @classmethod
    def from_npy(cls, opener: Callable[[], IO[bytes]], size: int, name: str) -> StoredArray:
        """Describe an array in numpy's own format; nothing but the header is read.

        Args:
            opener: Opens the .npy stream at its start.
            size: Bytes of the stream.
            name: What to call the array in messages.

        Raises:
            MERError: If it is not such a stream, is cut short, or holds Python objects.
        """
        try:
            with opener() as file:
                shape, fortran, dtype, start = read_header(file)
        except MERError:
            raise
        except READ_ERRORS as error:
            raise MERError(f"{name} is not a .npy array; write it with numpy.save") from error
        if dtype.kind not in "biufSU":
            raise MERError(f"{name} holds {dtype} elements; save numbers, or text with dtype=str")
        if size - start < math.prod(shape) * dtype.itemsize:
            raise MERError(f"{name} is cut short; write or copy it again")

        def body() -> IO[bytes]:
            file = opener()
            read_header(file)
            return file

        axes = range(len(shape))[::-1] if fortran else None
        return cls(dtype, shape[::-1] if fortran else shape, body, axes, name)

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes as stored."""
        return math.prod(self.shape) * self.dtype.itemsize

    def blocks(self, limit: int = CHUNK) -> Iterator[npt.NDArray[Any]]:
        """Read consecutive blocks of rows, from the first to the last.

        Args:
            limit: Bytes that a block may take; one row is the least. An array whose first axis is not the slowest
                in the file (Fortran order) is read whole.

        Raises:
            MERError: If the bytes cannot be read.
        """
        if self.nbytes == 0:
            return
        streamed = self.axes[:1] == (0,)
        total = len(self) if self._taken is None else len(self._taken)
        rows = max(1, limit * len(self) // self.nbytes)
        try:
            with self._open() as file:
                whole = None if streamed else self._read(file, self.stored_shape)
                if whole is not None and not self.shape:  # a single number has no rows
                    yield whole
                for start in range(0, total, rows):
                    count = min(rows, total - start)
                    if whole is None:
                        block = self._read(file, (count, *self.stored_shape[1:]))
                    else:
                        block = whole[start : start + count]
                    if self._taken is not None:
                        block = block[self._taken[start : start + count]]
                    if len(block):
                        yield block
        except READ_ERRORS as error:
            raise MERError(f"{self.name} cannot be read ({error}); write or copy the file again") from error

    def as_steps(self) -> StoredArray:
        """The same numbers with an axis of one step: (N, d) as (N, 1, d).

        Example:
            >>> import io
            >>> array = StoredArray(np.dtype("u1"), (2, 3), lambda: io.BytesIO(bytes(range(6))), axes=(1, 0))
            >>> array.as_steps().load().tolist()
            [[[0, 3]], [[1, 4]], [[2, 5]]]
        """
        rows, columns = self.stored_shape
        axes = (0, 1, 2) if self.axes == (0, 1) else (2, 1, 0)
        steps = StoredArray(self.dtype, (rows, 1, columns), self._open, axes, self.name)
        return steps if self._taken is None else steps.take(self._taken)

    def take(self, rows: npt.NDArray[np.bool_]) -> StoredArray:
        """Some rows of the same array, in their order; the others are read and left out.

        Args:
            rows: (N,) which.

        Example:
            >>> import io
            >>> array = StoredArray(np.dtype("u1"), (3, 2), lambda: io.BytesIO(bytes(range(6))))
            >>> some = array.take(np.array([True, False, True]))
            >>> some.shape, some.load().tolist()
            ((2, 2), [[0, 1], [4, 5]])
        """
        some = StoredArray(self.dtype, self.stored_shape, self._open, self.axes, self.name)
        some._taken = np.array(rows)
        some.shape = (int(rows.sum()), *self.shape[1:])
        return some

    def load(self) -> npt.NDArray[Any]:
        """Read the whole array into memory.

        Raises:
            MERError: If the bytes cannot be read.
        """
        blocks = list(self.blocks())
        if not self.shape:
            return blocks[0]
        return np.concatenate(blocks) if blocks else np.empty(self.shape, self.dtype)

    def _read(self, file: IO[bytes], shape: tuple[int, ...]) -> npt.NDArray[Any]:
        count = math.prod(shape)
        data = file.read(count * self.dtype.itemsize)
        if len(data) < count * self.dtype.itemsize:
            raise EOFError("its bytes end early")
        block: npt.NDArray[Any] = np.frombuffer(data, self.dtype).reshape(shape).transpose(self.axes)
        return block


@dataclass(frozen=True, eq=False)
class ObjectArray:
    """An array of Python objects of rank two or more; one of rank one is the list of its items.

    Args:
        items: All items, the last axis the fastest.
        shape: Its shape.
    """

    items: list[Any]
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.shape[0]


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Read the header of a .npy stream.

    Args:
        file: The stream at its start.

    Returns:
        Shape, whether it is in Fortran order, type of the elements, and where they begin.

    Raises:
        ValueError: If it is no such header; other errors of :data:`READ_ERRORS` if it can't be read.
    """
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of the .npy format")
    length = file.read(2 * version[0])
    size = int.from_bytes(length, "little")
    if size > _LONGEST_HEADER:  # numpy itself looks at the size after it has read as much
        raise ValueError(f"a header of {size} bytes")
    try:
        shape, fortran, dtype = readers[version](io.BytesIO(length + file.read(size)))
    except (SyntaxError, tokenize.TokenError, MemoryError) as error:  # the last where brackets are nested too deeply
        raise ValueError(f"a header that is no dict ({error})") from None
    if any(size < 0 for size in shape):
        raise ValueError("a negative size")
    return shape, fortran, dtype, file.tell()
