"""TransM written from its equations with torch's transformer layers and our names, to compare with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_zoo.batch import MODALITIES, Batch
from mer_zoo.layers.positions import interleaved_table

__all__ = ["PlainTransM"]

OTHERS = ("audio", "vision")


class PlainTransM(nn.Module):
    """TransM on aligned words without padding, without dropout, one output."""

    def __init__(self, dims: tuple[int, int, int], dim: int, rnn_dim: int, heads: int, inner: tuple[int, int]) -> None:
        super().__init__()
        widths, inners = dict(zip(MODALITIES, dims, strict=True)), dict(zip(OTHERS, inner, strict=True))
        self.rnn = nn.ModuleDict(
            {m: nn.GRU(d, rnn_dim, batch_first=True, bidirectional=True) for m, d in widths.items()}
        )
        self.project = nn.ModuleDict({m: nn.Linear(2 * rnn_dim, dim) for m in MODALITIES})
        self.cells = nn.ModuleDict()
        for m in OTHERS:
            cell = nn.ModuleDict({way: self.transformer(dim, heads, inners[m]) for way in ("there", "back")})
            cell["to_other"], cell["to_text"] = nn.Linear(dim, widths[m]), nn.Linear(dim, dims[0])
            self.cells[m] = cell
        self.head = nn.Linear(7 * dim, 1)

    @staticmethod
    def transformer(dim: int, heads: int, inner: int) -> nn.ModuleDict:
        """Two layers that encode and one that decodes."""
        encoder = [nn.TransformerEncoderLayer(dim, heads, inner, 0.0, batch_first=True) for _ in range(2)]
        decoder = [nn.TransformerDecoderLayer(dim, heads, inner, 0.0, batch_first=True)]
        return nn.ModuleDict({"encoder": nn.ModuleList(encoder), "decoder": nn.ModuleList(decoder)})

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Scores (B, 1) and the losses of a training step."""
        x = {m: batch.modality(m).x for m in MODALITIES}
        states = {m: torch.tanh(self.project[m](self.rnn[m](x[m])[0])) for m in MODALITIES}
        positions = interleaved_table(x["text"].shape[1], states["text"].shape[2]).to(x["text"])
        joint, losses = [], {}
        for m in OTHERS:
            cell = self.cells[m]
            assert isinstance(cell, nn.ModuleDict)
            e1 = self.encode(cell["there"], states["text"] + positions)
            d1 = self.decode(cell["there"], states[m] + positions, e1)
            e2 = self.encode(cell["back"], d1 + positions)
            d2 = self.decode(cell["back"], states["text"] + positions, e2)
            joint += [e1, e2]
            losses[m] = 10 * F.l1_loss(cell["to_other"](d1), x[m])
            losses[f"{m}_text"] = 10 * F.l1_loss(cell["to_text"](d2), x["text"])
        scores = self.head(torch.cat([*joint, *states.values()], 2).mean(1))
        return scores, {"task": F.l1_loss(scores, batch.target[:, None]), **losses}

    @staticmethod
    def name_of(name: str) -> str:
        """Our name of a parameter as torch's GRU of both directions has it."""
        if not name.startswith("rnn."):
            return name
        return f"{name}_reverse".replace(".back.", ".") if ".back." in name else name.replace(".ahead.", ".")

    @staticmethod
    def encode(way: nn.Module, x: Tensor) -> Tensor:
        """Through the layers that encode."""
        assert isinstance(way, nn.ModuleDict)
        assert isinstance(way["encoder"], nn.ModuleList)
        for layer in way["encoder"]:
            x = layer(x)
        return x

    @staticmethod
    def decode(way: nn.Module, x: Tensor, memory: Tensor) -> Tensor:
        """Through the layers that decode."""
        assert isinstance(way, nn.ModuleDict)
        assert isinstance(way["decoder"], nn.ModuleList)
        for layer in way["decoder"]:
            x = layer(x, memory)
        return x
