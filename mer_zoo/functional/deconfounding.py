"""Weights that imitate a randomised trial, and how strongly MACI and CLUE subtract a counterfactual under them.

An ordinary validation split has the training split's association of words and labels; on it the bias is of use, and the
best tau is near 0. Weighted by P(y) / p_bias(y | x_cf), label and bias words are independent, as if words had been
dealt out at random. MACI's paper chooses tau on the test split instead; these weights are this library's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mer_zoo.functional.language_bias import debias

__all__ = [
    "ALPHAS",
    "TAUS",
    "choose_tau",
    "deconfounding_weights",
    "effective_sample_size",
    "fit_temperature",
    "gain_error",
]

TAUS = tuple(k / 10 for k in range(31))  # MACI's
ALPHAS = tuple(k / 4 for k in range(13))  # CLUE's
LARGEST_WEIGHT = 20.0

_TEMPERATURES = (1e-2, 1e2)  # beyond these a prediction is a point, or uniform, to any purpose
_HALVINGS = 60  # leaves an interval below float64's resolution


def fit_temperature(y: Tensor, target: Tensor) -> float:
    r"""The temperature T that minimises the negative log-likelihood of :math:`\mathrm{softmax}(y / T)`.

    The likelihood has one maximum in 1/T, so its slope is bisected; nothing is random, the answer lies in [0.01, 100].

    Args:
        y: (N, C) log-probabilities or logits.
        target: (N,) classes.

    Example:
        >>> y = torch.tensor([[2.0, 0.0]]).expand(4, 2)  # right in three of four: the odds 3 are exp(2 / T)
        >>> round(fit_temperature(y, torch.tensor([0, 0, 0, 1])), 6) == round(2 / math.log(3), 6)
        True
    """
    y = y.double()
    truth = y.gather(1, target[:, None]).squeeze(1)
    low, high = (-math.log(limit) for limit in reversed(_TEMPERATURES))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        slope = ((math.exp(middle) * y).softmax(1) * y).sum(1) - truth
        low, high = (middle, high) if slope.mean() < 0 else (low, middle)
    return math.exp(-(low + high) / 2)


def deconfounding_weights(
    bias: Tensor,
    target: Tensor,
    prior: Tensor,
    temperature: float = 1.0,
    strength: float = 1.0,
    largest: float = LARGEST_WEIGHT,
) -> Tensor:
    r"""Weights :math:`(P(y_i) / p_{bias}(y_i \mid x_{cf,i}))^s` under which label and bias words are independent.

    Args:
        bias: (..., C) log-probabilities or logits of the prediction by the bias alone.
        target: (...) classes.
        prior: (C,) P(y), or (..., C).
        temperature: Calibrates ``bias``, see :func:`fit_temperature`.
        strength: The exponent s; 0 weighs all alike.
        largest: Largest weight.

    Returns:
        (...) float64 weights in [0, largest].

    Example:
        >>> bias, prior = torch.tensor([[0.9, 0.1], [0.99, 0.01]]).log(), torch.tensor([0.45, 0.55])
        >>> [round(weight, 3) for weight in deconfounding_weights(bias, torch.tensor([0, 1]), prior).tolist()]
        [0.5, 20.0]
    """
    p_bias = (bias.double() / temperature).softmax(-1).gather(-1, target[..., None]).squeeze(-1)
    share = prior.double().expand_as(bias).gather(-1, target[..., None]).squeeze(-1)
    # the smallest normal number keeps 0 / 0 out where a class was never seen in training
    weights: Tensor = (share / p_bias.clamp(min=torch.finfo(p_bias.dtype).tiny)) ** strength
    return weights.clamp(0, largest)


def effective_sample_size(weights: Tensor) -> float:
    r"""How many equally weighted samples weighted ones are worth, :math:`(\sum_i w_i)^2 / \sum_i w_i^2`.

    Args:
        weights: (N,) weights, at least 0.

    Returns:
        The size; 0 if all weights are 0.

    Example:
        >>> effective_sample_size(torch.tensor([1.0, 1.0, 0.0])), effective_sample_size(torch.tensor([3.0, 1.0]))
        (2.0, 1.6)
    """
    squares = float(weights.square().sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def gain_error(gains: Tensor, groups: Tensor) -> float:
    r"""Standard error of the mean of gains that are dependent within groups.

    With :math:`S_g = \sum_{i \in g} (g_i - \bar g)` of each of G groups, :math:`\sqrt{G / (G - 1) \sum_g S_g^2} / N`;
    of groups of one sample each that is :math:`\mathrm{sd} / \sqrt N`. With fewer groups than two, each sample is its
    own.

    Args:
        gains: (N,) by how much each sample's own class is likelier by the trace, in nats.
        groups: (N,) the group of each sample, such as the recording that it is from.

    Returns:
        The error; infinite for a single sample.

    Example:
        >>> gain_error(torch.tensor([0.0, 2.0]), torch.tensor([0, 1]))
        1.0
        >>> gain_error(torch.ones(3), torch.tensor([0, 0, 1]))
        0.0
    """
    names, group = torch.unique(groups, return_inverse=True)
    if len(names) < 2:
        return gain_error(gains, torch.arange(len(gains))) if len(gains) > 1 else float("inf")
    sums = torch.zeros(len(names), dtype=torch.float64).index_add(0, group, gains.double() - gains.double().mean())
    return float((sums.square().sum() * len(names) / (len(names) - 1)).sqrt()) / len(gains)


def choose_tau(
    y: Tensor, y_cf: Tensor, target: Tensor, weights: Tensor | None = None, values: Sequence[float] = TAUS
) -> float:
    """The strength with the highest accuracy over all classes; of equal ones the first.

    Args:
        y: (N, C) log-probabilities or other scores.
        y_cf: (N, C) scores of the counterfactual.
        target: (N,) classes.
        weights: (N,) weight of each sample; None weighs all alike.
        values: The strengths to choose from, in rising order.

    Example:
        >>> y, y_cf = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log(), torch.tensor([[0.9, 0.1], [0.5, 0.5]]).log()
        >>> choose_tau(y, y_cf, torch.tensor([1, 0])), choose_tau(y, y_cf, torch.tensor([0, 0]))
        (0.2, 0.0)
    """
    weights = torch.ones(len(y), dtype=torch.float64) if weights is None else weights
    predictions = torch.stack([debias(y, y_cf, tau).argmax(-1) for tau in values])
    accuracies = ((predictions == target) * weights).sum(1) / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
    # equal sets of right samples may round differently
    best = accuracies >= accuracies.max() - 1e-9
    return values[int(best.long().argmax())]
