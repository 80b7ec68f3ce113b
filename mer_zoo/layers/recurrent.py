"""Recurrent networks over padded sequences: padding, in front or behind, never touches the state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from typing_extensions import override

from mer_zoo.errors import MERError
from mer_zoo.functional.padding import all_real, left_align, undo_left_align
from mer_zoo.layers.sequence import masked_last

__all__ = ["BiGRU", "BiLSTM", "BiLSTMEncoder", "LSTMEncoder", "masked_rnn"]


def masked_rnn(rnn: nn.GRU | nn.LSTM, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Run a GRU or LSTM over the real steps of each sample.

    Args:
        rnn: A network with ``batch_first=True``, any number of layers, one direction or two.
        x: (B, T, d) sequences.
        mask: (B, T) bool, True at real steps; padding may stand anywhere, and a sample may have no real step.

    Returns:
        The states of the last layer (B, T, D) at the places of their steps, zero at padding; and the final state (B,
        D): after the last real step, for the backward direction after the first. Both are zero for a sample without
        steps.

    Raises:
        MERError: If the network is not batch-first.

    Example:
        >>> rnn = nn.GRU(3, 4, batch_first=True)
        >>> x, mask = torch.randn(2, 5, 3), torch.tensor([[False, False, True, True, True], [False] * 5])
        >>> states, final = masked_rnn(rnn, x, mask)
        >>> states.shape, torch.equal(final[0], states[0, -1]), final[1].tolist()
        (torch.Size([2, 5, 4]), True, [0.0, 0.0, 0.0, 0.0])
    """
    if not rnn.batch_first:
        raise MERError(f"{type(rnn).__name__} expects time first; build it with batch_first=True")
    aligned, real, order = left_align(x, mask)
    # Behind the real steps a forward network may run on: nothing of it reaches them, and packing is 2-6 times slower.
    if isinstance(rnn, BiLSTM):
        states = rnn(aligned, real)
    else:
        states = _packed(rnn, aligned, real) if rnn.bidirectional and not all_real(real) else rnn(aligned)[0]
    states = torch.where(real[..., None], states, 0.0)
    final = masked_last(states, real)
    if rnn.bidirectional:
        half = states.shape[-1] // 2
        final = torch.cat([final[:, :half], states[:, 0, half:]], 1)
    return undo_left_align(states, order), final


def _packed(rnn: Callable[..., Any], x: Tensor, real: Tensor) -> Tensor:
    lengths = real.sum(1).clamp(min=1).cpu()
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    states: Tensor = pad_packed_sequence(rnn(packed)[0], batch_first=True, total_length=x.shape[1])[0]
    return states


def _turned(real: Tensor) -> Tensor:
    """(B, T, 1) where steps come from when the real ones, which stand in front, are read from the last to the first."""
    place = torch.arange(real.shape[1], device=real.device)
    return torch.where(real, real.sum(1, keepdim=True) - 1 - place, place)[..., None]


