"""Sentiment scores in [-3, 3], their classes, and back."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["class_values", "expected_score", "to_classes"]


def class_values(num_classes: int) -> Tensor:
    """The sentiment that each class stands for.

    Args:
        num_classes: 2, 3, 5 or 7.

    Returns:
        (num_classes,) values, symmetric around zero.

    Example:
        >>> class_values(7).tolist()
        [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]
    """
    if num_classes == 2:
        return torch.tensor([-1.0, 1.0])
    return torch.arange(num_classes, dtype=torch.float32) - num_classes // 2


def to_classes(target: Tensor, num_classes: int) -> Tensor:
    """Turn sentiment scores into class indices; integer input is taken as class indices already.

    Args:
        target: (B,) scores in [-3, 3], or integer classes.
        num_classes: 2 (score >= 0), 3 (sign), 5 (rounded within [-2, 2]) or 7 (rounded within [-3, 3]).

    Returns:
        (B,) int64 classes. Rounding is half to even, as numpy's.

    Example:
        >>> to_classes(torch.tensor([-2.5, -0.2, 0.0, 1.5]), 7).tolist()
        [1, 3, 3, 5]
        >>> to_classes(torch.tensor([-2.5, -0.2, 0.0, 1.5]), 3).tolist()
        [0, 0, 1, 2]
    """
    if not target.is_floating_point():
        return target.long()
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
