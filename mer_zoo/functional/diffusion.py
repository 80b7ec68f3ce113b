"""Diffusion with exploding variance: noise of growing size, the error of a score, and samples by the way back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from mer_zoo.functional.precision import widen

__all__ = ["Score", "deviation", "sample", "score_error"]

Score = Callable[[Tensor, Tensor, Tensor], Tensor]
SIGMA = 25.0
EARLIEST, LAST = 1e-5, 1e-3  # times at which nothing is learnt any more, and at which sampling ends


def deviation(t: Tensor) -> Tensor:
    r"""Deviation of the noise at a time, :math:`\sqrt{(\sigma^{2t} - 1) / (2 \ln \sigma)}` with :math:`\sigma = 25`.

    Args:
        t: Times in (0, 1], any shape.

    Returns:
        Likewise.

    References:
        Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations", ICLR 2021.

    Example:
        >>> round(deviation(torch.tensor(1.0)).item(), 3)
        9.845
    """
    return torch.sqrt((SIGMA ** (2 * t) - 1) / (2 * math.log(SIGMA)))


def score_error(score: Score, x: Tensor, condition: Tensor, u: Tensor, noise: Tensor, other: Tensor) -> Tensor:
    """Squared error of a score at a random time, weighted by the variance of the noise.

    Args:
        score: Of noisy sequences (B, d, T), times (B,) and noisy conditions (B, d, T).
        x: (B, d, T) sequences.
        condition: (B, d, T).
        u: (B,) uniform draws, which choose the times.
        noise: (B, d, T) normal draws added to the sequences.
        other: (B, d, T) those added to the conditions.

    Returns:
        (B,) sums over channels and steps, at least float32.

    Example:
        >>> x = torch.zeros(2, 1, 3)
        >>> perfect = lambda noisy, t, condition: -noisy / deviation(t)[:, None, None] ** 2
        >>> score_error(perfect, x, x, torch.rand(2), torch.randn(2, 1, 3), x).max().item() < 1e-6
        True
    """
    t = u * (1 - EARLIEST) + EARLIEST
    std = deviation(t)[:, None, None]
    found = widen(score(x + std * noise, t, condition + std * other))
    return (found * std + noise).square().sum((1, 2))


def sample(score: Score, condition: Tensor, noise: Iterator[Tensor], steps: int) -> Tensor:
    """Sequences by the method of Euler and Maruyama, from noise at time 1 backwards.

    Args:
        score: See :func:`score_error`.
        condition: (B, d, T).
        noise: Normal draws (B, d, T): the start; then for each step that of the condition and that of the state.
        steps: At least 2.

    Returns:
        (B, d, T), without the noise of the last step.

    Example:
        >>> draws = iter(lambda: torch.zeros(1, 1, 2), None)
        >>> sample(lambda x, t, q: q, torch.ones(1, 1, 2), draws, steps=2).shape
        torch.Size([1, 1, 2])
    """
    times = torch.linspace(1.0, LAST, steps, device=condition.device)
    delta = times[0] - times[1]
    x = mean = next(noise) * deviation(times[:1])
    for number in range(steps):
        t = times[number]
        now, diffusion = t.expand(len(condition)), SIGMA**t
        q = condition + deviation(t) * next(noise)
        mean = x + diffusion.square() * widen(score(x, now, q)) * delta
        x = mean + delta.sqrt() * diffusion * next(noise)
    return mean
