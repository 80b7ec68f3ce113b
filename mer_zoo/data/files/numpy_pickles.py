"""What numpy and joblib write into pickles, rebuilt as descriptions; numpy's own code never sees it."""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from mer_zoo.data.corpus.arrays import ObjectArray, StoredArray, open_at

__all__ = ["ADMITTED", "FileSlice", "MalformedPickleError", "Pending", "build", "check_keys", "make"]

_NUMPY = {
    "core.multiarray._reconstruct": "array",
    "core.multiarray.scalar": "scalar",
    "core.numeric._frombuffer": "buffer",
}
_BUILTINS = {"set": "set", "frozenset": "frozenset", "bytearray": "bytes", "bytes": "bytes"}
_FACTORIES = ("dict", "list", "int", "float", "str")  # what a defaultdict would make of a key that it lacks
MAX_NUMBER_KEYS = 256
MAX_KEY = 1000
ADMITTED = {
    "numpy.ndarray": "class",
    "numpy.dtype": "dtype",
    "_codecs.encode": "encode",
    "joblib.numpy_pickle.NumpyArrayWrapper": "joblib array",
    "collections.OrderedDict": "dict",
    "collections.defaultdict": "defaultdict",
    **{f"{module}.{name}": "factory" for module in ("builtins", "__builtin__") for name in _FACTORIES},
    **{f"numpy.{name}": kind for name, kind in _NUMPY.items()},
    **{f"numpy._{name}": kind for name, kind in _NUMPY.items()},
    **{f"{module}.{name}": kind for module in ("builtins", "__builtin__") for name, kind in _BUILTINS.items()},
}
"""Every name that a pickle may hold, with the kind of thing it stands for."""


class MalformedPickleError(Exception):
    """Bytes that no writer of plain data would write."""


@dataclass(frozen=True)
class FileSlice:
    """Bytes left in a file."""

    path: Path
    start: int
    size: int

    def open(self) -> IO[bytes]:
        """Open the file at the first of the bytes."""
        return open_at(self.path, self.start)


class Pending:
    """A numpy object under construction: a pickle first makes it, may then refer to it, and sets its state last.

    Args:
        kind: One of the values of :data:`ADMITTED`.
        value: What it stands for, as far as known.
    """

    def __init__(self, kind: str, value: Any = None) -> None:
        self.kind, self.value = kind, value

    @property
    def is_object(self) -> bool:
        """Whether this is the element type of Python objects."""
        return isinstance(self.value, np.dtype) and self.value.hasobject

    @property
    def is_finished_array(self) -> bool:
        """Whether this is an array whose state is set."""
        return self.kind in ("array", "joblib array") and self.value is not None

    def nbytes(self, shape: Any) -> int:
        """Bytes of an array of this element type."""
        return math.prod(_check_shape(shape)) * _dtype(self).itemsize

    def result(self) -> Any:
        """Return the finished object.

        Raises:
            MalformedPickleError: If its state was never set.
        """
        if self.value is None:
            raise MalformedPickleError(f"an unfinished {self.kind} is left over")
        return self.value


def make(kind: str, arguments: tuple[Any, ...]) -> Any:
    """Do what calling an admitted name would do.

    Args:
        kind: One of the values of :data:`ADMITTED`.
        arguments: What the pickle passes.

    Raises:
        MalformedPickleError: If the arguments are not those that numpy writes.
    """
    if kind in ("array", "joblib array"):
        return Pending(kind)
    if kind == "dtype":
        return Pending("dtype", _parse_dtype(arguments[0]))
    if kind == "scalar":
        dtype, data = _dtype(arguments[0]), _as_bytes(arguments[1])
        if dtype.hasobject or not isinstance(data, bytes) or len(data) != dtype.itemsize:
            raise MalformedPickleError("a scalar is malformed")
        if dtype.itemsize == 0:
            return "" if dtype.kind == "U" else b""
        return np.frombuffer(data, dtype)[0].item()
    if kind == "buffer":
        data, dtype, shape, order = arguments[:4]
        return _array(_dtype(dtype), shape, order, data, arguments[4] if len(arguments) > 4 else None)
    if kind == "encode":
        text, encoding = arguments
        if encoding not in ("latin1", "latin-1"):
            raise MalformedPickleError("bytes are encoded in an unusual way")
        return text.encode("latin-1")
    if kind in ("set", "frozenset", "bytes", "dict", "defaultdict"):
        return _container(kind, arguments)
    raise MalformedPickleError(f"a {kind} is called")


