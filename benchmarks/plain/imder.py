"""IMDer and its training losses written from their equations, with the released names, to be compared with.

Text is features here; samples that miss a modality are drawn together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.plain.mult import LETTERS, Drop, PlainEncoder
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.data.missing.sets import RandomSMM
from mer_zoo.data.missing.views import IncompleteViews

__all__ = ["Noise", "PlainIMDer", "PlainRecovering"]

DIM, HEADS, LAYERS, BLOCKS, KERNEL, STEPS = 32, 8, 4, 20, 3, 10
CHANNELS, TIME, GROUPS, LN_SIGMA = (32, 64, 128, 256), 256, (4, 32, 32, 32), math.log(25.0)
ATTENTION = {"l": "attn_dropout", "a": "attn_dropout_audio", "v": "attn_dropout_vision"}
NONE = dict.fromkeys(("res_dropout", "relu_dropout", "embed_dropout"), 0.0)
CONDITIONS = {"l": "va", "a": "lv", "v": "la"}
Noise = Callable[[Tensor], Iterator[Tensor]]
Terms = dict[str, Tensor]


def _std(t: Tensor) -> Tensor:
    return ((25.0 ** (2 * t) - 1) / (2 * LN_SIGMA)).sqrt()


class PlainScore(nn.Module):
    """The U-Net with attention to the condition."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.ModuleList([nn.ParameterDict({"W": 30 * torch.randn(TIME // 2)}), nn.Linear(TIME, TIME)])
        self.embed[0].requires_grad_(False)
        names = [("1", CHANNELS[0]), ("2", CHANNELS[1]), ("3", CHANNELS[2]), ("4", CHANNELS[3])]
        names += [("t4", CHANNELS[2]), ("t3", CHANNELS[1]), ("t2", CHANNELS[0]), ("t1", DIM)]
        for number, (name, width) in enumerate(names, 1):
            self.add_module(f"attention_{name}", PlainEncoder(width, HEADS, 2, 0.0, NONE))
            if name != "t1":
                dense = nn.ModuleDict({"dense": nn.Linear(TIME, width)})
                self.add_module(f"dense{number}", dense)
                norm = nn.GroupNorm(GROUPS[number - 1] if number < 5 else GROUPS[1], width)
                self.add_module(f"tgnorm{name[1]}" if name[0] == "t" else f"gnorm{name}", norm)
        self.conv1 = nn.Conv1d(DIM, CHANNELS[0], 3, padding=1, bias=False)
        double: dict[str, Any] = {"stride": 2, "padding": 1, "output_padding": 1, "bias": False}
        for i in (2, 3, 4):
            above, below = CHANNELS[i - 2], CHANNELS[i - 1]
            for name in (f"conv{i}", f"conv{i}_cond"):
                self.add_module(name, nn.Conv1d(above, below, 3, stride=2, padding=1, bias=False))
            self.add_module(f"tconv{i}", nn.ConvTranspose1d(below * (1 if i == 4 else 2), above, 3, **double))
            self.add_module(f"tconv{i}_cond", nn.ConvTranspose1d(below, above, 3, **double))
        self.tconv1 = nn.ConvTranspose1d(2 * CHANNELS[0], DIM, 3, padding=1)
        self.tconv1_cond = nn.ConvTranspose1d(CHANNELS[0], DIM, 3, padding=1)

    def attend(self, name: str, u: Tensor, q: Tensor) -> Tensor:
        """U + A(u, q)."""
        mixed = getattr(self, f"attention_{name}")(u.permute(2, 0, 1), q.permute(2, 0, 1))
        added: Tensor = u + mixed.permute(1, 2, 0)
        return added

    def level(self, name: str, number: int, u: Tensor, q: Tensor, e: Tensor) -> Tensor:
        """Attention, time, norm and swish."""
        u = self.attend(name, u, q) + getattr(self, f"dense{number}")["dense"](e)[..., None]
        norm = getattr(self, f"tgnorm{name[1]}" if name[0] == "t" else f"gnorm{name}")
        return F.silu(norm(u))

    def forward(self, x: Tensor, t: Tensor, q: Tensor) -> Tensor:
        """Score (B, d, T)."""
        angles = 2 * math.pi * t[:, None] * self.embed[0]["W"]  # type: ignore[index]
        e = F.silu(self.embed[1](torch.cat([angles.sin(), angles.cos()], 1)))
        u = self.level("1", 1, self.conv1(x), q, e)
        passed = [u]
        for i in (2, 3, 4):
            q = getattr(self, f"conv{i}_cond")(q)
            u = self.level(str(i), i, getattr(self, f"conv{i}")(u), q, e)
            passed.append(u)
        for number, i in ((5, 4), (6, 3), (7, 2)):
            q = getattr(self, f"tconv{i}_cond")(q)
            joined = u if i == 4 else torch.cat([u, passed[i - 1]], 1)
            u = self.level(f"t{i}", number, getattr(self, f"tconv{i}")(joined), q, e)
        u = self.attend("t1", self.tconv1(torch.cat([u, passed[0]], 1)), self.tconv1_cond(q))
        return u / _std(t)[:, None, None]


