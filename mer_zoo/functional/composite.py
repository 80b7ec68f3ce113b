"""Composite attention of CIDer: one score matrix, a softmax of its own for every combination of modalities.

All softmaxes come from one pass over the scores S. For the columns of each modality c it finds E_c = exp(S_c - m_c),
m_c being the row maxima of these columns alone, and the sums E_c [v_c, 1]. A combination adds the sums of its
modalities, each times exp(m_c - max m_c), and divides. A maximum over whole rows would let columns vanish that are
small only beside those of others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import accumulate, combinations, pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from typing_extensions import override

from mer_zoo.functional.dropout import keep_mask

__all__ = ["HIDDEN_SCORE", "composite_attention", "composite_blocks"]

HIDDEN_SCORE = -1e9  # finite, so that a softmax and a divergence over hidden entries stay free of NaN

# Scores handled at once: on a CPU, what a core's cache holds; on a GPU, a bound on memory that few networks reach.
_CPU_TILE, _GPU_TILE = 2**18, 2**27
# Powers of two of scores this small need no maximum: neither they nor sums and gradients of thousands leave float32's
# range.
_SAFE = 40.0


def composite_blocks(letters: Iterable[str]) -> list[str]:
    """Names of all combinations of modalities, the largest first.

    Args:
        letters: One letter a modality, in the order of their sequences.

    Example:
        >>> composite_blocks("lav"), composite_blocks("la"), composite_blocks("v")
        (['lav', 'la', 'lv', 'av', 'l', 'a', 'v'], ['la', 'l', 'a'], ['v'])
    """
    given = list(letters)
    return ["".join(block) for size in range(len(given), 0, -1) for block in combinations(given, size)]


def composite_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lengths: Mapping[str, int],
    dropout_p: float = 0.0,
    key_mask: Tensor | None = None,
    return_scores: bool = False,
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Attend within every combination of modalities of one concatenated sequence.

    With S = q k^T / sqrt(d), the output of a block such as "la" is softmax(S[la, la]) v[la]: rows and columns of the
    other modalities are left out. Unless it is wanted, S is never kept: the backward pass computes it again, tile by
    tile. That pass is written by hand and cannot be differentiated a second time.

    Args:
        q: (B, heads, T, d) queries, not scaled yet.
        k: (B, heads, T, d) keys.
        v: (B, heads, T, d) values.
        lengths: Letter of each modality to its number of steps, in the order of concatenation; they sum to T.
        dropout_p: Probability of dropping an attention weight, in the block of all modalities only; pass 0 in
            evaluation.
        key_mask: (B, T) bool, True at real steps; None if all are. Padding is seen by nobody, and its rows are zero.
        return_scores: Whether S is wanted.

    Returns:
        Letter to the outputs of its steps (B, blocks, heads, T_letter, d), in those of :func:`composite_blocks` that
        contain it and in their order; and S (B * heads, T, T) in at least float32, row b * heads + h, or None. In S,
        the rows and columns of padding hold ``HIDDEN_SCORE`` throughout.

    References:
        Zhong et al., "Towards Robust Multimodal Emotion Recognition under Missing Modalities and Distribution Shifts",
        2025, Equations 7-11.

    Example:
        >>> x = torch.randn(2, 4, 8, 5)
        >>> outputs, scores = composite_attention(x, x, x, {"l": 5, "a": 3}, return_scores=True)
        >>> {letter: tuple(output.shape) for letter, output in outputs.items()}  # "a" in blocks "la" and "a"
        {'l': (2, 2, 4, 5, 5), 'a': (2, 2, 4, 3, 5)}
        >>> scores.shape
        torch.Size([8, 8, 8])
    """
    batch, heads, steps, dim = q.shape
    sizes = list(lengths.values())
    wide = torch.promote_types(q.dtype, torch.float32)  # half precision is too coarse for what enters an exponential
    kept = keep_mask((batch * heads, steps, steps), dropout_p, q.device) if dropout_p > 0 else None
    real = None if key_mask is None else key_mask.repeat_interleave(heads, 0)[:, None]
    # Channels stand before steps from here on, (N, d, T): few channels make thin matrices, which are multiplied fastest
    # so.
    given = (x.to(wide).transpose(2, 3).reshape(batch * heads, dim, steps) for x in (q, k, v))
    with torch.autocast(q.device.type, enabled=False):
        *sums, scores = _ColumnSums.apply(*given, sizes, real, kept, return_scores)
    reals = [None] * len(sizes) if real is None else torch.split(real, sizes, -1)
    rows = zip(*(_split(x, sizes) for x in sums), reals, strict=True)
    outputs = {}
    for own, (letter, parts) in enumerate(zip(lengths, rows, strict=True)):
        blocks = [block for block in _combinations(len(sizes)) if own in block]
        joined = torch.stack([_join(block, *parts).view(batch, heads, dim, lengths[letter]) for block in blocks], 1)
        outputs[letter] = joined.to(v.dtype).transpose(3, 4)
    return outputs, scores


