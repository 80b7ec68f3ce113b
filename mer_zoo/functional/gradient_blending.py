r"""How much losses of single modalities and the joint one are to count, by how they generalise.

Symbols (K losses, the joint one last): t and v training and held-out loss, before (0) and after (1) a while of
training; :math:`G = v_0 - v_1` what was gained, :math:`O = (v_1 - t_1) - (v_0 - t_0)` how far the gap has grown.

References:
    Wang, Tran and Feiszli, "What Makes Training Multi-Modal Classification Networks Hard?", CVPR 2020,
    arXiv:1905.12681.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["blend_weights", "gain_and_growth", "printed_weights"]


def gain_and_growth(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """What was gained on held-out samples, and how far training samples ran ahead of them.

    Args:
        before: (2, K) training losses, and held-out losses.
        after: (2, K) the same after training.

    Returns:
        (K,) G, below 0 where held-out losses have risen, and (K,) O.

    Example:
        >>> gain, growth = gain_and_growth(torch.tensor([[0.6], [0.7]]), torch.tensor([[0.4], [0.6]]))
        >>> round(gain.item(), 4), round(growth.item(), 4)
        (0.1, 0.1)
    """
    (t0, v0), (t1, v1) = before, after
    return v0 - v1, (v1 - t1) - (v0 - t0)


def printed_weights(gain: Tensor, growth: Tensor) -> Tensor:
    r"""Weights of losses as the paper's rule is told: :math:`w_k \propto |G_k| / O_k^2`.

    Args:
        gain: (K,) G; a loss that has risen counts as if it had fallen.
        growth: (K,) O.

    Returns:
        (K,) that sum to 1, equal where nothing has changed.

    Example:
        >>> printed_weights(torch.tensor([-0.10, 0.10]), torch.tensor([0.10, 0.05]))
        tensor([0.2000, 0.8000])
    """
    weights = gain.abs() / growth.square().clamp(min=1e-8)
    total = weights.sum()
    return torch.where(total > 0, weights / total.clamp(min=torch.finfo(weights.dtype).tiny), 1 / len(weights))


def blend_weights(gain: Tensor, growth: Tensor) -> Tensor:
    r"""Weights of losses, :math:`w_k \propto \max(G_k, 0) / O_k^2`, of which the joint one has its part at least.

    The joint loss, the last, is raised to 1 / K, and the others share the rest in proportion.

    Args:
        gain: (K,) G; a loss that has risen counts as one that gained nothing.
        growth: (K,) O.

    Returns:
        (K,) that sum to 1, equal where nothing was gained.

    Example:
        >>> blend_weights(torch.tensor([0.10, 0.10]), torch.tensor([0.10, 0.05]))
        tensor([0.2000, 0.8000])
        >>> blend_weights(torch.tensor([0.10, 0.30, -0.10]), torch.tensor([0.10, 0.10, 0.10]))
        tensor([0.1667, 0.5000, 0.3333])
    """
    weights = printed_weights(gain.clamp(min=0), growth)
    least, alone = 1 / len(weights), 1 - weights[-1]
    raised = torch.cat([weights[:-1] * (1 - least) / alone.clamp(min=least), weights.new_full((1,), least)])
    return torch.where(weights[-1] < least, raised, weights)
