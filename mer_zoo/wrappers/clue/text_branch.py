"""The text branch of CLUE: two stacked bidirectional LSTMs and a small classifier."""

from __future__ import annotations

from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.layers.mlp import normed_classifier
from mer_zoo.layers.recurrent import BiLSTMEncoder

__all__ = ["TextBranch"]


class TextBranch(nn.Module):
    """Final states of two bidirectional LSTMs, three linear layers with ReLU and layer norm, a linear layer.

    Args:
        input_dim: Width of the text features.
        outputs: Number of logits.
        lstm_dim: Width of each direction of the LSTMs.
        dim: Width of the linear layers.

    Example:
        >>> import torch
        >>> TextBranch(5, 2)(torch.randn(3, 4, 5), torch.ones(3, 4, dtype=torch.bool)).shape
        torch.Size([3, 2])
    """

    def __init__(self, input_dim: int, outputs: int, lstm_dim: int = 64, dim: int = 128) -> None:
        super().__init__()
        self.encoder = BiLSTMEncoder(input_dim, lstm_dim)
        self.classifier = normed_classifier(4 * lstm_dim, dim, outputs)

    @override
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, T, input_dim) text under a mask (B, T) to logits (B, outputs)."""
        logits: Tensor = self.classifier(self.encoder(x, mask))
        return logits
