"""Projector and predictor of SimSiam, with which representations of two views are compared."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.layers.batch_norm import BatchNorm

__all__ = ["SimSiam"]


class SimSiam(nn.Module):
    """A projection z = BN(W x + b), and a prediction W2 relu(BN(W1 z)) + b2 of another view's.

    Batch norm takes the statistics of the batch: views are to be passed one by one.

    Args:
        dim: Width of the representation and of both results.
        predictor_dim: Hidden width of the predictor.

    References:
        Chen and He, "Exploring Simple Siamese Representation Learning", CVPR 2021; the projector has one layer here.

    Example:
        >>> import torch
        >>> z, p = SimSiam(6, 3)(torch.randn(4, 6))
        >>> z.shape, p.shape
        (torch.Size([4, 6]), torch.Size([4, 6]))
    """

    def __init__(self, dim: int, predictor_dim: int) -> None:
        super().__init__()
        self.project, self.project_norm = nn.Linear(dim, dim), BatchNorm(dim, affine=False)
        self.fc1, self.norm = nn.Linear(dim, predictor_dim, bias=False), BatchNorm(predictor_dim)
        self.fc2 = nn.Linear(predictor_dim, dim)

    @override
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Projection and prediction, each (B, dim), of representations (B, dim) of one view."""
        z = self.project_norm(self.project(x))
        return z, self.fc2(F.relu(self.norm(self.fc1(z))))
