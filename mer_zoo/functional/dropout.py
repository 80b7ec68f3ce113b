"""Dropout that is not the slowest part of a training step on a CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["MaskStream", "dropout", "keep_mask", "relu_dropout"]

LEVELS = 1 << 16
PIECE = 1 << 17  # elements, a multiple of the four that a draw decides


def dropout(x: Tensor, p: float, training: bool = True) -> Tensor:
    """Zero each element with probability p and scale the others by 1 / (1 - p).

    On a CPU one draw of 64 random bits decides four elements, four times faster than torch's own dropout, which draws
    for each; p is rounded to a multiple of 2^-16 there, and the scale follows the rounded value. Elsewhere it is
    torch's own.

    Args:
        x: Any shape, floating point.
        p: Probability in [0, 1).
        training: Without it, ``x`` comes back as it is.

    Returns:
        As ``x``.

    Example:
        >>> sorted(set(dropout(torch.ones(1000), 0.5).tolist()))
        [0.0, 2.0]
    """
    if not training or p == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, p)
    keep, factor = keep_mask(x.shape, p, x.device)
    return (x * keep).mul_(factor)


def relu_dropout(x: Tensor, p: float, training: bool = True) -> Tensor:
    """What :func:`dropout` gives for relu(x), in the memory of ``x``, which nothing else may need.

    On a CPU the result alone tells the backward pass what was below zero and what was dropped, so that no mask is kept.

    Args:
        x: Any shape, floating point; it is changed.
        p: Probability in [0, 1).
        training: Without it, nothing is dropped.

    Returns:
        As ``x``.

    Example:
        >>> relu_dropout(torch.tensor([-1.0, 2.0]), 0.0)
        tensor([0., 2.])
    """
    by_pieces = x.device.type == "cpu" and x.is_contiguous() and not torch.compiler.is_compiling()
    if not training or p == 0 or not by_pieces:
        return dropout(F.relu(x, inplace=True), p, training)
    dropped, factor = _rounded(p)
    x = x.mul_(factor)
    # Unseen by autograd: the slope of the ReLU is zero where its result is.
    with torch.no_grad():
        flat = x.relu_().view(-1)
        for part, mask in _masks(len(flat), dropped):
            flat[part].mul_(mask)
    return F.relu(x, inplace=True)


def keep_mask(shape: Sequence[int], p: float, device: torch.device) -> tuple[Tensor, float]:
    """Draw which elements :func:`dropout` keeps, and the factor that makes up for the others.

    Args:
        shape: Of the tensor to be dropped out.
        p: Probability in [0, 1).
        device: Where the mask is needed.

    Returns:
        Mask of bytes, 1 where an element is kept and 0 elsewhere: a CPU multiplies by bytes four times as fast as by
        bool; factor 1 / (1 - p).

    Example:
        >>> keep, factor = keep_mask((2, 3), 0.5, torch.device("cpu"))
        >>> keep.shape, keep.dtype, factor
        (torch.Size([2, 3]), torch.uint8, 2.0)
    """
    if device.type != "cpu":
        return (torch.rand(*shape, device=device) >= p).view(torch.uint8), 1 / (1 - p)
    dropped, factor = _rounded(p)
    count = math.prod(shape)
    if torch.compiler.is_compiling():  # which a loop of a generator would end
        return _draw(*_room(count), dropped).to(torch.uint8).view(*shape), factor
    keep = torch.empty(count, dtype=torch.uint8, device=device)
    for part, mask in _masks(count, dropped):
        keep[part].copy_(mask)
    return keep.view(*shape), factor


def _rounded(p: float) -> tuple[int, float]:
    """Levels of :data:`LEVELS` that are dropped, and the factor for the others."""
    dropped = min(round(p * LEVELS), LEVELS - 1)
    return dropped, LEVELS / (LEVELS - dropped)


def _masks(count: int, dropped: int) -> Iterator[tuple[slice, Tensor]]:
    """Masks of floats for ``count`` elements, 1 keeps and 0 drops, in pieces that stay in the cache."""
    lanes, mask = _room(min(PIECE, count))
    for start in range(0, count, PIECE):
        size = min(PIECE, count - start)
        yield slice(start, start + size), _draw(lanes[: -(-size // 4)], mask[:size], dropped)


def _room(count: int) -> tuple[Tensor, Tensor]:
    """Memory for random bits and for the mask that comes of them."""
    lanes = torch.empty(-(-count // 4), dtype=torch.int64, device="cpu")
    return lanes, torch.empty(count, dtype=torch.float32, device="cpu")


def _draw(lanes: Tensor, mask: Tensor, dropped: int) -> Tensor:
    """A mask, 16 bits an element: compared as floats, which is exact, and four times as fast as comparing integers."""
    drawn = lanes.random_(-(2**63), None).view(torch.int16)[: len(mask)]
    return mask.copy_(drawn).ge_(dropped - LEVELS // 2)


class MaskStream:
    """Masks of dropout on a CPU that are drawn again instead of being kept, faster than by :func:`keep_mask`.

    Each lane of 64 bits decides four elements and is taken on from mask to mask by a xorshift; torch's generator gives
    the first state of every lane, so that its seed decides all.

    Args:
        p: Probability in [0, 1) of dropping an element, rounded to a multiple of 2^-16.
        size: Elements of the largest mask.

    References:
        Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8 (14), 2003.

    Example:
        >>> masks = MaskStream(0.5, 6)
        >>> first, again = masks.play(), masks.play()
        >>> torch.equal(first(torch.empty(2, 3)), again(torch.empty(2, 3))), masks.factor
        (True, 2.0)
    """

    def __init__(self, p: float, size: int) -> None:
        dropped, self.factor = _rounded(p)
        self._least = dropped - LEVELS // 2
        self._start = torch.empty(-(-size // 4), dtype=torch.int64).random_(-(2**63), None)

    def play(self) -> Callable[[Tensor], Tensor]:
        """What fills contiguous floating-point tensors, one after another, from the first mask on: 1 keeps, 0 drops."""
        lanes, shifted = self._start.clone(), torch.empty_like(self._start)

        def draw(out: Tensor) -> Tensor:
            lanes.bitwise_xor_(torch.bitwise_left_shift(lanes, 13, out=shifted))
            # Zeros come in from the left.
            lanes.bitwise_xor_(torch.bitwise_right_shift(lanes, 7, out=shifted).bitwise_and_((1 << 57) - 1))
            lanes.bitwise_xor_(torch.bitwise_left_shift(lanes, 17, out=shifted))
            return out.copy_(lanes.view(torch.int16)[: out.numel()].view(out.shape)).ge_(self._least)

        return draw
