"""How IMDer makes a missing modality of the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones.dicmor.recovery import Recovered
from mer_zoo.backbones.imder.score import ScoreNetwork
from mer_zoo.batch import MODALITIES
from mer_zoo.errors import MERError
from mer_zoo.functional.diffusion import sample
from mer_zoo.layers.channel_attention import Refinement

__all__ = ["Drawn", "Recovery", "check_sizes"]

_ORDER = ("text", "vision", "audio")  # of two modalities that are joined


class Drawn(NamedTuple):
    """What was drawn.

    Args:
        samples: Modality to (B, d, T'), zeros where it is not missing; empty where nothing was drawn.
        recovered: The samples refined, and what is missing.
        conditions: Modality to (B, d, T'), what it was drawn by.
    """

    samples: dict[str, Tensor]
    recovered: Recovered
    conditions: dict[str, Tensor]


class Recovery(nn.Module):
    """A score network for each modality, what joins two others to its condition, and what refines its samples.

    Args:
        dim: Width d, at least 8.
        channels: Of the score networks below the first level.
        time_dim: Width of their embedded time.
        heads: Heads of their attention.
        depth: Its layers.
        groups: Groups of their norms, and those of the first.
        by_channel: See :class:`~mer_zoo.backbones.imder.score.ScoreNetwork`.
        steps: Of the sampler, at least 2.
        refinement_depth: Blocks of a refinement.

    Example:
        >>> recovery = Recovery(8, (8, 8, 8), 4, 2, 1, (4, 2), steps=2, refinement_depth=1)
        >>> p = dict.fromkeys(MODALITIES, torch.randn(2, 8, 5))
        >>> q = recovery(p, dict.fromkeys(MODALITIES, torch.tensor([False, False])))
        >>> noise = iter(lambda: torch.randn(2, 8, 5), None)
        >>> recovery.sample("audio", q["audio"], noise).shape
        torch.Size([2, 8, 5])
    """

    def __init__(
        self,
        dim: int,
        channels: tuple[int, int, int],
        time_dim: int,
        heads: int,
        depth: int,
        groups: tuple[int, int],
        by_channel: bool = False,
        steps: int = 100,
        refinement_depth: int = 20,
    ) -> None:
        super().__init__()
        self.steps = steps
        self.scores = nn.ModuleDict(
            {
                name: ScoreNetwork(dim, channels, time_dim, heads, depth, *groups, by_channel=by_channel)
                for name in MODALITIES
            }
        )
        self.join = nn.ModuleDict({name: nn.Conv1d(2 * dim, dim, 1) for name in MODALITIES})
        self.refine = nn.ModuleDict({name: Refinement(dim, refinement_depth) for name in MODALITIES})

    @override
    def forward(self, p: Mapping[str, Tensor], missing: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What each modality (B, d, T') is made of: the others, at its length, of use where one of them is there.

        Args:
            p: Modality to (B, d, T').
            missing: Modality to (B,) bool.
        """
        conditions = {}
        for name, sequence in p.items():
            others = [other for other in _ORDER if other != name]
            one, two = (F.adaptive_avg_pool1d(p[other].detach(), sequence.shape[2]) for other in others)
            first, second = (~missing[other][:, None, None] for other in others)
            joined = self.join[name](torch.cat([one, two], 1))
            conditions[name] = torch.where(first & second, joined, torch.where(first, one, two))
        return conditions

    @torch.no_grad()
    def sample(self, name: str, condition: Tensor, noise: Iterator[Tensor]) -> Tensor:
        """Sequences (B, d, T') of a modality by its condition; see :func:`~mer_zoo.functional.diffusion.sample`."""
        return sample(self.scores[name], condition, noise, self.steps)


def check_sizes(dim: int, steps: int, time_dim: int, groups: tuple[int, int]) -> None:
    """Refuse sizes that no network can have.

    Raises:
        MERError: Naming the option.
    """
    if dim < 8:
        raise MERError(f"dim of IMDer is {dim}, but a refinement needs at least 8; give a larger one")
    if steps < 2:
        raise MERError(f"sampler_steps of IMDer is {steps}, but a draw takes at least 2")
    if time_dim < 2 or time_dim % 2 or min(groups) < 1:
        raise MERError(f"time_dim of IMDer is {time_dim}, groups {list(groups)}; an even time_dim, groups of 1 or more")
