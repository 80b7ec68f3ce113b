"""Arrays mapped from a file, sent to other processes as the name of the file instead of their numbers."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mer_zoo.errors import MERError

__all__ = ["MappedArray", "attach", "detach"]


@dataclass(frozen=True)
class MappedArray:
    """Where the numbers of a mapped array are.

    Args:
        file: The file.
        dtype: Type of the elements.
        offset: First byte of the first element.
        shape: Shape of the array.
        order: C, or F if the first axis is the fastest.
    """

    file: str
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    order: Literal["C", "F"]


def detach(value: Any) -> Any:
    """Describe a whole array that is mapped read-only, or the arrays of a dict; anything else comes back as it is.

    Example:
        >>> from tempfile import mkdtemp
        >>> file = mkdtemp() + "/x.npy"
        >>> np.save(file, np.arange(3))
        >>> described = detach({"x": np.load(file, mmap_mode="r")})["x"]
        >>> described.shape, attach(described).tolist()
        ((3,), [0, 1, 2])
    """
    if isinstance(value, dict):
        return {key: detach(item) for key, item in value.items()}
    # a slice is a memmap too, but shares the offset of the whole; only the whole lies on the mapping itself
    if not isinstance(value, np.memmap) or not _is_whole(value.base) or value.mode != "r":
        return value
    order: Literal["C", "F"] = "C" if value.flags.c_contiguous else "F"
    return MappedArray(str(value.filename), value.dtype, value.offset, value.shape, order)


def _is_whole(base: object) -> bool:
    return isinstance(base, mmap.mmap)


def attach(value: Any) -> Any:
    """Undo :func:`detach`.

    Raises:
        MERError: If the file has gone or changed its size.
    """
    if isinstance(value, dict):
        return {key: attach(item) for key, item in value.items()}
    if not isinstance(value, MappedArray):
        return value
    try:
        return np.memmap(value.file, value.dtype, "r", value.offset, value.shape, value.order)
    except (OSError, ValueError) as error:
        raise MERError(f"{value.file} cannot be mapped again ({error}); convert the corpus again") from error
