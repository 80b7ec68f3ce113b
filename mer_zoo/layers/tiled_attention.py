"""Attention on a CPU, tile by tile: scores, weights and masks of a tile stay in the cache, and none of them is kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from typing_extensions import override

from mer_zoo.functional.dropout import MaskStream

__all__ = ["tiled_attention"]

# Scores at once; masks of dropout take as much again. With fewer rows than this, matrices are too thin for a core.
TILE, HEIGHT = 1 << 18, 128
# Powers of two of scores this small need no maximum: neither they nor their sums leave float32's range.
_SAFE = 40.0
_Tile = tuple[slice, slice, slice]  # matrices, queries, keys


def tiled_attention(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None, ahead: int | None = None, p: float = 0.0
) -> Tensor:
    """Softmax attention with dropout of the weights, as :func:`mer_zoo.layers.attention.attend` defines it.

    The backward pass computes the weights of a tile again, and draws the same masks again. Keys that no query
    of a tile sees, by ``ahead`` or as padding, are not even multiplied. It cannot be differentiated a second time. A
    query that sees no key gets zeros.

    Args:
        q: (B, heads, Tq, d) queries.
        k: (B, heads, Tk, d) keys.
        v: (B, heads, Tk, d_v) values.
        bias: Additive mask, 0 or -inf, that broadcasts to (B, heads, Tq, Tk), without gradient; None if ``ahead`` says
            it all.
        ahead: Query i sees the keys j <= i + ahead, one at least; None if it sees those that the bias lets it.
        p: Probability of dropping a weight.

    Returns:
        (B, heads, Tq, d_v).

    Example:
        >>> x = torch.ones(1, 2, 3, 4)
        >>> tiled_attention(x, x, x, ahead=0).unique()
        tensor([1.])
    """
    if bias is not None:
        bias = bias.expand(len(q), -1 if bias.dim() == 4 else 1, -1, k.shape[2])
    with torch.autocast("cpu", enabled=False):  # scores are too coarse in half precision
        result: Tensor = _Tiled.apply(q, k, v, bias, ahead, p)
    return result


class _Tiled(torch.autograd.Function):
    """The attention itself.

    Channels stand before steps, (N, d, T) for the N = B heads matrices: few channels make thin matrices, which are
    multiplied four times as fast so. Scores are exponents of two, whose powers are computed faster than those of e.
    What is added to every score of a key or of a query is one more channel of the product.
    """

    @staticmethod
    @override
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, ahead: int | None, p: float) -> Tensor:
        dim, width = q.shape[3], v.shape[3]
        by_key = bias is not None and bias.shape[1] == bias.shape[2] == 1
        seen = order = None
        if bias is not None and by_key:
            order, seen = _real_first(bias[:, 0, 0])
            k, v, bias = _take(k, order), _take(v, order), _take(bias.transpose(2, 3), order).transpose(2, 3)
        q2, k2 = _channels(q, dim**-0.5 / math.log(2), by_key), _channels(k, 1.0, by_key)
        v1 = _channels(v, 1.0, True)
        safe = _are_safe(q2[:, :dim], k2[:, :dim])
        if bias is not None and by_key:
            k2.view(*k.shape[:2], dim + 1, -1)[:, :, dim] = bias[:, 0] / math.log(2)
            bias = None
        tiles = _Tiles(q.shape, k.shape[2], bias, ahead, p > 0, seen)
        masks = MaskStream(p, tiles.largest) if p > 0 else None
        sums = q2.new_empty(len(q2), width + 1, q.shape[2])
        maxima = None if safe else torch.empty_like(sums[:, :1])
        draw = None if masks is None else masks.play()
        for part, rows, keys in tiles:
            weights = tiles.scores(q2, k2, part, rows, keys)
            if maxima is not None:
                top = weights.amax(2).clamp_(min=_lowest(weights))
                maxima[part, 0, rows] = top
                weights.sub_(top[..., None])
            weights.exp2_()
            if draw is None:
                sums[part, :, rows] = torch.bmm(v1[part, :, keys], weights.transpose(1, 2))
            else:
                sums[part, width, rows] = weights.sum(2)
                weights.mul_(draw(torch.empty_like(weights)))
                sums[part, :width, rows] = torch.bmm(v1[part, :width, keys], weights.transpose(1, 2))
        inverse = sums[:, width:].reciprocal()
        if tiles.bias is not None or by_key:  # then a query may see no key
            inverse.masked_fill_(inverse.isinf(), 0.0)
        mixed = sums[:, :width] * (inverse if masks is None else inverse * masks.factor)
        ctx.save_for_backward(q2, k2, v1, mixed, inverse, maxima, order)
        ctx.tiles, ctx.masks, ctx.dim = tiles, masks, dim
        return _steps(mixed, q.shape[1])

    @staticmethod
    @once_differentiable
    @override
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast("cpu", enabled=False):
            return *_slopes(ctx, gradient), None, None, None


def _slopes(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of queries, keys and values."""
    q2, k2, v1, mixed, inverse, maxima, order = ctx.saved_tensors
    tiles, masks, dim = ctx.tiles, ctx.masks, ctx.dim
    width = v1.shape[1] - 1
    queries, read = q2, k2
    if maxima is not None:
        queries, read = torch.cat([q2, -maxima], 1), torch.cat([k2, torch.ones_like(k2[:, :1])], 1)
    upper = _channels(gradient, 1.0, True)
    # Weights are not divided by their sums again: what they are multiplied with is.
    upper[:, :width] *= inverse
    # The softmax needs the sum over the keys of weight times gradient, which is this, dropout or not.
    shift = (upper[:, :width] * mixed).sum(1)
    if masks is None:
        upper[:, width] = -shift
    else:
        upper[:, :width] *= masks.factor
    draw = None if masks is None else masks.play()
    dq = torch.empty_like(q2[:, :dim])
    dk, dv = (torch.zeros_like(x) for x in (k2[:, :dim], v1[:, :width]))
    for part, rows, keys in tiles:
        weights = tiles.scores(queries, read, part, rows, keys).exp2_()
        above = upper[part, :, rows]
        if draw is None:
            dv[part, :, keys] += torch.bmm(above[:, :width], weights)
            slope = torch.bmm(above.transpose(1, 2), v1[part, :, keys]).mul_(weights)
        else:
            kept = draw(torch.empty_like(weights)).mul_(weights)
            dv[part, :, keys] += torch.bmm(above[:, :width], kept)
            slope = torch.bmm(above[:, :width].transpose(1, 2), v1[part, :width, keys]).mul_(kept)
            slope.sub_(weights.mul_(shift[part, rows, None]))
        dq[part, :, rows] = torch.bmm(k2[part, :dim, keys], slope.transpose(1, 2))
        dk[part, :, keys] += torch.bmm(q2[part, :dim, rows], slope)
    dq, dk, dv = (_steps(x, tiles.heads) for x in (dq.mul_(dim**-0.5), dk.mul_(math.log(2)), dv))
    back = None if order is None else order.argsort(1)
    return dq, _take(dk, back), _take(dv, back)


