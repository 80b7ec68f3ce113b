"""MCTN with its training losses written from its equations, step by step, with the names of MMSA, to compare with.

Time is time here, and losses leave out the first step and the columns that only fill the width, as in ours; without
padding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_zoo.batch import Batch

__all__ = ["PlainMCTN"]

STEPS, WEIGHT = 50, 0.1
CHAIN = ("text", "vision", "audio")


class PlainAttention(nn.Module):
    """Weights of the source's steps by a state of the decoder."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attn, self.v = nn.Linear(2 * dim, dim, bias=False), nn.Linear(dim, 1, bias=False)

    def forward(self, state: Tensor, source: Tensor) -> Tensor:
        """Weights (B, T) of (B, h) and (T, B, h)."""
        repeated = state[:, None].repeat(1, len(source), 1)
        energy = torch.tanh(self.attn(torch.cat([repeated, source.transpose(0, 1)], 2)))
        weights: Tensor = self.v(energy).squeeze(2).softmax(1)
        return weights


class PlainEncoder(nn.Module):
    """The encoder."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.rnn, self.fc = nn.LSTM(width, dim, bidirectional=True), nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """States (T, B, h) whose directions are added, and where a decoder starts (B, h)."""
        states, (last, _) = self.rnn(x)
        forward, backward = states.chunk(2, 2)
        return forward + backward, torch.tanh(self.fc(last[0] + last[1]))


class PlainDecoder(nn.Module):
    """The decoder, told the true step before each."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.attention = PlainAttention(dim)
        self.rnn, self.fc_out = nn.LSTM(width + dim, dim, bidirectional=True), nn.Linear(2 * dim, width)

    def forward(self, source: Tensor, state: Tensor, target: Tensor) -> Tensor:
        """(T', B, P) like the target; the first step is zero."""
        made = [torch.zeros_like(target[0])]
        for t in range(1, len(target)):
            weights = self.attention(state, source)
            context = (weights[:, None] @ source.transpose(0, 1)).squeeze(1)
            states, (last, _) = self.rnn(torch.cat([target[t - 1], context], 1)[None])
            forward, backward = states[0].chunk(2, 1)
            made.append(self.fc_out(torch.cat([forward + backward, context], 1)))
            state = last[0] + last[1]
        return torch.stack(made)


class PlainRegression(nn.Module):
    """The recurrent network with attention that the score is read from."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.rnn, self.linear, self.linear2 = nn.LSTM(dim, dim), nn.Linear(dim, 1), nn.Linear(dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1) of (T, B, h)."""
        states = self.rnn(x)[0]
        weights = torch.tanh(self.linear(states)).softmax(0)
        score: Tensor = self.linear2((weights * states).sum(0))
        return score


class PlainMCTN(nn.Module):
    """Text to vision and back, and to audio."""

    def __init__(self, dims: tuple[int, int, int], dim: int) -> None:
        super().__init__()
        text, audio, vision = dims
        self.widths = {"text": text, "audio": audio, "vision": vision}
        self.width = max(dims)
        self.encoder1, self.encoder2 = PlainEncoder(self.width, dim), PlainEncoder(dim, dim)
        self.decoder1, self.decoder2 = PlainDecoder(self.width, dim), PlainDecoder(self.width, dim)
        self.regression = PlainRegression(dim)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Scores and losses."""
        x = {name: batch.modality(name).x[:, :STEPS].transpose(0, 1) for name in CHAIN}
        x = {name: F.pad(value, (0, self.width - value.shape[2])) for name, value in x.items()}
        first, state = self.encoder1(x["text"])
        vision = self.decoder1(first, state, x["vision"])
        text = self.decoder1(*self.encoder1(vision), x["text"])
        second, state = self.encoder2(first)
        audio = self.decoder2(second, state, x["audio"])
        scores = self.regression(second)
        made = {"translation": ("vision", vision), "cycle": ("text", text), "second": ("audio", audio)}
        losses = {"task": F.l1_loss(scores, batch.target[:, None])}
        for kind, (name, found) in made.items():
            width = self.widths[name]
            losses[kind] = WEIGHT * F.mse_loss(found[1:, :, :width], x[name][1:, :, :width])
        return scores, losses
