"""RAVEN written from its equations, with our names and packed LSTMs, to compare with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from mer_zoo.batch import Batch

__all__ = ["PlainRAVEN"]


class PlainRAVEN(nn.Module):
    """RAVEN on words without padding, frames cut evenly over them, one output."""

    def __init__(self, dims: tuple[int, int, int], inner: int, width: int) -> None:
        super().__init__()
        others = {"audio": dims[1], "vision": dims[2]}
        self.frames = nn.ModuleDict(
            {
                m: nn.ModuleDict({"resize": nn.Linear(d, inner), "lstm": nn.LSTM(inner, inner, batch_first=True)})
                for m, d in others.items()
            }
        )
        self.gates = nn.ModuleDict({m: nn.Linear(inner + dims[0], 1) for m in others})
        self.maps = nn.ModuleDict({m: nn.Linear(inner, dims[0], bias=False) for m in others})
        self.bias = nn.Parameter(torch.zeros(dims[0]))
        self.lstm = nn.LSTM(dims[0], width, batch_first=True)
        self.head = nn.Linear(width, 1)

    def forward(self, batch: Batch) -> Tensor:
        """Scores (B, 1)."""
        e = batch.text.x
        h = self.bias
        for m in self.frames:
            state = self.read(m, batch.modality(m).x, e.shape[1])
            w = torch.sigmoid(self.gates[m](torch.cat([state, e], 2)))
            h = h + w * self.maps[m](state)
        alpha = (0.2 * e.norm(dim=2, keepdim=True) / (h.norm(dim=2, keepdim=True) + 1e-6)).clamp(max=1)
        _, (final, _) = self.lstm(e + alpha * h)
        scores: Tensor = self.head(final[0])
        return scores

    def read(self, m: str, x: Tensor, words: int) -> Tensor:
        """States (B, T, h) after the frames of each word."""
        frames = x.shape[1]
        word = torch.arange(frames) * words // frames
        counts = torch.bincount(word, minlength=words)
        cut = x.new_zeros(len(x), words, int(counts.max()), x.shape[2])
        cut[:, word, torch.arange(frames) - (counts.cumsum(0) - counts)[word]] = x
        part = self.frames[m]
        assert isinstance(part, nn.ModuleDict)
        given = part["resize"](cut[:, counts > 0].flatten(0, 1))
        lengths = counts[counts > 0].repeat(len(x))
        _, (final, _) = part["lstm"](pack_padded_sequence(given, lengths, batch_first=True, enforce_sorted=False))
        states: Tensor = final.new_zeros(len(x), words, final.shape[2])
        states[:, counts > 0] = final[0].view(len(x), -1, final.shape[2])
        return states
