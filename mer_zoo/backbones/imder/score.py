"""The score network of IMDer: a U-Net over time that attends to what another modality says."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.functional.diffusion import deviation
from mer_zoo.functional.precision import match_type
from mer_zoo.layers.positions import embed_positions
from mer_zoo.layers.transformer import TransformerEncoder

__all__ = ["ScoreNetwork"]

_FACTOR = 8  # three levels halve the length
_SPREAD = 30.0  # of the frequencies that times are embedded by


class Level(nn.Module):
    """u = conv u, q = conv' q, then u + A(u, q) + W e, normalised, through a swish; the last level ends with A.

    Args:
        conv: Of the state.
        condition: Of the condition; None leaves it as it is.
        dim: Width of both behind.
        heads: Heads of the attention A.
        depth: Its layers.
        time_dim: Width of the embedded time e; None for the last level.
        groups: Groups of channels that are normalised together.
    """

    def __init__(
        self,
        conv: nn.Module,
        condition: nn.Module | None,
        dim: int,
        heads: int,
        depth: int,
        time_dim: int | None = None,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.conv, self.condition = conv, condition
        self.attention = TransformerEncoder(dim, heads, depth, causal=True)
        self.time = None if time_dim is None else nn.Linear(time_dim, dim)
        self.norm = None if time_dim is None else nn.GroupNorm(groups, dim)

    @override
    def forward(self, u: Tensor, q: Tensor, e: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """State and condition (B, dim, T') of those before, at an embedded time (B, E); the last level needs none."""
        q = q if self.condition is None else self.condition(q)
        u = self.conv(u)
        queries, source = (embed_positions(x.transpose(1, 2), None, "released") for x in (u, q))
        u = u + self.attention(queries, source).transpose(1, 2)
        if e is not None and self.time is not None and self.norm is not None:
            u = F.silu(self.norm(u + self.time(e)[..., None]))
        return u, q


class ScoreNetwork(nn.Module):
    """The score of noisy sequences of a modality at a time, given a noisy condition.

    Args:
        dim: Width d of sequences and conditions, and of the first level.
        channels: Widths of the levels below, each half as long.
        time_dim: Width E of the embedded time, even.
        heads: Heads of the attention of every level; divides all widths.
        depth: Its layers.
        groups: Most groups of channels of a norm; a greatest common divisor with the channels is taken.
        first_groups: The same of the first level.
        by_channel: Whether a group may be a single channel, of which the time, the same at all steps, is lost; as in
            the released code.

    References:
        Song, Ermon, "Generative Modeling by Estimating Gradients of the Data Distribution", NeurIPS 2019.

    Example:
        >>> network = ScoreNetwork(8, (8, 8, 8), time_dim=4, heads=2, depth=1, groups=4, first_groups=2)
        >>> network(torch.randn(2, 8, 5), torch.rand(2), torch.randn(2, 8, 5)).shape
        torch.Size([2, 8, 5])
    """

    def __init__(
        self,
        dim: int,
        channels: tuple[int, int, int],
        time_dim: int,
        heads: int,
        depth: int,
        groups: int = 32,
        first_groups: int = 4,
        by_channel: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("frequencies", _SPREAD * torch.randn(time_dim // 2))
        self.time = nn.Linear(time_dim, time_dim)
        widths = (dim, *channels)

        def level(conv: nn.Module, condition: nn.Module | None, width: int, most: int = groups) -> Level:
            together = math.gcd(most, width if by_channel else max(width // 2, 1))
            return Level(conv, condition, width, heads, depth, time_dim, together)

        self.down = nn.ModuleList([level(nn.Conv1d(dim, dim, 3, padding=1, bias=False), None, dim, first_groups)])
        for above, below in pairwise(widths):
            self.down.append(level(_halve(above, below), _halve(above, below), below))
        self.up = nn.ModuleList([level(_double(widths[3], widths[2]), _double(widths[3], widths[2]), widths[2])])
        for i in (2, 1):
            conv, condition = _double(2 * widths[i], widths[i - 1]), _double(widths[i], widths[i - 1])
            self.up.append(level(conv, condition, widths[i - 1]))
        last = nn.ConvTranspose1d(2 * dim, dim, 3, padding=1), nn.ConvTranspose1d(dim, dim, 3, padding=1)
        self.up.append(Level(*last, dim, heads, depth))

    @override
    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """Score (B, d, T) of x (B, d, T) at times t (B,), given a condition (B, d, T)."""
        frequencies = self.get_buffer("frequencies")
        angles = match_type(2 * math.pi * t[:, None] * frequencies, self.time.weight)
        e = F.silu(self.time(torch.cat([angles.sin(), angles.cos()], 1)))
        # Levels halve and double the length, so that it has to be a multiple.
        length = x.shape[2]
        u, q = (F.pad(match_type(each, self.time.weight), (0, -length % _FACTOR)) for each in (x, condition))
        passed = []
        for level in self.down:
            u, q = level(u, q, e)
            passed.append(u)
        for i, level in enumerate(self.up):
            times = (e,) if i + 1 < len(self.up) else ()
            u, q = level(u if i == 0 else torch.cat([u, passed[-1 - i]], 1), q, *times)
        return u[..., :length] / deviation(t)[:, None, None]


def _halve(above: int, below: int) -> nn.Module:
    return nn.Conv1d(above, below, 3, stride=2, padding=1, bias=False)


def _double(below: int, above: int) -> nn.Module:
    return nn.ConvTranspose1d(below, above, 3, stride=2, padding=1, output_padding=1, bias=False)
