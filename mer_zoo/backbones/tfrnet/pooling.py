"""Gated recurrent pooling: one vector of a sequence, where a gate says which steps count."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.layers.recurrent import masked_rnn
from mer_zoo.layers.sequence import masked_chunks

__all__ = ["GatedPooling"]


class GatedPooling(nn.Module):
    """The largest value over time of tanh(W [x ; c]), c = tanh(s) g: states s of a bidirectional GRU, gated by g.

    g is the sigmoid of a convolution of s over three steps, one number a step.

    Args:
        input_dim: Width of the sequence.
        dim: Width u of the vector, and of each direction.
        depth: Layers of the GRU.
        sees_padding: Whether the largest value may be one at padding, where s is zero.

    References:
        Yuan, Li, Xu, Yu, "Transformer-based Feature Reconstruction Network for Robust Multimodal Sentiment Analysis",
        ACM MM 2021.

    Example:
        >>> mask = torch.tensor([[True, True, False], [False] * 3])
        >>> pooled = GatedPooling(4, 5, depth=1)(torch.randn(2, 3, 4), mask)
        >>> pooled.shape, pooled[1].tolist()
        (torch.Size([2, 5]), [0.0, 0.0, 0.0, 0.0, 0.0])
    """

    def __init__(self, input_dim: int, dim: int, depth: int, sees_padding: bool = False) -> None:
        super().__init__()
        self.sees_padding = sees_padding
        self.gru = nn.GRU(input_dim, dim, depth, batch_first=True, bidirectional=True)
        self.gate = nn.Conv1d(2 * dim, 1, 3, padding=1)
        self.join = nn.Linear(input_dim + 2 * dim, dim)

    @override
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Pool x (B, T, d) under mask (B, T): (B, u), zero for a sample without real steps."""
        states = masked_rnn(self.gru, x, mask)[0]
        gate = torch.sigmoid(self.gate(states.transpose(1, 2))).transpose(1, 2)
        joined = torch.tanh(self.join(torch.cat([x, torch.tanh(states) * gate], 2)))
        return joined.amax(1) if self.sees_padding else masked_chunks(joined, mask, 1).squeeze(1)
