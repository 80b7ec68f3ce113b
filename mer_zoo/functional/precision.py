"""Precision of small differences, and of what stands beside the weights of a network."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["match_type", "widen"]


def widen(x: Tensor) -> Tensor:
    """At least float32: half precision would lose the small differences that losses and effects are made of.

    Args:
        x: Any shape, of a floating-point type.

    Example:
        >>> widen(torch.zeros(1, dtype=torch.bfloat16)).dtype, widen(torch.zeros(1, dtype=torch.float64)).dtype
        (torch.float32, torch.float64)
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))


def match_type(x: Tensor, like: Tensor) -> Tensor:
    """Give a tensor the type of another one, beside which a network uses it; under autocast it keeps its own.

    Where all weights are of half precision (``bf16-true``) they can be multiplied with nothing else. Autocast brings
    products to one type by itself, and sums are to keep their precision there.

    Args:
        x: Any shape, such as a constant, or what was computed in single precision.
        like: Any shape, what the network computed.

    Example:
        >>> table, states = torch.ones(2), torch.ones(2, dtype=torch.bfloat16)
        >>> with torch.autocast("cpu"):
        ...     mixed = match_type(table, states).dtype
        >>> match_type(table, states).dtype, mixed
        (torch.bfloat16, torch.float32)
    """
    return x if torch.is_autocast_enabled(like.device.type) else x.to(like.dtype)
