"""The sparse mixture of experts that GLoMo reads the chunks of a modality by, and the attention over modalities."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.errors import MERError
from mer_zoo.functional.dropout import dropout
from mer_zoo.functional.mixture import balance_loss, expected_load, log_mixture, top_k_gates
from mer_zoo.layers.mlp import MLP

__all__ = ["AttentionSum", "MixtureOfExperts", "Routed"]

RELEASED_MEAN = 0.1  # of the normal distribution of the expected load, in the released code
_LEAST_DEVIATION = 0.01


class Routed(NamedTuple):
    """What a mixture says.

    Args:
        said: (B, d).
        gates: (B, E).
        load: (E,) samples, or expected samples, of each expert.
        balance: Scalar penalty, already weighted.
    """

    said: Tensor
    gates: Tensor
    load: Tensor
    balance: Tensor


class MixtureOfExperts(nn.Module):
    """Experts of which each sample goes to k, the gates by a noisy linear map.

    Args:
        input_dim: Width D of the input.
        dim: Width d of the experts, inside and out.
        experts: Number E of experts.
        k: How many a sample goes to.
        noise: Whether gates are noisy in training. Without noise the load has no gradient.
        released: Whether the experts are mixed in log space and the expected load has the mean of the released code.

    Raises:
        MERError: If there are fewer experts than a sample goes to.

    Example:
        >>> routed = MixtureOfExperts(6, 4, experts=3, k=2)(torch.randn(5, 6))
        >>> routed.said.shape, (routed.gates > 0).sum(1).tolist()
        (torch.Size([5, 4]), [2, 2, 2, 2, 2])
    """

    def __init__(
        self, input_dim: int, dim: int, experts: int, k: int, noise: bool = True, released: bool = False
    ) -> None:
        super().__init__()
        if not 1 <= k <= experts:
            raise MERError(f"k of GLoMo is {k}, but a sample goes to at least 1 of its {experts} experts; lower k")
        self.k, self.released = k, released
        self.experts = nn.ModuleList(MLP(input_dim, dim, dim) for _ in range(experts))
        self.w_gate = nn.Parameter(torch.zeros(input_dim, experts))
        self.w_noise = nn.Parameter(torch.zeros(input_dim, experts)) if noise and k < experts else None

    @override
    def forward(self, x: Tensor, noise: Tensor | None = None) -> Routed:
        """Route (B, D); ``noise`` (B, E) is a standard normal draw, which training draws if it is not given."""
        clean = x @ self.w_gate
        if self.w_noise is None or not (self.training or noise is not None):
            gates = top_k_gates(clean, self.k)
            load = (gates.detach() > 0).to(gates.dtype).sum(0)
        else:
            deviation = F.softplus(x @ self.w_noise) + _LEAST_DEVIATION
            noisy = clean + deviation * (torch.randn_like(clean) if noise is None else noise)
            gates = top_k_gates(noisy, self.k)
            load = expected_load(clean, noisy, deviation, self.k, RELEASED_MEAN if self.released else 0.0)
        said = torch.stack([expert(x) for expert in self.experts], 1)
        mixed = log_mixture(said, gates).to(said.dtype) if self.released else (gates[..., None] * said).sum(1)
        return Routed(mixed, gates, load, balance_loss(gates, load))


class AttentionSum(nn.Module):
    """Sum of the vectors of n modalities, weighted by a softmax that reads all of them.

    Args:
        count: Number n.
        dim: Width d.
        dropout: Dropout in front of the ReLU.

    Example:
        >>> summed, weights = AttentionSum(2, 4)(torch.randn(3, 2, 4))
        >>> summed.shape, weights.shape
        (torch.Size([3, 4]), torch.Size([3, 2]))
    """

    def __init__(self, count: int, dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        # Of one modality the weight is 1 whatever is read.
        self.inner = nn.Linear(count * dim, dim) if count > 1 else None
        self.score = nn.Linear(dim, count) if count > 1 else None
        self.scale, self.dropout = dim**-0.5, dropout

    @override
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The sum (B, d) of (B, n, d), and its weights (B, n)."""
        if self.inner is None or self.score is None:
            return x.squeeze(1), torch.ones_like(x[..., 0])
        inner = F.relu(dropout(self.inner(x.flatten(1)), self.dropout, self.training))
        weights = (self.scale * self.score(inner)).softmax(1)
        return weighted_sum(x, weights), weights


def weighted_sum(x: Tensor, weights: Tensor) -> Tensor:
    """Sum (B, d) of (B, n, d) with weights (B, n)."""
    return (weights[..., None] * x).sum(1)
