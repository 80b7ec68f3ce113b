"""Attention with dropout on a CPU, tile by tile: scores, weights and masks of a tile stay in the cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from typing_extensions import override

from mer_zoo.functional.dropout import keep_mask

__all__ = ["tiled_attention"]

TILE = 1 << 17  # scores at once
_Tile = tuple[int, slice, slice]  # sample, queries, keys


def tiled_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, causal: bool, p: float) -> Tensor:
    """Softmax attention with dropout of the weights, as :func:`mer_zoo.layers.attention.attend` defines it.

    With ``causal``, keys that no query of a tile sees are not even multiplied. It cannot be differentiated a second
    time.

    Args:
        q: (B, heads, Tq, d) queries.
        k: (B, heads, Tk, d) keys.
        v: (B, heads, Tk, d) values.
        bias: Additive mask that broadcasts to (B, heads, Tq, Tk), without gradient; None if all is visible or
            ``causal``.
        causal: Whether query i sees the keys j <= i of a square.
        p: Probability of dropping a weight, above 0.

    Returns:
        (B, heads, Tq, d).

    Example:
        >>> x = torch.ones(1, 2, 3, 4)
        >>> tiled_attention(x, x, x, None, causal=True, p=1e-9).unique()
        tensor([1.])
    """
    if bias is not None:
        bias = bias.expand(len(q), -1 if bias.dim() == 4 else 1, q.shape[2], k.shape[2])
    result: Tensor = _Tiled.apply(q * q.shape[-1] ** -0.5, k, v, bias, causal, p)
    return result


class _Tiled(torch.autograd.Function):
    @staticmethod
    @override
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, causal: bool, p: float) -> Tensor:
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
        mixed, factor, kept = v.new_empty(*q.shape[:3], v.shape[3]), 1.0, []
        for b, rows, keys in _tiles(q, k, causal):
            scores = q[b, :, rows] @ k[b, :, keys].transpose(1, 2)
            if causal:
                size = rows.stop - rows.start
                future = torch.ones(size, size, dtype=torch.bool).triu_(1)
                scores[..., rows].masked_fill_(future, -torch.inf)
            elif bias is not None:
                scores += bias[b, :, rows, keys]
            weights = F.softmax(scores, dim=-1)
            keep, factor = keep_mask(weights.shape, p, weights.device)
            mixed[b, :, rows] = torch.mul(weights, keep, out=scores) @ v[b, :, keys]
            kept += [weights, keep]
        mixed *= factor
        ctx.save_for_backward(q, k, v, mixed, *kept)
        ctx.causal, ctx.factor = causal, factor
        return mixed

    @staticmethod
    @once_differentiable
    @override
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, mixed, *kept = ctx.saved_tensors
        # The softmax needs the sum over the keys of weight times gradient, which is this, dropout or not.
        shift = (gradient * mixed).sum(-1, keepdim=True)
        gradient = gradient * ctx.factor
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for (b, rows, keys), weights, keep in zip(_tiles(q, k, ctx.causal), kept[::2], kept[1::2], strict=True):
            upper = gradient[b, :, rows]
            dv[b, :, keys] += (weights * keep).transpose(1, 2) @ upper
            scores = upper @ v[b, :, keys].transpose(1, 2)
            scores.mul_(keep).sub_(shift[b, :, rows]).mul_(weights)
            dq[b, :, rows] = scores @ k[b, :, keys]
            dk[b, :, keys] += scores.transpose(1, 2) @ q[b, :, rows]
        return dq, dk, dv, None, None, None


def _tiles(q: Tensor, k: Tensor, causal: bool) -> Iterator[_Tile]:
    samples, heads, queries, _ = q.shape
    size = max(8, TILE // (heads * k.shape[2]))
    for b in range(samples):
        for start in range(0, queries, size):
            stop = min(start + size, queries)
            yield b, slice(start, stop), slice(0, stop if causal else k.shape[2])
