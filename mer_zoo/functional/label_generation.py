"""Unimodal labels that Self-MM makes of multimodal ones, by where a sample lies between two class centres."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["average_labels", "class_centres", "generate_labels", "label_weights", "relative_distance"]

_EPS = 1e-8


def class_centres(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean features of positive and of negative samples; neutral ones, of label 0, belong to neither.

    Args:
        features: (N, d).
        labels: (N,) sentiment; NaN leaves a sample out.

    Returns:
        The positive centre and the negative one, (d,) each; NaN for a class without samples.

    References:
        Yu et al., "Learning Modality-Specific Representations with Self-Supervised Multi-Task Learning for Multimodal
        Sentiment Analysis", AAAI 2021, the section on the unimodal label generation module.

    Example:
        >>> features = torch.tensor([[1.0], [3.0], [5.0], [7.0]])
        >>> class_centres(features, torch.tensor([2.0, 0.5, 0.0, -1.0]))
        (tensor([2.]), tensor([7.]))
    """
    members = torch.stack([labels > 0, labels < 0]).to(features.dtype)
    positive, negative = (members @ features / members.sum(1, keepdim=True)).unbind()
    return positive, negative


def relative_distance(features: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """How much nearer a sample is to the positive centre than to the negative one: (D_n - D_p) / (D_p + eps).

    Args:
        features: (B, d).
        positive: (d,) centre.
        negative: (d,) centre.

    Returns:
        (B,), positive near the positive centre.

    Example:
        >>> relative_distance(torch.tensor([[1.0], [2.0]]), torch.tensor([0.0]), torch.tensor([4.0])).tolist()
        [2.0, 0.0]
    """
    to_positive: Tensor = torch.linalg.vector_norm(features - positive, dim=-1)
    to_negative: Tensor = torch.linalg.vector_norm(features - negative, dim=-1)
    return (to_negative - to_positive) / (to_positive + _EPS)


def generate_labels(
    multimodal: Tensor, unimodal_distance: Tensor, fusion_distance: Tensor, bound: float = 3.0
) -> Tensor:
    """Labels of one modality: half the multimodal label scaled, half it shifted, by what the modality alone shows.

    Args:
        multimodal: (B,) labels y_m.
        unimodal_distance: (B,) relative distance of the modality's features.
        fusion_distance: (B,) relative distance of the fused features.
        bound: Largest absolute label.

    Returns:
        (B,) labels in [-bound, bound].

    Example:
        >>> generate_labels(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 4.0]), torch.tensor([1.0, 1.0])).tolist()
        [0.5, 3.0]
    """
    ratio = unimodal_distance / (fusion_distance + _EPS)
    scaled = ratio * multimodal
    shifted = multimodal + unimodal_distance - fusion_distance
    return (0.5 * scaled + 0.5 * shifted).clamp(-bound, bound)


def average_labels(old: Tensor, new: Tensor, visits: Tensor) -> Tensor:
    """Running mean that trusts later labels more: (n - 1) / (n + 1) old + 2 / (n + 1) new.

    Args:
        old: (B,) labels so far.
        new: (B,) labels generated now.
        visits: (B,) how often each sample has been seen, n.

    Example:
        >>> average_labels(torch.tensor([3.0]), torch.tensor([0.0]), torch.tensor([2])).item()
        1.0
    """
    return ((visits - 1) * old + 2 * new) / (visits + 1)


def label_weights(unimodal: Tensor, multimodal: Tensor) -> Tensor:
    """Weight of each sample in one modality's loss, tanh |y_s - y_m|: what differs teaches, what is equal does not.

    Args:
        unimodal: (B,) labels y_s.
        multimodal: (B,) labels y_m.

    Example:
        >>> label_weights(torch.tensor([1.0, 30.0]), torch.tensor([1.0, -30.0])).tolist()
        [0.0, 1.0]
    """
    return (unimodal - multimodal).abs().tanh()
