r"""Multinomial logistic regression under an l1 penalty; nothing is random.

Symbols: x (N, D) features; y (N,) classes; K classes; W (D, K) and b (K,) the layer; C the inverse strength of the
penalty; :math:`a_i` the weight of a sample.

References:
    Lee, Sun and Saunders, "Proximal Newton-Type Methods for Minimizing Composite Functions", SIAM Journal on
    Optimization 24(3), 2014.

    Bertsekas, "Projected Newton Methods for Optimization Problems with Simple Constraints", SIAM Journal on Control and
    Optimization 20(2), 1982.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mer_zoo.functional.logistic import NEVER, Logistic

__all__ = ["l1_logistic"]

_STEPS = 500
_ENTERING = 8  # coefficients that may leave zero in one step, at least
_HALVINGS = 8
_EXACT = 0.1  # of the steepest slope is left where a model is at its minimum
_LARGEST_DAMPING = 1e6


def l1_logistic(
    x: Tensor,
    y: Tensor,
    num_classes: int,
    C: float,  # noqa: N803  # the name that users of solvers know
    weight: Tensor | None = None,
    penalise_intercept: bool = False,
    start: Logistic | None = None,
    tolerance: float = 1e-6,
) -> Logistic:
    r"""Minimise :math:`\lVert W \rVert_1 + C \sum_i a_i (-\log p(y_i \mid x_i))`; nothing is random.

    Two classes have one free column: W and b of the first are 0, as one may choose without changing any probability or
    the penalty. A class without samples gets probability 0.

    Args:
        x: (N, D).
        y: (N,) classes.
        num_classes: K.
        C: How much the samples count beside the penalty.
        weight: (N,) the weights a; 1 each when left out.
        penalise_intercept: Whether :math:`\lVert b \rVert_1` is added, as liblinear does.
        start: Where to begin.
        tolerance: Largest subgradient of the mean loss at the end.

    Example:
        >>> x = torch.tensor([[-1.0, 0.3], [-1.0, -0.3], [1.0, 0.3], [1.0, -0.3]])
        >>> layer = l1_logistic(x, torch.tensor([0, 0, 1, 1]), 2, C=1.0)
        >>> [round(w, 4) for w in layer.weight[:, 1].tolist()]  # 4 / (1 + e^w) = 1 gives ln 3; the second tells nothing
        [1.0986, 0.0]
    """
    x, seen = x.double(), torch.unique(y)
    layer = Logistic(x.new_zeros(x.shape[1], num_classes), x.new_full((num_classes,), NEVER))
    layer.bias[seen] = 0
    if len(seen) < 2:
        return layer
    place = torch.zeros(num_classes, dtype=torch.long)
    place[seen] = torch.arange(len(seen))
    truth = F.one_hot(place[y], len(seen)).double()
    scale = C * (torch.ones(len(y)) if weight is None else weight).double()
    kept = seen[1:] if len(seen) == 2 else seen
    point = x.new_zeros(x.shape[1] + 1, len(kept))
    if start is not None:
        point = torch.cat([start.weight, start.bias[None]])[:, kept].clone()
        if len(seen) == 2:
            point -= torch.cat([start.weight, start.bias[None]])[:, seen[:1]]
    penalty = torch.ones_like(point)
    penalty[-1] = float(penalise_intercept)
    point = _proximal_newton(point, torch.cat([x, x.new_ones(len(x), 1)], 1), truth, scale, penalty, tolerance)
    layer.weight[:, kept], layer.bias[kept] = point[:-1], point[-1]
    return layer


def _proximal_newton(
    point: Tensor, x: Tensor, truth: Tensor, scale: Tensor, penalty: Tensor, tolerance: float
) -> Tensor:
    """Steps to the minimum of the loss's second-order model with the penalty as it is.

    The model has the coefficients that are not zero and those that want most to leave it. Its second derivatives are
    damped as far as a step needs it, since a constant may be added to all classes.
    """
    columns, damping = point.shape[1], 1e-6
    truth = truth[:, -columns:]

    def value_at(at: Tensor) -> tuple[Tensor, Tensor]:
        logits = x @ at
        log_p = (F.pad(logits, (1, 0)) if columns == 1 else logits).log_softmax(1)
        p, rest = log_p.exp()[:, -columns:], 1 - truth.sum(1)
        loss = (truth * log_p[:, -columns:]).sum(1) + rest * log_p[:, 0]
        return -(scale * loss).sum() + (penalty * at.abs()).sum(), p

    value, p = value_at(point)
    for _ in range(_STEPS):
        gradient = x.T @ (scale[:, None] * (p - truth))
        slope = _subgradient(point, gradient, penalty)
        steepest = float(slope.abs().max())
        if steepest <= tolerance * float(scale.sum()):
            break
        free = _free(point, slope, penalty)
        curvature = _curvature(x, p, scale, free)
        diagonal = curvature.diagonal()
        while damping <= _LARGEST_DAMPING:
            damped = curvature + torch.diag(damping * (diagonal + diagonal.mean()))
            move = torch.zeros_like(point)
            move[free] = _lasso(point[free], gradient[free], damped, penalty[free], _EXACT * steepest) - point[free]
            gain = (gradient * move).sum() + (penalty * ((point + move).abs() - point.abs())).sum()
            found = _search(point, move, gain, value, value_at) if gain < 0 else None
            if found is not None:
                break
            damping *= 10
        else:
            return point  # as exact as the precision of numbers allows
        damping = max(damping / 10, 1e-9)
        point, value, p = found
    return point


def _subgradient(point: Tensor, gradient: Tensor, penalty: Tensor) -> Tensor:
    """The smallest one of loss and penalty, by the loss's gradient."""
    return torch.where(point != 0, gradient + penalty * point.sign(), gradient - gradient.clamp(-penalty, penalty))


