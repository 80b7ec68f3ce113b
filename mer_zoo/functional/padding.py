"""Sequences whose padding may stand anywhere, moved to the left and back."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["all_real", "left_align", "undo_left_align"]


def left_align(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Move the real steps of every sample to the front, in their order.

    Args:
        x: (B, T, ...) sequences.
        mask: (B, T) bool, True at real steps.

    Returns:
        The moved sequences (B, T, ...), their mask (B, T), and the order (B, T): step t of the result was ``order[:,
        t]``.

    Example:
        >>> x, mask, order = left_align(torch.tensor([[0, 0, 7, 8]]), torch.tensor([[False, False, True, True]]))
        >>> x.tolist(), mask.tolist(), order.tolist()
        ([[7, 8, 0, 0]], [[True, True, False, False]], [[2, 3, 0, 1]])
    """
    if _asks_freely(mask) and not (mask[:, 1:] & ~mask[:, :-1]).any():
        return x, mask, torch.arange(mask.shape[1]).expand_as(mask)
    order = torch.argsort(~mask, dim=1, stable=True)
    return _take(x, order), mask.gather(1, order), order


def undo_left_align(x: Tensor, order: Tensor) -> Tensor:
    """Put (B, T, ...) steps back to where :func:`left_align` took them from.

    Example:
        >>> x, _, order = left_align(torch.tensor([[0, 7, 8]]), torch.tensor([[False, True, True]]))
        >>> undo_left_align(x, order).tolist()
        [[0, 7, 8]]
    """
    if order.stride(0) == 0:  # one row for all samples: nothing was moved
        return x
    return _take(x, torch.argsort(order, dim=1))


def all_real(mask: Tensor) -> bool:
    """Whether nothing of a (B, T) mask is padding; also False where the answer would have to be waited for.

    Example:
        >>> all_real(torch.tensor([[True, True]])), all_real(torch.tensor([[True, False]]))
        (True, False)
    """
    return _asks_freely(mask) and bool(mask.all())


def _asks_freely(mask: Tensor) -> bool:
    # A GPU has to be waited for, and a compiled graph would end here.
    return mask.device.type == "cpu" and not torch.compiler.is_compiling()


def _take(x: Tensor, order: Tensor) -> Tensor:
    index = order.reshape(*order.shape, *[1] * (x.dim() - 2)).expand(*order.shape, *x.shape[2:])
    return x.gather(1, index)
