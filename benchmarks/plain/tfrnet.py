"""TFR-Net and its training losses written from their equations, with the released names, to be compared with.

Text is features here, and the second encoders run over the batch, as in the usual code.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.plain.mult import LETTERS, Drop, PlainEncoder
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.data.missing.frames import RMFM
from mer_zoo.data.missing.views import IncompleteViews

__all__ = ["PlainTFRNet"]

DIM, HEADS, LAYERS, FINAL_HEADS, GRU_LAYERS, HIDDEN = 30, 6, 3, 25, 3, 128
KERNELS, WIDTHS = {"l": 1, "a": 5, "v": 3}, {"l": 36, "a": 20, "v": 48}
WEIGHTS, SIMILARITY = {"l": 5.0, "a": 2.0, "v": 20.0}, 5.0
ATTENTION = {"l": "attn_dropout", "a": "attn_dropout_audio", "v": "attn_dropout_vision"}
Terms = dict[str, Tensor]


class PlainFinal(PlainEncoder):
    """The second encoder, which has no positions."""

    def embed(self, x: Tensor) -> Tensor:
        """sqrt(d) x, dropped out."""
        return F.dropout(math.sqrt(x.shape[2]) * x, self.drop["embed_dropout"], self.training)


class PlainGRU(nn.Module):
    """A bidirectional GRU over the real steps."""

    def __init__(self, input_dim: int, dim: int) -> None:
        super().__init__()
        self.gru = nn.GRU(input_dim, dim, GRU_LAYERS, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """States (B, T, 2u), zero at padding."""
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states: Tensor = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=x.shape[1])[0]
        return states


class PlainPooling(nn.Module):
    """Gated states beside the sequence, and the largest values over time."""

    def __init__(self, input_dim: int, dim: int) -> None:
        super().__init__()
        self.gru, self.cnn = PlainGRU(input_dim, dim), nn.Conv1d(2 * dim, 1, 3, padding=1)
        self.fc = nn.Linear(input_dim + 2 * dim, dim)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Pool (B, T, d)."""
        states = self.gru(x, lengths)
        gate = torch.sigmoid(self.cnn(states.transpose(1, 2))).transpose(1, 2)
        pooled: Tensor = torch.tanh(self.fc(torch.cat([x, torch.tanh(states) * gate], 2))).max(1).values
        return pooled


class PlainTFRNet(nn.Module):
    """TFR-Net with the losses of a training step on an incomplete view."""

    def __init__(self, dims: tuple[int, int, int], spec: DataSpec, drop: Drop) -> None:
        super().__init__()
        self.spec, self.drop = spec, drop
        self.views = IncompleteViews(RMFM("per_sample"), seed=0)
        aligned, fused, wide = nn.ModuleDict(), nn.ModuleDict(), 3 * DIM
        for a, width in zip("lav", dims, strict=True):
            length = spec.length(LETTERS[a])
            aligned[f"proj_{a}"] = nn.Conv1d(width, DIM, KERNELS[a], padding=(KERNELS[a] - 1) // 2, bias=False)
            aligned[f"trans_{a}_mem"] = PlainEncoder(DIM, HEADS, LAYERS, drop["attn_dropout"], drop)
            heads = next(count for count in range(min(FINAL_HEADS, length), 0, -1) if length % count == 0)
            aligned[f"trans_{a}_final"] = PlainFinal(length, heads, LAYERS, drop["attn_dropout"], drop)
            for b in "lav".replace(a, ""):
                aligned[f"trans_{a}_with_{b}"] = PlainEncoder(DIM, HEADS, LAYERS, drop[ATTENTION[b]], drop)
            fused[f"{LETTERS[a]}_encoder"] = PlainPooling(wide, WIDTHS[a])
            generator = nn.ModuleDict({"Model": nn.ModuleDict({"linear": nn.Linear(wide, width)})})
            self.add_module(f"generator_{LETTERS[a][0]}", generator)
        joint = sum(WIDTHS.values())
        layers = {"linear_trans_norm": nn.BatchNorm1d(joint), "linear_trans_hidden": nn.Linear(joint, HIDDEN)}
        fused["classifier"] = nn.ModuleDict({**layers, "linear_trans_final": nn.Linear(HIDDEN, 1)})
        self.align_subnet, self.fusion_subnet = (nn.ModuleDict({"Model": part}) for part in (aligned, fused))

    def encode(self, view: Batch) -> dict[str, Tensor]:
        """(T, B, 3d) of each modality."""
        part: nn.ModuleDict = self.align_subnet["Model"]  # type: ignore[assignment]
        x = {a: view.modality(name).x for a, name in LETTERS.items()}
        x["l"] = F.dropout(x["l"], self.drop["text_dropout"], self.training)
        p = {a: part[f"proj_{a}"](value.transpose(1, 2)).permute(2, 0, 1) for a, value in x.items()}
        return {
            a: torch.cat(
                [
                    part[f"trans_{a}_mem"](p[a]),
                    *(part[f"trans_{a}_with_{b}"](p[a], p[b]) for b in "lav".replace(a, "")),
                ],
                2,
            )
            for a in p
        }

    def score(self, h: dict[str, Tensor], view: Batch) -> Tensor:
        """Scores (B, 1)."""
        part: nn.ModuleDict = self.fusion_subnet["Model"]  # type: ignore[assignment]
        pooled = []
        for a, name in LETTERS.items():
            vector = part[f"{name}_encoder"](h[a].transpose(0, 1), view.modality(name).mask.sum(1))
            pooled.append(F.dropout(vector, self.drop["fusion_dropout"], self.training))
        layers: nn.ModuleDict = part["classifier"]  # type: ignore[assignment]
        hidden = layers["linear_trans_hidden"](layers["linear_trans_norm"](torch.cat(pooled, 1)))
        inner = F.dropout(F.leaky_relu(hidden), self.drop["out_dropout"], self.training)
        scores: Tensor = layers["linear_trans_final"](inner)
        return scores

    def losses(self, batch: Batch) -> tuple[Tensor, Terms]:
        """Scores of the incomplete view, and the losses of a training step."""
        view: Batch = self.views(batch, self.spec)
        h = self.encode(view)
        scores = self.score(h, view)
        losses = {"task": F.l1_loss(scores, batch.target[:, None])}
        part: nn.ModuleDict = self.align_subnet["Model"]  # type: ignore[assignment]
        for a, name in LETTERS.items():
            g = part[f"trans_{a}_final"](h[a].permute(1, 2, 0)).transpose(1, 2)
            made = getattr(self, f"generator_{name[0]}")["Model"]["linear"](g)
            whole, kept = batch.modality(name), view.modality(name)
            lost = (whole.observed & ~kept.observed)[..., None].expand(whole.x.shape).to(made.dtype)
            x, y = made * lost, whole.x * lost
            error = F.smooth_l1_loss(x, y, reduction="sum")
            count = lost.sum()
            distance = SIMILARITY * _moments(x.flatten(0, 1), y.flatten(0, 1)) / (count + 1e-4)
            losses[name] = WEIGHTS[a] * (error / count + distance)
        return scores, losses


def _moments(x: Tensor, y: Tensor) -> Tensor:
    """Distance of the means, and of the central moments of order 2 and 3."""
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean
    pairs = [(x_mean, y_mean), *(((x**k).mean(0), (y**k).mean(0)) for k in (2, 3))]
    return torch.stack([torch.linalg.vector_norm(a - b) for a, b in pairs]).sum()
