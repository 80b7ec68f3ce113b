"""The two ends of MFM: an LSTM that makes a code of a sequence, and LSTMs that make sequences of factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.functional.memory_fusion import lstm_states
from mer_zoo.layers.recurrent import masked_rnn

__all__ = ["CodeEncoder", "Decoder", "decode"]


class CodeEncoder(nn.Module):
    """The last state of an LSTM, and a linear map of it.

    Args:
        input_dim: Width of the input.
        dim: Width of the state and of the code.

    Example:
        >>> CodeEncoder(3, 4)(torch.randn(2, 5, 3), torch.ones(2, 5, dtype=torch.bool)).shape
        torch.Size([2, 4])
    """

    def __init__(self, input_dim: int, dim: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(input_dim, dim, batch_first=True)
        self.out = nn.Linear(dim, dim)

    @override
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, dim) of (B, T, input_dim) under a mask (B, T)."""
        code: Tensor = self.out(masked_rnn(self.lstm, x, mask)[1])
        return code


class Decoder(nn.Module):
    """Weights of an LSTM that reads factors first and then its own states, and a linear map of these; see ``decode``.

    Args:
        input_dim: Width of the factors, and of the state.
        output_dim: Width of the sequence.
    """

    def __init__(self, input_dim: int, output_dim: int) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(input_dim, input_dim)
        self.out = nn.Linear(input_dim, output_dim)

    def gates(self, factors: Tensor, steps: int) -> Tensor:
        """What is given to the gates beside the state (B, T, 4 input_dim), of factors (B, input_dim)."""
        bias = self.cell.bias_ih + self.cell.bias_hh
        first = F.linear(factors, self.cell.weight_ih, bias)
        rest = bias.to(first.dtype).expand(len(factors), steps - 1, -1)
        return torch.cat([first[:, None], rest], 1)

    @property
    def recurrent(self) -> Tensor:
        """Weights of the state before, which is read as input too; before the first step it is zero."""
        return self.cell.weight_ih + self.cell.weight_hh


def decode(decoders: Mapping[str, Decoder], given: Sequence[tuple[str, Tensor]], steps: int) -> list[Tensor]:
    """Make sequences of factors, all at once step by step.

    Args:
        decoders: By the name of what they make.
        given: The name of a decoder and (B, w) factors, for each sequence; a decoder may be asked for several.
        steps: How many steps T of each.

    Returns:
        (B, T, D) of each.

    Example:
        >>> made = decode({"audio": Decoder(4, 3)}, [("audio", torch.randn(2, 4)), ("audio", torch.randn(2, 4))], 5)
        >>> [sequence.shape for sequence in made]
        [torch.Size([2, 5, 3]), torch.Size([2, 5, 3])]
    """
    asked = [decoders[name] for name, _ in given]
    inputs = [decoder.gates(factors, steps) for decoder, (_, factors) in zip(asked, given, strict=True)]
    states = lstm_states(inputs, [decoder.recurrent for decoder in asked])[0]
    parts = torch.split(states, [factors.shape[1] for _, factors in given], 2)
    return [decoder.out(part) for decoder, part in zip(asked, parts, strict=True)]
