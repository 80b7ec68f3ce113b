"""Batch normalisation that survives a batch of one sample."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

__all__ = ["BatchNorm"]


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation that normalises a single value a channel by the running statistics.

    One value has no spread: torch refuses it in training, where the last batch of an epoch may hold one sample.
    Everything else is torch's.

    Example:
        >>> import torch
        >>> norm = BatchNorm(3).train()
        >>> norm(torch.ones(1, 3)).tolist(), norm.num_batches_tracked.item()
        ([[0.9999..., 0.9999..., 0.9999...]], 0)
    """

    @override
    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.numel() == input.shape[1]:
            mean, variance = self.running_mean, self.running_var
            return F.batch_norm(input, mean, variance, self.weight, self.bias, training=False, eps=self.eps)
        return super().forward(input)
