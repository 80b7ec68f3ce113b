"""Probabilities that mean what they say: one fitted scale, and how far confidence is from accuracy.

torchmetrics measures the calibration error with bins of equal width, most of which a confident model leaves empty; the
bins here hold equally many samples each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mer_zoo.errors import MERError

__all__ = [
    "BINS",
    "Reliability",
    "bin_probabilities",
    "brier_score",
    "debiased_calibration_error",
    "expected_calibration_error",
    "fit_scale",
    "negative_log_likelihood",
    "reliability",
    "tempered",
]

BINS = 15
_WIDEST = 20.0  # the fitted scale lies between its inverse and it, also where a split is separated without an error
_GOLDEN = (math.sqrt(5) - 1) / 2
_STEPS = 40  # of the golden section: its range is then 4e-9 of the first one
_LEAST = 1e-30  # a probability below which its logarithm says nothing more


def tempered(logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    r"""Class probabilities at a temperature, :math:`\hat q_k = \mathrm{softmax}(z / T)_k`.

    Args:
        logits: (..., C).
        temperature: One number, or one for each of the axes before the last.

    Returns:
        (..., C) probabilities.

    References:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, Eq. 9.

    Example:
        >>> [round(p, 3) for p in tempered(torch.tensor([0.0, 2.0]), 2.0).tolist()]
        [0.269, 0.731]
    """
    scale = torch.as_tensor(temperature, dtype=logits.dtype, device=logits.device)
    return (logits / scale[..., None]).softmax(-1)


def bin_probabilities(score: Tensor, scale: float | Tensor, edges: Tensor) -> Tensor:
    r"""What a Gaussian around a score gives to each class, whose values lie between two edges.

    .. math:: p_k = \Phi\big((e_{k+1} - s) / \sigma\big) - \Phi\big((e_k - s) / \sigma\big)

    With one inner edge it is the probit model, and :math:`\sigma` is the temperature of its logit.

    Args:
        score: (...) scores.
        scale: :math:`\sigma`, one number or (...) numbers.
        edges: (K - 1,) rising edges between the K classes; the outer ones are infinite.

    Returns:
        (..., K) probabilities.

    Example:
        >>> bin_probabilities(torch.tensor([0.0, 40.0]), 1.0, torch.tensor([0.0])).tolist()
        [[0.5, 0.5], [0.0, 1.0]]
    """
    edges, scale = edges.to(score), torch.as_tensor(scale, dtype=score.dtype, device=score.device)[..., None]
    outer = edges.new_tensor([-math.inf, math.inf])
    ends = (torch.cat([outer[:1], edges, outer[1:]]) - score[..., None]) / scale
    low, high = ends[..., :-1], ends[..., 1:]
    above = low > 0  # there both are near one, and their difference would be lost
    low, high = torch.where(above, -high, low), torch.where(above, -low, high)
    return _normal(high) - _normal(low)


def _normal(value: Tensor) -> Tensor:
    below: Tensor = torch.special.erfc(-value / math.sqrt(2)) / 2  # torch's own ndtr is 0 far below
    return below


def negative_log_likelihood(probabilities: Tensor, classes: Tensor) -> Tensor:
    r"""Mean of :math:`-\log \hat p(y)`.

    Args:
        probabilities: (N, ..., C).
        classes: (N, ...) true classes.

    Returns:
        (...) means over the N samples.

    References:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, Eq. 6, over the number of samples.

    Example:
        >>> round(negative_log_likelihood(torch.tensor([[0.5, 0.5]]), torch.tensor([1])).item(), 4)
        0.6931
    """
    return -_of(probabilities, classes).clamp(min=_LEAST).log().mean(0)


def brier_score(probabilities: Tensor, classes: Tensor) -> Tensor:
    r"""Mean of :math:`\sum_k (\hat p_k - 1[y = k])^2`, from 0 to 2.

    Args:
        probabilities: (N, ..., C).
        classes: (N, ...) true classes.

    Returns:
        (...) means over the N samples.

    References:
        Brier, "Verification of Forecasts Expressed in Terms of Probability", Monthly Weather Review 78(1), 1950, Eq. 2.

    Example:
        >>> brier_score(torch.tensor([[0.5, 0.5]]), torch.tensor([1])).item()
        0.5
    """
    truth = torch.nn.functional.one_hot(classes, probabilities.shape[-1])
    return (probabilities - truth).square().sum(-1).mean(0)


def _of(probabilities: Tensor, classes: Tensor) -> Tensor:
    return probabilities.gather(-1, classes[..., None]).squeeze(-1)


def fit_scale(loss: Callable[[Tensor], Tensor]) -> Tensor:
    """The scale at which a loss is least, by the golden section over its logarithm; each problem has its own.

    The negative log-likelihood of :func:`tempered` is convex in the inverse temperature, so that it falls and then
    rises; the result lies between 1/20 and 20.

    Args:
        loss: Gives (...) losses for (...) scales of as many problems; it is first asked with a single number.

    Returns:
        (...) scales, float64.

    Raises:
        MERError: If the loss is not finite.

    References:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, Sec. 4.2.

    Example:
        >>> fit_scale(lambda scale: (scale - 3).square()).item()
        3.000...
    """
    shape = loss(torch.ones((), dtype=torch.float64)).shape
    low = torch.full(shape, -math.log(_WIDEST), dtype=torch.float64)
    high = -low
    for _ in range(_STEPS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        at_left, at_right = loss(left.exp()), loss(right.exp())
        if not (at_left.isfinite().all() and at_right.isfinite().all()):
            raise MERError("a scale can't be fitted to scores that are not finite; look for the samples that give them")
        falls = at_right < at_left
        low, high = torch.where(falls, left, low), torch.where(falls, high, right)
    return ((low + high) / 2).exp()


@dataclass(frozen=True)
class Reliability:
    """Bins of equally many samples, from the least confident to the most.

    Attributes:
        confidence: (B,) mean confidence of each bin.
        accuracy: (B,) share of right predictions.
        count: (B,) samples.
    """

    confidence: Tensor
    accuracy: Tensor
    count: Tensor


def reliability(confidence: Tensor, right: Tensor, bins: int = BINS) -> Reliability:
    """Sort samples by confidence into bins of equal mass.

    Args:
        confidence: (N,) probability of the predicted class.
        right: (N,) whether it is the true one.
        bins: Number of bins; sizes differ by one where it does not divide N.

    Raises:
        MERError: With fewer samples than bins, or a confidence that is NaN.

    References:
        Nixon et al., "Measuring Calibration in Deep Learning", CVPR workshops 2019, Sec. 3 (adaptive bins).

    Example:
        >>> reliability(torch.tensor([0.9, 0.6, 0.8, 0.7]), torch.tensor([1, 0, 1, 1]), bins=2).accuracy.tolist()
        [0.5, 1.0]
    """
    if len(confidence) < bins:
        raise MERError(f"{len(confidence)} samples can't fill {bins} bins; give at least {bins} samples, or fewer bins")
    if confidence.isnan().any():
        raise MERError("a confidence is NaN; look for the samples whose scores are not finite")
    order = confidence.argsort(stable=True)
    groups = [(confidence[part].double(), right[part].double()) for part in order.tensor_split(bins)]
    means = torch.tensor([[float(each.mean()) for each in group] for group in groups], dtype=torch.float64)
    return Reliability(means[:, 0], means[:, 1], torch.tensor([len(group[0]) for group in groups]))


def expected_calibration_error(confidence: Tensor, right: Tensor, bins: int = BINS) -> float:
    r"""Mean distance of accuracy and confidence, :math:`\sum_b \frac{n_b}{N} |\bar y_b - \bar p_b|`.

    Args:
        confidence: (N,) probability of the predicted class.
        right: (N,) whether it is the true one.
        bins: Number of bins of equal mass.

    Raises:
        MERError: See :func:`reliability`.

    References:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, Eq. 3, with bins of equal mass.

    Example:
        >>> expected_calibration_error(torch.tensor([0.75, 0.75]), torch.tensor([1, 0]), bins=1)
        0.25
    """
    found = reliability(confidence, right, bins)
    share = found.count / found.count.sum()
    return float((share * (found.accuracy - found.confidence).abs()).sum())


def debiased_calibration_error(confidence: Tensor, right: Tensor, bins: int = BINS) -> float:
    r"""Root of the mean squared distance of accuracy and confidence, less what chance alone adds to it.

    .. math:: \hat E_{db}^2 = \sum_b \frac{n_b}{N} \Big[(\bar p_b - \bar y_b)^2 - \frac{\bar y_b (1 - \bar y_b)}
        {n_b - 1}\Big]

    The error of few samples in each bin is far from 0 for a perfectly calibrated model too; this estimator's square is
    not, on average. Below 0 it is told as 0.

    Args:
        confidence: (N,) probability of the predicted class.
        right: (N,) whether it is the true one.
        bins: Number of bins of equal mass.

    Raises:
        MERError: See :func:`reliability`; with fewer than two samples a bin.

    References:
        Kumar et al., "Verified Uncertainty Calibration", NeurIPS 2019, Sec. 5 (after Bröcker, "Estimating Reliability
        and Resolution of Probability Forecasts through Decomposition of the Empirical Score", Climate Dynamics 39,
        2012).

    Example:
        >>> debiased_calibration_error(torch.tensor([0.75, 0.75]), torch.tensor([1, 0]), bins=1)
        0.0
    """
    if len(confidence) < 2 * bins:
        raise MERError(f"{len(confidence)} samples can't fill {bins} bins twice; give at least {2 * bins} samples")
    found = reliability(confidence, right, bins)
    share = found.count / found.count.sum()
    chance = found.accuracy * (1 - found.accuracy) / (found.count - 1)
    return math.sqrt(max(0.0, float((share * ((found.confidence - found.accuracy).square() - chance)).sum())))
