"""FDMER written from its equations with torch's attention and our names, to compare with."""

from __future__ import annotations

import math
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_zoo.batch import MODALITIES, Batch
from mer_zoo.layers.gradient_reversal import reverse_gradient
from mer_zoo.layers.positions import sinusoid_table

__all__ = ["PlainFDMER"]


class PlainFDMER(nn.Module):
    """FDMER with one layer a modality, without padding and dropout, one output."""

    def __init__(self, dims: tuple[int, int, int], dim: int, heads: int) -> None:
        super().__init__()
        self.project = nn.ModuleDict({m: nn.Linear(width, dim) for m, width in zip(MODALITIES, dims, strict=True)})
        self.encoders = nn.ModuleDict({m: _Encoder(dim, heads) for m in MODALITIES})
        self.common = _mlp(dim, dim)
        self.private = nn.ModuleDict({m: _mlp(dim, dim) for m in MODALITIES})
        self.discriminator = _mlp(dim, 3)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.head = nn.Linear(6 * dim, 1)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Scores (B, 1) and the losses of a training step."""
        u = {m: self.encoders[m](self.project[m](batch.modality(m).x)) for m in MODALITIES}
        c = [_run(self.common, u[m]) for m in MODALITIES]
        s = [_run(self.private[m], u[m]) for m in MODALITIES]
        z = torch.stack([*c, *s], 1)
        scores = self.head((z + self.attention(z, z, z, need_weights=False)[0]).flatten(1))
        origin = torch.arange(3).repeat_interleave(len(z))
        pairs = [*zip(c, s, strict=True), *combinations(s, 2)]
        losses = {
            "consistency": 0.1 * torch.stack([F.mse_loss(x, y) for x, y in combinations(c, 2)]).mean(),
            "disparity": 0.1 * torch.stack([_criterion(x, y) for x, y in pairs]).sum(),
            "private": 0.1 * F.cross_entropy(_run(self.discriminator, torch.cat(s)), origin),
            "common": 0.1 * F.cross_entropy(_run(self.discriminator, reverse_gradient(torch.cat(c))), origin),
        }
        return scores, {"task": F.l1_loss(scores, batch.target[:, None]), **losses}


class _Encoder(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_Layer(dim, heads)])
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        table = sinusoid_table(x.shape[1], x.shape[2])[1:].to(x)
        encoded: Tensor = self.norm(self.layers[0](math.sqrt(x.shape[2]) * x + table))
        return encoded.mean(1)


class _Layer(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm0, self.norm1 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        given = self.norm0(x)
        x = x + self.attention(given, given, given, need_weights=False)[0]
        mapped: Tensor = x + self.fc2(F.relu(self.fc1(self.norm1(x))))
        return mapped


def _mlp(dim: int, output: int) -> nn.ModuleDict:
    return nn.ModuleDict({"fc1": nn.Linear(dim, dim), "fc2": nn.Linear(dim, output)})


def _run(mlp: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(mlp, nn.ModuleDict)
    mapped: Tensor = mlp["fc2"](F.relu(mlp["fc1"](x)))
    return mapped


def _criterion(x: Tensor, y: Tensor) -> Tensor:
    n = len(x)
    h = torch.eye(n).to(x) - 1 / n
    squares = [(z[:, None] - z).square().sum(2) for z in (x, y)]
    k, kernel = (torch.exp(-distance / (distance.mean().detach() + 1e-6)) for distance in squares)
    return torch.trace(k @ h @ kernel @ h) / (n - 1) ** 2
