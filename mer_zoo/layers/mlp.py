"""Two linear maps with an activation between them, alone or beside what they read; more of them with layer norm."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.functional.dropout import dropout

__all__ = ["MLP", "ResidualBlock", "normed_classifier"]


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


class ResidualBlock(nn.Module):
    """x + W2 dropout(relu(W1 x)).

    Args:
        dim: Width.
        hidden: Width inside; None for ``dim``.
        dropout: Dropout behind the ReLU.
        adds_input: False leaves x out of the sum.

    Example:
        >>> import torch
        >>> ResidualBlock(6, 3)(torch.randn(2, 6)).shape
        torch.Size([2, 6])
    """

    def __init__(self, dim: int, hidden: int | None = None, dropout: float = 0.0, adds_input: bool = True) -> None:
        super().__init__()
        self.dropout, self.adds_input = dropout, adds_input
        self.fc1 = nn.Linear(dim, dim if hidden is None else hidden)
        self.fc2 = nn.Linear(dim if hidden is None else hidden, dim)

    @override
    def forward(self, x: Tensor) -> Tensor:
        return self.read(x)[0]

    def read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The sum, and relu(W1 x)."""
        inner = F.relu(self.fc1(x))
        mapped = self.fc2(dropout(inner, self.dropout, self.training))
        return x + mapped if self.adds_input else mapped, inner


def normed_classifier(input_dim: int, dim: int, outputs: int, depth: int = 3) -> nn.Sequential:
    """``depth`` linear layers, each with ReLU and then layer norm, and a linear layer behind them.

    Args:
        input_dim: Width of the input.
        dim: Width between the layers.
        outputs: Number of logits.
        depth: How many layers stand before the last.

    Example:
        >>> import torch
        >>> normed_classifier(4, 8, 3)(torch.zeros(2, 4)).shape
        torch.Size([2, 3])
    """
    layers: list[nn.Module] = []
    for width in [input_dim, *[dim] * (depth - 1)]:
        layers += [nn.Linear(width, dim), nn.ReLU(), nn.LayerNorm(dim)]
    return nn.Sequential(*layers, nn.Linear(dim, outputs))
