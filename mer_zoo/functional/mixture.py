"""Sparse mixtures of experts: which experts a sample goes to, how evenly they are used, and what they say together."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mer_zoo.distributed import global_sum
from mer_zoo.functional.precision import widen

__all__ = ["balance_loss", "expected_load", "log_mixture", "top_k_gates"]


def top_k_gates(scores: Tensor, k: int) -> Tensor:
    """Softmax over the k largest scores of each sample; all other experts get 0.

    Args:
        scores: (B, E).
        k: How many experts a sample goes to, at most E.

    Returns:
        (B, E) gates, which sum to 1.

    Example:
        >>> top_k_gates(torch.tensor([[1.0, 3.0, 3.0]]), 2).tolist()
        [[0.0, 0.5, 0.5]]
    """
    values, chosen = scores.topk(k, 1)
    return torch.zeros_like(scores).scatter(1, chosen, values.softmax(1))


def expected_load(clean: Tensor, noisy: Tensor, deviation: Tensor, k: int, mean: float = 0.0) -> Tensor:
    """How many samples of the batch an expert is expected to get when the noise of its own scores is drawn again.

    An expert is among the k of a sample if its score stands above the k-th largest of the others, which is the
    (k+1)-th of all where it is among the k now, and the k-th where it is not.

    Args:
        clean: (B, E) scores without noise.
        noisy: (B, E) scores with noise.
        deviation: (B, E) of the noise.
        k: How many experts a sample goes to, less than E.
        mean: Of the normal distribution; the released code of GLoMo has 0.1, though its noise has none.

    Returns:
        (E,) sums of probabilities.

    References:
        Shazeer et al., "Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer", ICLR 2017,
        Appendix A.

    Example:
        >>> scores = torch.tensor([[9.0, 0.0]])
        >>> expected_load(scores, scores, torch.ones(1, 2), k=1).round().tolist()
        [1.0, 0.0]
    """
    largest = noisy.topk(k + 1, 1).values
    inside, outside = largest[:, k:], largest[:, k - 1 : k]
    threshold = torch.where(noisy > inside, inside, outside)
    above = (clean - threshold) / deviation
    return (0.5 * (1 + torch.erf((above - mean) / math.sqrt(2)))).sum(0)


def balance_loss(gates: Tensor, load: Tensor, weight: float = 0.01) -> Tensor:
    """Penalty of experts that are used unevenly: squared variations of their importance and of their load.

    Args:
        gates: (B, E); their sums over the batch, on all processes, are the importance of the experts.
        load: (E,) samples that go to each expert, of this process.
        weight: Weight of the penalty.

    Returns:
        Scalar weight (cv2(importance) + cv2(load)), with cv2(u) = var(u) / mean(u)^2, which is 0 for one expert.

    Example:
        >>> round(balance_loss(torch.eye(2), torch.tensor([2.0, 0.0]), weight=1.0).item(), 4)
        2.0
    """
    parts = [_squared_variation(global_sum(part)) for part in (widen(gates).sum(0), widen(load))]
    return weight * torch.stack(parts).sum()


def _squared_variation(u: Tensor) -> Tensor:
    return u.var() / (u.mean().square() + 1e-10) if len(u) > 1 else u.new_zeros(())


def log_mixture(said: Tensor, gates: Tensor) -> Tensor:
    """Mix what experts say in log space, log sum_e gate_e exp(said_e), which lies above their weighted mean.

    Args:
        said: (B, E, d) of each expert.
        gates: (B, E), of which at least one a sample is positive.

    Returns:
        (B, d), at least float32.

    Example:
        >>> log_mixture(torch.tensor([[[0.0], [2.0]]]), torch.tensor([[0.0, 1.0]])).item()
        2.0
    """
    gates = widen(gates)
    # the logarithm of a gate that is 0 would have no gradient but NaN
    log_gates = torch.where(gates > 0, torch.where(gates > 0, gates, 1.0).log(), -math.inf)
    return torch.logsumexp(widen(said) + log_gates[..., None], 1)
