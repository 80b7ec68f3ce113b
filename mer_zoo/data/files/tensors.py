"""Corpora that torch.save wrote: tensors, numbers, texts and containers of these; nothing is executed."""

from __future__ import annotations

import codecs
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mer_zoo.data.corpus.arrays import StoredArray
from mer_zoo.errors import MERError
from mer_zoo.foreign import Budget
from mer_zoo.foreign.archives import read_archive

__all__ = ["TENSORS", "read_tensors"]

TENSORS = (".pt", ".pth", ".bin")
codecs.lookup("cp437")  # names in archives; looked up now, since reading a file imports nothing
_REMEDY = "save a dict of splits, each a dict of tensors and lists of texts, by torch.save"


def read_tensors(path: Path, budget: Budget) -> Any:
    """Read a file of torch.save, mapped; its tensors become arrays.

    Args:
        path: The file.
        budget: Of the file.

    Raises:
        MERError: If it holds anything else, or is damaged.

    Example:
        >>> from tempfile import mkdtemp
        >>> file = Path(mkdtemp()) / "corpus.pt"
        >>> torch.save({"test": {"audio": torch.ones(2, 3, 4)}}, file)
        >>> read_tensors(file, Budget("corpus.pt"))["test"]["audio"].shape
        (2, 3, 4)
    """
    try:
        content = read_archive(path, _REMEDY)
    except MERError:
        raise
    except Exception as error:  # of many kinds
        raise MERError(
            f"{path} cannot be read as tensors alone ({type(error).__name__}), so nothing in it was run; {_REMEDY}, or"
            " copy it again"
        ) from error
    return _plain(content, budget, 0)


def _plain(value: Any, budget: Budget, depth: int) -> Any:
    budget.nest(depth)
    budget.take(1)
    if isinstance(value, Tensor):
        return _stored(value, budget)
    if isinstance(value, Mapping):
        return {key: _plain(item, budget, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        budget.hold(8 * len(value))
        items = [_plain(item, budget, depth + 1) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def _stored(tensor: Tensor, budget: Budget) -> StoredArray:
    if tensor.is_complex():
        raise MERError(f"{budget.name} holds complex numbers; {_REMEDY}")
    if tensor.dtype is torch.bfloat16 or not tensor.is_contiguous():
        budget.hold(4 * tensor.numel())
        tensor = tensor.float().contiguous()
    array = tensor.detach().numpy()
    return StoredArray(array.dtype, array.shape, lambda: io.BufferedReader(_Bytes(array)), name=budget.name)


class _Bytes(io.RawIOBase):
    """The bytes of an array, copied as far as they are read."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.bytes, self.place = array.reshape(-1).view(np.uint8), 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Copy what comes next."""
        count = min(len(buffer), len(self.bytes) - self.place)
        buffer[:count] = self.bytes[self.place : self.place + count].tobytes()
        self.place += count
        return count
