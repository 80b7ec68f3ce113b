"""The MulT encoder and MulT written from their equations, with the released names, for benchmarks to compare with."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_zoo.batch import MODALITIES, Batch
from mer_zoo.layers.positions import sinusoid_table

__all__ = ["LETTERS", "Drop", "PlainEncoder", "PlainMulT"]

LETTERS = dict(zip("lav", MODALITIES, strict=True))
Drop = dict[str, float]


class PlainLayer(nn.Module):
    """A layer of the MulT encoder as its equations stand, time first."""

    def __init__(self, dim: int, heads: int, attn_dropout: float, drop: Drop, causal: bool = True) -> None:
        super().__init__()
        self.heads, self.attn_dropout, self.drop, self.causal = heads, attn_dropout, drop, causal
        self.self_attn = nn.MultiheadAttention(dim, heads)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.layer_norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))

    def forward(self, x: Tensor, source: Tensor | None) -> Tensor:
        """Return x + MHA(LN0 x, LN0 s, LN0 s), then x + W2 relu(W1 LN1 x)."""
        query = self.layer_norms[0](x)
        key = query if source is None else self.layer_norms[0](source)
        offset = 1 + abs(len(key) - len(query))
        mask = torch.triu(query.new_full((len(query), len(key)), -torch.inf), offset) if self.causal else None
        attention = self.self_attn
        mixed, _ = F.multi_head_attention_forward(
            query,
            key,
            key,
            *(query.shape[2], self.heads, attention.in_proj_weight, attention.in_proj_bias, None, None, False),
            *(self.attn_dropout, attention.out_proj.weight, attention.out_proj.bias),
            training=self.training,
            need_weights=True,
            attn_mask=mask,
        )
        x = x + F.dropout(mixed, self.drop["res_dropout"], self.training)
        inner = F.dropout(F.relu(self.fc1(self.layer_norms[1](x))), self.drop["relu_dropout"], self.training)
        return x + F.dropout(self.fc2(inner), self.drop["res_dropout"], self.training)


class PlainEncoder(nn.Module):
    """The MulT encoder: scaling, positions, layers, final normalisation."""

    def __init__(self, dim: int, heads: int, layers: int, attn_dropout: float, drop: Drop, causal: bool = True) -> None:
        super().__init__()
        self.drop = drop
        self.layers = nn.ModuleList(PlainLayer(dim, heads, attn_dropout, drop, causal) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(dim)

    def embed(self, x: Tensor) -> Tensor:
        """sqrt(d) x + P, dropped out."""
        length, _, dim = x.shape
        table = sinusoid_table(length, dim)[1:, None] * (x[..., :1] != 0)
        return F.dropout(math.sqrt(dim) * x + table, self.drop["embed_dropout"], self.training)

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        """Encode (T, B, d)."""
        x, source = self.embed(x), None if source is None else self.embed(source)
        for layer in self.layers:
            x = layer(x, source)
        encoded: Tensor = self.layer_norm(x)
        return encoded


class PlainMulT(nn.Module):
    """MulT written from its equations, with the released names; attention through multi_head_attention_forward."""

    def __init__(self, dims: tuple[int, int, int], dim: int, heads: int, layers: int, drop: Drop) -> None:
        super().__init__()
        self.drop = drop
        by_source = {"l": "attn_dropout", "a": "attn_dropout_audio", "v": "attn_dropout_vision"}
        for a, width in zip("lav", dims, strict=True):
            self.add_module(f"proj_{a}", nn.Conv1d(width, dim, 1, bias=False))
            memory = PlainEncoder(2 * dim, heads, max(layers, 3), drop["attn_dropout"], drop)
            self.add_module(f"trans_{a}_mem", memory)
            for b in "lav".replace(a, ""):
                encoder = PlainEncoder(dim, heads, layers, drop[by_source[b]], drop)
                self.add_module(f"trans_{a}_with_{b}", encoder)
        self.proj1, self.proj2 = nn.Linear(6 * dim, 6 * dim), nn.Linear(6 * dim, 6 * dim)
        self.out_layer = nn.Linear(6 * dim, 1)

    def forward(self, batch: Batch) -> Tensor:
        """(B, 1) scores."""
        x = {letter: batch.modality(name).x for letter, name in LETTERS.items()}
        x["l"] = F.dropout(x["l"], self.drop["embed_dropout"], self.training)
        p = {a: getattr(self, f"proj_{a}")(value.transpose(1, 2)).permute(2, 0, 1) for a, value in x.items()}
        last = []
        for a in "lav":
            found = [getattr(self, f"trans_{a}_with_{b}")(p[a], p[b]) for b in "lav".replace(a, "")]
            last.append(getattr(self, f"trans_{a}_mem")(torch.cat(found, 2))[-1])
        r = torch.cat(last, 1)
        z: Tensor = r + self.proj2(F.dropout(F.relu(self.proj1(r)), self.drop["out_dropout"], self.training))
        logits: Tensor = self.out_layer(z)
        return logits
