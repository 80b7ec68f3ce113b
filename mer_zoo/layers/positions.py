"""Sinusoidal positions of the tensor2tensor kind: sines first, then cosines, row 0 zero for padding."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from mer_zoo.errors import MERError

__all__ = ["PositionRule", "embed_positions", "positions", "sinusoid_table"]

PositionRule = Literal["time", "released"]


def sinusoid_table(length: int, dim: int) -> Tensor:
    """Position vectors of steps 1 to ``length``, and a zero row 0.

    With half = dim // 2 and f_k = exp(-k ln(10000) / (half - 1)), row p is [sin(p f_0) .., cos(p f_0) ..] and, for an odd
    width, a zero column.

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
        raise MERError(f"positions need a width of at least 4, got {dim}; use a larger d_model")
    half = dim // 2
    frequencies = torch.exp(torch.arange(half) * (-math.log(10000) / (half - 1)))
    angles = torch.arange(length + 1)[:, None] * frequencies
    table = torch.zeros(length + 1, dim)
    table[:, : 2 * half] = torch.cat([angles.sin(), angles.cos()], 1)
    table[0] = 0
    return table


@lru_cache(maxsize=32)
def _table(length: int, dim: int, device: torch.device) -> Tensor:
    # A table first made inside inference_mode could never be used in training again.
    with torch.inference_mode(False):
        return sinusoid_table(length, dim).to(device, torch.float32)


def positions(x: Tensor, mask: Tensor | None = None, rule: PositionRule = "time") -> Tensor:
    """Position vectors of a padded sequence.

    Args:
        x: (B, T, d) sequence before scaling.
        mask: (B, T) bool, True at real steps; None if all are real.
        rule: "time" counts the real steps, so that padding in front or behind changes nothing, and gives padding the zero
            vector. "released" counts every step and gives the zero vector to a step whose first channel is exactly 0.

    Returns:
        (B, T, d) or, where all samples are alike, (T, d) vectors without gradient.

    Example:
        >>> x, mask = torch.ones(1, 3, 4), torch.tensor([[False, True, True]])
        >>> table = sinusoid_table(3, 4)
        >>> torch.equal(positions(x, mask)[0], table[:3]), torch.equal(positions(x, mask, "released")[0], table[1:])
        (True, True)
    """
    _, length, dim = x.shape
    # Powers of two keep the number of cached tables small when batches are trimmed to many lengths.
    table = _table(max(32, 1 << (length - 1).bit_length()), dim, x.device)
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
