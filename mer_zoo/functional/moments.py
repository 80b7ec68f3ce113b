"""Losses on a batch of codes that pull distributions together (moments, kernels), or subspaces or codes apart."""

from __future__ import annotations

import torch
from torch import Tensor

from mer_zoo.functional.precision import widen

__all__ = ["central_moment_discrepancy", "difference_loss", "independence_criterion", "maximum_mean_discrepancy"]

_EPS = 1e-6


def central_moment_discrepancy(x: Tensor, y: Tensor, moments: int = 5, weights: Tensor | None = None) -> Tensor:
    """Distance between two distributions, CMD: of their means, then of each higher central moment.

    The factors 1 / |b - a|^k, for values in [a, b], are left out, as for codes in [0, 1].

    Args:
        x: (B, d) samples.
        y: (C, d) samples.
        moments: Largest order, at least 1.
        weights: (B,) how much each sample of both counts; None for all alike.

    Returns:
        Scalar, at least float32, 0 for equal moments and where nothing counts; its gradient there is 0, not NaN.

    References:
        Zellinger et al., "Central Moment Discrepancy (CMD) for Domain-Invariant Representation Learning", ICLR 2017.

    Example:
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> central_moment_discrepancy(x, x + 2).item(), central_moment_discrepancy(x, 3 * x, moments=2).item()
        (2.0, 3.0)
    """
    x, y = widen(x), widen(y)

    def mean(values: Tensor) -> Tensor:
        if weights is None:
            return values.mean(0)
        return (weights[:, None] * values).sum(0) / weights.sum().clamp(min=1e-6)

    mean_x, mean_y = mean(x), mean(y)
    distances = [torch.linalg.vector_norm(mean_x - mean_y)]
    for order in range(2, moments + 1):
        moment_x = mean((x - mean_x).pow(order))
        moment_y = mean((y - mean_y).pow(order))
        distances.append(torch.linalg.vector_norm(moment_x - moment_y))
    return torch.stack(distances).sum()


def difference_loss(x: Tensor, y: Tensor) -> Tensor:
    """Overlap of two subspaces: mean square of the products of their features over the batch.

    Columns are centred over the batch, then rows are divided by their length, through which no gradient goes.

    Args:
        x: (B, d) codes.
        y: (B, e) codes of the same samples.

    Returns:
        Scalar mean((X^T Y)^2), at least float32; 0 for one sample, which nothing can be centred of.

    References:
        Hazarika, Zimmermann, Poria, "MISA: Modality-Invariant and -Specific Representations for Multimodal Sentiment
        Analysis", ACM MM 2020.

    Example:
        >>> x = torch.tensor([[1.0], [-1.0]])
        >>> round(difference_loss(x, x).item(), 4), difference_loss(x[:1], x[:1]).item()
        (4.0, 0.0)
    """
    # Autocast would round the products, which are near 0 where subspaces are apart.
    with torch.autocast(x.device.type, enabled=False):
        return (_unit_rows(widen(x)).T @ _unit_rows(widen(y))).square().mean()


def independence_criterion(x: Tensor, y: Tensor) -> Tensor:
    r"""Hilbert-Schmidt independence criterion, :math:`\operatorname{tr}(K H L H) / (B - 1)^2`, with Gaussian kernels.

    H centres over the batch; each kernel is as wide as the mean squared distance of its codes, through which no
    gradient goes, so that codes gain nothing by shrinking.

    Args:
        x: (B, d) codes.
        y: (B, e) codes of the same samples.

    Returns:
        Scalar, at least float32; 0 for one sample, near 0 for independent codes of many.

    References:
        Gretton, Bousquet, Smola, Schölkopf, "Measuring Statistical Dependence with Hilbert-Schmidt Norms", ALT 2005.

    Example:
        >>> x = torch.tensor([[1.0], [-1.0]])
        >>> round(independence_criterion(x, x).item(), 4), independence_criterion(x[:1], x[:1]).item()
        (0.7476, 0.0)
    """
    with torch.autocast(x.device.type, enabled=False):
        k, kernel = _centred_kernel(widen(x)), _centred_kernel(widen(y))
        return (k * kernel).sum() / max(len(x) - 1, 1) ** 2


def _centred_kernel(x: Tensor) -> Tensor:
    squares = (x[:, None] - x).square().sum(2)
    k = torch.exp(-squares / (squares.mean().detach() + _EPS))
    return k - k.mean(0) - k.mean(1, keepdim=True) + k.mean()


def _unit_rows(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    length: Tensor = torch.linalg.vector_norm(centred.detach(), dim=1, keepdim=True)
    return centred / (length + _EPS)


def maximum_mean_discrepancy(x: Tensor, y: Tensor, width: float | None = None) -> Tensor:
    """Distance between two distributions, MMD, by samples under a Gaussian kernel, k(u, w) = exp(-|u - w|^2 / width).

    mean k(x, x) + mean k(y, y) - 2 mean k(x, y), over all pairs, a sample with itself included.

    Args:
        x: (B, d) samples.
        y: (C, d) samples.
        width: Of the kernel; None for d.

    Returns:
        Scalar, at least float32, 0 for equal samples.

    References:
        Gretton, Borgwardt, Rasch, Schölkopf, Smola, "A Kernel Two-Sample Test", JMLR 2012.

    Example:
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> maximum_mean_discrepancy(x, x).item(), round(maximum_mean_discrepancy(x, x + 9).item(), 3)
        (0.0, 1.368)
    """
    x, y = widen(x), widen(y)
    scale = float(x.shape[1]) if width is None else width

    def kernel(first: Tensor, second: Tensor) -> Tensor:
        # By differences: autocast would round what a matrix product of the two gives.
        return (-(first[:, None] - second).square().sum(2) / scale).exp().mean()

    return kernel(x, x) + kernel(y, y) - 2 * kernel(x, y)
