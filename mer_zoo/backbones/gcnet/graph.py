"""Graphs of dialogues as dense masks, and the network that runs over one of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.layers.recurrent import BiLSTM, masked_rnn
from mer_zoo.layers.sequence import zero_padding

__all__ = ["GraphNetwork", "TimeAttention", "run_rnn", "speaker_relations", "temporal_relations"]


def temporal_relations(mask: Tensor, past: int, future: int) -> Tensor:
    """Edges between utterances that stand near each other, by what the source is to the target.

    Args:
        mask: (D, S) bool, True where a dialogue has an utterance.
        past: An utterance is a source for so many behind it; -1 for all of them.
        future: And for so many before it; -1 for all of them.

    Returns:
        (D, 3, S, S) bool, True at [d, r, i, j] where j is a source of i and lies in its past (r = 0), is itself (1), or
        lies in its future (2).

    Example:
        >>> temporal_relations(torch.ones(1, 3, dtype=torch.bool), past=-1, future=1)[0].int().tolist()
        [[[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 1, 1], [0, 0, 1], [0, 0, 0]]]
    """
    place = torch.arange(mask.shape[1], device=mask.device)
    ahead = place[:, None] - place  # of the target before its source
    near = torch.ones_like(ahead, dtype=torch.bool)
    if past >= 0:
        near &= ahead >= -past
    if future >= 0:
        near &= ahead <= future
    kinds = torch.stack([(ahead > 0) & near, ahead == 0, (ahead < 0) & near])
    return kinds & (mask[:, None, :, None] & mask[:, None, None, :])


def speaker_relations(edges: Tensor, speaker: Tensor, count: int) -> Tensor:
    """The same edges by who says both utterances.

    Args:
        edges: (D, S, S) bool, True at [d, i, j] where j is a source of i.
        speaker: (D, S) number of the speaker of each utterance, less than the count.
        count: Number n of speakers.

    Returns:
        (D, n * n, S, S) bool, relation n p + q where p says the target and q the source.

    Example:
        >>> both = torch.ones(1, 2, 2, dtype=torch.bool)
        >>> speaker_relations(both, torch.tensor([[0, 1]]), 2)[0].nonzero().tolist()
        [[0, 0, 0], [1, 0, 1], [2, 1, 0], [3, 1, 1]]
    """
    kind = count * speaker[:, :, None] + speaker[:, None, :]
    numbers = torch.arange(count * count, device=speaker.device)
    return edges[:, None] & (kind[:, None] == numbers[:, None, None])


class RelationalConvolution(nn.Module):
    """A map of each utterance, and for each relation a map of the mean over its sources.

    Args:
        input_dim: Width of the utterances.
        dim: Width of the result.
        relations: Number of relations.
    """

    def __init__(self, input_dim: int, dim: int, relations: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(relations, input_dim, dim))
        self.root = nn.Parameter(torch.empty(input_dim, dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        for matrix in (*self.weight.unbind(), self.root):
            nn.init.xavier_uniform_(matrix)

    @override
    def forward(self, h: Tensor, relations: Tensor) -> Tensor:
        """(D, S, dim) of (D, S, input_dim) under relations (D, R, S, S)."""
        mean = relations / relations.sum(3, keepdim=True).clamp(min=1)
        messages = torch.einsum("dse,reg->drsg", h, self.weight)
        return h @ self.root + self.bias + (mean.to(messages.dtype) @ messages).sum(1)


class NeighbourConvolution(nn.Module):
    """A map of the sum over all sources, and one of the utterance itself.

    Args:
        dim: Width.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.rel, self.root = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)

    @override
    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """(D, S, dim) of (D, S, dim) under edges (D, S, S)."""
        result: Tensor = self.rel(edges.to(x.dtype) @ x) + self.root(x)
        return result


class TimeAttention(nn.Module):
    """Each utterance looks at its dialogue, with scores that a tanh bounds.

    Args:
        dim: Width.

    Example:
        >>> TimeAttention(4)(torch.randn(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)).shape
        torch.Size([2, 3, 4])
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.transform = nn.Linear(dim, dim)

    @override
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(D, S, dim) of (D, S, dim) under a mask (D, S)."""
        scores = torch.tanh(self.transform(x) @ x.transpose(1, 2))
        # of each dialogue an utterance is real, so that no row is without one
        weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(2)
        return weights.to(x.dtype) @ x


class GraphNetwork(nn.Module):
    """Two graph convolutions and a recurrent network over what they say of each utterance.

    Args:
        input_dim: Width of the utterances.
        dim: Width g of the convolutions.
        relations: Number of relations.
        dropout: Between the layers of the recurrent network.
        attention: Whether each utterance looks at the others at the end.
        packed: Whether padding is hidden from the recurrent network.

    Example:
        >>> mask = torch.tensor([[True, True, True], [True, False, False]])
        >>> relations = temporal_relations(mask, 2, 2)
        >>> GraphNetwork(4, 2, 3, 0.0)(torch.randn(2, 3, 4), relations, mask).shape
        torch.Size([2, 3, 6])
    """

    def __init__(
        self,
        input_dim: int,
        dim: int,
        relations: int,
        dropout: float,
        attention: bool = False,
        packed: bool = True,
    ) -> None:
        super().__init__()
        self.packed, width = packed, input_dim + dim
        self.conv1 = RelationalConvolution(input_dim, dim, relations)
        self.conv2 = NeighbourConvolution(dim)
        self.rnn = BiLSTM(width, width, 2, dropout)
        self.attention = TimeAttention(2 * width) if attention else None
        self.linear = nn.Linear(2 * width, width)

    @override
    def forward(self, h: Tensor, relations: Tensor, mask: Tensor) -> Tensor:
        """(D, S, input_dim + g) of (D, S, input_dim) under relations (D, R, S, S)."""
        y = self.conv2(self.conv1(h, relations), relations.any(1))
        states = run_rnn(self.rnn, zero_padding(torch.cat([h, y], 2), mask), mask, self.packed)
        if self.attention is not None:
            states = self.attention(states, mask)
        return torch.relu(self.linear(states))


def run_rnn(rnn: BiLSTM, x: Tensor, mask: Tensor, packed: bool) -> Tensor:
    """States (D, S, 2h) of a recurrent network over dialogues, padding hidden or read as utterances of zeros."""
    states: Tensor = masked_rnn(rnn, x, mask)[0] if packed else rnn(x, torch.ones_like(mask))
    return states
