r"""Propensities out of sample: how likely each class is by a trace of the bias alone, for samples that no fit has seen.

Symbols: x (N, V) the trace, such as counts of biased words; y (N,) classes; C classes; :math:`p_b(y \mid x)` the propensity; K folds.
The weight :math:`P(y) / p_b(y \mid x)` that is made of it is ``functional/deconfounding.py``'s.

A fit that has seen a sample's label gives that label a high probability whatever the trace is worth, and the weights would then
take off what is no bias at all. So nothing about a sample's propensity may depend on its label: neither coefficients, nor which
words count as biased, nor how strongly the fit is regularised. Each fold's propensities therefore come from the other folds, and
their regularisation from the log-loss on each of these, fitted without both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from math import isfinite
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mer_zoo.data.draws import uniform
from mer_zoo.functional.deconfounding import gain_error

__all__ = [
    "L2S",
    "CrossFit",
    "Logistic",
    "assign_folds",
    "cross_fit",
    "log_loss",
    "multinomial_logistic",
]

Trace = Callable[[Tensor], Tensor]  # rows that may be looked at -> (N, V) of all samples

L2S = (float("inf"), 300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3)  # from a fit that sees nothing but the class shares
_INNER_FOLDS = 5
_NEVER = -1e4  # logit of a class that a fit has not seen: probability 0 in float64
_ITERATIONS = 200
ONE_SIDED = 1.645  # standard errors that a gain without meaning exceeds in one case of twenty


class Logistic(NamedTuple):
    """A multinomial logistic regression.

    Args:
        weight: (V, C) coefficients.
        bias: (C,) intercepts.

    Example:
        >>> model = Logistic(torch.zeros(2, 3), torch.zeros(3))
        >>> model.log_p(torch.ones(1, 2)).shape
        torch.Size([1, 3])
    """

    weight: Tensor
    bias: Tensor

    def log_p(self, x: Tensor) -> Tensor:
        """(N, C) log-probabilities of (N, V) samples."""
        return (x.to(self.weight) @ self.weight + self.bias).log_softmax(-1)


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
        return self.gain > ONE_SIDED * self.error

    def numbers(self) -> dict[str, float | None]:
        """Plain values; what is infinite is None."""
        l2 = self.l2 if isfinite(self.l2) else None
        error = self.error if isfinite(self.error) else None
        return {"loss": self.loss, "prior_loss": self.prior_loss, "gain": self.gain, "error": error, "l2": l2}


def multinomial_logistic(
    x: Tensor, y: Tensor, num_classes: int, l2: float, start: Logistic | None = None, tolerance: float = 1e-6
) -> Logistic:
    r"""Minimise :math:`\sum_i -\log p(y_i \mid x_i) + \frac{\lambda}{2} \lVert W \rVert^2`; nothing is random.

    The intercepts are free, so that the mean prediction is the class shares. A class without samples gets probability 0.

    Args:
        x: (N, V).
        y: (N,) classes.
        num_classes: C.
        l2: The strength :math:`\lambda`; infinite leaves the class shares alone.
        start: Where to begin.
        tolerance: Largest gradient of the mean loss at the end.

    Example:
        >>> fit = multinomial_logistic(torch.tensor([[0.0], [0.0], [1.0], [1.0]]), torch.tensor([0, 1, 1, 1]), 2, l2=1e-6)
        >>> round(fit.log_p(torch.zeros(1, 1).double()).exp()[0, 0].item(), 3)
        0.5
    """
    x, truth = x.double(), F.one_hot(y, num_classes).double()
    counts = truth.sum(0)
    seen = counts > 0
    bias = torch.where(seen, (counts.clamp(min=1) / max(len(y), 1)).log(), _NEVER)
    weight = x.new_zeros(x.shape[1], num_classes)
    if l2 == float("inf"):
        return Logistic(weight, bias)
    if start is not None:
        weight, bias = start.weight, start.bias
    flat = torch.cat([weight, bias[None]])
    flat = _minimise(flat, x, truth, l2, seen, tolerance)
    return Logistic(flat[:-1], flat[-1])


def _minimise(flat: Tensor, x: Tensor, truth: Tensor, l2: float, seen: Tensor, tolerance: float) -> Tensor:
    """L-BFGS on (V + 1, C) coefficients and intercepts with the gradient written out.

    The curvature is at most that of half the features' second moments (Boehning's bound); in coordinates where that is round, a dozen
    steps are enough.
    """
    number = len(x)
    x = torch.cat([x, x.new_ones(number, 1)], 1)
    penalty = torch.full((x.shape[1], 1), l2 / number, dtype=x.dtype)
    penalty[-1] = 0  # the intercepts are free
    bound = 0.5 * x.T @ x / number + torch.diagflat(penalty + 1e-9)
    factor = torch.linalg.cholesky(bound)
    x = torch.linalg.solve_triangular(factor, x.T, upper=False).T.contiguous()
    point = factor.T @ flat * seen
    optimizer = torch.optim.LBFGS(
        [point], max_iter=_ITERATIONS, tolerance_grad=tolerance, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )
    offset = torch.where(seen, 0.0, _NEVER).to(x)

    def closure() -> Tensor:
        weight = torch.linalg.solve_triangular(factor.T, point, upper=True)
        log_p = (x @ point + offset).log_softmax(1)
        slope = torch.linalg.solve_triangular(factor, penalty * weight, upper=False)
        point.grad = (x.T @ ((log_p.exp() - truth) / number) + slope) * seen
        loss: Tensor = 0.5 * (penalty * weight.square()).sum() - (log_p * truth).sum() / number
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    weight: Tensor = torch.linalg.solve_triangular(factor.T, point.detach(), upper=True)
    weight[-1] += offset
    return weight


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

    Groups of equal size come in the order of a hash, for the order of a file may have a period. With fewer groups than two, each sample
    is its own.

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
    trace: Trace, y: Tensor, num_classes: int, fold: Tensor, l2s: Sequence[float] = L2S, groups: Tensor | None = None
) -> CrossFit:
    """Fit propensities so that no sample's own label has a part in them.

    The regularisation of a fold's fit is the one with the least log-loss over the other folds, each predicted by a fit on the
    rest, so without that fold too. One fit without a pair of folds serves both of them. Of two folds, each is divided anew.

    Args:
        trace: Gives (N, V) features of all samples by what may be known of the given rows alone: which words are biased there, or
            by which mean and deviation to scale.
        y: (N,) classes.
        num_classes: C.
        fold: (N,) fold of each sample, from :func:`assign_folds`.
        l2s: Strengths to choose from, in falling order.
        groups: (N,) the group of each sample, for the error of the gain; by default each its own.

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
        for k, model in enumerate(_path(x[rows], y[rows], num_classes, l2s)):
            for own, held in parts:
                losses[own, k] += len(held) * log_loss(_out_of_sample(model, x[held], prior), y[held])
    log_p, base = y.new_zeros(len(y), num_classes, dtype=torch.float64), torch.zeros(len(y), num_classes).double()
    for own in range(folds):
        rows, held = everything[fold != own], everything[fold == own]
        x = trace(rows)
        chosen = int(losses[own].argmin())
        model = multinomial_logistic(x[rows], y[rows], num_classes, l2s[chosen])
        log_p[held] = _out_of_sample(model, x[held], prior)
        shares = multinomial_logistic(x[rows], y[rows], num_classes, float("inf"))
        base[held] = _out_of_sample(shares, x[held], prior)
    l2 = l2s[int(losses.sum(0).argmin())]
    full = multinomial_logistic(trace(everything), y, num_classes, l2)
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


def _path(x: Tensor, y: Tensor, num_classes: int, l2s: Sequence[float]) -> list[Logistic]:
    """A fit for each strength, each beginning where the last one ended."""
    models: list[Logistic] = []
    for l2 in l2s:
        models.append(multinomial_logistic(x, y, num_classes, l2, models[-1] if models else None, tolerance=1e-4))
    return models


def _out_of_sample(model: Logistic, x: Tensor, prior: Tensor) -> Tensor:
    """Log-probabilities; a class that the fit has not seen gets its share in all samples, so that it weighs 1."""
    log_p = model.log_p(x)
    unseen = (model.bias == _NEVER) & (prior > 0)
    if not unseen.any():
        return log_p
    rest = torch.log1p(-prior[unseen].sum().clamp(max=1 - 1e-9))
    return torch.where(unseen, prior.log(), log_p + rest)