class BiLSTM(nn.LSTM):
    """A bidirectional LSTM for :func:`masked_rnn`, with torch's parameters and states.

    On a CPU either direction of a layer is a forward run of its own, as packing takes from 1.3 times (a few dialogues)
    to 7 times (500 frames) as long there.

    Args:
        input_dim: Width of the input.
        dim: Width h of each direction.
        layers: Number of layers.
        dropout: Between the layers.

    Example:
        >>> x, real = torch.randn(2, 5, 3), torch.tensor([[True] * 5, [True, True, False, False, False]])
        >>> BiLSTM(3, 4)(x, real).shape
        torch.Size([2, 5, 8])
    """

    def __init__(self, input_dim: int, dim: int, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__(input_dim, dim, layers, batch_first=True, bidirectional=True, dropout=dropout)

    @override
    # A compiler would unroll the steps; it leaves torch's own recurrent networks alone, too.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """States (B, T, 2h) of (B, T, input_dim), whose real steps (B, T) stand in front; anything at padding."""
        if x.device.type != "cpu":
            return _packed(super().forward, x, real)
        turned = _turned(real)
        start = x.new_zeros(1, len(x), self.hidden_size)
        for layer in range(self.num_layers):
            x = F.dropout(x, self.dropout, self.training and layer > 0)
            ahead, back = self.all_weights[2 * layer : 2 * layer + 2]
            there = _run(x, start, ahead)
            again = _run(_take(x, turned), start, back)
            x = torch.cat([there, _take(again, turned)], 2)
        return x


def _run(x: Tensor, start: Tensor, weights: Sequence[Tensor]) -> Tensor:
    states: Tensor = torch.lstm(x, (start, start), [*weights], True, 1, 0.0, torch.is_grad_enabled(), False, True)[0]
    return states


def _take(x: Tensor, places: Tensor) -> Tensor:
    return x.gather(1, places.expand_as(x))


class LSTMEncoder(nn.Module):
    """A forward LSTM over the real steps and one linear map of its states, shared by the steps and the last of them.

    Args:
        input_dim: Width of the input.
        hidden_dim: Width of the state.
        output_dim: Width of the result; the linear map is left out where it equals ``hidden_dim``.
        dropout: Dropout of the last state before the map.
        always_map: Map states of equal width too.

    Example:
        >>> encoder = LSTMEncoder(3, 4, 5)
        >>> states, utterance = encoder(torch.randn(2, 6, 3), torch.ones(2, 6, dtype=torch.bool))
        >>> states.shape, utterance.shape
        (torch.Size([2, 6, 5]), torch.Size([2, 5]))
    """

    def __init__(
        self, input_dim: int, hidden_dim: int, output_dim: int, dropout: float = 0.0, always_map: bool = False
    ) -> None:
        super().__init__()
        self.lstm = nn.LSTM(input_dim, hidden_dim, batch_first=True)
        maps = always_map or hidden_dim != output_dim
        self.linear: nn.Module = nn.Linear(hidden_dim, output_dim) if maps else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    @override
    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode x (B, T, input_dim) under mask (B, T): states (B, T, output_dim), utterance vector (B, output_dim)."""
        states, last = masked_rnn(self.lstm, x, mask)
        return self.linear(states), self.linear(self.dropout(last))


class BiLSTMEncoder(nn.Module):
    """Two stacked bidirectional LSTMs with layer normalisation between them, read by their final states.

    Args:
        input_dim: Width of the input.
        dim: Width h of each direction.

    Example:
        >>> encoder = BiLSTMEncoder(3, 4)
        >>> encoder(torch.randn(2, 6, 3), torch.ones(2, 6, dtype=torch.bool)).shape
        torch.Size([2, 16])
    """

    def __init__(self, input_dim: int, dim: int) -> None:
        super().__init__()
        self.lstm1 = BiLSTM(input_dim, dim)
        self.norm = nn.LayerNorm(2 * dim)
        self.lstm2 = BiLSTM(2 * dim, dim)

    @override
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Encode x (B, T, input_dim) under mask (B, T): final states (B, 4h), forward 1, 2, then backward 1, 2."""
        states, first = masked_rnn(self.lstm1, x, mask)
        second = masked_rnn(self.lstm2, self.norm(states), mask)[1]
        pairs = zip(first.chunk(2, 1), second.chunk(2, 1), strict=True)
        return torch.cat([final for pair in pairs for final in pair], 1)


class BiGRU(nn.Module):
    """A GRU over the real steps and another one over them from the last to the first, without packing, which is slow.

    Args:
        input_dim: Width of the input.
        dim: Width h of each direction.

    Example:
        >>> x, mask = torch.randn(2, 5, 3), torch.tensor([[False, True, True, True, False], [False] * 5])
        >>> states = BiGRU(3, 4)(x, mask)
        >>> states.shape, states[1].any().item()
        (torch.Size([2, 5, 8]), False)
    """

    def __init__(self, input_dim: int, dim: int) -> None:
        super().__init__()
        self.ahead, self.back = (nn.GRU(input_dim, dim, batch_first=True) for _ in range(2))

    @override
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """States (B, T, 2h) of (B, T, input_dim) under a mask (B, T), zero at padding."""
        aligned, real, order = left_align(x, mask)
        turned = _turned(real)
        back = self.back(_take(aligned, turned))[0]
        states = torch.cat([self.ahead(aligned)[0], _take(back, turned)], 2)
        return undo_left_align(torch.where(real[..., None], states, 0.0), order)
