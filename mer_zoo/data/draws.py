"""Uniform numbers without a state: functions of a key, a sample and a counter, in integer arithmetic of any device."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["dropped_at", "uniform"]

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
        key: Integer from :func:`mer_zoo.data.missing.derive_key`.
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


def dropped_at(rate: float | Tensor, draws: Tensor) -> Tensor:
    """Whether draws fall under a rate; rate 0 drops nothing although a draw can be 0.

    Args:
        rate: One rate in [0, 1], or rates that broadcast with the draws.
        draws: Uniform draws.

    Example:
        >>> dropped_at(0.0, torch.tensor([0.0, 0.5])).tolist(), dropped_at(0.5, torch.tensor([0.0, 0.5])).tolist()
        ([False, False], [True, True])
    """
    limit = torch.as_tensor(rate, device=draws.device)
    return (draws <= limit) & (limit > 0)
