"""Uniform numbers without a state: functions of a key, a sample and a counter, in integer arithmetic of any device."""

from __future__ import annotations

import os

import torch
from torch import Tensor

__all__ = ["dropped_at", "dropped_block", "global_seed", "normal", "uniform"]

GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def _signed(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


def _shift(x: Tensor, bits: int) -> Tensor:
    shifted: Tensor = (x >> bits) & (2 ** (64 - bits) - 1)  # >> repeats the sign bit
    return shifted


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _signed(FIRST)
    x = (x ^ _shift(x, 27)) * _signed(SECOND)
    return x ^ _shift(x, 31)


def uniform(key: int, index: Tensor, counter: Tensor) -> Tensor:
    """Draw uniform numbers without a state: each is a hash of the key, the sample and a counter.

    Args:
        key: Integer from :func:`mer_zoo.data.missing.pattern.derive_key`.
        index: (B,) position of each sample in its split.
        counter: (n,) or (B, n) integers that tell the draws of one sample apart.

    Returns:
        (B, n) float32 in [0, 1), multiples of 2^-24, the same on every device.

    References:
        Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014 (the SplitMix64 finaliser).

    Example:
        >>> a = uniform(7, torch.tensor([0, 1, 2]), torch.arange(4))
        >>> torch.equal(a[[2, 0]], uniform(7, torch.tensor([2, 0]), torch.arange(4)))
        True
    """
    golden = _signed(GOLDEN)
    state = _mix(index.long() * golden + _signed(key))
    state = _mix(state[:, None] + (counter.long() + 1) * golden)
    return _shift(state, 40).float() * 2.0**-24


def normal(key: int, index: Tensor, counter: Tensor) -> Tensor:
    """Draw normal numbers without a state, as :func:`uniform` draws uniform ones; arguments and shape are its.

    Example:
        >>> draws = normal(7, torch.arange(100), torch.arange(100))
        >>> abs(draws.mean().item()) < 0.05, abs(draws.std().item() - 1) < 0.05
        (True, True)
    """
    drawn: Tensor = torch.special.ndtri(uniform(key, index, counter).clamp(2.0**-25, 1 - 2.0**-24))
    return drawn


def dropped_at(rate: float | Tensor, draws: Tensor) -> Tensor:
    """Whether draws fall under a rate; rate 0 drops nothing although a draw can be 0.

    Args:
        rate: One rate in [0, 1], or rates that broadcast with the draws.
        draws: Uniform draws.

    Example:
        >>> dropped_at(0.0, torch.tensor([0.0, 0.5])).tolist(), dropped_at(0.5, torch.tensor([0.0, 0.5])).tolist()
        ([False, False], [True, True])
    """
    if isinstance(rate, Tensor):
        return (draws <= rate) & (rate > 0)
    # a tensor made of the number would have to be copied to the device, which waits for it
    return draws <= rate if rate > 0 else torch.zeros_like(draws, dtype=torch.bool)


def dropped_block(rate: float, free: Tensor, draw: Tensor) -> Tensor:
    """One contiguous block of round(n rate) of a sample's n free positions, half to even, anywhere with equal chance.

    Args:
        rate: Length of the block as a share of the free positions, in [0, 1].
        free: (B, T) bool, the positions that may be dropped; others inside the block are passed over.
        draw: (B, 1) uniform draws in [0, 1): where among the n - block + 1 places the block starts.

    Returns:
        (B, T) bool, True in the block.

    Example:
        >>> free = torch.tensor([[False, True, True, True, True, False]])
        >>> dropped_block(0.5, free, torch.tensor([[0.5]])).long().tolist()
        [[0, 0, 1, 1, 0, 0]]
    """
    number = free.sum(1, keepdim=True)
    # Python's round, which is exact in double precision: not all devices have it
    blocks = torch.tensor([round(n * rate) for n in range(free.shape[1] + 1)], device=free.device)
    block = blocks[number]
    start = (draw * (number - block + 1)).long()
    place = free.cumsum(1) - 1
    return free & (place >= start) & (place < start + block)


def global_seed() -> int | None:
    """The seed of Lightning's ``seed_everything``; None where it was not called.

    Example:
        >>> from lightning.pytorch import seed_everything
        >>> seed_everything(3, verbose=False) == global_seed()
        True
    """
    seed = os.environ.get("PL_GLOBAL_SEED")
    return None if seed is None else int(seed)
