"""A Mamba block in plain torch, in which one sequence is read and another one may ask."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.functional.precision import match_type
from mer_zoo.functional.selective_scan import selective_scan

__all__ = ["SelectiveState"]


class SelectiveState(nn.Module):
    """Mamba's block: a causal convolution, a selective state space and a gate.

    With two sequences the state is written by the one that is read, and what is taken out of it, C and the gate, is
    chosen by the one that asks.

    Args:
        dim: Width d.
        expand: The inner width is so many times d.
        states: States of each inner channel.
        kernel: Steps that the convolution sees.

    References:
        Gu, Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023.

    Example:
        >>> x, mask = torch.randn(2, 5, 8), torch.ones(2, 5, dtype=torch.bool)
        >>> SelectiveState(8)(x, x, mask).shape
        torch.Size([2, 5, 8])
    """

    def __init__(self, dim: int, expand: int = 2, states: int = 16, kernel: int = 4) -> None:
        super().__init__()
        inner, self.rank, self.states, self.kernel = expand * dim, math.ceil(dim / 16), states, kernel
        self.read = nn.Linear(dim, inner, bias=False)
        self.ask = nn.Linear(dim, inner + states, bias=False)
        self.conv = nn.Conv1d(inner, inner, kernel, groups=inner)
        self.choose = nn.Linear(inner, self.rank + states, bias=False)
        self.pace = nn.Linear(self.rank, inner)
        self.log_decay = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(inner, 1))
        self.skip = nn.Parameter(torch.ones(inner))
        self.out = nn.Linear(inner, dim, bias=False)
        with torch.no_grad():  # paces from .001 to .1, as Mamba starts
            paces = torch.exp(torch.rand(inner) * math.log(100) + math.log(0.001))
            self.pace.bias.copy_(paces + torch.log(-torch.expm1(-paces)))

    @override
    def forward(self, x: Tensor, other: Tensor, mask: Tensor) -> Tensor:
        """What x (B, T, d) asks of other (B, T, d), on the real steps of a mask (B, T); zero at padding."""
        real = mask[..., None]
        gate, read = self.ask(x).split([self.skip.numel(), self.states], -1)
        u = torch.where(real, self.read(other), 0.0)
        u = F.silu(self.conv(F.pad(u.transpose(1, 2), (self.kernel - 1, 0))).transpose(1, 2))
        pace, write = self.choose(u).split([self.rank, self.states], -1)
        y = selective_scan(u, F.softplus(self.pace(pace)), -self.log_decay.exp(), write, read, mask)
        y = match_type(y, u) + self.skip * u
        return torch.where(real, self.out(y * F.silu(gate)), 0.0)
