"""Products of stacks of float32 matrices, by the faster of the two libraries that torch brings for a processor.

torch multiplies by MKL, which does not use the AVX-512 of processors that are not Intel's; oneDNN does, and is twice as
fast there. torch hands it products only where they may be rounded to bfloat16, which oneDNN does on processors with
matrix units alone. So AMD's processors take oneDNN, if a trial shows that nothing is rounded; all others take MKL, and
so does whoever has asked for a precision.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from typing_extensions import override

__all__ = ["map_each", "one_dnn", "relu_each"]


def map_each(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Each matrix times its weight, and its bias added.

    Args:
        x: (E, N, d) matrices.
        weight: (E, d, d_out).
        bias: (E, 1, d_out).

    Returns:
        (E, N, d_out).

    Example:
        >>> map_each(torch.ones(2, 3, 4), torch.ones(2, 4, 1), torch.zeros(2, 1, 1)).unique()
        tensor([4.])
    """
    if torch.is_autocast_enabled(x.device.type) or not x.dtype == weight.dtype == bias.dtype:
        return torch.baddbmm(bias, x, weight)
    return cast(Tensor, _MapEach.apply(x, weight, bias))


def relu_each(x: Tensor, weight: Tensor, bias: Tensor, keep: Tensor | None = None) -> Tensor:
    """What :func:`map_each` gives, without what is below zero and without what is dropped.

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


def one_dnn(product: Callable[..., Tensor], *matrices: Tensor) -> Tensor:
    """The result of ``product(*matrices)``, for which oneDNN is taken if it is the faster and as exact.

    Args:
        product: A function of torch that multiplies matrices.
        matrices: What it takes.

    Example:
        >>> one_dnn(torch.bmm, torch.ones(2, 3, 4), torch.ones(2, 4, 1)).shape
        torch.Size([2, 3, 1])
    """
    single = matrices[-1].device.type == "cpu" and matrices[-1].dtype == torch.float32
    matmul = getattr(torch.backends.mkldnn, "matmul", None)  # torch 2.8 and older have none
    if not single or matmul is None or matmul.fp32_precision != "none" or not _is_faster():
        return product(*matrices)
    matmul.fp32_precision = "bf16"
    try:
        return product(*matrices)
    finally:
        matmul.fp32_precision = "none"


class _MapEach(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    @override
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return one_dnn(torch.baddbmm, bias, x, weight)

    @staticmethod
    @override
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    @override
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        return _slopes(ctx, x, weight, gradient)


class _ReluEach(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    @override
    def forward(x: Tensor, weight: Tensor, bias: Tensor, keep: Tensor | None) -> Tensor:
        inner = one_dnn(torch.baddbmm, bias, x, weight).relu_()
        return inner if keep is None else inner.mul_(keep)

    @staticmethod
    @override
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs[:2], output)

    @staticmethod
    @override
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, inner = ctx.saved_tensors
        return *_slopes(ctx, x, weight, torch.ops.aten.threshold_backward(gradient, inner, 0)), None


def _slopes(ctx: Any, x: Tensor, weight: Tensor, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """Gradients of matrices, weights and biases from that of the products."""
    for_x, for_weight, for_bias = ctx.needs_input_grad[:3]
    return (
        one_dnn(torch.bmm, gradient, weight.transpose(1, 2)) if for_x else None,
        one_dnn(torch.bmm, x.transpose(1, 2), gradient) if for_weight else None,
        gradient.sum(1, keepdim=True) if for_bias else None,
    )


@cache
def _is_faster() -> bool:
    """Whether MKL leaves half of this processor unused and oneDNN rounds nothing on it."""
    built: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return built and torch.backends.cpu.get_cpu_capability() == "AVX512" and "AuthenticAMD" in _maker() and _is_exact()


def _maker() -> str:
    """Who made the processor, somewhere in a longer text."""
    described = Path("/proc/cpuinfo")
    return described.read_text().split("flags")[0] if described.is_file() else platform.processor()


def _is_exact() -> bool:
    """Whether a product that bfloat16 would round comes out right where torch may round."""
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    matmul.fp32_precision = "bf16"
    try:
        # 1 + 2^-12 has more digits than bfloat16, and its multiples here none that float32 lacks.
        x, one = torch.full((2, 640, 80), 1 + 2**-12), torch.eye(80).expand(2, -1, -1)
        return all(torch.equal(product, x) for product in (x @ one, torch.baddbmm(torch.zeros(2, 1, 80), x, one)))
    finally:
        matmul.fp32_precision = "none"
