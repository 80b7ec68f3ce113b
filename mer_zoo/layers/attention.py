"""Multi-head attention as functions: who sees whom, and the fastest way to compute it for a given shape."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mer_zoo.functional.dropout import dropout
from mer_zoo.layers.tiled_attention import tiled_attention

__all__ = ["Visibility", "attend", "merge_heads", "split_heads", "untiled", "visibility"]

_TILED = ContextVar("tiled", default=True)


class Visibility(NamedTuple):
    """Which keys a query may see.

    Args:
        bias: Additive mask, 0 or -inf, that broadcasts to (B, heads, Tq, Tk); None if ``causal`` says it all.
        causal: Whether query i sees exactly the keys j <= i of a square; then there is no bias.
        ahead: The bias hides exactly the keys j > i + ahead; None if it follows no such rule, or there is none.
    """

    bias: Tensor | None = None
    causal: bool = False
    ahead: int | None = None

    def at(self, step: Tensor, keys: Tensor) -> Visibility:
        """What the query at ``step`` (B,) of each sample sees of keys (B, Tk, d), when :func:`attend` gets it alone."""
        if self.causal:
            seen = torch.arange(keys.shape[1], device=keys.device) <= step[:, None]
            return Visibility(_bias(seen[:, None, None], keys))
        if self.bias is None:
            return self
        if self.bias.dim() == 2:
            return Visibility(self.bias[step][:, None, None])
        samples = torch.arange(len(step), device=step.device)
        return self if self.bias.shape[2] == 1 else Visibility(self.bias[samples, :, step][:, :, None])


def visibility(
    queries: Tensor, keys: Tensor, causal: bool, query_mask: Tensor | None = None, key_mask: Tensor | None = None
) -> Visibility:
    """Work out who sees whom, once for all layers of an encoder.

    With ``causal``, query i sees the keys j <= i + |Tk - Tq|. Where masks are given, padded keys are hidden, and i, j,
    Tq and Tk count real steps, so that padding changes nothing. The keys of a sample without any real key are all
    visible.

    Args:
        queries: (B, Tq, d), for its length and device.
        keys: (B, Tk, d), likewise.
        causal: Whether to hide the future.
        query_mask: (B, Tq) bool, real queries; None if all are.
        key_mask: (B, Tk) bool, real keys; None if all are.

    Returns:
        The mask in the cheapest form that :func:`attend` can use.

    Example:
        >>> x = torch.zeros(1, 3, 4)
        >>> visibility(x, x, causal=True)
        Visibility(bias=None, causal=True, ahead=None)
        >>> visibility(x, x[:, :2], causal=True).bias
        >>> visibility(x[:, :2], x, causal=True).bias
        tensor([[0., 0., -inf],
                [0., 0., 0.]])
    """
    tq, tk = queries.shape[1], keys.shape[1]
    masked = query_mask is not None or key_mask is not None
    if not causal:
        return Visibility(None if key_mask is None else _bias(_never_empty(key_mask)[:, None, None], queries))
    if not masked:
        if tq == tk:
            return Visibility(causal=True)
        ahead = abs(tk - tq)
        if tk - 1 <= ahead:  # the first query sees the fewest keys
            return Visibility()
        steps = torch.arange(max(tq, tk), device=queries.device)
        return Visibility(_bias(steps[:tk] <= steps[:tq, None] + ahead, queries), ahead=ahead)
    query_mask = queries.new_ones(queries.shape[:2], dtype=torch.bool) if query_mask is None else query_mask
    key_mask = keys.new_ones(keys.shape[:2], dtype=torch.bool) if key_mask is None else key_mask
    i, j = query_mask.cumsum(1), key_mask.cumsum(1)
    offset = (j[:, -1:] - i[:, -1:]).abs()
    seen = (j[:, None] <= (i.clamp(min=1) + offset)[..., None]) & key_mask[:, None] | ~key_mask.any(1)[:, None, None]
    # A query in front of the real ones would see nothing and turn into NaN; it sees what the first real one sees.
    return Visibility(_bias(seen[:, None], queries))


def attend(q: Tensor, k: Tensor, v: Tensor, visible: Visibility, p: float = 0.0) -> Tensor:
    """Softmax attention, softmax(q k^T / sqrt(d) + bias) v.

    On a CPU long sequences are read tile by tile, which can be differentiated once and not by ``torch.func``; under
    :func:`untiled` they can.

    Args:
        q: (B, heads, Tq, d) queries.
        k: (B, heads, Tk, d) keys.
        v: (B, heads, Tk, d) values.
        visible: See :func:`visibility`.
        p: Probability of dropping an attention weight; pass 0 in evaluation.

    Returns:
        (B, heads, Tq, d).

    References:
        Vaswani et al., "Attention Is All You Need", 2017, Equation 1.

    Example:
        >>> q, k = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 5, 4)
        >>> attend(q, k, k, Visibility()).shape
        torch.Size([1, 2, 3, 4])
    """
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, visible.bias, p, visible.causal)
    if _tiles_are_faster(q, k, v, p):
        ahead = 0 if visible.causal else visible.ahead
        return tiled_attention(q, k, v, visible.bias if ahead is None else None, ahead, p)
    if _fused_is_faster(q, k, p):
        return _fused(q, k, v, visible)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    bias = visible.bias
    if visible.causal:
        steps = torch.arange(q.shape[2], device=q.device)
        bias = _bias(steps <= steps[:, None], scores)
    weights = F.softmax(scores if bias is None else scores + bias, dim=-1)
    return dropout(weights, p) @ v


@contextmanager
def untiled() -> Iterator[None]:
    """Compute all scores of an attention in one operator of torch, for what watches these operators.

    Example:
        >>> with untiled():
        ...     x = torch.randn(1, 1, 512, 4)
        ...     attend(x, x, x, Visibility()).shape
        torch.Size([1, 1, 512, 4])
    """
    token = _TILED.set(False)
    try:
        yield
    finally:
        _TILED.reset(token)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """View (B, T, heads * d) as (B, heads, T, d) without a copy.

    Example:
        >>> split_heads(torch.zeros(1, 3, 8), 2).shape
        torch.Size([1, 2, 3, 4])
    """
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """Undo :func:`split_heads`.

    Example:
        >>> merge_heads(torch.zeros(1, 2, 3, 4)).shape
        torch.Size([1, 3, 8])
    """
    return x.transpose(1, 2).flatten(2)


def _fused_is_faster(q: Tensor, k: Tensor, p: float) -> bool:
    # Measured on one CPU thread: with few channels a head the fused kernel loses on few keys, however many the queries
    # (0.6 of
    # the plain speed at 400 x 16), draws level near 100 and wins 2 to 5 times on long squares. It does not exist with
    # dropout.
    return p == 0 and (k.shape[2] >= 96 or q.shape[-1] >= 32)


def _tiles_are_faster(q: Tensor, k: Tensor, v: Tensor, p: float) -> bool:
    # Measured on one CPU thread: up to 8 channels a head, 1.2 to 1.7 times the speed of the fused kernel, with 16 .8;
    # with dropout, 1.1 to 2.3 times the plain speed, most where scores don't fit into the cache, but .6 to .8 with 32
    # channels and few queries or keys, and .95 in a step of EMT-DLFR, whose samples have up to 2^20 scores each. With
    # few scores the calls for each tile cost more than they save, and the fused kernel is better at few queries.
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[no-untyped-call, attr-defined]
    if traced or not _TILED.get():
        return False
    tq, tk, dim = q.shape[2], k.shape[2], q.shape[3]
    enough = 1 << 21 if dim > 10 else 1 << 18 if dim <= 6 or p > 0 or tk < 96 else 1 << 20
    if not q.dtype == k.dtype == v.dtype == torch.float32 or q.shape[:2].numel() * tq * tk < enough:
        return False
    return (dim <= 10 and (p > 0 or tq >= 64 or tk < 96)) or (p > 0 and tq >= 64 and tk >= 96)


def _fused(q: Tensor, k: Tensor, v: Tensor, visible: Visibility) -> Tensor:
    dim = q.shape[-1]
    if dim >= 16 or q.shape[2] < 64:
        return F.scaled_dot_product_attention(q, k, v, visible.bias, is_causal=visible.causal)
    # The CPU kernel multiplies panels of 16 channels: with fewer, zeros added to fill one make it 1.4 times faster.
    q, k, v = (F.pad(x, (0, 16 - dim)) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, visible.bias, is_causal=visible.causal, scale=dim**-0.5)[..., :dim]


def _never_empty(key_mask: Tensor) -> Tensor:
    return key_mask | ~key_mask.any(1, keepdim=True)


def _bias(seen: Tensor, like: Tensor) -> Tensor:
    return torch.zeros(seen.shape, dtype=like.dtype, device=like.device).masked_fill_(~seen, -torch.inf)
