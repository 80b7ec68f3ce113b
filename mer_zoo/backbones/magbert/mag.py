"""Multimodal adaptation gate (MAG): audio and vision move each word's vector, by no more than a share of its length."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.functional.word_shift import shift_words

__all__ = ["MAG"]


class MAG(nn.Module):
    """Multimodal adaptation gate: word vectors, moved by what other modalities show at each word, normalised.

    H is the sum over the other modalities m of relu(W_gm [m; z]) * (W_m m).

    Args:
        dim: Width d of the word vectors.
        dims: Width of each other modality.
        beta: Largest length of the move, relative to that of the vector.
        dropout: Dropout of the result.

    References:
        Rahman et al., "Integrating Multimodal Information in Large Pretrained Transformers", ACL 2020, the section on
        the multimodal adaptation gate.

    Example:
        >>> gate = MAG(8, {"audio": 5})
        >>> gate(torch.randn(2, 6, 8), {"audio": torch.randn(2, 6, 5)}).shape
        torch.Size([2, 6, 8])
    """

    def __init__(self, dim: int, dims: Mapping[str, int], beta: float = 1.0, dropout: float = 0.0) -> None:
        super().__init__()
        self.beta = beta
        self.gates = nn.ModuleDict({name: nn.Linear(width + dim, dim) for name, width in dims.items()})
        self.maps = nn.ModuleDict({name: nn.Linear(width, dim) for name, width in dims.items()})
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    @override
    def forward(self, z: Tensor, others: Mapping[str, Tensor]) -> Tensor:
        """Move words (B, T, d) by the other modalities (B, T, d_m) at the same steps."""
        moves = [
            F.relu(self.gates[name](torch.cat([others[name], z], -1))) * self.maps[name](others[name])
            for name in self.maps
        ]
        moved: Tensor = self.dropout(self.norm(shift_words(z, torch.stack(moves).sum(0), self.beta)))
        return moved
