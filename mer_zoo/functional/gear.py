"""GEAR's mathematics: weights of easily biased samples, and which samples swap their bias.

Symbols: e the error of a bias prediction, err that of the content prediction, E the errors of all bias predictions of a
sample taken together. Errors are those of the task: absolute for a score, cross-entropies for classes. Weights are
constants of the training step.

References:
    Sun, Ni, Wang, Jing, Wei and Nie, "General Debiasing for Multimodal Sentiment Analysis", ACM Multimedia 2023,
    arXiv:2307.10511.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from mer_zoo.functional.draws import uniform

__all__ = ["BiasCriterion", "WeightRule", "bias_loss", "sample_weight", "swap_order"]

BiasCriterion = Literal["tanh", "sigmoid"]
WeightRule = Literal["avg", "min"]

EPS = 1e-8


def bias_loss(error: Tensor, criterion: BiasCriterion = "tanh", q: float = 0.7) -> Tensor:
    r"""The bias criterion :math:`w(e) \, e`, which teaches a bias branch what is easy and leaves what is hard.

    * ``tanh``: :math:`w(e) = \tanh(e^{-q})`
    * ``sigmoid``: :math:`w(e) = 2 \sigma(-e)`

    Args:
        error: (B,) errors of a bias prediction.
        criterion: Which weight w; it gets no gradient.
        q: How fast ``tanh`` falls.

    Returns:
        (B,) losses.

    Example:
        >>> bias_loss(torch.tensor([0.0, 1.0, 100.0])).tolist()
        [0.0, 0.76..., 3.97...]
    """
    e = error.detach()
    w = torch.tanh(e**-q) if criterion == "tanh" else 2 * torch.sigmoid(-e)
    return w * error


def sample_weight(error: Tensor, bias_errors: Sequence[Tensor], rule: WeightRule = "avg") -> Tensor:
    r"""Weight :math:`w = E / (E + err + \epsilon)` of each sample: large where bias alone does not lead to the label.

    Args:
        error: (B,) errors err of the content prediction.
        bias_errors: (B,) errors of each bias prediction.
        rule: Whether E is their mean, ``avg``, or their ``min``.

    Returns:
        (B,) weights in [0, 1], without gradient.

    Example:
        >>> e = torch.tensor([3.0, 0.0])
        >>> sample_weight(torch.tensor([1.0, 1.0]), [e, e + 2])
        tensor([0.8000, 0.5000])
        >>> sample_weight(torch.tensor([1.0, 1.0]), [e, e + 2], "min")
        tensor([0.7500, 0.0000])
    """
    errors = torch.stack(list(bias_errors)).detach()
    e = errors.mean(0) if rule == "avg" else errors.amin(0)
    return e / (e + error.detach() + EPS)


def swap_order(seed: int, number: int, index: Tensor) -> Tensor:
    """A random permutation of a batch's samples, without a state; whom a sample meets does not depend on its place.

    Args:
        seed: Seed of the draws.
        number: Number of the draw.
        index: (B,) position of each sample in its split.

    Returns:
        (B,) places: sample i gets the bias of sample ``order[i]``.

    Example:
        >>> order = swap_order(0, 3, torch.tensor([7, 2, 9, 4]))
        >>> sorted(order.tolist()), torch.equal(order, swap_order(0, 3, torch.tensor([7, 2, 9, 4])))
        ([0, 1, 2, 3], True)
    """
    draws = uniform(seed, index, torch.arange(2 * number, 2 * number + 2, device=index.device))
    takes, gives = draws.T.argsort(dim=1, stable=True)
    return torch.empty_like(takes).scatter_(0, takes, gives)
