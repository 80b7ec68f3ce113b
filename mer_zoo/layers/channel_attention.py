"""Refinement of a sequence by residual blocks that weigh its channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.errors import MERError

__all__ = ["Refinement"]

_REDUCTION = 16


class ChannelAttentionBlock(nn.Module):
    """x + y g, where y is two convolutions of x over time, and g weighs its channels by their means over time.

    Args:
        dim: Width, at least 16.

    Example:
        >>> ChannelAttentionBlock(16)(torch.randn(2, 16, 5)).shape
        torch.Size([2, 16, 5])
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv1d(dim, dim, 3, padding=1) for _ in range(2))
        self.squeeze, self.expand = nn.Conv1d(dim, dim // _REDUCTION, 1), nn.Conv1d(dim // _REDUCTION, dim, 1)

    @override
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x)))
        gate = torch.sigmoid(self.expand(F.relu(self.squeeze(y.mean(2, keepdim=True)))))
        refined: Tensor = x + y * gate
        return refined


class Refinement(nn.Module):
    """Make a sequence of a modality out of a rough one, at twice its width.

    Args:
        dim: Width d.
        depth: Blocks that weigh channels.

    Raises:
        MERError: If 2d is less than 16, so that nothing would be left of the channels' weights.

    References:
        Zhang et al., "Image Super-Resolution Using Very Deep Residual Channel Attention Networks", ECCV 2018.

    Example:
        >>> Refinement(8, depth=2)(torch.randn(3, 8, 5)).shape
        torch.Size([3, 8, 5])
    """

    def __init__(self, dim: int, depth: int) -> None:
        super().__init__()
        if 2 * dim < _REDUCTION:
            raise MERError(f"dim is {dim}, but the refinement of recovered sequences needs at least {_REDUCTION // 2}")
        self.widen, self.narrow = nn.Conv1d(dim, 2 * dim, 1), nn.Conv1d(2 * dim, dim, 1)
        self.blocks = nn.Sequential(*(ChannelAttentionBlock(2 * dim) for _ in range(depth)))
        self.close = nn.Conv1d(2 * dim, 2 * dim, 3, padding=1)

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Refine (B, d, T)."""
        wide = self.widen(x)
        refined: Tensor = self.narrow(wide + self.close(self.blocks(wide)))
        return refined
