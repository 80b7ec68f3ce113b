"""Invertible maps of sequences, step by step, and the class distributions that they lead to."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.functional.precision import widen

__all__ = ["ClassPriors", "Flow", "FlowKind"]

FlowKind = Literal["glow", "couplings"]
# What a flow of "glow" leads back is cut here: far from what it was trained on, a few steps lead beyond all numbers.
LARGEST = 100.0
_LOG_2PI = math.log(2 * math.pi)


class _ZeroConv(nn.Module):
    """A linear map of each step that starts at zero, times exp(3 scale)."""

    def __init__(self, input_dim: int, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(input_dim, dim, 1)
        self.scale = nn.Parameter(torch.zeros(1, dim, 1))
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(_bias(self.conv))

    @override
    def forward(self, x: Tensor) -> Tensor:
        scaled: Tensor = self.conv(x) * torch.exp(3 * self.scale)
        return scaled


class FlowStep(nn.Module):
    """One step: the first half of the channels says how the second is shifted and scaled.

    Args:
        dim: Width d, even.
        hidden: Width of the network that says it.
        mixes: Whether channels are scaled, shifted and mixed first, as in Glow.
    """

    def __init__(self, dim: int, hidden: int, mixes: bool) -> None:
        super().__init__()
        first, second = nn.Conv1d(dim // 2, hidden, 1), nn.Conv1d(hidden, hidden, 1)
        for conv in (first, second):
            nn.init.normal_(conv.weight, std=0.05)
            nn.init.zeros_(_bias(conv))
        self.net = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), _ZeroConv(hidden, dim))
        self.shift = nn.Parameter(torch.zeros(1, dim, 1)) if mixes else None
        self.log_scale = nn.Parameter(torch.zeros(1, dim, 1)) if mixes else None
        self.mix = nn.Parameter(nn.init.orthogonal_(torch.empty(dim, dim))) if mixes else None

    @override
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, d, T) and the logarithm of the determinant (B,)."""
        logdet = x.new_zeros(len(x), dtype=torch.promote_types(x.dtype, torch.float32))
        if self.shift is not None and self.log_scale is not None and self.mix is not None:
            x = self.mix @ ((x + self.shift) * torch.exp(self.log_scale))
            by_step = torch.linalg.slogdet(widen(self.mix)).logabsdet + widen(self.log_scale).sum()
            logdet = logdet + x.shape[2] * by_step
        first, second = x.chunk(2, 1)
        log_s, t = self._coupling(first)
        return torch.cat([first, (second + t) * log_s.exp()], 1), logdet + widen(log_s).sum((1, 2))

    def inverse(self, z: Tensor) -> Tensor:
        """What :meth:`forward` makes (B, d, T) of; behind a mixing it is cut at LARGEST."""
        first, second = z.chunk(2, 1)
        log_s, t = self._coupling(first)
        x = torch.cat([first, second * (-log_s).exp() - t], 1)
        if self.shift is not None and self.log_scale is not None and self.mix is not None:
            x = torch.nan_to_num(x).clamp(-LARGEST, LARGEST)
            mixed = torch.linalg.solve(widen(self.mix), widen(x)).to(x.dtype)
            x = torch.nan_to_num(mixed * torch.exp(-self.log_scale) - self.shift).clamp(-LARGEST, LARGEST)
        return x

    def _coupling(self, first: Tensor) -> tuple[Tensor, Tensor]:
        raw, t = self.net(first).chunk(2, 1)
        return F.logsigmoid(raw + 2), t


class Flow(nn.Module):
    """An invertible map of each step of a sequence to a latent one.

    Args:
        dim: Width d, even.
        steps: Number of couplings.
        hidden: Width of the networks inside.
        kind: ``glow``, where each coupling comes behind a scaling and a mixing of the channels, as the paper has it;
            or ``couplings`` alone, as the released code runs it, where the first half of the channels never changes.

    References:
        Kingma, Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", NeurIPS 2018.

    Example:
        >>> flow, x = Flow(4, steps=2, hidden=3), torch.randn(2, 4, 5)
        >>> z, logdet = flow(x)
        >>> torch.allclose(flow.inverse(z), x, atol=1e-5), logdet.shape
        (True, torch.Size([2]))
    """

    def __init__(self, dim: int, steps: int, hidden: int, kind: FlowKind = "glow") -> None:
        super().__init__()
        self.steps = nn.ModuleList(FlowStep(dim, hidden, kind == "glow") for _ in range(steps))

    @override
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Latent sequence (B, d, T) and the logarithm of the determinant (B,)."""
        logdets = []
        for step in self.steps:
            x, logdet = step(x)
            logdets.append(logdet)
        return x, torch.stack(logdets).sum(0)

    def inverse(self, z: Tensor) -> Tensor:
        """The sequence (B, d, T) of a latent one."""
        for step in reversed(self.steps):
            assert isinstance(step, FlowStep)
            z = step.inverse(z)
        return z


class ClassPriors(nn.Module):
    """Normal distributions of latent steps, one for each class; all start standard.

    Args:
        classes: How many.
        dim: Width d.

    Example:
        >>> priors = ClassPriors(2, 4)
        >>> round(priors(torch.zeros(1, 4, 1), torch.tensor([1])).item() / 4, 4)
        -0.9189
    """

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        self.bias = nn.ParameterList(torch.zeros(2 * dim) for _ in range(classes))
        self.scale = nn.ParameterList(torch.zeros(1, 2 * dim) for _ in range(classes))

    @override
    def forward(self, z: Tensor, classes: Tensor) -> Tensor:
        """Log-likelihood (B,) of latent sequences (B, d, T), each of its class (B,)."""
        table = torch.stack(list(self.bias)) * torch.exp(3 * torch.cat(list(self.scale)))
        mean, log_deviation = widen(table)[classes][..., None].chunk(2, 1)
        z = widen(z)
        terms = -0.5 * _LOG_2PI - log_deviation - 0.5 * (z - mean).square() * torch.exp(-2 * log_deviation)
        return terms.sum((1, 2))


def _bias(conv: nn.Conv1d) -> Tensor:
    assert conv.bias is not None
    return conv.bias
