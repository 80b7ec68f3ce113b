"""The selective state space of Mamba: a linear recurrence over time whose pace and reading each step chooses.

Symbols: B batch, T steps, E channels, N states of a channel; u what is read, Delta the pace, A the decay, B and C what
is written and read out, h the state.

References:
    Gu, Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from mer_zoo.functional.precision import widen

__all__ = ["linear_scan", "selective_scan"]


def linear_scan(a: Tensor, b: Tensor) -> Tensor:
    r"""The recurrence :math:`h_t = a_t h_{t-1} + b_t` from :math:`h_0 = 0`, in about log2 T rounds over all steps.

    Only a and the states are kept for the gradient, which is the same recurrence from the end.

    Args:
        a: (B, T, ...) factors.
        b: (B, T, ...) what is added.

    Returns:
        (B, T, ...) states.

    Example:
        >>> linear_scan(torch.full((1, 3), 0.5), torch.ones(1, 3)).tolist()
        [[1.0, 1.5, 1.75]]
    """
    found: Tensor = _LinearScan.apply(a, b)
    return found


def selective_scan(u: Tensor, pace: Tensor, a: Tensor, write: Tensor, read: Tensor, mask: Tensor) -> Tensor:
    r"""States :math:`h_t = e^{\Delta_t A} h_{t-1} + \Delta_t B_t u_t`, read out as :math:`y_t = C_t h_t`.

    The state passes padding unchanged, so that padding anywhere changes nothing.

    Args:
        u: (B, T, E).
        pace: Delta, (B, T, E), positive.
        a: A, (E, N), negative.
        write: B, (B, T, N).
        read: C, (B, T, N).
        mask: (B, T) bool, real steps.

    Returns:
        (B, T, E), at least float32; at padding what is read of the state before.

    Example:
        >>> one, mask = torch.ones(1, 3, 1), torch.tensor([[True, False, True]])
        >>> selective_scan(one, one, -torch.ones(1, 1), one, one, mask).flatten().tolist()
        [1.0, 1.0, 1.36...]
    """
    with torch.autocast(u.device.type, enabled=False):
        u, pace, a, write, read = (widen(each) for each in (u, pace, a, write, read))
        pace = torch.where(mask[..., None], pace, 0.0)
        h = linear_scan((pace[..., None] * a).exp(), (pace * u)[..., None] * write[:, :, None])
        return torch.einsum("bten,btn->bte", h, read)


class _LinearScan(torch.autograd.Function):
    @staticmethod
    @override
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        h = _scan(a, b)
        ctx.save_for_backward(a, h)
        return h

    @staticmethod
    @override
    def backward(ctx: Any, *grads: Any) -> Any:
        a, h = ctx.saved_tensors
        # a step hands its gradient on to the one before by the factor between them
        after = torch.cat([a[:, 1:], torch.zeros_like(a[:, :1])], 1)
        grad_b = _scan(after.flip(1), grads[0].flip(1)).flip(1)
        before = torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], 1)
        return grad_b * before, grad_b


def _scan(a: Tensor, b: Tensor) -> Tensor:
    """After the round with offset k each step holds what the last 2k steps make of it."""
    offset = 1
    while offset < b.shape[1]:
        b = torch.cat([b[:, :offset], b[:, offset:] + a[:, offset:] * b[:, :-offset]], 1)
        a = torch.cat([a[:, :offset], a[:, offset:] * a[:, :-offset]], 1)
        offset *= 2
    return b
