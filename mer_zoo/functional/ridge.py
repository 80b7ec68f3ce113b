r"""Ridge regression in closed form, for many strengths at once; nothing is random.

Symbols: x (N, d) standardised features; y (N, K) targets; :math:`\lambda` the strength.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Ridge", "ridge"]

_LIMIT = 10.0  # deviations, beyond which a column that hardly varies in training would decide alone
_CONSTANT = 1e-6  # of a column's size


class Ridge(NamedTuple):
    """A linear regression on standardised features.

    Args:
        mean: (d,) of the features.
        scale: (d,) their deviations, infinite for a column that is constant.
        weight: (d, K) coefficients.
        bias: (K,) means of the targets.

    Example:
        >>> Ridge(torch.zeros(2), torch.ones(2), torch.ones(2, 1), torch.ones(1))(torch.ones(1, 2)).item()
        3.0
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """(N, K) predictions for (N, d) features."""
        return ((x.to(self.mean) - self.mean) / self.scale).clamp(-_LIMIT, _LIMIT) @ self.weight + self.bias


def ridge(x: Tensor, y: Tensor, strengths: Sequence[float]) -> list[Ridge]:
    r"""Minimise :math:`\lVert y - b - x W \rVert^2 + \lambda \lVert W \rVert^2` for each strength.

    Of the two matrices of inner products, of columns and of rows, the smaller one is decomposed, once.

    Args:
        x: (N, d) features; they are standardised here.
        y: (N, K) targets.
        strengths: The :math:`\lambda`, each above 0.

    Returns:
        One regression a strength.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [2.0]])
        >>> weak, strong = ridge(x, 2 * x, [1e-9, 1e9])
        >>> round(weak(torch.tensor([[3.0]])).item(), 3), round(strong(torch.tensor([[3.0]])).item(), 3)
        (6.0, 2.0)
    """
    x, y = x.double(), y.double()
    mean, deviation = x.mean(0), x.std(0, correction=0)
    scale = torch.where(deviation > _CONSTANT * mean.abs().clamp(min=_CONSTANT), deviation, torch.inf)
    z, bias = ((x - mean) / scale).clamp(-_LIMIT, _LIMIT), y.mean(0)
    wide = z.shape[1] > z.shape[0]
    values, vectors = torch.linalg.eigh(z @ z.T if wide else z.T @ z)
    values = values.clamp(min=0)[:, None]
    if wide:  # W = x^T (x x^T + lambda)^-1 (y - b)
        turned, back = vectors.T @ (y - bias), z.T @ vectors
    else:  # W = (x^T x + lambda)^-1 x^T (y - b)
        turned, back = vectors.T @ (z.T @ (y - bias)), vectors
    return [Ridge(mean, scale, back @ (turned / (values + strength)), bias) for strength in strengths]
