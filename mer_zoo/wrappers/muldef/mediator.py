"""MulDeF's classifier: front-door adjustment through the joint representation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.functional.frontdoor import mediated
from mer_zoo.functional.precision import match_type

__all__ = ["FrontDoorHead"]


class FrontDoorHead(nn.Module):
    """Logits of the mediator, with what was seen replaced by its expectation over the training split.

    Args:
        feature_dim: Width d of the joint representation.
        input_dims: Width of the mean vector of each modality.
        outputs: Number of logits.
        heads: Rows K of the mediator; its map has K d^2 weights.
        dim: Width h of keys and query.

    Example:
        >>> head = FrontDoorHead(6, {"text": 3, "audio": 2}, outputs=3, heads=2, dim=4)
        >>> head.set_expectation({"text": torch.ones(3), "audio": torch.ones(2)})
        >>> head(torch.randn(5, 6), {"text": torch.randn(5, 3), "audio": torch.randn(5, 2)}).shape
        torch.Size([5, 3])
    """

    def __init__(
        self, feature_dim: int, input_dims: Mapping[str, int], outputs: int, heads: int = 8, dim: int = 128
    ) -> None:
        super().__init__()
        self.names, self.heads = list(input_dims), heads
        width = sum(input_dims.values())
        self.mediator = nn.Linear(feature_dim, heads * feature_dim)
        self.key = nn.Linear(feature_dim, dim)
        self.query = nn.Linear(width, dim)
        self.classifier = nn.Linear(width + feature_dim, outputs)
        for name, size in input_dims.items():
            self.register_buffer(f"expectation_{name}", torch.zeros(size))

    def set_expectation(self, means: Mapping[str, Tensor]) -> None:
        """Take over (d_m,) of each modality."""
        for name in self.names:
            self.get_buffer(f"expectation_{name}").copy_(means[name])

    def fit(self, vectors: Iterable[tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]) -> None:
        """Take the means over the samples that have anything of a modality.

        Args:
            vectors: Of each batch (B, d_m) of each modality, and (B,) which samples have anything of it.
        """
        sums = {name: self.get_buffer(f"expectation_{name}").double().cpu() * 0 for name in self.names}
        counts = dict.fromkeys(self.names, 0)
        for means, known in vectors:
            for name in self.names:
                sums[name] += means[name][known[name]].double().sum(0).cpu()
                counts[name] += int(known[name].sum())
        self.set_expectation({name: total / max(counts[name], 1) for name, total in sums.items()})

    @override
    def forward(self, features: Tensor, means: Mapping[str, Tensor]) -> Tensor:
        """Classify.

        Args:
            features: (B, d) joint representation.
            means: (B, d_m) vector of each modality.

        Returns:
            (B, outputs) logits m.
        """
        rows = F.relu(self.mediator(features)).view(len(features), self.heads, -1)
        query = F.relu(self.query(torch.cat([means[name] for name in self.names], -1)))
        z = mediated(rows, F.relu(self.key(rows)), query)
        expected = torch.cat([self.get_buffer(f"expectation_{name}") for name in self.names])
        logits: Tensor = self.classifier(torch.cat([match_type(expected, z).expand(len(z), -1), z], -1))
        return logits
