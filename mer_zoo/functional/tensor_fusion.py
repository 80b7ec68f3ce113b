"""Fusion by products: all products of entries of several vectors (TFN), and the same through low-rank factors (LMF).

References:
    Zadeh, Chen, Poria, Cambria, Morency, "Tensor Fusion Network for Multimodal Sentiment Analysis", EMNLP 2017,
    arXiv:1707.07250. Liu, Shen, Lakshminarasimhan, Liang, Zadeh, Morency, "Efficient Low-rank Multimodal Fusion with
    Modality-Specific Factors", ACL 2018, arXiv:1806.00064.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

__all__ = ["low_rank_fusion", "tensor_fusion", "with_one"]


def with_one(h: Tensor) -> Tensor:
    """[1; h], so that products keep the terms of fewer modalities.

    Args:
        h: (B, d).

    Returns:
        (B, d + 1).

    Example:
        >>> with_one(torch.tensor([[5.0, 7.0]])).tolist()
        [[1.0, 5.0, 7.0]]
    """
    return torch.cat([h.new_ones(len(h), 1), h], 1)


def tensor_fusion(vectors: Sequence[Tensor]) -> Tensor:
    """Outer product of all [1; h_m], flattened row by row.

    Args:
        vectors: (B, d_m) for each modality.

    Returns:
        (B, product of d_m + 1).

    Example:
        >>> tensor_fusion([torch.tensor([[2.0]]), torch.tensor([[3.0, 5.0]])]).tolist()
        [[1.0, 3.0, 5.0, 2.0, 6.0, 10.0]]
    """
    return reduce(lambda z, h: (z[:, :, None] * h[:, None]).flatten(1), map(with_one, vectors))


def low_rank_fusion(vectors: Sequence[Tensor], factors: Sequence[Tensor]) -> Tensor:
    """Products over the modalities of [1; h_m] W_m^(r), for each rank r.

    The sum over the ranks is the outer product of :func:`tensor_fusion` times a weight tensor of that rank.

    Args:
        vectors: (B, d_m) for each modality.
        factors: (rank, d_m + 1, O) for each modality, the same rank and O.

    Returns:
        (B, O, rank).

    Example:
        >>> a, b = torch.tensor([[2.0]]), torch.tensor([[3.0]])
        >>> low_rank_fusion([a, b], [torch.ones(1, 2, 1), torch.ones(1, 2, 1)]).item()  # (1 + 2) (1 + 3)
        12.0
    """
    mapped = [torch.einsum("bi,rio->bor", with_one(h), w) for h, w in zip(vectors, factors, strict=True)]
    return reduce(operator.mul, mapped)
