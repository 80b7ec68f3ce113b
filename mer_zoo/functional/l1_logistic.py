r"""Multinomial logistic regression under an l1 penalty; nothing is random.

Symbols: x (N, D) features; y (N,) classes; K classes; W (D, K) and b (K,) the layer; C the inverse strength of the
penalty; :math:`a_i` the weight of a sample.

References:
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
    point = _projected_newton(point, torch.cat([x, x.new_ones(len(x), 1)], 1), truth, scale, penalty, tolerance)
    layer.weight[:, kept], layer.bias[kept] = point[:-1], point[-1]
    return layer


def _projected_newton(
    point: Tensor, x: Tensor, truth: Tensor, scale: Tensor, penalty: Tensor, tolerance: float
) -> Tensor:
    """Newton's steps on the coefficients that are not zero and those that want most to leave it, kept in their orthant.

    The matrix of second derivatives is damped as far as a step needs it, since a constant may be added to all classes.
    """
    columns, damping = point.shape[1], 1e-6
    truth = truth[:, -columns:]

    def smooth(at: Tensor) -> tuple[Tensor, Tensor]:
        logits = x @ at
        log_p = (F.pad(logits, (1, 0)) if columns == 1 else logits).log_softmax(1)
        p, rest = log_p.exp()[:, -columns:], 1 - truth.sum(1)
        loss = (truth * log_p[:, -columns:]).sum(1) + rest * log_p[:, 0]
        return -(scale * loss).sum() + (penalty * at.abs()).sum(), p

    value, p = smooth(point)
    for _ in range(_STEPS):
        slope = x.T @ (scale[:, None] * (p - truth))
        slope = torch.where(point != 0, slope + penalty * point.sign(), slope - slope.clamp(-penalty, penalty))
        if float(slope.abs().max()) <= tolerance * float(scale.sum()):
            break
        free = _free(point, slope, penalty)
        curvature, side = _curvature(x, p, scale, free), torch.where(point != 0, point.sign(), -slope.sign())
        diagonal = curvature.diagonal()
        while damping <= _LARGEST_DAMPING:
            move = torch.zeros_like(point)
            damped = curvature + torch.diag(damping * (diagonal + diagonal.mean()))
            move[free] = -torch.linalg.solve(damped, slope[free])
            found = _search(point, move, side, slope, value, penalty, smooth)
            if found is not None:
                break
            damping *= 10
        else:
            return point  # as exact as the precision of numbers allows
        damping = max(damping / 10, 1e-9)
        point, value, p = found
    return point


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


def _search(
    point: Tensor,
    move: Tensor,
    side: Tensor,
    slope: Tensor,
    value: Tensor,
    penalty: Tensor,
    smooth: Callable[[Tensor], tuple[Tensor, Tensor]],
) -> tuple[Tensor, Tensor, Tensor] | None:
    """The longest of a few steps that gains enough; what would cross zero stops there."""
    for halving in range(_HALVINGS):
        there = point + 0.5**halving * move
        there = torch.where((there * side < 0) & (penalty > 0), 0.0, there)
        reached, p = smooth(there)
        if reached <= value + 1e-4 * (slope * (there - point)).sum():
            return there, reached, p
    return None
