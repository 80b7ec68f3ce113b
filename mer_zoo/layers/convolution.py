"""Convolution over time, time second."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

__all__ = ["TemporalConv"]


class TemporalConv(nn.Conv1d):
    """A convolution along (B, T, d) sequences without bias; kernel 1 is a plain linear map.

    Args:
        input_dim: Width of the input.
        dim: Width of the output.
        kernel: Steps that one output step sees.
        same_length: Pad with zeros to keep T; otherwise T - kernel + 1 steps are left.

    Example:
        >>> import torch
        >>> x = torch.randn(2, 5, 3)
        >>> TemporalConv(3, 4, kernel=3)(x).shape, TemporalConv(3, 4, kernel=3, same_length=False)(x).shape
        (torch.Size([2, 5, 4]), torch.Size([2, 3, 4]))
    """

    def __init__(self, input_dim: int, dim: int, kernel: int, same_length: bool = True) -> None:
        super().__init__(input_dim, dim, kernel, bias=False)
        self.margin = ((kernel - 1) // 2, kernel // 2) if same_length else (0, 0)

    @override
    def forward(self, input: Tensor) -> Tensor:
        if self.kernel_size == (1,):
            return F.linear(input, self.weight.squeeze(2))
        return super().forward(F.pad(input.transpose(1, 2), self.margin)).transpose(1, 2)
