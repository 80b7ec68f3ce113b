"""What MMIN and IF-MMIN make of each modality of a sample: one vector, by an LSTM, by convolutions, or of its mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import Modality
from mer_zoo.functional.dropout import relu_dropout
from mer_zoo.functional.padding import left_align
from mer_zoo.functional.precision import match_type
from mer_zoo.layers.recurrent import masked_rnn
from mer_zoo.layers.sequence import masked_chunks, masked_mean, zero_padding

__all__ = ["ORDER", "EncoderKind", "Encoders", "Pool", "Stack", "start_kaiming"]

EncoderKind = Literal["sequence", "utterance"]
Pool = Literal["max", "last", "attention"]
ORDER = ("audio", "text", "vision")  # of what is laid side by side
KERNELS = (3, 4, 5)
MAPS = 128


class Stack(nn.Module):
    """Linear maps, all but the last one followed by a ReLU and a dropout.

    Args:
        dims: Widths, from that of the input to that of the output.
        dropout: Dropout behind each ReLU.

    Example:
        >>> Stack([3, 4, 4, 2])(torch.randn(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(self, dims: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(dims[:-1]))
        self.out = nn.Linear(dims[-2], dims[-1])

    @override
    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = relu_dropout(layer(x), self.dropout, self.training)
        result: Tensor = self.out(x)
        return result


class LSTMPool(nn.Module):
    """An LSTM, and one vector of its states.

    Args:
        input_dim: Width of the input.
        dim: Width of the states.
        pool: Their largest values over time, the ``last`` one, or their sum under an ``attention``.
        equal_weights: Whether the attention weighs all steps by 1.
    """

    def __init__(self, input_dim: int, dim: int, pool: Pool, equal_weights: bool) -> None:
        super().__init__()
        self.pool, self.equal_weights = pool, equal_weights
        self.rnn = nn.LSTM(input_dim, dim, batch_first=True)
        attends = pool == "attention" and not equal_weights
        self.attention = nn.Linear(dim, dim) if attends else None
        self.query = nn.Parameter(torch.randn(dim)) if attends else None

    @override
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, dim) of (B, T, input_dim) under a mask (B, T); zeros where nothing is real."""
        states, final = masked_rnn(self.rnn, x, mask)
        if self.pool == "last":
            return final
        if self.pool == "max":
            return masked_chunks(states, mask, 1).squeeze(1)
        if self.attention is None or self.query is None:
            return states.sum(1)
        score = (torch.tanh(self.attention(states)) @ self.query).masked_fill(~mask, -torch.inf)
        weights = torch.nan_to_num(score.float().softmax(1))
        return (match_type(weights, states)[:, None] @ states).squeeze(1)


class TextCNN(nn.Module):
    """Convolutions of three kernels over time, of each map the largest value, and one linear map.

    Args:
        input_dim: Width of the input.
        dim: Width of the result.
        dropout: Dropout before the linear map.
        reads_padding: Whether windows over padding count.

    References:
        Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP 2014.

    Example:
        >>> TextCNN(3, 4)(torch.randn(2, 6, 3), torch.ones(2, 6, dtype=torch.bool)).shape
        torch.Size([2, 4])
    """

    def __init__(self, input_dim: int, dim: int, dropout: float = 0.0, reads_padding: bool = False) -> None:
        super().__init__()
        self.dropout, self.reads_padding = dropout, reads_padding
        # Stored over the full width as one channel, as in the usual code; run over time alone.
        self.convs = nn.ModuleList(nn.Conv2d(1, MAPS, (kernel, input_dim)) for kernel in KERNELS)
        self.out = nn.Linear(len(KERNELS) * MAPS, dim)

    @override
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, dim) of (B, T, input_dim) under a mask (B, T); a text shorter than a kernel gets zeros behind."""
        if self.reads_padding:
            lengths = torch.full((len(x),), x.shape[1], device=x.device)
        else:
            x, real, _ = left_align(zero_padding(x, mask), mask)
            lengths = real.sum(1)
        x = F.pad(x, (0, 0, 0, max(max(KERNELS) - x.shape[1], 0))).transpose(1, 2)
        largest = []
        for conv in self.convs:
            assert isinstance(conv, nn.Conv2d)
            maps = F.conv1d(x, conv.weight.squeeze(1).transpose(1, 2), conv.bias)
            last = (lengths - conv.weight.shape[2]).clamp(min=0)
            inside = torch.arange(maps.shape[2], device=x.device) <= last[:, None]
            largest.append(maps.masked_fill(~inside[:, None], -torch.inf).amax(2))
        found: Tensor = self.out(relu_dropout(torch.cat(largest, 1), self.dropout, self.training))
        return F.relu(found)


class MeanEncoder(nn.Module):
    """A stack of linear maps on the mean over time.

    Args:
        dims: Widths, from that of the input to that of the result.
        dropout: Dropout behind each ReLU.
    """

    def __init__(self, dims: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.stack = Stack(dims, dropout)

    @override
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, dim) of (B, T, input_dim) under a mask (B, T)."""
        found: Tensor = self.stack(masked_mean(x, mask))
        return found


class Encoders(nn.Module):
    """One vector of each modality, side by side in the order audio, text, vision.

    Args:
        input_dims: Width of each modality in use.
        dim: Width e of a vector.
        kind: ``sequence``, LSTMs and, for the text, convolutions; or ``utterance``, linear maps of the mean over time.
        pool: How an LSTM is read.
        inner_dims: Widths between the linear maps.
        dropout: Dropout of the linear maps.
        text_dropout: Dropout of what the convolutions found.
        released: Whether padding is read, and whether an attention weighs all steps by 1.

    Example:
        >>> encoders = Encoders({"text": 3, "audio": 2}, 4)
        >>> there = torch.ones(2, 5, dtype=torch.bool)
        >>> given = {"text": Modality(torch.randn(2, 5, 3), there), "audio": Modality(torch.randn(2, 5, 2), there)}
        >>> hidden = torch.tensor([[False, False], [False, True]])
        >>> encoders(given, hidden).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        input_dims: Mapping[str, int],
        dim: int,
        kind: EncoderKind = "sequence",
        pool: Pool = "max",
        inner_dims: Sequence[int] = (128, 128),
        dropout: float = 0.0,
        text_dropout: float = 0.0,
        released: bool = False,
    ) -> None:
        super().__init__()
        self.released = released
        self.dim = dim

        def make(name: str, width: int) -> nn.Module:
            if kind == "utterance":
                return MeanEncoder([width, *inner_dims, dim], dropout)
            if name == "text":
                return TextCNN(width, dim, text_dropout, released)
            return LSTMPool(width, dim, pool, released)

        self.parts = nn.ModuleDict({name: make(name, input_dims[name]) for name in ORDER if name in input_dims})

    @override
    def forward(self, given: Mapping[str, Modality], hidden: Tensor) -> Tensor:
        """(B, n e) of the modalities in use, where zeros are read in place of what is hidden.

        Args:
            given: The modalities, in the order of their columns in ``hidden``.
            hidden: (B, n) bool.
        """
        away = dict(zip(given, hidden.unbind(1), strict=True))
        vectors = []
        for name, part in self.parts.items():
            x, mask = given[name].x, given[name].mask
            x = torch.where(away[name][:, None, None], 0.0, x)
            vectors.append(part(x, torch.ones_like(mask) if self.released else mask))
        return torch.cat(vectors, 1)


def start_kaiming(module: nn.Module) -> None:
    """Start the linear maps and convolutions of a network normal, for ReLUs, by what comes in; biases at zero.

    Args:
        module: The network.

    References:
        He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", ICCV 2015.

    Example:
        >>> map = nn.Linear(3, 4)
        >>> start_kaiming(map)
        >>> map.bias.any().item()
        False
    """
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Conv2d)):
            nn.init.kaiming_normal_(part.weight)
            assert part.bias is not None
            nn.init.zeros_(part.bias)
