"""Blocks of CubeMLP: a cube of time, modality and width is mixed along one axis after the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.layers.mlp import MLP

__all__ = ["AxisMLP", "CubeBlock"]

NORM_EPS = 1e-6


class AxisMLP(nn.Module):
    """A two-layer network along one axis, with a residual and layer normalisation of that axis.

    Args:
        axis: The axis to be mixed.
        sizes: Size of the axis before, inside and behind the network.
        norm_first: Normalise the input of the network instead of the sum with the residual.
        project: Whether the residual is mapped linearly, as it must be where the size changes.
        dropout: Dropout inside the network.
        bias: Whether the network has biases.

    Example:
        >>> import torch
        >>> AxisMLP(1, (5, 7, 4), norm_first=True, project=True)(torch.randn(2, 5, 3, 6)).shape
        torch.Size([2, 4, 3, 6])
    """

    def __init__(
        self,
        axis: int,
        sizes: tuple[int, int, int],
        norm_first: bool,
        project: bool,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        before, hidden, behind = sizes
        self.axis, self.norm_first = axis, norm_first
        self.mlp = MLP(before, hidden, behind, dropout, bias, F.gelu)
        self.norm = nn.LayerNorm(before if norm_first else behind, NORM_EPS)
        self.project: nn.Module = nn.Linear(before, behind, bias=False) if project else nn.Identity()

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Mix (B, L, K, D) along the axis, whose size alone may change."""
        y = x.transpose(self.axis, -1)
        mixed = self.project(y) + self.mlp(self.norm(y) if self.norm_first else y)
        result: Tensor = mixed if self.norm_first else self.norm(mixed)
        return result.transpose(self.axis, -1)


class CubeBlock(nn.Module):
    """Mixes a cube along time, then modality, then width; leaves an axis of one entry, which its norm would erase.

    Args:
        before: Sizes (L, K, D) of the cube.
        hidden: Sizes inside the three networks.
        behind: Sizes of the result.
        norm_first: See :class:`AxisMLP`.
        project: Whether all three residuals are mapped linearly; None if any size changes.
        dropout: Dropout inside the networks.
        bias: Whether the networks have biases.

    Example:
        >>> import torch
        >>> CubeBlock((5, 3, 6), (4, 3, 8), (2, 3, 6))(torch.randn(2, 5, 3, 6)).shape
        torch.Size([2, 2, 3, 6])
    """

    def __init__(
        self,
        before: Sequence[int],
        hidden: Sequence[int],
        behind: Sequence[int],
        norm_first: bool = True,
        project: bool | None = None,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        mapped = tuple(before) != tuple(behind) if project is None else project
        axes = zip(before, hidden, behind, strict=True)
        self.time, self.modality, self.width = (
            nn.Identity() if sizes[0] == sizes[2] == 1 else AxisMLP(axis, sizes, norm_first, mapped, dropout, bias)
            for axis, sizes in enumerate(axes, 1)
        )

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Mix (B, L, K, D)."""
        mixed: Tensor = self.width(self.modality(self.time(x)))
        return mixed
