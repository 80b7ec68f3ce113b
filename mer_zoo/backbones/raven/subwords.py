"""What is heard or seen during each word: the frames of a modality as a short sequence a word, and an LSTM over it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import Modality
from mer_zoo.functional.dropout import dropout
from mer_zoo.layers.recurrent import masked_rnn

__all__ = ["SubwordLSTM", "subwords"]


def subwords(modality: Modality, words: Tensor, count: int, aligned: bool) -> tuple[Tensor, Tensor]:
    """Cut the frames of a modality into a short sequence for each word.

    Of m frames and n words, frame j belongs to word floor(j n / m), so that a word may have none. A word with more than
    ``count`` frames has ``count`` steps, of which each is the mean over as many of its frames. What is not observed
    counts for nothing, and makes no step.

    Args:
        modality: (B, L, d) features.
        words: (B, T) bool, True at real words.
        count: Largest number S of steps a word.
        aligned: Whether equal shapes mean that each frame belongs to the word at its own place; then S is 1.

    Returns:
        Steps (B, T, S, d), zero where there is none, and (B, T, S) bool, where there is one.

    Example:
        >>> frames = Modality(torch.arange(1.0, 6.0).view(1, 5, 1), torch.ones(1, 5, dtype=torch.bool))
        >>> steps, there = subwords(frames, torch.tensor([[True, False, True]]), 2, aligned=False)
        >>> steps.squeeze(-1).tolist(), there.long().tolist()
        ([[[1.5, 3.0], [0.0, 0.0], [4.0, 5.0]]], [[[1, 1], [0, 0], [1, 1]]])
    """
    x, mask, seen = modality.x, modality.mask, modality.mask & modality.observed
    if aligned and mask.shape == words.shape:
        there = (seen & words)[..., None]
        return torch.where(there[..., None], x[:, :, None], 0.0), there
    batch, width = words.shape
    m, n = mask.sum(1, keepdim=True).clamp(min=1), words.sum(1, keepdim=True)
    frame = (mask.cumsum(1) - 1).clamp(min=0)
    word = frame * n // m
    first, after = _ceil_divide(word * m, n.clamp(min=1)), _ceil_divide((word + 1) * m, n.clamp(min=1))
    within = (frame - first) * (after - first).clamp(max=count) // (after - first).clamp(min=1)
    place = torch.argsort(~words, dim=1, stable=True).gather(1, word.clamp(max=width - 1))
    there = seen & (n > 0)
    row = torch.arange(batch, device=x.device)[:, None] * width
    index = torch.where(there, (row + place) * count + within, 0).flatten()
    sums = x.new_zeros(batch * width * count, x.shape[2])
    sums = sums.index_add(0, index, torch.where(there[..., None], x, 0.0).flatten(0, 1))
    counts = x.new_zeros(len(sums)).index_add(0, index, there.flatten().to(x.dtype))
    means = sums / counts.clamp(min=1)[:, None]
    return means.view(batch, width, count, -1), (counts > 0).view(batch, width, count)


def _ceil_divide(x: Tensor, y: Tensor) -> Tensor:
    return (x + y - 1) // y


class SubwordLSTM(nn.Module):
    """A map of the features and an LSTM over the steps of each word, read by its last state.

    Args:
        input_dim: Width of the features.
        dim: Width h of the LSTM.
        dropout: Dropout of the features.
        words: Normalise the features over the batch for each of so many places of words, always by the statistics of
            the batch, as the released code does for audio; None does not.

    Example:
        >>> lstm, there = SubwordLSTM(3, 4), torch.zeros(2, 5, 6, dtype=torch.bool)
        >>> lstm(torch.randn(2, 5, 6, 3), there).abs().sum().item()
        0.0
    """

    def __init__(self, input_dim: int, dim: int, dropout: float = 0.0, words: int | None = None) -> None:
        super().__init__()
        self.norm = None if words is None else nn.BatchNorm1d(words, track_running_stats=False)
        self.resize, self.lstm, self.dropout = nn.Linear(input_dim, dim), nn.LSTM(dim, dim, batch_first=True), dropout

    @override
    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """States (B, T, h) after the steps (B, T, S, input_dim) of each word, zero for a word without any."""
        batch, words, count = there.shape
        if self.norm is not None:
            flat = x.flatten(2)
            x = F.batch_norm(flat, None, None, self.norm.weight, self.norm.bias, training=True).view_as(x)
        else:
            count = _longest(there)
            x, there = x[:, :, :count], there[:, :, :count]
        x, there = x.flatten(0, 1), there.flatten(0, 1)
        read = there.any(1)
        read[0] = True  # so that parameters are in use, and get a gradient, where nothing is there
        steps = self.resize(dropout(x[read], self.dropout, self.training))
        final = masked_rnn(self.lstm, steps, there[read])[1]
        states = final.new_zeros(len(x), final.shape[1]).index_put((read.nonzero().squeeze(1),), final)
        return states.view(batch, words, -1)


def _longest(there: Tensor) -> int:
    """Number of steps up to the last one that any word has, at least 1."""
    used = there.flatten(0, 1).any(0)
    return max(int((used * torch.arange(1, len(used) + 1, device=used.device)).max()), 1)