def _combinations(count: int) -> list[tuple[int, ...]]:
    return [block for size in range(count, 0, -1) for block in combinations(range(count), size)]


def _split(x: Tensor | None, lengths: list[int]) -> Sequence[Sequence[Tensor] | None]:
    """Rows of each modality, and among them the sums over columns of each."""
    return [None] * len(lengths) if x is None else [part.unbind() for part in torch.split(x, lengths, -1)]


def _join(
    block: tuple[int, ...],
    whole: Sequence[Tensor],
    dropped: Sequence[Tensor] | None,
    maxima: Sequence[Tensor] | None,
    real: Tensor | None,
) -> Tensor:
    """Output (N, d, T_rows) of a block for some rows, from columns' sums, maxima and the rows' mask (N, 1, T_rows)."""
    factors = None
    if maxima is not None:
        stacked = torch.stack([maxima[c] for c in block])
        factors = torch.exp2(stacked - stacked.amax(0)).unbind()
    values, total = torch.split(_add(whole, block, factors), [whole[0].shape[1] - 1, 1], 1)
    if dropped is not None and len(block) == len(whole):
        values = _add(dropped, block, factors)
    # Rows of padding give zeros, and no NaN where nothing was summed.
    return values * (total if real is None else torch.where(real, total, torch.inf)).reciprocal()


def _add(parts: Sequence[Tensor], block: tuple[int, ...], factors: Sequence[Tensor] | None) -> Tensor:
    chosen = [parts[c] for c in block]
    if factors is not None:
        chosen = [part * factor for part, factor in zip(chosen, factors, strict=True)]
    return reduce(torch.add, chosen)


class _ColumnSums(torch.autograd.Function):
    """Sums over the columns of each modality c.

    From q, k, v (N, d, T), the lengths of the modalities, the mask (N, 1, T) of real steps and what dropout keeps:

    whole: (C, N, d + 1, T), E_c [v_c, 1];
    dropped: (C, N, d, T), E_c v_c with the weights that dropout keeps, times their factor; None without dropout;
    maxima: (C, N, 1, T), the m_c in E_c, times log2(e); None where zero does as well. No output depends on them:
        constants;
    scores: (N, T, T), S; None if not wanted.
    """

    @staticmethod
    @override
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        lengths: list[int],
        real: Tensor | None,
        kept: tuple[Tensor, float] | None,
        return_scores: bool,
    ) -> tuple[Tensor | None, ...]:
        count, dim, steps = q.shape
        ctx.scale, ctx.lengths = dim**-0.5, lengths
        keep, ctx.factor = (None, 1.0) if kept is None else kept
        q = q * (ctx.scale * math.log2(math.e))
        v = torch.cat([v, torch.ones_like(v[:, :1])], 1)
        v = v if real is None else v * real
        maxima = None if _are_safe(q, k) else q.new_full((len(lengths), count, 1, steps), _lowest(q))
        whole = q.new_zeros(len(lengths), count, dim + 1, steps)
        dropped = None if keep is None else torch.zeros_like(whole[:, :, 1:])
        scores = q.new_empty(count, steps, steps) if return_scores else None
        tiles = _Tiles(q, k, lengths, real, maxima)
        for part, rows, c, columns in tiles:
            tile = tiles.scores(part, rows, columns)
            if scores is not None:
                torch.mul(tile, math.log(2), out=scores[part, rows, columns])
            tiles.exponentials(tile, part, rows, c, find=True)
            whole[c, part, :, rows] = torch.bmm(v[part, :, columns], tile.transpose(1, 2))
            if keep is not None and dropped is not None:
                tile.mul_(keep[part, rows, columns])
                dropped[c, part, :, rows] = torch.bmm(v[part, :-1, columns], tile.transpose(1, 2)).mul_(ctx.factor)
        if scores is not None and real is not None:
            scores.masked_fill_(~(real & real.transpose(1, 2)), HIDDEN_SCORE)
        ctx.save_for_backward(q, k, v, real, maxima, keep)
        ctx.set_materialize_grads(False)
        if maxima is not None:
            ctx.mark_non_differentiable(maxima)
        return whole, dropped, maxima, scores

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        q, k, v, real, maxima, keep = ctx.saved_tensors
        whole, dropped, _, scores = grads
        whole = q.new_zeros(len(ctx.lengths), *v.shape) if whole is None else whole
        grad_q, grad_k, grad_v = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v[:, 1:])
        tiles = _Tiles(q, k, ctx.lengths, real, maxima)
        with torch.autocast(q.device.type, enabled=False):
            for part, rows, c, columns in tiles:
                tile = tiles.exponentials(tiles.scores(part, rows, columns), part, rows, c)
                above = whole[c, part, :, rows]
                slope = torch.bmm(above.transpose(1, 2), v[part, :, columns])
                grad_v[part, :, columns] += torch.bmm(above[:, :-1], tile)
                if keep is not None and dropped is not None:
                    above, kept = dropped[c, part, :, rows] * ctx.factor, keep[part, rows, columns]
                    slope += torch.bmm(above.transpose(1, 2), v[part, :-1, columns]).mul_(kept)
                    grad_v[part, :, columns] += torch.bmm(above, tile * kept)
                slope *= tile
                if scores is not None:
                    slope += tiles.hide(scores[part, rows, columns], part, rows, columns)
                grad_q[part, :, rows] += torch.bmm(k[part, :, columns], slope.transpose(1, 2))
                grad_k[part, :, columns] += torch.bmm(q[part, :, rows], slope)
        grad_v = grad_v if real is None else grad_v * real
        return grad_q.mul_(ctx.scale), grad_k.mul_(math.log(2)), grad_v, None, None, None, None


