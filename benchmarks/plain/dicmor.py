"""DiCMoR and its training losses written from their equations, with the released names, to be compared with.

Text is features here; samples that miss a modality are led back together. The flows run once a batch: what is there in
the incomplete view is as it is in the complete batch.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.plain.imder import PlainRecovering
from benchmarks.plain.mult import LETTERS, Drop
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.data.missing.sets import RandomSMM
from mer_zoo.data.missing.views import IncompleteViews

__all__ = ["PlainDiCMoR"]

DIM, KERNEL, STEPS, INNER = 32, 5, 32, 64
PRIORS = ("hn", "n", "wn", "neutral", "wp", "p", "hp")
OTHERS = {"l": "va", "a": "lv", "v": "la"}
Terms = dict[str, Tensor]


class PlainScaled(nn.Module):
    """A map of each step times exp(3 scale)."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, dim, 1)
        self.scale = nn.Parameter(torch.zeros(1, dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, d, T)."""
        scaled: Tensor = self.conv(x) * torch.exp(3 * self.scale)
        return scaled


class PlainCoupling(nn.Module):
    """The first half of the channels scales and shifts the second."""

    def __init__(self) -> None:
        super().__init__()
        first, second = nn.Conv1d(DIM // 2, INNER, 1), nn.Conv1d(INNER, INNER, 1)
        net = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), PlainScaled(INNER, DIM))
        self.coupling = nn.ModuleDict({"net": net})

    def parts(self, x1: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift of the second half."""
        s, t = self.coupling["net"](x1).chunk(2, 1)
        return torch.sigmoid(s + 2), t

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, d, T), and the logarithm of the determinant (B,)."""
        x1, x2 = x.chunk(2, 1)
        s, t = self.parts(x1)
        return torch.cat([x1, (x2 + t) * s], 1), s.log().sum((1, 2))

    def inverse(self, z: Tensor) -> Tensor:
        """What became (B, d, T)."""
        x1, x2 = z.chunk(2, 1)
        s, t = self.parts(x1)
        return torch.cat([x1, x2 / s - t], 1)


class PlainFlow(nn.Module):
    """Couplings one behind the other."""

    def __init__(self) -> None:
        super().__init__()
        flows = nn.ModuleList(PlainCoupling() for _ in range(STEPS))
        self.blocks = nn.ModuleList([nn.ModuleDict({"flows": flows})])

    @property
    def steps(self) -> list[PlainCoupling]:
        """The couplings."""
        return list(self.blocks[0]["flows"])  # type: ignore[index]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Latent (B, d, T), and the logarithm of the determinant (B,)."""
        total = x.new_zeros(len(x))
        for step in self.steps:
            x, logdet = step(x)
            total = total + logdet
        return x, total

    @torch.no_grad()
    def inverse(self, z: Tensor) -> Tensor:
        """What is led to (B, d, T), without gradient."""
        for step in reversed(self.steps):
            z = step.inverse(z)
        return z


class PlainPrior(nn.Module):
    """Mean and logarithm of the deviation of a class, as bias of a map of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.ParameterDict({"bias": 0.1 * torch.randn(2 * DIM)})
        self.scale = nn.Parameter(torch.zeros(1, 2 * DIM))

    def forward(self) -> Tensor:
        """(1, 2d)."""
        found: Tensor = self.conv["bias"] * torch.exp(3 * self.scale)
        return found


class PlainDiCMoR(PlainRecovering):
    """DiCMoR with the losses of a training step."""

    def __init__(self, dims: tuple[int, int, int], spec: DataSpec, drop: Drop) -> None:
        super().__init__(dims, KERNEL, drop)
        self.spec = spec
        self.views = IncompleteViews(RandomSMM(0.7), seed=0)
        for a in "lav":
            self.add_module(f"flow_{a}", PlainFlow())
            self.add_module(f"cat_{a}", nn.Conv1d(2 * DIM, DIM, 1))
        for name in PRIORS:
            self.add_module(f"prior_{name}", PlainPrior())

    def unlikeliness(self, z: Tensor, logdet: Tensor, target: Tensor) -> Tensor:
        """Bits for each number."""
        table = torch.cat([getattr(self, f"prior_{name}")() for name in PRIORS])
        mean, deviation = table[target.round().long() + 3][..., None].chunk(2, 1)
        logp = -0.5 * math.log(2 * math.pi) - deviation - 0.5 * (z - mean) ** 2 * torch.exp(-2 * deviation)
        return F.relu(-(logp.sum() + logdet.sum()) / (math.log(2) * z.numel()))

    def recover(self, a: str, z: dict[str, Tensor], missing: dict[str, Tensor]) -> Tensor:
        """What the others make of the samples that miss a modality, refined, and zeros of all others."""
        recovered, rows = torch.zeros_like(z[a]), missing[a]
        if not rows.any():
            return recovered
        first, second = OTHERS[a][0], OTHERS[a][1]
        flow = getattr(self, f"flow_{a}")
        one, two = flow.inverse(z[first][rows]), flow.inverse(z[second][rows])
        joined = getattr(self, f"cat_{a}")(torch.cat([one, two], 1))
        no_first, no_second = missing[first][rows][:, None, None], missing[second][rows][:, None, None]
        rough = torch.where(no_first, two, torch.where(no_second, one, joined))
        recovered[rows] = getattr(self, f"rec_{a}")(rough)
        return recovered

    def losses(self, batch: Batch) -> tuple[Tensor, Terms]:
        """Scores of the incomplete view, and the losses of a training step."""
        view: Batch = self.views(batch, self.spec)
        missing = {a: ~view.modality(name).observed.any(1) for a, name in LETTERS.items()}
        p = self.project(batch)
        flowed = {a: getattr(self, f"flow_{a}")(x) for a, x in p.items()}
        latent = {a: z for a, (z, _) in flowed.items()}
        seen, recovery = dict(p), torch.zeros(len(view))
        for a in "lav":
            recovered = self.recover(a, latent, missing)
            recovery = recovery + missing[a] * (recovered - p[a]).square().mean((1, 2))
            seen[a] = torch.where(missing[a][:, None, None], recovered, p[a])
        lost = missing["l"].long() + missing["a"].long() + missing["v"].long()
        unlikely = [self.unlikeliness(z, logdet, batch.target) for z, logdet in flowed.values()]
        logits = self.score(seen)
        return logits, {
            "task": F.l1_loss(logits, batch.target[:, None]),
            "likelihood": 0.1 * (unlikely[0] + unlikely[1] + unlikely[2]),
            "recovery": 0.1 * (recovery / lost.clamp(min=1)).mean(),
        }
