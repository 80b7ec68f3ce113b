"""Translation of one sequence into another: an encoder, and a decoder that is told the true steps before its own."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.functional.precision import match_type
from mer_zoo.layers.recurrent import BiLSTM, masked_rnn

__all__ = ["Decoder", "Encoded", "Encoder", "masked_softmax"]


class Encoded(NamedTuple):
    """What an encoder says.

    Args:
        states: (B, T, h).
        summary: (B, h), where a decoder starts.
        mask: (B, T) bool, the steps that may be looked at.
    """

    states: Tensor
    summary: Tensor
    mask: Tensor


class Encoder(nn.Module):
    """A bidirectional LSTM whose directions are added, and a map of its final states.

    Args:
        input_dim: Width of the input.
        dim: Width h.
        starts: Whether a decoder starts where it ends; else there is no map, and the summary is the final states.

    Example:
        >>> encoded = Encoder(3, 4)(torch.randn(2, 5, 3), torch.ones(2, 5, dtype=torch.bool))
        >>> encoded.states.shape, encoded.summary.shape
        (torch.Size([2, 5, 4]), torch.Size([2, 4]))
    """

    def __init__(self, input_dim: int, dim: int, starts: bool = True) -> None:
        super().__init__()
        self.rnn = BiLSTM(input_dim, dim)
        self.fc = nn.Linear(dim, dim, bias=False) if starts else None

    @override
    def forward(self, x: Tensor, mask: Tensor) -> Encoded:
        """Encode (B, T, input_dim) under a mask (B, T)."""
        states, final = masked_rnn(self.rnn, x, mask)
        summary = _sum_of_halves(final)
        return Encoded(_sum_of_halves(states), summary if self.fc is None else torch.tanh(self.fc(summary)), mask)


class OneStepLSTM(nn.Module):
    """A bidirectional LSTM on one step from zero states, where recurrent weights and forget gates have no effect.

    Args:
        input_dim: Width of the input.
        dim: Width h of each direction, which are added.
    """

    def __init__(self, input_dim: int, dim: int) -> None:
        super().__init__()
        like = nn.LSTM(input_dim, dim, bidirectional=True)
        for name, parameter in like.named_parameters():
            if not name.startswith("weight_hh"):
                self.register_parameter(name, parameter)

    @override
    def forward(self, x: Tensor) -> Tensor:
        """(B, h) of (B, input_dim)."""
        return self._direction(x, "") + self._direction(x, "_reverse")

    def _direction(self, x: Tensor, suffix: str) -> Tensor:
        weight, first, second = (getattr(self, f"{name}_l0{suffix}") for name in ("weight_ih", "bias_ih", "bias_hh"))
        i, _, g, o = F.linear(x, weight, first + second).chunk(4, -1)
        return torch.sigmoid(o) * torch.tanh(torch.sigmoid(i) * torch.tanh(g))


class Decoder(nn.Module):
    """Make a sequence step by step, each of the true step before it and an attention over the encoded sequence.

    Args:
        output_dim: Width P of the sequence.
        dim: Width h.

    Example:
        >>> encoded = Encoder(3, 4)(torch.randn(2, 5, 3), torch.ones(2, 5, dtype=torch.bool))
        >>> Decoder(6, 4)(encoded, torch.randn(2, 7, 6)).shape
        torch.Size([2, 7, 6])
    """

    def __init__(self, output_dim: int, dim: int) -> None:
        super().__init__()
        self.attn, self.v = nn.Linear(2 * dim, dim, bias=False), nn.Linear(dim, 1, bias=False)
        self.rnn = OneStepLSTM(output_dim + dim, dim)
        self.fc_out = nn.Linear(2 * dim, output_dim)

    @override
    def forward(self, source: Encoded, target: Tensor) -> Tensor:
        """Translate into a target (B, T, P): (B, T, P), whose first step, of which nothing stands before, is zero."""
        of_query, of_key = self.attn.weight.chunk(2, 1)
        keys, state = F.linear(source.states, of_key), source.summary
        made = []
        for previous in target[:, :-1].unbind(1):
            scores = self.v(torch.tanh(F.linear(state, of_query)[:, None] + keys)).squeeze(2)
            weights = match_type(masked_softmax(scores, source.mask), source.states)
            context = (weights[:, None] @ source.states).squeeze(1)
            state = self.rnn(torch.cat([previous, context], 1))
            made.append(self.fc_out(torch.cat([state, context], 1)))
        zero = torch.zeros_like(target[:, 0])
        return torch.stack([zero.to(made[0].dtype) if made else zero, *made], 1)


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Weights (B, T) over the steps that a mask (B, T) leaves, all zero where it leaves none.

    Example:
        >>> masked_softmax(torch.zeros(2, 2), torch.tensor([[True, True], [False, False]])).tolist()
        [[0.5, 0.5], [0.0, 0.0]]
    """
    # not -inf, of which a sample without steps would make NaN
    return scores.masked_fill(~mask, -1e9 if scores.dtype != torch.float16 else -1e4).softmax(1) * mask


def _sum_of_halves(x: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return first + second