def _free(point: Tensor, slope: Tensor, penalty: Tensor) -> Tensor:
    held = (point == 0) & (penalty > 0)
    pull = torch.where(held, slope.abs(), 0.0)
    room = min(pull.numel(), max(_ENTERING, int((point != 0).sum()) // 2))
    least = pull.flatten().topk(room).values[-1]
    return ~held | ((slope != 0) & (pull >= least))


def _curvature(x: Tensor, p: Tensor, scale: Tensor, free: Tensor) -> Tensor:
    """Second derivatives of the loss by the free coefficients."""
    row, column = free.nonzero(as_tuple=True)
    features, chance = x[:, row], p[:, column]
    weighed = features * chance
    cross = (weighed * scale[:, None]).T
    return torch.where(column[:, None] == column, cross @ features, 0.0) - cross @ weighed


def _lasso(start: Tensor, gradient: Tensor, curvature: Tensor, penalty: Tensor, tolerance: float) -> Tensor:
    """Near the minimum of a quadratic function with the penalty, by damped Newton's steps, each kept in an orthant."""
    point, slope, damping = start, gradient, 0.0
    value, diagonal = (penalty * point.abs()).sum(), torch.diag(curvature.diagonal())
    for _ in range(_STEPS):
        steep = _subgradient(point, slope, penalty)
        if float(steep.abs().max()) <= tolerance or damping > _LARGEST_DAMPING:
            break
        free, side = _free(point, steep, penalty), torch.where(point != 0, point.sign(), -steep.sign())
        there = point.clone()
        damped = (curvature + damping * diagonal)[free][:, free]
        there[free] -= torch.linalg.solve(damped, steep[free])
        there = torch.where((there * side < 0) & (penalty > 0), 0.0, there)
        by = curvature @ (there - start)
        reached = (gradient + by / 2) @ (there - start) + (penalty * there.abs()).sum()
        if reached <= value + 1e-4 * (steep * (there - point)).sum():
            point, value, slope, damping = there, reached, gradient + by, damping / 10
        else:
            damping = max(10 * damping, 1e-3)
    return point


def _search(
    point: Tensor, move: Tensor, gain: Tensor, value: Tensor, value_at: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor, Tensor] | None:
    """The longest of a few steps that gains enough of what the model promises."""
    for halving in range(_HALVINGS):
        there = point + 0.5**halving * move
        reached, p = value_at(there)
        if reached <= value + 1e-4 * 0.5**halving * gain:
            return there, reached, p
    return None
