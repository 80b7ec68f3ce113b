"""Two linear maps with an activation between them."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.layers.dropout import dropout

__all__ = ["MLP"]


class MLP(nn.Module):
    """linear, activation, dropout, linear, on the last axis.

    Args:
        input_dim: Width of the input.
        hidden_dim: Width between the two maps.
        output_dim: Width of the output.
        dropout: Dropout behind the activation.
        bias: Whether the maps have a bias.
        activation: The function between them.

    Example:
        >>> import torch
        >>> MLP(3, 4, 5)(torch.randn(2, 6, 3)).shape
        torch.Size([2, 6, 5])
    """

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        output_dim: int,
        dropout: float = 0.0,
        bias: bool = True,
        activation: Callable[[Tensor], Tensor] = F.relu,
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(input_dim, hidden_dim, bias)
        self.fc2 = nn.Linear(hidden_dim, output_dim, bias)
        self.dropout, self.activation = dropout, activation

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., input_dim) to (..., output_dim)."""
        inner = dropout(self.activation(self.fc1(x)), self.dropout, self.training)
        result: Tensor = self.fc2(inner)
        return result
