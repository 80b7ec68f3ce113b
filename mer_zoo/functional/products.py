"""Products of stacks of matrices with what follows them, in one function each."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from typing_extensions import override

__all__ = ["relu_each"]


def relu_each(x: Tensor, weight: Tensor, bias: Tensor, keep: Tensor | None = None) -> Tensor:
    """Each matrix times its weight, its bias added, without what is below zero and without what is dropped.

    The backward pass reads from the result what was kept, so that masks need neither memory nor products there.

    Args:
        x: (E, N, d) matrices.
        weight: (E, d, d_out).
        bias: (E, 1, d_out).
        keep: (E, N, d_out) bool, False where zeros are put, without a factor for the rest; None puts none.

    Returns:
        (E, N, d_out).

    Example:
        >>> relu_each(torch.ones(1, 1, 2), torch.tensor([[[1.0, -1], [1, -1]]]), torch.zeros(1, 1, 2))
        tensor([[[2., 0.]]])
    """
    if torch.is_autocast_enabled(x.device.type) or not x.dtype == weight.dtype == bias.dtype:
        inner = torch.baddbmm(bias, x, weight).relu_()
        return inner if keep is None else inner * keep
    return cast(Tensor, _ReluEach.apply(x, weight, bias, keep))


class _ReluEach(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    @override
    def forward(x: Tensor, weight: Tensor, bias: Tensor, keep: Tensor | None) -> Tensor:
        inner = torch.baddbmm(bias, x, weight).relu_()
        return inner if keep is None else inner.mul_(keep)

    @staticmethod
    @override
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs[:2], output)

    @staticmethod
    @override
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, inner = ctx.saved_tensors
        kept = torch.ops.aten.threshold_backward(gradient, inner, 0)
        for_x, for_weight, for_bias, _ = ctx.needs_input_grad
        return (
            kept @ weight.transpose(1, 2) if for_x else None,
            x.transpose(1, 2) @ kept if for_weight else None,
            kept.sum(1, keepdim=True) if for_bias else None,
            None,
        )
