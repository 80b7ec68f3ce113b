"""MACI's label debiasing: class statistics of the training split, and the backdoor adjustment over them.

Symbols: i a class as confounder, P(i) its prior, B batch, C classes, G independent problems (one for sentiment, one an
emotion otherwise), d a width.

References:
    Zhong, Huan, Wu, Liang and Chen, "Towards Robust Multimodal Emotion Recognition under Missing Modalities and
    Distribution Shifts", arXiv:2506.10452, 2025. Equation numbers are the paper's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mer_zoo.functional.precision import widen
from mer_zoo.functional.variants import Variant

__all__ = ["backdoor_adjustment", "class_means", "class_prior", "class_sums"]


def backdoor_adjustment(logits: Tensor, prior: Tensor, variant: Variant = "released") -> Tensor:
    r"""Scores under intervention: with ``paper`` :math:`\sum_i P(i) \, y_i` (Eq. 24), else log-probabilities.

    ``released`` gives :math:`\log \sum_i P(i) \, \mathrm{softmax}(y_i)` (Eq. 20), which Eq. 24 approximates. The
    logarithm is never taken of a sum that has underflowed, and nothing is computed in less than float32.

    Args:
        logits: (B, I, C), y_i of each confounder class i.
        prior: (I,) P(i); a class of prior 0 takes no part.
        variant: Which of the two.

    Returns:
        (B, C) log-probabilities, or logits where the classifiers' outputs are averaged as printed.

    Example:
        >>> y = torch.tensor([[[0.0, 0.0], [1000.0, 0.0]]])
        >>> backdoor_adjustment(y, torch.tensor([0.5, 0.5])).exp().tolist()
        [[0.75, 0.25]]
        >>> backdoor_adjustment(y, torch.tensor([0.5, 0.5]), "paper").tolist()
        [[500.0, 0.0]]
    """
    logits = widen(logits)
    if variant == "paper":
        return (prior.to(logits)[:, None] * logits).sum(-2)
    joint = prior.to(logits).log()[:, None] + logits.log_softmax(-1)
    return joint.logsumexp(-2)


def class_sums(x: Tensor, y: Tensor, num_classes: int, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Sum vectors over the samples of each class, in float64.

    Args:
        x: (B, d) one vector a sample.
        y: (B, G) class of each sample in each problem.
        num_classes: Number of classes C.
        valid: (B,) bool, the samples that count; None counts all.

    Returns:
        (G, C, d) sums and (G, C) numbers of samples.

    Example:
        >>> sums, counts = class_sums(torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[0], [1], [1]]), 2)
        >>> sums.flatten().tolist(), counts.tolist()
        ([1.0, 6.0], [[1.0, 2.0]])
    """
    members = F.one_hot(y, num_classes).double()
    if valid is not None:
        members = members * valid[:, None, None]
    return torch.einsum("bgc,bd->gcd", members, x.double()), members.sum(0)


def class_means(sums: Tensor, counts: Tensor) -> Tensor:
    """Mean vector of each class; a class without samples gets the mean of the others' means.

    Args:
        sums: (G, C, d) from :func:`class_sums`, added up over the batches.
        counts: (G, C) likewise.

    Returns:
        (G, C, d) means; zeros where no class has a sample.

    Example:
        >>> class_means(torch.tensor([[[2.0], [0.0], [8.0]]]), torch.tensor([[1.0, 0.0, 2.0]])).flatten().tolist()
        [2.0, 3.0, 4.0]
    """
    seen = (counts > 0)[..., None]
    means = sums / counts.clamp(min=1)[..., None]
    others = (means * seen).sum(-2, keepdim=True) / seen.sum(-2, keepdim=True).clamp(min=1)
    return torch.where(seen, means, others)


def class_prior(counts: Tensor) -> Tensor:
    """The prior P(i) of each class.

    Args:
        counts: (G, C) numbers of samples.

    Returns:
        (G, C) shares.

    Example:
        >>> class_prior(torch.tensor([[1.0, 0.0, 3.0]])).tolist()
        [[0.25, 0.0, 0.75]]
    """
    return counts / counts.sum(-1, keepdim=True).clamp(min=1)