class PlainBlock(nn.Module):
    """x + y times the weights of its channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        du = nn.Sequential(nn.Conv1d(dim, dim // 16, 1), nn.ReLU(), nn.Conv1d(dim // 16, dim, 1), nn.Sigmoid())
        convs = [nn.Conv1d(dim, dim, 3, padding=1) for _ in range(2)]
        self.body = nn.ModuleList([convs[0], nn.ReLU(), convs[1], nn.ModuleDict({"conv_du": du})])

    def forward(self, x: Tensor) -> Tensor:
        """Refine (B, 2d, T)."""
        y = self.body[2](F.relu(self.body[0](x)))
        refined: Tensor = x + y * self.body[3]["conv_du"](y.mean(2, keepdim=True))  # type: ignore[index]
        return refined


class PlainGroup(nn.Module):
    """Blocks and a convolution, added to what went in."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*(PlainBlock(dim) for _ in range(BLOCKS)), nn.Conv1d(dim, dim, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Refine (B, 2d, T)."""
        refined: Tensor = x + self.body(x)
        return refined


class PlainRecovering(nn.Module):
    """What IMDer and DiCMoR share: untrained convolutions, the refinement of what is recovered, and MulT behind it."""

    def __init__(self, dims: tuple[int, int, int], kernel: int, drop: Drop) -> None:
        super().__init__()
        self.drop = drop
        for a, width in zip("lav", dims, strict=True):
            self.add_module(f"proj_{a}", nn.Conv1d(width, DIM, kernel, bias=False).requires_grad_(False))
            wide = nn.Conv1d(DIM, 2 * DIM, 1), PlainGroup(2 * DIM), nn.Conv1d(2 * DIM, DIM, 1)
            self.add_module(f"rec_{a}", nn.Sequential(*wide))
            for b in "lav".replace(a, ""):
                encoder = PlainEncoder(DIM, HEADS, LAYERS, drop[ATTENTION[b]], drop)
                self.add_module(f"trans_{a}_with_{b}", encoder)
            self.add_module(f"trans_{a}_mem", PlainEncoder(2 * DIM, HEADS, LAYERS, drop["attn_dropout"], drop))
        self.proj1, self.proj2 = nn.Linear(6 * DIM, 6 * DIM), nn.Linear(6 * DIM, 6 * DIM)
        self.out_layer = nn.Linear(6 * DIM, 1)

    def project(self, batch: Batch) -> dict[str, Tensor]:
        """(B, d, T') of each modality."""
        x = {a: batch.modality(name).x for a, name in LETTERS.items()}
        x["l"] = F.dropout(x["l"], self.drop["text_dropout"], self.training)
        return {a: getattr(self, f"proj_{a}")(value.transpose(1, 2)) for a, value in x.items()}

    def score(self, p: dict[str, Tensor]) -> Tensor:
        """Scores (B, 1) of MulT behind."""
        x, last = {a: value.permute(2, 0, 1) for a, value in p.items()}, []
        for a in "lav":
            found = [getattr(self, f"trans_{a}_with_{b}")(x[a], x[b]) for b in "lav".replace(a, "")]
            last.append(getattr(self, f"trans_{a}_mem")(torch.cat(found, 2))[-1])
        r = torch.cat(last, 1)
        z = r + self.proj2(F.dropout(F.relu(self.proj1(r)), self.drop["out_dropout"], self.training))
        logits: Tensor = self.out_layer(z)
        return logits


