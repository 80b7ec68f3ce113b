"""Sinusoidal positions of two kinds.

tensor2tensor's (MulT): sines first, then cosines, row 0 zero for padding, steps counted from 1. Interleaved, as printed
by Vaswani et al. (CIDer): sine and cosine in turn, steps counted from 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from mer_zoo.errors import MERError
from mer_zoo.functional.precision import match_type

__all__ = [
    "PositionRule",
    "embed_positions",
    "interleaved_positions",
    "interleaved_table",
    "positions",
    "sinusoid_table",
]

PositionRule = Literal["time", "released"]


def sinusoid_table(length: int, dim: int) -> Tensor:
    """Position vectors of steps 1 to ``length``, and a zero row 0.

    With half = dim // 2 and f_k = exp(-k ln(10000) / (half - 1)), row p is [sin(p f_0) .., cos(p f_0) ..] and, for an
    odd width, a zero column.

    Args:
        length: Number of steps.
        dim: Width, at least 4.

    Returns:
        (length + 1, dim) table.

    Raises:
        MERError: If the width is below 4.

    References:
        Vaswani et al., "Attention Is All You Need", 2017, Section 3.5; the order of columns is tensor2tensor's.

    Example:
        >>> sinusoid_table(1, 4)[1].tolist() == [math.sin(1), math.sin(1e-4), math.cos(1), math.cos(1e-4)]
        False
        >>> sinusoid_table(2, 5).shape, sinusoid_table(2, 5)[:, 4].tolist()
        (torch.Size([3, 5]), [0.0, 0.0, 0.0])
    """
    if dim < 4:
        raise MERError(f"positions need a width of at least 4, got {dim}; use a larger dim")
    half = dim // 2
    frequencies = torch.exp(torch.arange(half) * (-math.log(10000) / (half - 1)))
    angles = torch.arange(length + 1)[:, None] * frequencies
    table = torch.zeros(length + 1, dim)
    table[:, : 2 * half] = torch.cat([angles.sin(), angles.cos()], 1)
    table[0] = 0
    return table


def interleaved_table(length: int, dim: int) -> Tensor:
    """Vectors of positions p = 0 to ``length`` - 1: sin(p f_0), cos(p f_0), sin(p f_1), ... with f_k = 10000^(-2k / d).

    Args:
        length: Number of steps.
        dim: Width; the last column of an odd one is a sine.

    Returns:
        (length, dim) table.

    References:
        Vaswani et al., "Attention Is All You Need", 2017, Section 3.5.

    Example:
        >>> interleaved_table(2, 3)[0].tolist(), interleaved_table(2, 4)[1, 0].item() == torch.ones(()).sin().item()
        ([0.0, 1.0, 0.0], True)
    """
    frequencies = torch.exp(torch.arange(0, dim, 2) * (-math.log(10000) / dim))
    angles = torch.arange(length)[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)[:, :dim]


@lru_cache(maxsize=64)
def _cached(make: Callable[[int, int], Tensor], length: int, dim: int, device: torch.device) -> Tensor:
    # A table first made inside inference_mode could never be used in training again.
    with torch.inference_mode(False):
        return make(length, dim).to(device, torch.float32)


def _table(make: Callable[[int, int], Tensor], length: int, x: Tensor) -> Tensor:
    # Powers of two keep the number of cached tables small when batches are trimmed to many lengths.
    return match_type(_cached(make, max(32, 1 << (length - 1).bit_length()), x.shape[-1], x.device), x)


def positions(x: Tensor, mask: Tensor | None = None, rule: PositionRule = "time") -> Tensor:
    """Position vectors of a padded sequence.

    Args:
        x: (B, T, d) sequence before scaling.
        mask: (B, T) bool, True at real steps; None if all are real.
        rule: "time" counts the real steps, so that padding in front or behind changes nothing, and gives padding the
            zero vector. "released" counts every step and gives the zero vector to a step whose first channel is exactly
            0.

    Returns:
        (B, T, d) or, where all samples are alike, (T, d) vectors without gradient.

    Example:
        >>> x, mask = torch.ones(1, 3, 4), torch.tensor([[False, True, True]])
        >>> table = sinusoid_table(3, 4)
        >>> torch.equal(positions(x, mask)[0], table[:3]), torch.equal(positions(x, mask, "released")[0], table[1:])
        (True, True)
    """
    length = x.shape[1]
    table = _table(sinusoid_table, length, x)
    if rule == "released":
        return table[1 : length + 1] * (x[..., :1] != 0)
    if mask is None:
        return table[1 : length + 1]
    return table[mask.cumsum(1) * mask]


def embed_positions(x: Tensor, mask: Tensor | None = None, rule: PositionRule = "time") -> Tensor:
    """Scale a sequence by sqrt(d) and add its positions.

    Args:
        x: (B, T, d) sequence.
        mask: (B, T) bool, True at real steps; None if all are real.
        rule: See :func:`positions`.

    Returns:
        (B, T, d) what the first layer of an encoder reads.

    Example:
        >>> embed_positions(torch.zeros(1, 2, 4), rule="released").abs().sum().item()
        0.0
    """
    return torch.add(positions(x, mask, rule), x, alpha=math.sqrt(x.shape[-1]))


def interleaved_positions(x: Tensor, mask: Tensor | None = None, rule: PositionRule = "time") -> Tensor:
    """Interleaved position vectors of a padded sequence, to be added to it without scaling.

    Args:
        x: (B, T, d) sequence.
        mask: (B, T) bool, True at real steps; None if all are to be counted.
        rule: "time" counts the real steps from 0 and gives padding the zero vector. "released" gives all steps of a
            sample the vector of its place in the batch, as CIDer's code does by mistaking the axes.

    Returns:
        (B, T, d), (T, d) or (B, 1, d) vectors without gradient.

    Example:
        >>> x, mask = torch.ones(1, 3, 4), torch.tensor([[False, True, True]])
        >>> table = interleaved_table(2, 4)
        >>> torch.equal(interleaved_positions(x, mask)[0, 1:], table), interleaved_positions(x, mask)[0, 0].any().item()
        (True, False)
        >>> torch.equal(interleaved_positions(x, rule="released")[0], table[:1])
        True
    """
    batch, length, _ = x.shape
    if rule == "released":
        return _table(interleaved_table, batch, x)[:batch, None]
    table = _table(interleaved_table, length, x)
    if mask is None:
        return table[:length]
    return table[(mask.cumsum(1) - 1).clamp(min=0)] * mask[..., None]
