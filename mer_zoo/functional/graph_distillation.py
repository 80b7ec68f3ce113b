"""Distillation along the edges of a graph: every modality learns from every other one, as much as an edge says.

An edge e leads from a teacher to a student. Teachers get no gradient.

References:
    Li, Wang, Cui, "Decoupled Multimodal Distilling for Emotion Recognition", CVPR 2023.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mer_zoo.functional.disentanglement import positive_cosine
from mer_zoo.functional.precision import widen

__all__ = ["Edge", "contrast_along", "distil_along", "edge_deviation", "edge_prior"]

Edge = tuple[str, str]  # student, teacher


def edge_prior(edges: Sequence[Edge], favoured: Sequence[Edge], sharpness: float = 4.0) -> Tensor:
    """How strong the edges are expected to be: a softmax that lifts some of them.

    Args:
        edges: All edges, as (student, teacher).
        favoured: Those that are lifted.
        sharpness: By how much, before the softmax.

    Returns:
        (E,), sum 1.

    Example:
        >>> edge_prior([("audio", "text"), ("text", "audio")], [("audio", "text")])
        tensor([0.9820, 0.0180])
    """
    lifted = torch.tensor([float(edge in favoured) for edge in edges])
    return (sharpness * lifted).softmax(0)


def edge_deviation(strengths: Tensor, prior: Tensor) -> Tensor:
    """Squared difference of the mean edges of a batch and their prior, summed over the edges.

    Args:
        strengths: (B, E) edges.
        prior: (E,).

    Returns:
        A scalar.

    Example:
        >>> edge_deviation(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0.5, 1.0]))
        tensor(0.2500)
    """
    return (strengths.mean(0) - prior).square().sum()


def distil_along(students: Tensor, teachers: Tensor, weights: Tensor) -> Tensor:
    """Absolute differences of students and teachers, weighted by their edges.

    Args:
        students: (B, E, D) what each edge's student says.
        teachers: (B, E, D) what its teacher says.
        weights: (B, E).

    Returns:
        A scalar, at least float32: sum over edges and D, mean over the batch.

    Example:
        >>> distil_along(torch.ones(2, 1, 3), torch.zeros(2, 1, 3), torch.tensor([[1.0], [0.0]]))
        tensor(1.5000)
    """
    return ((widen(students) - widen(teachers.detach())).abs().sum(-1) * weights).sum(1).mean()


def contrast_along(students: Tensor, teachers: Tensor, weights: Tensor) -> Tensor:
    """Positive cosines of students and teachers, weighted by their edges: pushes what they say apart.

    Args:
        students: (B, E, D) what each edge's student says.
        teachers: (B, E, D) what its teacher says.
        weights: (B, E).

    Returns:
        A scalar: batch mean of the cosines times batch mean of the weights, summed over the edges.

    Example:
        >>> contrast_along(torch.ones(2, 1, 3), torch.ones(2, 1, 3), torch.tensor([[1.0], [0.0]])).round(decimals=4)
        tensor(0.5000)
    """
    return (positive_cosine(students, teachers.detach()).mean(0) * weights.mean(0)).sum()