class PlainIMDer(PlainRecovering):
    """IMDer with the losses of a training step."""

    def __init__(self, dims: tuple[int, int, int], spec: DataSpec, drop: Drop, noise: Noise) -> None:
        super().__init__(dims, KERNEL, drop)
        self.spec, self.noise = spec, noise
        self.views = IncompleteViews(RandomSMM(0.7), seed=0)
        for a in "lav":
            self.add_module(f"score_{a}", PlainScore())
            self.add_module(f"cat_{CONDITIONS[a]}", nn.Conv1d(2 * DIM, DIM, 1))

    def condition(self, a: str, p: dict[str, Tensor], missing: dict[str, Tensor]) -> Tensor:
        """What a modality is drawn by."""
        first, second = CONDITIONS[a][0], CONDITIONS[a][1]
        joined = getattr(self, f"cat_{CONDITIONS[a]}")(torch.cat([p[first], p[second]], 1))
        alone = torch.where(missing[first][:, None, None], p[second], p[first])
        return torch.where((missing[first] | missing[second])[:, None, None], alone, joined)

    @torch.no_grad()
    def draw(self, a: str, q: Tensor) -> Tensor:
        """Euler and Maruyama's way back from noise."""
        draws, times = self.noise(q), torch.linspace(1.0, 1e-3, STEPS)
        delta = times[0] - times[1]
        x = mean = next(draws) * _std(times[0])
        for t in times:
            noisy = q + _std(t) * next(draws)
            mean = x + (25.0**t) ** 2 * getattr(self, f"score_{a}")(x, t.expand(len(q)), noisy) * delta
            x = mean + delta.sqrt() * 25.0**t * next(draws)
        return mean

    def losses(self, batch: Batch) -> tuple[Tensor, Terms]:
        """Scores of the incomplete view, and the losses of a training step."""
        view: Batch = self.views(batch, self.spec)
        missing = {a: ~view.modality(name).observed.any(1) for a, name in LETTERS.items()}
        p, complete = self.project(view), self.project(batch)
        seen, recovery, scores = dict(p), torch.zeros(len(view)), torch.zeros(())
        for a in "lav":
            q, gone = self.condition(a, p, missing), missing[a][:, None, None]
            drawn = torch.zeros_like(p[a])
            if missing[a].any():
                drawn[missing[a]] = self.draw(a, q[missing[a]].detach())
            recovered = getattr(self, f"rec_{a}")(drawn)
            recovery = recovery + missing[a] * (recovered - complete[a]).square().mean((1, 2))
            seen[a] = torch.where(gone, recovered, p[a])
            draws = self.noise(q)
            noise, u = next(draws), next(draws)[:, 0, 0].sigmoid()
            t = u * (1 - 1e-5) + 1e-5
            std = _std(t)[:, None, None]
            found = getattr(self, f"score_{a}")(complete[a] + std * noise, t, q + std * noise)
            scores = scores + ((found * std + noise).square().sum((1, 2)) * missing[a]).mean()
        logits = self.score(seen)
        task = F.l1_loss(logits, batch.target[:, None])
        return logits, {"task": task, "recovery": 0.1 * recovery.mean(), "score": 0.1 * scores}
