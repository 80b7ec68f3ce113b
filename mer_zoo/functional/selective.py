"""Selective prediction: how good a model is on the samples of which it is most certain."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mer_zoo.errors import MERError

__all__ = ["accuracy_at", "area_under_risk_coverage", "risk_coverage"]


def risk_coverage(confidence: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    r"""Share of wrong predictions among the k most confident, for each k.

    Args:
        confidence: (N,) how sure each prediction is; equally sure ones stay in the order they are in.
        right: (N,) whether it is right.

    Returns:
        (N,) coverages k / N and (N,) risks.

    Raises:
        MERError: Without a sample, or with a confidence that is NaN.

    References:
        El-Yaniv & Wiener, "On the Foundations of Noise-free Selective Classification", JMLR 11, 2010, Sec. 2; Geifman
        & El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017, Sec. 2.

    Example:
        >>> coverage, risk = risk_coverage(torch.tensor([0.9, 0.6]), torch.tensor([True, False]))
        >>> coverage.tolist(), risk.tolist()
        ([0.5, 1.0], [0.0, 0.5])
    """
    if not len(confidence):
        raise MERError("there is no prediction to select from; give at least one sample")
    if confidence.isnan().any():
        raise MERError("a confidence is NaN; look for the samples whose scores are not finite")
    order = confidence.argsort(descending=True, stable=True)
    count = torch.arange(1, len(order) + 1, dtype=torch.float64)
    wrong = 1 - right[order].double()
    return count / len(order), wrong.cumsum(0) / count


def area_under_risk_coverage(confidence: Tensor, right: Tensor) -> float:
    r"""Mean risk over all coverages, :math:`\mathrm{AURC} = \frac{1}{N} \sum_k r_k`; lower is better.

    Args:
        confidence: (N,) how sure each prediction is.
        right: (N,) whether it is right.

    Raises:
        MERError: See :func:`risk_coverage`.

    References:
        Geifman et al., "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers", ICLR 2019, Sec. 3.

    Example:
        >>> area_under_risk_coverage(torch.tensor([0.9, 0.6]), torch.tensor([True, False]))
        0.25
    """
    return float(risk_coverage(confidence, right)[1].mean())


def accuracy_at(coverage: float, confidence: Tensor, right: Tensor) -> float:
    """Share of right predictions among the most confident ones.

    Args:
        coverage: Share of the samples that is predicted, above 0 and at most 1.
        confidence: (N,) how sure each prediction is.
        right: (N,) whether it is right.

    Raises:
        MERError: For a coverage out of range; see :func:`risk_coverage`.

    Example:
        >>> accuracy_at(0.5, torch.tensor([0.9, 0.6]), torch.tensor([True, False]))
        1.0
    """
    if not 0 < coverage <= 1:
        raise MERError(f"coverage is {coverage}; give the share of samples that is predicted, above 0 and at most 1")
    risk = risk_coverage(confidence, right)[1]
    return 1 - float(risk[math.ceil(round(coverage * len(risk), 9)) - 1])
