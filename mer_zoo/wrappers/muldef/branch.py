"""MulDeF's branch of a modality: the last state of a GRU and a small classifier."""

from __future__ import annotations

from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.layers.mlp import normed_classifier
from mer_zoo.layers.recurrent import masked_rnn

__all__ = ["LastStateBranch"]


class LastStateBranch(nn.Module):
    """The last state of a GRU, three linear layers with ReLU and layer norm, a linear layer.

    Args:
        input_dim: Width of the features.
        outputs: Number of logits.
        gru_dim: Width of the GRU, whose recurrent weights start orthogonal.
        dim: Width of the linear layers.

    Example:
        >>> import torch
        >>> LastStateBranch(5, 2)(torch.randn(3, 4, 5), torch.ones(3, 4, dtype=torch.bool)).shape
        torch.Size([3, 2])
    """

    def __init__(self, input_dim: int, outputs: int, gru_dim: int = 32, dim: int = 128) -> None:
        super().__init__()
        self.gru = nn.GRU(input_dim, gru_dim, batch_first=True)
        nn.init.orthogonal_(self.gru.get_parameter("weight_hh_l0"))
        self.classifier = normed_classifier(gru_dim, dim, outputs)

    @override
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, T, input_dim) features under a mask (B, T) to logits (B, outputs)."""
        logits: Tensor = self.classifier(masked_rnn(self.gru, x, mask)[1])
        return logits
