"""RMFN written from its equations, word by word and modality by modality, with our names, to compare with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_zoo.batch import MODALITIES, Batch

__all__ = ["PlainRMFN"]


class PlainRMFN(nn.Module):
    """RMFN on aligned words without padding, one output."""

    def __init__(self, dims: tuple[int, int, int], widths: tuple[int, int, int], inner: int, stages: int) -> None:
        super().__init__()
        self.stages, self.widths, total = stages, dict(zip(MODALITIES, widths, strict=True)), sum(widths)
        triples = list(zip(MODALITIES, dims, widths, strict=True))
        self.cells = nn.ModuleDict({m: nn.LSTMCell(d, h) for m, d, h in triples})
        self.cross = nn.ModuleDict({m: nn.Linear(inner, 4 * h, bias=False) for m, _, h in triples})
        self.highlight, self.fuse_stage = nn.LSTMCell(total, inner), nn.LSTMCell(total, inner)
        self.attention = nn.Linear(inner, total)
        self.summary = nn.ModuleDict({"fc1": nn.Linear(stages * inner, inner), "fc2": nn.Linear(inner, inner)})
        self.head = nn.Linear(total + inner, 1)

    def forward(self, batch: Batch) -> Tensor:
        """Scores (B, 1)."""
        zero = batch.text.x.new_zeros
        size = len(batch.text.x)
        states = {m: (zero(size, width), zero(size, width)) for m, width in self.widths.items()}
        z = zero(size, self.head.in_features - self.attention.out_features)
        for t in range(batch.text.x.shape[1]):
            for m, cell in self.cells.items():
                states[m] = self.lsthm(cell, self.cross[m](z), batch.modality(m).x[:, t], states[m])
            h = torch.cat([states[m][0] for m in MODALITIES], 1)
            q, s, found = None, None, []
            for _ in range(self.stages):
                q = self.highlight(h, q)
                s = self.fuse_stage(self.attention(q[0]).softmax(1) * h, s)
                found.append(s[0])
            z = self.summary["fc2"](F.relu(self.summary["fc1"](torch.cat(found, 1))))
        scores: Tensor = self.head(torch.cat([h, z], 1))
        return scores

    @staticmethod
    def lsthm(cell: nn.Module, cross: Tensor, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """State and cell after a word."""
        assert isinstance(cell, nn.LSTMCell)
        h, c = state
        gates = F.linear(x, cell.weight_ih, cell.bias_ih) + F.linear(h, cell.weight_hh, cell.bias_hh) + cross
        i, f, g, o = gates.chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c