def build(target: Pending, state: Any) -> None:
    """Set the state of an array or an element type.

    Args:
        target: What :func:`make` returned.
        state: The tuple that numpy writes.

    Raises:
        MalformedPickleError: If the state is not such a tuple, or its sizes disagree.
    """
    if target.kind == "dtype":
        _, order, subarray, names, fields = state[:5]
        if subarray is not None or names is not None or fields is not None or order not in ("<", ">", "|", "="):
            raise MalformedPickleError("an element type has fields")
        target.value = _dtype(target).newbyteorder(order)
    elif target.kind == "array" and target.value is None:
        _, shape, dtype, fortran, data = state
        if _dtype(dtype).hasobject:
            if not isinstance(data, list) or len(data) != math.prod(_check_shape(shape)):
                raise MalformedPickleError("an object array does not have as many items as its shape says")
            target.value = data if len(shape) < 2 else ObjectArray(data, shape)
        else:
            target.value = _array(_dtype(dtype), shape, "F" if fortran else "C", data)
    else:
        raise MalformedPickleError(f"a state is set on a {target.kind}")


def check_keys(keys: list[Any], present: int = 0) -> list[Any]:
    """Check that items may be keys of a dict or items of a set.

    Hashing a nested tuple can take for ever, or more stack than there is, and numbers can be chosen so that many
    of them collide; text can not, but long text takes long to be compared with its like.

    Args:
        keys: The items to be added.
        present: Number of items already there.

    Raises:
        MalformedPickleError: If one is neither text nor a number, or long, or numbers are many.
    """
    if any(isinstance(key, (str, bytes)) and len(key) > MAX_KEY for key in keys):
        raise MalformedPickleError("a key is a long text")
    if any(not isinstance(key, (str, bytes)) for key in keys):
        if present + len(keys) > MAX_NUMBER_KEYS:
            raise MalformedPickleError("it has many numbers as keys")
        if any(not isinstance(key, (str, bytes, int, float)) and key is not None for key in keys):
            raise MalformedPickleError("a key is neither text nor a number")
    return keys


def _container(kind: str, arguments: tuple[Any, ...]) -> Any:
    if kind == "defaultdict":  # its one argument is the factory, which is never called
        return {}
    if kind == "dict":
        pairs = arguments[0] if arguments else []
        if not isinstance(pairs, list) or any(not isinstance(pair, (list, tuple)) or len(pair) != 2 for pair in pairs):
            raise MalformedPickleError("an ordered dict is not made of pairs")
        return dict(zip(check_keys([key for key, _ in pairs]), (value for _, value in pairs), strict=True))
    if not arguments:
        return {"set": set(), "frozenset": frozenset(), "bytes": b""}[kind]
    if kind == "bytes":
        return _as_bytes(arguments[0])
    items = check_keys(arguments[0])
    return set(items) if kind == "set" else frozenset(items)


def _parse_dtype(code: Any) -> np.dtype[Any]:
    if not isinstance(code, str):
        raise MalformedPickleError("an element type has no name")
    if code in ("O", "O4", "O8"):
        return np.dtype(object)
    if not re.fullmatch(r"b1|[iu][1248]|f[248]|[SU][0-9]{1,9}", code):
        raise MalformedPickleError(f"it holds elements of type {code[:20]!r}, where only numbers and text are of use")
    return np.dtype(code)


def _dtype(value: Any) -> np.dtype[Any]:
    if not isinstance(value, Pending) or not isinstance(value.value, np.dtype):
        raise MalformedPickleError("an array has no element type")
    return value.value


def _check_shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or len(shape) > 8 or any(type(size) is not int or size < 0 for size in shape):
        raise MalformedPickleError("an array has no proper shape")
    return shape


def _as_bytes(data: Any) -> bytes | FileSlice:
    if isinstance(data, str):  # Python 2 did not tell text from bytes
        data = data.encode("latin-1")
    if not isinstance(data, (bytes, FileSlice)):
        raise MalformedPickleError("an array has no bytes")
    return data


def _array(dtype: np.dtype[Any], shape: Any, order: Any, data: Any, axes: Any = None) -> StoredArray:
    shape, data = _check_shape(shape), _as_bytes(data)
    needed, given = math.prod(shape) * dtype.itemsize, len(data) if isinstance(data, bytes) else data.size
    if needed != given:
        raise MalformedPickleError(f"an array of shape {shape} should have {needed} bytes, but has {given}")
    if order == "F":
        shape, axes = shape[::-1], tuple(range(len(shape)))[::-1]
    elif order == "K":
        # numbers only: to compare tuples within tuples can take for ever
        if (
            not isinstance(axes, tuple)
            or len(axes) != len(shape)
            or any(type(axis) is not int for axis in axes)
            or sorted(axes) != [*range(len(shape))]
        ):
            raise MalformedPickleError("an array has no proper order of axes")
    elif order == "C":
        axes = None
    else:
        raise MalformedPickleError("an array is neither in C nor in Fortran order")
    opener = data.open if isinstance(data, FileSlice) else lambda: io.BytesIO(data)
    return StoredArray(dtype, shape, opener, axes)
