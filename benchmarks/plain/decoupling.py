"""What DMD and DLF share, written from their equations, for benchmarks to compare with.

The loss of the margin is one sum over anchors, positives and negatives, without a loop: what a competent author would
write.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.plain.mult import LETTERS, Drop, PlainEncoder
from mer_zoo.batch import Batch

__all__ = ["KERNEL", "MARGIN", "PlainDecoupling", "Terms", "distance", "embedding_loss", "margin_loss"]

KERNEL, MARGIN = 5, 0.15
ATTENTION = {"l": "attn_dropout", "a": "attn_dropout_audio", "v": "attn_dropout_vision"}
Terms = dict[str, Tensor]
Parts = dict[str, Tensor]


class PlainDecoupling(nn.Module):
    """Convolutions, decoders, alignment, shared fusion, residual heads; channel- or time-first as the spec has it."""

    def __init__(
        self, dims: tuple[int, int, int], lengths: tuple[int, int, int], dim: int, heads: int, drop: Drop
    ) -> None:
        super().__init__()
        self.dim, self.heads, self.drop = dim, heads, drop
        self.lengths = {letter: length - KERNEL + 1 for letter, length in zip("lav", lengths, strict=True)}
        for letter, width in zip("lav", dims, strict=True):
            self.add_module(f"proj_{letter}", nn.Conv1d(width, dim, KERNEL, bias=False))
            self.add_module(f"decoder_{letter}", nn.Conv1d(2 * dim, dim, 1, bias=False))
            self.add_module(f"align_c_{letter}", nn.Linear(dim * self.lengths[letter], dim))

    def encoder(self, source: str, layers: int, dim: int | None = None) -> PlainEncoder:
        """An encoder whose attention has the dropout of its source."""
        return PlainEncoder(dim or self.dim, self.heads, layers, self.drop[ATTENTION[source]], self.drop)

    def add_head(self, suffix: str, dim: int, hidden: int | None = None) -> None:
        """A residual block and a classifier."""
        self.add_module(f"proj1{suffix}", nn.Linear(dim, hidden or dim))
        self.add_module(f"proj2{suffix}", nn.Linear(hidden or dim, dim))
        self.add_module(f"out_layer{suffix}", nn.Linear(dim, 1))

    def head(self, suffix: str, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, what the classifier reads, and what is behind the ReLU."""
        inner = F.relu(getattr(self, f"proj1{suffix}")(x))
        joined = getattr(self, f"proj2{suffix}")(F.dropout(inner, self.drop["out_dropout"], self.training)) + x
        return getattr(self, f"out_layer{suffix}")(joined), joined, inner

    def project(self, batch: Batch) -> Parts:
        """(B, d, T') of each modality."""
        x = {letter: batch.modality(name).x for letter, name in LETTERS.items()}
        x["l"] = F.dropout(x["l"], self.drop["text_dropout"], self.training)
        return {letter: getattr(self, f"proj_{letter}")(value.transpose(1, 2)) for letter, value in x.items()}

    def decode(self, s: Parts, c: Parts) -> Parts:
        """Restored (B, d, T') of the two parts, each of that shape."""
        return {letter: getattr(self, f"decoder_{letter}")(torch.cat([s[letter], c[letter]], 1)) for letter in s}

    def split_losses(self, found: dict[str, Parts], target: Tensor) -> Terms:
        """Reconstruction, cycle, margin and orthogonality, weighted, of sequences (B, d, T')."""
        x, s, c = found["x"], found["s"], found["c"]
        aligned = torch.cat([getattr(self, f"align_c_{letter}")(c[letter].flatten(1)) for letter in "lav"])
        rows = {k: (s[k].transpose(1, 2).reshape(-1, self.dim), c[k].transpose(1, 2).reshape(-1, self.dim)) for k in c}
        apart = [embedding_loss(*rows[k]) for k in c]
        return {
            "reconstruction": 0.1 * distance(found["recon"], x),
            "cycle": 0.1 * distance(s, found["again"]),
            "margin": 0.01 * margin_loss(aligned, target.repeat(3)),
            "orthogonality": 0.01 * (apart[0] + apart[1] + apart[2]),
        }


def distance(x: Parts, y: Parts) -> Tensor:
    """Sum of the mean squared errors of all modalities."""
    return F.mse_loss(x["l"], y["l"]) + F.mse_loss(x["a"], y["a"]) + F.mse_loss(x["v"], y["v"])


def embedding_loss(x: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
    """max(0, cos) of rows, averaged."""
    return F.cosine_embedding_loss(x, y, x.new_full((len(x),), -1.0), reduction=reduction)


def margin_loss(x: Tensor, labels: Tensor) -> Tensor:
    """Mean over anchors of the mean over their pairs (p, n) of max(0, 0.15 |y_i - y_n| - cos_ip + cos_in)."""
    unit = x / (x.square().sum(1, keepdim=True) + 1e-8).sqrt()
    cosines = unit @ unit.T
    gap = (labels[:, None] - labels).abs()
    same = gap == 0
    positive, negative = same & ~torch.eye(len(x), dtype=torch.bool), ~same
    pairs = positive[:, :, None] & negative[:, None]
    losses = F.relu(MARGIN * gap[:, None] - cosines[:, :, None] + cosines[:, None]) * pairs
    counts = pairs.sum((1, 2))
    return (losses.sum((1, 2)) / counts.clamp(min=1)).sum() / (counts > 0).sum().clamp(min=1)