class _Tiles:
    """The scores of N matrices, tile by tile: some matrices, some rows, the columns of one modality.

    Args:
        q: (N, d, T) queries times log2(e) / sqrt(d): powers of two are computed faster than those of e.
        k: (N, d, T) keys.
        lengths: Steps of each modality.
        real: (N, 1, T) bool, real steps; None if all are.
        maxima: (C, N, 1, T) row maxima of each modality's columns; None where zero does as well.
    """

    def __init__(self, q: Tensor, k: Tensor, lengths: list[int], real: Tensor | None, maxima: Tensor | None) -> None:
        self.q, self.k, self.real, self.maxima = q, k, real, maxima
        self.columns = [slice(start, end) for start, end in pairwise(accumulate(lengths, initial=0))]
        self.limit = _CPU_TILE * torch.get_num_threads() if q.device.type == "cpu" else _GPU_TILE

    def __iter__(self) -> Iterator[tuple[slice, slice, int, slice]]:
        """Matrices, rows, modality and its columns of each tile."""
        count, _, steps = self.q.shape
        widest = max(columns.stop - columns.start for columns in self.columns)
        height = min(max(self.limit // max(widest, 1), 64), max(steps, 1))
        depth = max(self.limit // max(height * widest, 1), 1)
        for first in range(0, count, depth):
            for top in range(0, steps, height):
                for c, columns in enumerate(self.columns):
                    if columns.start < columns.stop:
                        yield slice(first, first + depth), slice(top, top + height), c, columns

    def scores(self, part: slice, rows: slice, columns: slice) -> Tensor:
        """log2(e) S of a tile."""
        return torch.bmm(self.q[part, :, rows].transpose(1, 2), self.k[part, :, columns])

    def exponentials(self, tile: Tensor, part: slice, rows: slice, c: int, find: bool = False) -> Tensor:
        """E_c in the memory of the tile's scores; ``find`` notes their maxima first."""
        if self.maxima is None:
            return tile.exp2_()
        if self.real is not None:
            tile.masked_fill_(~self.real[part, :, self.columns[c]], _lowest(tile))
        if find:
            self.maxima[c, part, 0, rows] = tile.amax(2)
        return tile.sub_(self.maxima[c, part, 0, rows, None]).exp2_()

    def hide(self, tile: Tensor, part: slice, rows: slice, columns: slice) -> Tensor:
        """Zero where row or column is padding."""
        if self.real is None:
            return tile
        return tile * (self.real[part, :, columns] & self.real[part, :, rows].transpose(1, 2))


def _are_safe(q: Tensor, k: Tensor) -> bool:
    """Whether no score can be large, by Cauchy's inequality; on a GPU the answer would cost more than the maxima."""
    if q.device.type != "cpu" or q.numel() == 0:
        return False
    bounds = (q * q).sum(1).amax(1) * (k * k).sum(1).amax(1)
    return bool((bounds <= _SAFE**2).all())


def _lowest(x: Tensor) -> float:
    """Below every score; a quarter of the least number, so that differences of two are finite."""
    return torch.finfo(x.dtype).min / 4
