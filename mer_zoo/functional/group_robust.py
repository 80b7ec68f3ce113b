r"""Mathematics of training that looks at groups of samples: GroupDRO, equal shares of groups, JTT's error set.

Symbols: :math:`l_i` the loss of sample i, :math:`L_g` the mean loss of group g in a batch, :math:`n_g` its training
samples, N all of them, q the weights of the groups, C the strength of the adjustment, :math:`\eta` the step size.

References:
    Sagawa, Koh, Hashimoto and Liang, "Distributionally Robust Neural Networks for Group Shifts", ICLR 2020,
    arXiv:1911.08731, algorithm 1 and equation (5).
    Liu et al., "Just Train Twice: Improving Group Robustness without Training Group Information", ICML 2021,
    arXiv:2107.09044.
    Idrissi, Arjovsky, Pezeshki and Lopez-Paz, "Simple data balancing achieves competitive worst-group-accuracy", CLeaR
    2022, arXiv:2110.14503.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "adjusted_losses",
    "balanced_weights",
    "error_weights",
    "exponentiated_step",
    "greedy_weights",
    "group_lookup",
    "group_means",
    "group_sums",
    "moving_average",
]


def group_means(loss: Tensor, group: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    r"""Mean loss :math:`L_g` of each group, and how many samples it has.

    Args:
        loss: (B,) losses of samples.
        group: (B,) numbers of their groups.
        groups: G, how many groups there are.

    Returns:
        (G,) means, 0 where a group has no sample, and (G,) counts.

    Example:
        >>> group_means(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 2]), 3)
        (tensor([2., 0., 5.]), tensor([2., 0., 1.]))
    """
    total, count = group_sums(loss, group, groups)
    return total / count.clamp(min=1), count


def group_sums(loss: Tensor, group: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Sum of the losses of each group, and how many samples it has.

    Args:
        loss: (B,) losses of samples.
        group: (B,) numbers of their groups.
        groups: G, how many groups there are.

    Returns:
        (G,) sums and (G,) counts, which processes can add up.

    Example:
        >>> group_sums(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 2]), 3)
        (tensor([4., 0., 5.]), tensor([2., 0., 1.]))
    """
    total = loss.new_zeros(groups).index_add(0, group, loss)
    return total, loss.new_zeros(groups).index_add(0, group, torch.ones_like(loss))


def group_lookup(label: Tensor, attribute: Tensor, labels: Tensor, attributes: Tensor, other: int) -> Tensor:
    """Find the group of each sample among groups of one label and one attribute each.

    Args:
        label: (B,) classes.
        attribute: (B,) attributes.
        labels: (G,) class of each group; negative for none.
        attributes: (G,) attribute of each group.
        other: The attribute of a group that takes the samples of its label whose own attribute has no group.

    Returns:
        (B,) places among the groups; -1 where there is neither.

    Example:
        >>> labels, attributes = torch.tensor([0, 0, 1, -1]), torch.tensor([5, -2, 5, -1])
        >>> group_lookup(torch.tensor([0, 0, 1, 1]), torch.tensor([5, 6, 5, 6]), labels, attributes, other=-2).tolist()
        [0, 1, 2, -1]
    """
    alike = label[:, None] == labels.to(label.device)
    own = alike & (attribute[:, None] == attributes.to(label.device))
    rest = alike & (attributes == other).to(label.device)
    found = torch.where(own.any(1), own.int().argmax(1), rest.int().argmax(1))
    return torch.where(own.any(1) | rest.any(1), found, -1)


def adjusted_losses(loss: Tensor, count: Tensor, C: float = 0.0, normalise: bool = False) -> Tensor:  # noqa: N803
    r"""Losses of the groups by which their weights are chosen: :math:`A_g = L_g + C / \sqrt{n_g}`.

    Small groups, whose training loss says less of their test loss, count as if they were worse.

    Args:
        loss: (G,) mean losses.
        count: (G,) training samples of each group; 0 for one that does not count.
        C: The adjustment.
        normalise: Whether A is divided by its sum.

    Returns:
        (G,) values, 0 for a group that does not count.

    Example:
        >>> adjusted_losses(torch.tensor([1.0, 1.0]), torch.tensor([100.0, 4.0]), C=2.0).tolist()
        [1.200..., 2.0]
    """
    adjusted = torch.where(count > 0, loss + C / count.clamp(min=1).sqrt(), 0.0)
    return adjusted / adjusted.sum().clamp(min=torch.finfo(adjusted.dtype).tiny) if normalise else adjusted