class _Tiles:
    """The tiles of N matrices of scores, some matrices and some rows each, and what hides scores in them.

    Args:
        shape: (B, heads, Tq, d) of the queries.
        width: Keys Tk.
        bias: Additive mask (B, heads or 1, Tq, Tk), None without.
        ahead: See :func:`tiled_attention`.
        masked: Whether masks of dropout need room, too.
        seen: Keys of each sample behind which all are hidden; None if that is not known.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        width: int,
        bias: Tensor | None,
        ahead: int | None,
        masked: bool,
        seen: list[int] | None,
    ) -> None:
        samples, self.heads, self.steps, _ = shape
        self.seen = [width] * samples if seen is None else seen
        self.width, self.bias, self.ahead = width, bias, ahead
        # Masks are drawn tile by tile and must not depend on how many threads there are.
        limit = TILE // 2 if masked else TILE * torch.get_num_threads()
        height = max(limit // max(width, 1), HEIGHT)
        if ahead is not None:
            height = min(height, max(self.steps // 8, HEIGHT))
        strips = max(-(-self.steps // height), 1)
        self.height = max(-(-self.steps // strips), 1)
        # A bias is that of one sample, unless all have the same.
        self.alike = bias is None or (bias.stride(0) == 0 and bias.shape[1] == 1)
        self.count = samples * self.heads if self.alike else self.heads
        self.starts = range(0, samples * self.heads, max(self.count, 1))
        self.depth = min(max(limit // max(self.height * width, 1), 1), max(self.count, 1))

    @property
    def largest(self) -> int:
        """Scores of the largest tile."""
        return self.depth * self.height * self.width

    def __iter__(self) -> Iterator[_Tile]:
        for start in self.starts:
            for first in range(start, start + self.count, self.depth):
                part = slice(first, min(first + self.depth, start + self.count))
                widest = max(self.seen[part.start // self.heads : (part.stop - 1) // self.heads + 1])
                for top in range(0, self.steps, self.height):
                    stop = min(top + self.height, self.steps)
                    seen = widest if self.ahead is None else min(stop + self.ahead, widest)
                    yield part, slice(top, stop), slice(0, seen)

    def scores(self, q: Tensor, k: Tensor, part: slice, rows: slice, keys: slice) -> Tensor:
        """Scores of a tile as exponents of two, -inf where they are hidden."""
        scores = torch.bmm(q[part, :, rows].transpose(1, 2), k[part, :, keys])
        if self.ahead is not None:
            first = min(rows.start + self.ahead, keys.stop)
            edge = scores[:, :, first:]
            edge += edge.new_full(edge.shape[1:], -torch.inf).triu_(1)
        elif self.bias is not None:
            sample, head = divmod(part.start, self.heads)
            heads = slice(None) if self.bias.shape[1] == 1 else slice(head, head + part.stop - part.start)
            scores += self.bias[sample, heads, rows] / math.log(2)
        return scores


def _real_first(bias: Tensor) -> tuple[Tensor | None, list[int] | None]:
    """An order (B, Tk) of each sample's keys, hidden ones last, and how many are not; None where few are hidden."""
    real = bias > -torch.inf
    counts = real.sum(1)
    if counts.sum() > 0.9 * real.numel():
        return None, None
    # Of a sample without any, one key is computed and hidden.
    return real.to(torch.int8).argsort(dim=1, descending=True, stable=True), counts.clamp(min=1).tolist()


