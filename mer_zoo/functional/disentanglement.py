"""What keeps private and shared representations apart: orthogonality, a margin between labels, faithful reconstruction.

References:
    Li, Wang, Cui, "Decoupled Multimodal Distilling for Emotion Recognition", CVPR 2023.
    Wang et al., "DLF: Disentangled-Language-Focused Multimodal Sentiment Analysis", AAAI 2025.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from mer_zoo.functional.precision import widen

__all__ = ["cosine_orthogonality", "margin_loss", "positive_cosine", "squared_difference"]

_SQUARE_EPS = 1e-12  # of each squared norm, as torch.nn.CosineEmbeddingLoss has it
_MARGIN_EPS = 1e-8


def positive_cosine(x: Tensor, y: Tensor, dim: int = -1) -> Tensor:
    r"""Cosines where they are positive, :math:`\max(0, \cos(x, y))`: what an embedding loss with target -1 charges.

    Args:
        x: Any shape.
        y: A shape that broadcasts with it.
        dim: The axis of the vectors.

    Returns:
        The shape of ``x * y`` without ``dim``, at least float32. Vectors of zeros are orthogonal to all.

    Example:
        >>> x = torch.tensor([[3.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
        >>> positive_cosine(x, torch.tensor([1.0, 0.0])).tolist()
        [1.0, 0.0, 0.0]
    """
    x, y = widen(x), widen(y)
    norms = (x.square().sum(dim) + _SQUARE_EPS).sqrt() * (y.square().sum(dim) + _SQUARE_EPS).sqrt()
    return F.relu((x * y).sum(dim) / norms)


def cosine_orthogonality(x: Tensor, y: Tensor, dim: int = -1) -> Tensor:
    """Mean of :func:`positive_cosine`: 0 if no pair of vectors points the same way.

    Args:
        x: Any shape.
        y: The same shape.
        dim: The axis of the vectors.

    Returns:
        A scalar in [0, 1].

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> cosine_orthogonality(x, x.flip(1)).item(), cosine_orthogonality(x, x).item()
        (0.0, 1.0)
    """
    return positive_cosine(x, y, dim).mean()


def squared_difference(x: Mapping[str, Tensor], y: Mapping[str, Tensor]) -> Tensor:
    """Mean squared difference of the tensors of each name, summed over the names.

    Args:
        x: Tensors by name.
        y: Tensors of the same names and shapes.

    Returns:
        A scalar.

    Example:
        >>> ones = {"text": torch.ones(2, 3), "audio": torch.ones(4)}
        >>> squared_difference(ones, {"text": torch.zeros(2, 3), "audio": torch.ones(4)})
        tensor(1.)
    """
    return torch.stack([F.mse_loss(x[name], y[name]) for name in x]).sum()


def margin_loss(x: Tensor, labels: Tensor, margin: float = 0.15) -> Tensor:
    r"""Rows of one label are to be nearer to each other than to those of another, by more for labels further apart.

    Row i is charged the mean of :math:`\max(0, \alpha |y_i - y_n| - \cos(x_i, x_p) + \cos(x_i, x_n))` over all pairs of
    another row p with exactly its label and a row n with another one. Rows that lack either are left out of the mean
    over the rows.

    Args:
        x: (N, d) vectors.
        labels: (N,) labels, or (N, E) of which the differences are summed.
        margin: Margin :math:`\alpha` at a distance of 1 between labels.

    Returns:
        A scalar, at least float32; 0 if no row has both.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> labels = torch.tensor([1.0, 1.0, -1.0])
        >>> margin_loss(x, labels).item(), round(margin_loss(x, -labels, margin=0.75).item(), 4)
        (0.0, 0.5)
        >>> margin_loss(x, torch.ones(3)).item()
        0.0
    """
    x = widen(x)
    labels = labels.view(len(labels), -1).to(x.dtype)
    unit = x / (x.square().sum(1, keepdim=True) + _MARGIN_EPS).sqrt()
    with torch.autocast(x.device.type, enabled=False):  # the hinge is as narrow as what half precision rounds away
        cosines = unit @ unit.T
    distance = (labels[:, None] - labels).abs().sum(-1)
    negative = distance > 0
    positive = ~negative & ~torch.eye(len(x), dtype=torch.bool, device=x.device)
    threshold = margin * distance + cosines
    # Sorting answers for all pairs at once: of the positives, those below the threshold of a negative are charged.
    ranked = cosines.masked_fill(~positive, torch.inf).sort(1).values
    charged = torch.searchsorted(ranked.detach(), threshold.detach())
    sums = F.pad(ranked.masked_fill(ranked.isinf(), 0.0).cumsum(1), (1, 0)).gather(1, charged)
    total = torch.where(negative, charged * threshold - sums, 0.0).sum(1)
    pairs = positive.sum(1) * negative.sum(1)
    return (total / pairs.clamp(min=1)).sum() / (pairs > 0).sum().clamp(min=1)
