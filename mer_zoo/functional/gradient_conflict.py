"""Gradients of two losses for the same parameters: whether they are in conflict, and what both can agree on.

References:
    Wei and Hu, "MMPareto: Boosting Multimodal Learning with Innocent Unimodal Assistance", ICML 2024,
    arXiv:2405.17730.
    Désidéri, "Multiple-gradient descent algorithm (MGDA) for multiobjective optimization", 2012, for the minimum norm.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cosine", "pareto_gradient", "pareto_weights"]

LEAST = 0.001  # weight of a gradient, as in the released code


def cosine(joint: Tensor, alone: Tensor) -> Tensor:
    """Cosine of the angle between two gradients; below 0 they are in conflict.

    Args:
        joint: (P,) gradient of one loss.
        alone: (P,) of the other.

    Example:
        >>> cosine(torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])).item()
        -0.7071...
    """
    return torch.nn.functional.cosine_similarity(joint, alone, dim=0)


def pareto_weights(joint: Tensor, alone: Tensor) -> Tensor:
    """Weights of two gradients: equal where they agree, else those of the shortest vector between them.

    Args:
        joint: (P,) gradient g_0 of the joint loss.
        alone: (P,) gradient g_m of a modality's own.

    Returns:
        (2,) that sum to 1.

    Example:
        >>> pareto_weights(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0])).tolist()
        [0.5, 0.5]
        >>> pareto_weights(torch.tensor([1.0, 0.0]), torch.tensor([-2.0, 0.0])).tolist()
        [0.6666..., 0.3333...]
    """
    a, b, c = joint @ joint, joint @ alone, alone @ alone
    between = (c - b) / (a + c - 2 * b).clamp(min=torch.finfo(a.dtype).tiny)
    shortest = torch.where(b >= a, 1 - LEAST, torch.where(b >= c, LEAST, between))
    first = torch.where(b > 0, 0.5, shortest)
    return torch.stack([first, 1 - first])


def pareto_gradient(joint: Tensor, alone: Tensor, weights: Tensor, gamma: float) -> Tensor:
    """The weighted sum of a parameter's two gradients, at least as long as their plain sum, times gamma.

    Args:
        joint: Any shape, gradient of the joint loss for one parameter.
        alone: Of the same shape, of the modality's own loss.
        weights: (2,) of :func:`pareto_weights`.
        gamma: Factor.

    Returns:
        Of the same shape; the plain sum where the weighted one is zero.

    Example:
        >>> pareto_gradient(torch.tensor([2.0]), torch.tensor([1.0]), torch.tensor([0.5, 0.5]), gamma=1.5)
        tensor([4.5000])
    """
    plain = joint + alone
    new = 2 * weights[0] * joint + 2 * weights[1] * alone
    long, short = plain.norm(), new.norm()
    scale = torch.where(long > short, long / short.clamp(min=torch.finfo(short.dtype).tiny), 1.0)
    return torch.where(short > 0, gamma * scale * new, plain)
