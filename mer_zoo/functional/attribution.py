"""CUMDF's objective: the distance to the teacher, who contributes how much, and the penalty of the attention's weights.

Symbols: m a modality of n, i a sample, p probability of a class, delta a sample's effect, X the shares of the
modalities, H joint representation, s student, t teacher.

References:
    "Label-Guided Enhancement: A Distillation Framework for Uncertainty-Aware Multimodal Emotion Recognition", anonymous
    manuscript. Equation numbers are the manuscript's.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from mer_zoo.functional.precision import widen

__all__ = [
    "balance_loss",
    "class_probability",
    "distillation_weights",
    "modality_effect",
    "modality_shares",
    "srd",
    "weight_penalty",
]


def srd(h_s: Tensor, h_t: Tensor, w_s: Tensor | None, w_t: Tensor | None, alpha: float = 1.0) -> Tensor:
    r"""Distance of student and teacher, :math:`\alpha_{st} (1 - \cos(W_s H_s, W_t \mathrm{stopgrad}(H_t)))` (Eq. 10).

    Args:
        h_s: (B, D) of the student.
        h_t: (B, D) of the teacher; gets no gradient.
        w_s: (k, D) projection of the student; None for none.
        w_t: (k, D) projection of the teacher, likewise.
        alpha: Strength.

    Returns:
        (B,), at least float32.

    Example:
        >>> one = torch.eye(2)
        >>> srd(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]]), one, one).item()
        0.39...
    """
    s = h_s if w_s is None else F.linear(h_s, w_s)
    t = h_t.detach() if w_t is None else F.linear(h_t.detach(), w_t)
    return alpha * (1 - F.cosine_similarity(widen(s), widen(t), dim=-1))


def class_probability(logits: Tensor, classes: Tensor) -> Tensor:
    """Probability of one class of each sample, the mean over emotions where there are several.

    Inferred: a single-output regression has no classes; there its score itself is returned.

    Args:
        logits: (B, C), (B, E, C), or (B, 1) for regression.
        classes: (B,) or (B, E); not read for regression.

    Returns:
        (B,), at least float32.

    Example:
        >>> class_probability(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).item()
        0.5
    """
    if logits.shape[-1] == 1:
        return widen(logits).flatten(1).mean(1)
    p = widen(logits).softmax(-1).gather(-1, classes[..., None]).squeeze(-1)
    return p.view(len(p), -1).mean(1)


def modality_effect(p: Tensor, p_without: Tensor) -> Tensor:
    r"""Effect of a modality on each sample, :math:`\delta_i^m = |p_i^m - p_i^{\setminus m}|` (Eqs. 11-13).

    Args:
        p: (B,) probability of the class, of the modality alone or of all.
        p_without: (B,) probability of the same class in the counterfactual world without the modality.

    Returns:
        (B,).

    Example:
        >>> modality_effect(torch.tensor([0.75]), torch.tensor([1.0])).item()
        0.25
    """
    return (p - p_without).abs()


def modality_shares(effects: Tensor) -> Tensor:
    r"""Share of each modality, :math:`X_m = \sum_i \delta_i^m / \sum_{m'} \sum_i \delta_i^{m'}` (Eq. 14).

    Args:
        effects: (n,) effects summed over the samples.

    Returns:
        (n,) that sum to 1; equal where there is no effect at all.

    Example:
        >>> modality_shares(torch.tensor([1.0, 3.0])).tolist(), modality_shares(torch.zeros(2)).tolist()
        ([0.25, 0.75], [0.5, 0.5])
    """
    total = effects.sum()
    even = torch.full_like(effects, 1 / len(effects))
    # The division runs in any case, so a total of 0 is replaced: its gradient would be NaN even where it is not chosen.
    return torch.where(total > 0, effects / torch.where(total > 0, total, 1.0), even)


def balance_loss(shares: Tensor) -> Tensor:
    r"""Counterfactual loss :math:`\sum_m \lambda_m X_m`, :math:`\lambda = \mathrm{stopgrad}(X) / \sum X` (Eqs. 15, 16).

    A modality with a larger share is drawn down more strongly; the loss is smallest where all shares are equal.

    Args:
        shares: (n,).

    Returns:
        Scalar.

    Example:
        >>> balance_loss(torch.tensor([0.25, 0.75])).item()
        0.625
    """
    fixed = shares.detach()
    return (fixed / fixed.sum() * shares).sum()


def distillation_weights(shares: Tensor) -> Tensor:
    r"""Weight of each modality's own distillation, :math:`w_m = (1 - X_m) / (n - 1)`: less share, more weight.

    Inferred; for three modalities it is (1 - X_m) / 2, and the weights always sum to 1.

    Args:
        shares: (n,), n at least 2.

    Returns:
        (n,) without gradient.

    Example:
        >>> distillation_weights(torch.tensor([0.5, 0.25, 0.25])).tolist()
        [0.25, 0.375, 0.375]
    """
    return (1 - shares.detach()) / (len(shares) - 1)


def weight_penalty(
    weights: Iterable[tuple[Tensor, Tensor, Tensor]], coefficients: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> Tensor:
    r"""Penalty of the attention (Eq. 17).

    :math:`L_{reg} = \lambda_Q \|W_Q\|_F^2 + \lambda_K \|W_K\|_F^2 + \lambda_V \|W_V\|_F^2`.

    Args:
        weights: W_Q, W_K and W_V of each attention; the penalties of several are added up.
        coefficients: lambda_Q, lambda_K and lambda_V.

    Returns:
        Scalar.

    Example:
        >>> q, k, v = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0]]), torch.tensor([[4.0]])
        >>> weight_penalty([(q, k, v)]).item(), weight_penalty([(q, k, v)], (1.0, 0.0, 0.5)).item()
        (30.0, 13.0)
    """
    pairs = [pair for triple in weights for pair in zip(coefficients, triple, strict=True)]
    return torch.stack([coefficient * widen(w).square().sum() for coefficient, w in pairs]).sum()
