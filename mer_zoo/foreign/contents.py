"""What a file of torch.save may be made of: so much, so deep, and tensors that can be computed with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from mer_zoo.errors import MERError
from mer_zoo.foreign.budget import Budget
from mer_zoo.text import told

__all__ = ["check_values", "is_ordinary"]

REMEDY: Final = "use a checkpoint as mer-zoo fit wrote it"
VALUES: Final = 2**21  # a curve of 50,000 epochs, or the optimiser of a model with 100,000 parameters


def check_values(content: Mapping[Any, Any], where: str, size: int | None = None, remedy: str = REMEDY) -> None:
    """Refuse what takes far more to go through than to store, and tensors that hold no numbers of their own.

    A list may stand in a file once and in another list ten times, and that one in a third: a kilobyte that no walk over
    it comes to the end of. A tensor may be one number that is told to be a million million of them.

    Args:
        content: What stands in the file.
        where: The file, for messages.
        size: Its size in bytes, where it is known: no more numbers stand in it.
        remedy: What makes a file take less.

    Raises:
        MERError: Naming the file, and the field that holds the tensor.

    Example:
        >>> one = torch.zeros(1)
        >>> check_values({"weights": one.expand(3)}, "last.ckpt")
        >>> check_values({"weights": [one.expand(10**12)]}, "last.ckpt")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: last.ckpt is refused: what is in it takes over 1,073,741,824 bytes of memory; use a ...
    """
    budget = Budget(where, steps=VALUES, remedy=remedy)
    stored: dict[int, int] = {}
    claimed = 0
    todo: list[tuple[Any, Any, int]] = [(content, "", 0)]
    while todo:
        holder, name, depth = todo.pop()
        budget.nest(depth)
        budget.take(1 + len(holder))
        for key, value in holder.items() if isinstance(holder, Mapping) else ((name, item) for item in holder):
            if isinstance(value, (Mapping, list, tuple, set)):
                todo.append((value, key, depth + 1))
            elif isinstance(value, Tensor):
                if not is_ordinary(value):
                    raise MERError(f"{where}: {told(key)} is a tensor without numbers of its own; {remedy}")
                storage = value.untyped_storage()
                stored[storage.data_ptr()] = storage.nbytes()
                claimed += value.numel() * value.element_size()
    numbers = sum(stored.values())
    budget.hold(max(0, claimed - (numbers if size is None else min(numbers, size))))


def is_ordinary(value: Tensor) -> bool:
    """Whether a tensor lies in memory, element for element: not sparse, nested, quantised, or of shape alone.

    Args:
        value: The tensor.

    Example:
        >>> is_ordinary(torch.ones(3)), is_ordinary(torch.ones(3).to_sparse())
        (True, False)
    """
    return value.layout is torch.strided and not (value.is_quantized or value.is_meta or value.is_nested)
