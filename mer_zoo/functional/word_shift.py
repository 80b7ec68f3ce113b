"""Word vectors that are moved by what is heard and seen at each word."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["shift_words"]

_EPS = 1e-6


def shift_words(z: Tensor, displacement: Tensor, beta: float = 1.0) -> Tensor:
    """Move word vectors: z + alpha H with alpha = min(1, beta ||z|| / (||H|| + eps)).

    Args:
        z: (..., d) word vectors.
        displacement: (..., d), H.
        beta: Largest length of the move, relative to that of the vector.

    References:
        Rahman et al., "Integrating Multimodal Information in Large Pretrained Transformers", ACL 2020, the section on
        the multimodal adaptation gate; Wang et al., "Words Can Shift: Dynamically Adjusting Word Representations Using
        Nonverbal Behaviors", AAAI 2019.

    Example:
        >>> shift_words(torch.tensor([3.0, 4.0]), torch.tensor([100.0, 0.0]), beta=0.5)
        tensor([5.5000, 4.0000])
    """
    length: Tensor = torch.linalg.vector_norm(displacement, dim=-1, keepdim=True)
    length = torch.where(length == 0, 1.0, length)
    alpha: Tensor = (beta * torch.linalg.vector_norm(z, dim=-1, keepdim=True) / (length + _EPS)).clamp(max=1)
    return z + alpha * displacement
