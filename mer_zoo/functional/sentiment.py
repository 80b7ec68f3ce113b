"""Sentiment scores in [-3, 3], or in [-1, 1] as CH-SIMS has them, their classes, and back."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["class_values", "expected_score", "to_classes"]


_SIMS_EDGES = {2: (0.0,), 3: (-0.1, 0.1), 5: (-0.7, -0.1, 0.1, 0.7)}
_SIMS_VALUES = {2: (-0.5, 0.6), 3: (-0.6, 0.0, 0.6), 5: (-0.9, -0.4, 0.0, 0.4, 0.9)}


def class_values(num_classes: int, sims: bool = False) -> Tensor:
    """The sentiment that each class stands for.

    Args:
        num_classes: 2, 3, 5 or 7; 7 not on the scale of CH-SIMS.
        sims: Whether the scale is CH-SIMS' [-1, 1], of whose steps of 0.2 a class has the mean.

    Returns:
        (num_classes,) values, rising.

    Example:
        >>> class_values(7).tolist()
        [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]
    """
    if sims:
        return torch.tensor(_SIMS_VALUES[num_classes])
    if num_classes == 2:
        return torch.tensor([-1.0, 1.0])
    return torch.arange(num_classes, dtype=torch.float32) - num_classes // 2


def to_classes(target: Tensor, num_classes: int, sims: bool = False) -> Tensor:
    """Turn sentiment scores into class indices; integer input is taken as class indices already.

    Args:
        target: (B,) scores in [-3, 3], or integer classes.
        num_classes: 2 (score >= 0), 3 (sign), 5 (rounded within [-2, 2]) or 7 (rounded within [-3, 3]).
        sims: Whether scores lie in CH-SIMS' [-1, 1], parted as MMSA does: 2 above 0, 3 at -0.1 and 0.1, 5 at -0.7,
            -0.1, 0.1 and 0.7; a border belongs to the class below it.

    Returns:
        (B,) int64 classes. Rounding is half to even, as numpy's.

    References:
        Yu et al., "CH-SIMS: A Chinese Multimodal Sentiment Analysis Dataset with Fine-grained Annotation of Modality",
        ACL 2020.

    Example:
        >>> to_classes(torch.tensor([-2.5, -0.2, 0.0, 1.5]), 7).tolist()
        [1, 3, 3, 5]
        >>> to_classes(torch.tensor([-2.5, -0.2, 0.0, 1.5]), 3).tolist()
        [0, 0, 1, 2]
        >>> to_classes(torch.tensor([-0.8, -0.2, 0.0, 0.6]), 5, sims=True).tolist()
        [0, 1, 2, 3]
    """
    if not target.is_floating_point():
        return target.long()
    if sims:
        return torch.bucketize(target, target.new_tensor(_SIMS_EDGES[num_classes]))
    if num_classes == 2:
        return (target >= 0).long()
    if num_classes == 3:
        return target.sign().long() + 1
    limit = num_classes // 2
    return target.clamp(-limit, limit).round().long() + limit


def expected_score(logits: Tensor, values: Tensor) -> Tensor:
    r"""The expectation :math:`\sum_k \mathrm{softmax}(z)_k v_k`.

    Args:
        logits: (B, C).
        values: (C,) value of each class.

    Returns:
        (B,) scores.

    Example:
        >>> expected_score(torch.tensor([[0.0, 0.0, 50.0]]), class_values(3)).item()
        1.0
    """
    return logits.softmax(-1) @ values