def exponentiated_step(q: Tensor, loss: Tensor, step_size: float, seen: Tensor | None = None) -> Tensor:
    r"""One step of exponentiated gradient ascent: :math:`q_g \leftarrow q_g \exp(\eta A_g)`, with sum 1.

    Args:
        q: (G,) weights of the groups, with sum 1.
        loss: (G,) losses A of the groups.
        step_size: :math:`\eta`.
        seen: (G,) which groups the batch has; the share of all others together stays as it is. None takes a group
            without samples for one whose loss is 0, as the released code does.

    Returns:
        (G,) new weights with sum 1.

    Example:
        >>> q, loss = torch.tensor([0.5, 0.25, 0.25]), torch.tensor([1.0, 0.0, 0.0])
        >>> exponentiated_step(q, loss, 1.0).tolist(), exponentiated_step(q, loss, 1.0, loss > 0).tolist()
        ([0.73..., 0.13..., 0.13...], [0.5, 0.25, 0.25])
    """
    grown = q * (step_size * (loss - loss.max())).exp()  # a common factor leaves the shares as they are
    if seen is None:
        return grown / grown.sum()
    tiny = torch.finfo(q.dtype).tiny
    shared = grown * (q[seen].sum() / grown[seen].sum().clamp(min=tiny))
    return torch.where(seen, shared, q)


def moving_average(average: Tensor, loss: Tensor, seen: Tensor, first: Tensor, gamma: float = 0.1) -> Tensor:
    r"""Moving average :math:`v_g \leftarrow (1 - \gamma) v_g + \gamma L_g` of the groups that are there.

    Args:
        average: (G,) averages so far.
        loss: (G,) mean losses of the batch.
        seen: (G,) which groups the batch has.
        first: (G,) which of them have never been seen before; their loss is taken as it is.
        gamma: Weight of the new value.

    Returns:
        (G,) averages.

    Example:
        >>> v, loss = torch.tensor([1.0, 0.0, 3.0]), torch.tensor([2.0, 4.0, 0.0])
        >>> seen = torch.tensor([True, True, False])
        >>> moving_average(v, loss, seen, first=torch.tensor([False, True, False])).tolist()
        [1.1..., 4.0, 3.0]
    """
    moved = torch.where(first, loss, (1 - gamma) * average + gamma * loss)
    return torch.where(seen, moved, average)


def greedy_weights(loss: Tensor, share: Tensor, alpha: float, least: float = 0.0) -> Tensor:
    r"""Weights of the groups that are worst until they are a share :math:`\alpha` of the data ("by the top losses").

    Args:
        loss: (G,) adjusted moving averages.
        share: (G,) shares :math:`p_g` of the training split.
        alpha: :math:`\alpha`, the share that is looked at.
        least: :math:`\mu`, how much of the weights are the shares themselves.

    Returns:
        (G,) weights with sum 1.

    Example:
        >>> greedy_weights(torch.tensor([1.0, 3.0, 2.0]), torch.tensor([0.6, 0.1, 0.3]), alpha=0.2).tolist()
        [0.0, 0.5, 0.5]
    """
    order = loss.argsort(descending=True)
    p = share[order]
    weight = torch.where(p.cumsum(0) <= alpha, p / alpha, 0.0)
    rest = int((p.cumsum(0) <= alpha).sum())
    if rest < len(p):
        weight[rest] = 1 - weight.sum()
    found = torch.zeros_like(weight).index_copy(0, order, weight)
    return least * share + (1 - least) * found


def balanced_weights(group: Tensor, groups: int) -> Tensor:
    r"""Weight :math:`N / (G n_g)` of each training sample, under which every group that has samples counts alike.

    Args:
        group: (N,) numbers of their groups.
        groups: How many numbers there are; those without samples do not count.

    Returns:
        (N,) float64 weights with mean 1.

    Example:
        >>> balanced_weights(torch.tensor([0, 0, 0, 2]), 3).tolist()
        [0.66..., 0.66..., 0.66..., 2.0]
    """
    count = torch.bincount(group, minlength=groups).double()
    return len(group) / (int((count > 0).sum()) * count[group])


def error_weights(wrong: Tensor, upweight: int | None) -> Tensor:
    r"""How often each sample stands in JTT's second training set: :math:`1 + \lambda` where the first training erred.

    Args:
        wrong: (N,) bool, the error set.
        upweight: :math:`\lambda`, how often its samples are added; None for as many as make it as large as the rest,
            :math:`\lfloor (N - |E|) / |E| \rfloor - 1`.

    Returns:
        (N,) float64 counts; the mean over the second set is sum(w l) / sum(w).

    Example:
        >>> wrong = torch.tensor([True, False, False, False, False])
        >>> error_weights(wrong, 20).tolist()[:2], error_weights(wrong, None).tolist()[:2]
        ([21.0, 1.0], [4.0, 1.0])
    """
    errors = int(wrong.sum())
    if upweight is None:
        upweight = max((len(wrong) - errors) // errors - 1, 0) if errors else 0
    return 1.0 + upweight * wrong.double()
