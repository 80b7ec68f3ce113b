r"""Multinomial logistic regression, and its closed form for groups; nothing is random.

Symbols: x (N, V) features; y (N,) classes; C classes; :math:`\pi` the class shares; :math:`n_{vc}` samples of class c
in group v.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["NEVER", "Logistic", "multinomial_logistic", "shrunken_shares"]

NEVER = -1e4  # logit of a class that a fit has not seen: probability 0 in float64
_ITERATIONS = 200


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


def multinomial_logistic(
    x: Tensor, y: Tensor, num_classes: int, l2: float, start: Logistic | None = None, tolerance: float = 1e-6
) -> Logistic:
    r"""Minimise :math:`\sum_i -\log p(y_i \mid x_i) + \frac{\lambda}{2} \lVert W \rVert^2`; nothing is random.

    The intercepts are free, so that the mean prediction is the class shares. A class without samples gets probability
    0.

    Args:
        x: (N, V).
        y: (N,) classes.
        num_classes: C.
        l2: The strength :math:`\lambda`; infinite leaves the class shares alone.
        start: Where to begin.
        tolerance: Largest gradient of the mean loss at the end.

    Example:
        >>> x = torch.tensor([[0.0], [0.0], [1.0], [1.0]])
        >>> fit = multinomial_logistic(x, torch.tensor([0, 1, 1, 1]), 2, l2=1e-6)
        >>> round(fit.log_p(torch.zeros(1, 1).double()).exp()[0, 0].item(), 3)
        0.5
    """
    x, truth = x.double(), F.one_hot(y, num_classes).double()
    counts = truth.sum(0)
    seen = counts > 0
    bias = torch.where(seen, (counts.clamp(min=1) / max(len(y), 1)).log(), NEVER)
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

    The curvature is at most that of half the features' second moments (Boehning's bound); in coordinates where that is
    round, a dozen steps are enough.
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
    offset = torch.where(seen, 0.0, NEVER).to(x)

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


def shrunken_shares(
    x: Tensor,
    y: Tensor,
    num_classes: int,
    l2: float,
    start: Logistic | None = None,  # noqa: ARG001  # the form of multinomial_logistic
    tolerance: float = 0.0,  # noqa: ARG001
) -> Logistic:
    r"""Class shares drawn towards those of all, :math:`p(c \mid v) = (n_{vc} + \lambda \pi_c) / (n_v + \lambda)`.

    Args:
        x: (N, V) one-hot, the group of each sample; a row of zeros is of no group and gets the shares of all.
        y: (N,) classes.
        num_classes: C.
        l2: The strength :math:`\lambda`, as a number of samples; infinite leaves the class shares alone.
        start: Not needed.
        tolerance: Not needed.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> fit = shrunken_shares(x, torch.tensor([0, 0, 1]), 2, l2=1.0)
        >>> [round(p, 3) for p in fit.log_p(torch.eye(2)).exp()[:, 0].tolist()]  # (2 + 2 / 3) / 3 and (0 + 2 / 3) / 2
        [0.889, 0.333]
    """
    truth = F.one_hot(y, num_classes).double()
    seen = truth.sum(0) > 0
    shares = truth.sum(0) / max(len(y), 1)
    bias = torch.where(seen, shares.clamp(min=torch.finfo(shares.dtype).tiny).log(), NEVER)
    if l2 == float("inf"):
        return Logistic(truth.new_zeros(x.shape[1], num_classes), bias)
    counts = x.double().T @ truth
    p = (counts + l2 * shares) / (counts.sum(1, keepdim=True) + l2)
    return Logistic(torch.where(seen, (p / shares).log(), 0.0), bias)