def _take(x: Tensor, order: Tensor | None) -> Tensor:
    """The steps (B, heads, T, d) in an order (B, T) of each sample; None leaves them."""
    if order is None:
        return x
    samples = torch.arange(len(x))[:, None]
    return x.transpose(1, 2)[samples, order].transpose(1, 2)


def _channels(x: Tensor, scale: float, one_more: bool) -> Tensor:
    """(B heads, d, T) of (B, heads, T, d) times ``scale``, with a channel of ones behind if there is to be one more."""
    samples, heads, steps, dim = x.shape
    channels = x.new_empty(samples, heads, dim + one_more, steps)
    channels[:, :, dim:] = 1
    inside = channels[:, :, :dim]
    if scale == 1:
        inside.copy_(x.transpose(2, 3))
    else:
        torch.mul(x.transpose(2, 3), scale, out=inside)
    return channels.flatten(0, 1)


def _steps(x: Tensor, heads: int) -> Tensor:
    """The (B, heads, T, d) of (B heads, d, T)."""
    return x.view(-1, heads, *x.shape[1:]).transpose(2, 3)


def _are_safe(q: Tensor, k: Tensor) -> bool:
    """Whether no score can be large, by Cauchy's inequality."""
    if not (q.numel() and k.numel()):
        return True
    # Of single channels first, which is coarser and seven times as fast.
    if q.shape[1] * _largest(q) * _largest(k) <= _SAFE:
        return True
    return bool((q * q).sum(1).amax() * (k * k).sum(1).amax() <= _SAFE**2)


def _largest(x: Tensor) -> float:
    low, high = x.aminmax()
    return max(-float(low), float(high))


def _lowest(x: Tensor) -> float:
    return torch.finfo(x.dtype).min
