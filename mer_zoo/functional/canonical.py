"""Canonical correlations of views of the same samples, and a loss that is less the larger they are."""

from __future__ import annotations

import torch
from torch import Tensor

from mer_zoo.distributed import global_count, global_sum

__all__ = ["canonical_loss"]

RIDGE, LEAST = 1e-3, 1e-9


def canonical_loss(*views: Tensor) -> Tensor:
    """Minus the sum of all canonical correlations of each two of the views, over the batch of all processes.

    L = -sum_i sqrt(lambda_i(T^T T + r I)), T = S11^(-1/2) S12 S22^(-1/2); S11 = cov(x) + r I, S12 = cov(x, y), r = 1e-3

    The roots of the covariances are taken by Cholesky's decomposition, which turns T by rotations alone and has a
    gradient where eigenvalues are equal, too. The ridge r on T^T T is the released code's: views that have nothing in
    common give -sqrt(r) for each dimension, not 0.

    Args:
        views: (B, k) each, of the same samples.

    Returns:
        Scalar, worked out in float64 where the device has it. With B no larger than k the covariances say nothing: at
        least 2 k samples are wanted.

    References:
        Andrew, Arora, Bilmes, Livescu, "Deep Canonical Correlation Analysis", ICML 2013.

    Example:
        >>> x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
        >>> turned = x @ torch.tensor([[0.0, 3.0], [-2.0, 0.0]])
        >>> round(canonical_loss(x, turned).item(), 2), canonical_loss(x, torch.zeros(200, 2)).item()
        (-2.0, -0.0632...)
    """
    wide = torch.float32 if views[0].device.type == "mps" else torch.float64
    x = _centred(torch.stack(views).to(wide))
    count = global_count(x.shape[1], x.device)
    free = torch.as_tensor(count, dtype=wide, device=x.device).sub(1).clamp(min=1)
    ridge = RIDGE * torch.eye(x.shape[2], dtype=wide, device=x.device)
    roots = torch.linalg.cholesky(global_sum(x.mT @ x) / free + ridge)
    first, second = torch.triu_indices(len(views), len(views), 1, device=x.device)
    cross = torch.linalg.solve_triangular(roots[first], global_sum(x[first].mT @ x[second]) / free, upper=False)
    t = torch.linalg.solve_triangular(roots[second], cross.mT, upper=False)
    squares = torch.linalg.eigvalsh(t @ t.mT + ridge).clamp(min=LEAST)
    loss: Tensor = -squares.sqrt().sum()
    return loss.to(torch.promote_types(views[0].dtype, torch.float32))


def _centred(x: Tensor) -> Tensor:
    """Columns of each view less their means over all processes, which covariances do not change with to first order."""
    return x - global_sum(x.detach().sum(1, keepdim=True)) / global_count(x.shape[1], x.device)
