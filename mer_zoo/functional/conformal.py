"""Split conformal prediction: sets of classes and intervals of scores that hold the truth as often as they say."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mer_zoo.errors import MERError

__all__ = ["check_level", "conformal_quantile", "fewest_samples", "prediction_sets", "set_scores"]


def check_level(level: float) -> None:
    """Refuse a share of covered samples that no set can have.

    Args:
        level: The share.

    Raises:
        MERError: Unless it lies between 0 and 1.

    Example:
        >>> check_level(90)
        Traceback (most recent call last):
        mer_zoo.errors.MERError: level is 90; give the share of samples that is to be covered, such as 0.9
    """
    if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0 < level < 1:
        raise MERError(f"level is {level!r}; give the share of samples that is to be covered, such as 0.9")


def _place(count: int, level: float) -> int:
    # rounded, because in floating point (9 + 1) * 0.9 may be a little more than 9
    return math.ceil(round((count + 1) * level, 9))


def fewest_samples(level: float) -> int:
    """With how many calibrating samples a level can be promised.

    Args:
        level: The share of samples that is to be covered.

    Example:
        >>> fewest_samples(0.9), fewest_samples(0.99)
        (9, 99)
    """
    check_level(level)
    return math.ceil(round(level / (1 - level), 9))


def conformal_quantile(scores: Tensor, level: float) -> Tensor:
    r"""The :math:`\lceil (n + 1)(1 - \alpha) \rceil`-th smallest score of calibrating samples.

    A new sample that is drawn as they were has a score of at most this with a probability of at least the level, and of
    at most :math:`1 / (n + 1)` more where no two scores are equal.

    Args:
        scores: (n, ...) how odd each sample is.
        level: :math:`1 - \alpha`, the share of samples that is to be covered.

    Returns:
        (...) quantiles.

    Raises:
        MERError: For a level outside (0, 1), or one that so few samples can't promise.

    References:
        Angelopoulos & Bates, "A Gentle Introduction to Conformal Prediction and Distribution-Free Uncertainty
        Quantification", 2021, Eq. 1 and App. D.

    Example:
        >>> conformal_quantile(torch.arange(1.0, 20.0), 0.9).item()
        18.0
    """
    check_level(level)
    place = _place(len(scores), level)
    if place > len(scores):
        raise MERError(
            f"{len(scores)} calibrating samples can't promise {100 * level:g} %; give at least {fewest_samples(level)},"
            " or a lower level"
        )
    return scores.sort(0).values[place - 1]


def set_scores(probabilities: Tensor, penalty: float = 0.0, free: int = 1) -> Tensor:
    r"""How odd each class would be as the truth: the mass of the classes more probable than it.

    .. math:: s(x, y) = \sum_{k: \hat p_k > \hat p_y} \hat p_k + \lambda \, (r(y) - k_{reg})^+

    where r is the place of the class by its probability, from 1. It is the adaptive score without the random share of
    the class itself, so that the most probable class always belongs to the set, and equal inputs have equal sets.

    Args:
        probabilities: (..., C).
        penalty: :math:`\lambda`, which keeps sets of many classes small; 0 is APS, above it is RAPS.
        free: :math:`k_{reg}`, classes that cost no penalty.

    Returns:
        (..., C) scores, from 0.

    References:
        Romano et al., "Classification with Valid and Adaptive Coverage", NeurIPS 2020, Sec. 2, at u = 1; Angelopoulos
        et al., "Uncertainty Sets for Image Classifiers using Conformal Prediction", ICLR 2021, Sec. 2.

    Example:
        >>> set_scores(torch.tensor([0.25, 0.625, 0.125])).tolist()
        [0.625, 0.0, 0.875]
    """
    order = probabilities.argsort(dim=-1, descending=True, stable=True)
    ranked = probabilities.gather(-1, order)
    before = torch.nn.functional.pad(ranked.cumsum(-1)[..., :-1], (1, 0))
    rank = torch.arange(1, probabilities.shape[-1] + 1, device=probabilities.device)
    before = before + penalty * (rank - free).clamp(min=0)
    return torch.empty_like(before).scatter(-1, order, before)


def prediction_sets(scores: Tensor, threshold: Tensor) -> Tensor:
    r"""The classes that are no odder than the quantile of the calibrating samples, :math:`\{y: s(x, y) \le \hat q\}`.

    Args:
        scores: (N, ..., C) from :func:`set_scores`.
        threshold: (...) or (N, ...) quantiles from :func:`conformal_quantile`.

    Returns:
        (N, ..., C) whether a class is in the set.

    References:
        Romano et al., "Classification with Valid and Adaptive Coverage", NeurIPS 2020, Algorithm 1.

    Example:
        >>> prediction_sets(set_scores(torch.tensor([[0.25, 0.625, 0.125]])), torch.tensor(0.7)).tolist()
        [[True, True, False]]
    """
    return scores <= threshold[..., None]
