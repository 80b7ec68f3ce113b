r"""How fast each modality learns: coefficients of the gradients that come back to it.

Symbols: M modalities, f(S) the logits with the modalities outside of S taken away, :math:`\phi_m` the share of the
logits that modality m has.

References:
    OGM-GE: Peng et al., "Balanced Multimodal Learning via On-the-fly Gradient Modulation", CVPR 2022,
    arXiv:2203.15332.
    AGM: Li et al., "Boosting Multi-modal Model Performance with Adaptive Gradient Modulation", ICCV 2023,
    arXiv:2308.07686.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = [
    "agm_coefficients",
    "enhanced",
    "modulated",
    "ogm_coefficients",
    "ogm_ratios",
    "running_mean",
    "share_ratios",
]


def share_ratios(scores: Tensor) -> Tensor:
    r"""How good each share of the logits is beside the others: :math:`\rho_m = \exp(M / (M - 1) (\bar s - s_m))`.

    Args:
        scores: (M,) losses s of the shares, M at least 2.

    Returns:
        (M,) ratios, above 1 for a share that is better than the mean; of two :math:`\exp(s_2 - s_1)` and its inverse.

    Example:
        >>> share_ratios(torch.tensor([0.5, 0.8, 1.1])).tolist()
        [1.5683..., 1.0, 0.6376...]
    """
    return (len(scores) / (len(scores) - 1) * (scores.mean() - scores)).exp()


def agm_coefficients(scores: Tensor, running: Tensor, alpha: float, cap: float) -> Tensor:
    r"""What the gradient of each share is multiplied by: :math:`k_m = \exp(\alpha \min(\rho^*_m - \rho_m, c))`.

    A modality that is better beside the others than it used to be learns less.

    Args:
        scores: (M,) losses of the shares in this batch.
        running: (M,) their means over the batches before; zeros before the first.
        alpha: Strength.
        cap: The largest difference c of the ratios.

    Example:
        >>> agm_coefficients(torch.tensor([0.5, 0.8, 1.1]), torch.tensor([0.6, 0.8, 1.0]), alpha=1.0, cap=10.0).tolist()
        [0.8037..., 1.0, 1.1087...]
    """
    return (alpha * (share_ratios(running) - share_ratios(scores)).clamp(max=cap)).exp()


def running_mean(mean: Tensor, count: Tensor, value: Tensor) -> Tensor:
    """The mean of count values and one more.

    Args:
        mean: Any shape, of the values before.
        count: Scalar, how many these are.
        value: Of the same shape.

    Example:
        >>> running_mean(torch.tensor(2.0), torch.tensor(3), torch.tensor(6.0)).item()
        3.0
    """
    return mean * (count / (count + 1)) + value / (count + 1)


def modulated(logits: Tensor, shares: Sequence[Tensor], coefficients: Tensor) -> Tensor:
    r"""The logits themselves, whose gradient goes on into each share times its coefficient.

    Args:
        logits: (B, ...), the sum of the shares but for rounding.
        shares: M of the same shape.
        coefficients: (M,).

    Returns:
        (B, ...) of which the gradient g is :math:`k_m g` for share m, and none for ``logits``.

    Example:
        >>> a, b = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
        >>> modulated(a + b, [a, b], torch.tensor([0.5, 2.0])).sum().backward()
        >>> a.grad.tolist(), b.grad.tolist()
        ([0.5, 0.5], [2.0, 2.0])
    """
    passed = [k * (share - share.detach()) for k, share in zip(coefficients.unbind(), shares, strict=True)]
    return logits.detach() + torch.stack(passed).sum(0).to(logits.dtype)


def ogm_ratios(scores: Tensor) -> Tensor:
    r"""How well each modality alone tells the label beside the others: :math:`\rho_m = s_m` over the mean of theirs.

    Args:
        scores: (M,) sums over a batch of the probability of the label, M at least 2.

    Returns:
        (M,) ratios; of two modalities one is the inverse of the other.

    Example:
        >>> ogm_ratios(torch.tensor([3.0, 1.0, 2.0])).tolist()
        [2.0, 0.4000..., 1.0]
    """
    others = (scores.sum() - scores) / (len(scores) - 1)
    return scores / others.clamp(min=1e-5)


def ogm_coefficients(ratios: Tensor, alpha: float) -> Tensor:
    r"""What the gradients of each modality's own parameters are multiplied by: :math:`1 - \tanh(\alpha \rho_m)`.

    Args:
        ratios: (M,); a modality whose ratio is not above 1 keeps its gradient.
        alpha: Strength.

    Example:
        >>> ogm_coefficients(torch.tensor([2.0, 0.4, 1.0]), alpha=0.3).tolist()
        [0.4629..., 1.0, 1.0]
    """
    return torch.where(ratios > 1, 1 - torch.tanh(alpha * ratios), 1.0)


def enhanced(gradient: Tensor, coefficient: Tensor, noise: Tensor | None) -> Tensor:
    """A gradient under its coefficient and, to generalise better, under noise as large as it was before.

    Args:
        gradient: Any shape, of a parameter.
        coefficient: Scalar.
        noise: Standard normal numbers of the same shape; None for none.

    Example:
        >>> enhanced(torch.tensor([1.0, 3.0]), torch.tensor(0.5), torch.tensor([1.0, 0.0])).tolist()
        [1.9142..., 1.5]
    """
    changed = coefficient * gradient
    return changed if noise is None else changed + (gradient.std() + 1e-8) * noise
