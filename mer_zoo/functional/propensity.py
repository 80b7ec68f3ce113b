r"""Propensities out of sample: how likely each class is by a trace of the bias alone, for samples that no fit has seen.

Symbols: x (N, V) the trace, such as counts of biased words; y (N,) classes; C classes; :math:`p_b(y \mid x)` the
propensity; K folds. The weight :math:`P(y) / p_b(y \mid x)` that is made of it is ``functional/deconfounding.py``'s.

A fit that has seen a sample's label gives that label a high probability whatever the trace is worth, and the weights
would then take off what is no bias at all. So nothing about a sample's propensity may depend on its label: neither
coefficients, nor which words count as biased, nor how strongly the fit is regularised. Each fold's propensities
therefore come from the other folds, and their regularisation from the log-loss on each of these, fitted without both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from math import isfinite
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mer_zoo.functional.deconfounding import gain_error
from mer_zoo.functional.draws import uniform
from mer_zoo.functional.logistic import NEVER, Logistic, multinomial_logistic

__all__ = [
    "L2S",
    "CrossFit",
    "assign_folds",
    "cross_fit",
    "exceeds_chance",
    "log_loss",
]

Trace = Callable[[Tensor], Tensor]  # rows that may be looked at -> (N, V) of all samples
Fit = Callable[..., Logistic]  # of what multinomial_logistic takes

L2S = (float("inf"), 300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3)  # from a fit that sees nothing but the class shares
_INNER_FOLDS = 5
_ONE_SIDED = 1.645  # standard errors that a gain without meaning exceeds in one case of twenty


class CrossFit(NamedTuple):
    """Propensities of the samples they were fitted on, and a fit for others.

    Args:
        log_p: (N, C) float64, of each sample from fits that have not seen it.
        full: The fit on all samples, for new ones.
        l2: Its regularisation.
        loss: Log-loss of ``log_p``.
        prior_loss: Log-loss of the class shares, of each sample from the folds that it is not in.
        error: Standard error of the difference of the two.

    Example:
        >>> fit = CrossFit(torch.zeros(1, 1), Logistic(torch.zeros(1, 1), torch.zeros(1)), 1.0, 0.5, 0.75, 0.1)
        >>> fit.gain, fit.tells
        (0.25, True)
    """

    log_p: Tensor
    full: Logistic
    l2: float
    loss: float
    prior_loss: float
    error: float

    @property
    def gain(self) -> float:
        """By how much the trace lowers the log-loss on samples not seen, in nats; 0 or less where it tells nothing."""
        return self.prior_loss - self.loss

    @property
    def tells(self) -> bool:
        """Whether the gain is more than chance, at 5 % and one-sided."""
        return exceeds_chance(self.gain, self.error)

    def numbers(self) -> dict[str, float | None]:
        """Plain values; what is infinite is None."""
        l2 = self.l2 if isfinite(self.l2) else None
        error = self.error if isfinite(self.error) else None
        return {"loss": self.loss, "prior_loss": self.prior_loss, "gain": self.gain, "error": error, "l2": l2}


def exceeds_chance(gain: float, error: float) -> bool:
    """Whether a gain is more than chance, at 5 % and one-sided.

    Args:
        gain: By how much a trace lowers the log-loss on samples not seen.
        error: Its standard error.

    Example:
        >>> exceeds_chance(0.2, 0.1), exceeds_chance(0.15, 0.1)
        (True, False)
    """
    return gain > _ONE_SIDED * error


def log_loss(log_p: Tensor, y: Tensor) -> float:
    r"""Mean of :math:`-\log p(y_i)`, in nats.

    Args:
        log_p: (N, C) log-probabilities.
        y: (N,) classes.

    Example:
        >>> round(log_loss(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([1])), 3)
        0.693
    """
    return float(F.nll_loss(log_p, y))


def assign_folds(groups: Tensor, folds: int) -> Tensor:
    """Deal whole groups out to folds of about equal size, the largest group first; nothing is random.

    Groups of equal size come in the order of a hash, for the order of a file may have a period. With fewer groups than
    two, each sample is its own.

    Args:
        groups: (N,) the group of each sample, such as the recording that it is from.
        folds: Number of folds K; fewer where there are fewer groups.

    Returns:
        (N,) fold of each sample.

    Example:
        >>> assign_folds(torch.tensor([5, 5, 5, 6, 7, 7]), 2).bincount().tolist()
        [3, 3]
    """
    names, group, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < 2:
        return assign_folds(torch.arange(len(groups)), folds) if len(groups) > 1 else torch.zeros_like(groups)
    chance = uniform(0, names, torch.zeros(1, dtype=torch.long)).squeeze(1)
    order = sorted(range(len(names)), key=lambda place: (-int(sizes[place]), float(chance[place]), place))
    filled, fold = [0] * min(folds, len(names)), torch.zeros_like(names)
    for place in order:
        smallest = filled.index(min(filled))
        fold[place] = smallest
        filled[smallest] += int(sizes[place])
    return fold[group]


def cross_fit(
    trace: Trace,
    y: Tensor,
    num_classes: int,
    fold: Tensor,
    l2s: Sequence[float] = L2S,
    groups: Tensor | None = None,
    fit: Fit = multinomial_logistic,
) -> CrossFit:
    """Fit propensities so that no sample's own label has a part in them.

    The regularisation of a fold's fit is the one with the least log-loss over the other folds, each predicted by a fit
    on the rest, so without that fold too. One fit without a pair of folds serves both of them. Of two folds, each is
    divided anew.

    Args:
        trace: Gives (N, V) features of all samples by what may be known of the given rows alone: which words are biased
            there, or by which mean and deviation to scale.
        y: (N,) classes.
        num_classes: C.
        fold: (N,) fold of each sample, from :func:`assign_folds`.
        l2s: Strengths to choose from, in falling order.
        groups: (N,) the group of each sample, for the error of the gain; by default each its own.
        fit: What is fitted, such as :func:`~mer_zoo.functional.logistic.shrunken_shares` where the features tell
            groups.

    Example:
        >>> y = torch.arange(60) % 2
        >>> told = cross_fit(lambda rows: y.double()[:, None], y, 2, assign_folds(torch.arange(60), 5))
        >>> told.gain > 0.5, told.log_p.shape
        (True, torch.Size([60, 2]))
    """
    everything = torch.arange(len(y))
    folds = int(fold.max()) + 1
    prior = F.one_hot(y, num_classes).double().mean(0)
    losses = torch.zeros(folds, len(l2s), dtype=torch.float64)
    for rows, parts in _inner_fits(fold, everything if groups is None else groups):
        x = trace(rows)
        for k, model in enumerate(_path(fit, x[rows], y[rows], num_classes, l2s)):
            for own, held in parts:
                losses[own, k] += len(held) * log_loss(_out_of_sample(model, x[held], prior), y[held])
    log_p, base = y.new_zeros(len(y), num_classes, dtype=torch.float64), torch.zeros(len(y), num_classes).double()
    for own in range(folds):
        rows, held = everything[fold != own], everything[fold == own]
        x = trace(rows)
        chosen = int(losses[own].argmin())
        model = fit(x[rows], y[rows], num_classes, l2s[chosen])
        log_p[held] = _out_of_sample(model, x[held], prior)
        shares = multinomial_logistic(x[rows], y[rows], num_classes, float("inf"))
        base[held] = _out_of_sample(shares, x[held], prior)
    l2 = l2s[int(losses.sum(0).argmin())]
    full = fit(trace(everything), y, num_classes, l2)
    gains = (log_p - base).gather(1, y[:, None]).squeeze(1)
    error = gain_error(gains, everything if groups is None else groups)
    return CrossFit(log_p, full, l2, log_loss(log_p, y), log_loss(base, y), error)


def _inner_fits(fold: Tensor, groups: Tensor) -> Iterator[tuple[Tensor, list[tuple[int, Tensor]]]]:
    """For the choice of the regularisation: rows to fit on, and (fold to choose for, rows to measure the choice on).

    Without a pair of folds there is nothing left of two, so that each of these is divided in itself.
    """
    everything, folds = torch.arange(len(fold)), int(fold.max()) + 1
    if folds > 2:
        for one, other in combinations(range(folds), 2):
            parts = [(one, everything[fold == other]), (other, everything[fold == one])]
            yield everything[(fold != one) & (fold != other)], parts
        return
    for own in range(folds):
        rest = everything[fold != own]
        inner = assign_folds(groups[rest], _INNER_FOLDS)
        for part in range(int(inner.max()) + 1 if len(rest) > 1 else 0):
            yield rest[inner != part], [(own, rest[inner == part])]


def _path(fit: Fit, x: Tensor, y: Tensor, num_classes: int, l2s: Sequence[float]) -> list[Logistic]:
    """A fit for each strength, each beginning where the last one ended."""
    models: list[Logistic] = []
    for l2 in l2s:
        models.append(fit(x, y, num_classes, l2, models[-1] if models else None, tolerance=1e-4))
    return models


def _out_of_sample(model: Logistic, x: Tensor, prior: Tensor) -> Tensor:
    """Log-probabilities; a class that the fit has not seen gets its share in all samples, so that it weighs 1."""
    log_p = model.log_p(x)
    unseen = (model.bias == NEVER) & (prior > 0)
    if not unseen.any():
        return log_p
    rest = torch.log1p(-prior[unseen].sum().clamp(max=1 - 1e-9))
    return torch.where(unseen, prior.log(), log_p + rest)
