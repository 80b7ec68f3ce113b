"""Gradient reversal: the identity whose gradient has the other sign, for adversarial losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

__all__ = ["reverse_gradient"]


class _Reversal(torch.autograd.Function):
    @staticmethod
    @override
    def forward(ctx: Any, x: Tensor, alpha: float) -> Tensor:
        ctx.alpha = alpha
        return x.view_as(x)

    @staticmethod
    @override
    def backward(ctx: Any, *grads: Any) -> Any:
        return -ctx.alpha * grads[0], None


def reverse_gradient(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Pass x on; its gradient comes back times -alpha.

    Args:
        x: Any shape.
        alpha: Factor of the reversed gradient.

    Returns:
        x itself.

    References:
        Ganin, Lempitsky, "Unsupervised Domain Adaptation by Backpropagation", ICML 2015.

    Example:
        >>> x = torch.ones(2, requires_grad=True)
        >>> reverse_gradient(3 * x, alpha=0.5).sum().backward()
        >>> x.grad
        tensor([-1.5000, -1.5000])
    """
    reversed_x: Tensor = _Reversal.apply(x, alpha)
    return reversed_x
