"""Shapley values of players, such as modalities, how even they are, and how even training is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import factorial
from statistics import fmean, pstdev
from typing import TypeVar

from torch import Tensor

__all__ = ["evenness", "gradient_imbalance", "joinings", "shapley_values"]

Players = tuple[str, ...]
T = TypeVar("T", float, Tensor)


def joinings(players: Sequence[str]) -> Iterator[tuple[str, Players, Players, int]]:
    """Every way in which a player joins others: who, before whom, who then are there, and in how many orders of all.

    Args:
        players: The players.

    Example:
        >>> list(joinings(["a", "b"]))
        [('a', (), ('a',), 1), ('a', ('b',), ('a', 'b'), 1), ('b', (), ('b',), 1), ('b', ('a',), ('a', 'b'), 1)]
    """
    for player in players:
        others = [name for name in players if name != player]
        for size in range(len(players)):
            for before in combinations(others, size):
                after = tuple(name for name in players if name in (*before, player))
                yield player, before, after, factorial(size) * factorial(len(others) - size)


def shapley_values(values: Mapping[Players, T], players: Sequence[str]) -> dict[str, T]:
    """What each player adds to a value, as the mean over all orders in which they come.

    Args:
        values: The value of every set of players, in their order, the empty one too; numbers, or tensors of one shape.
        players: The players.

    Returns:
        Their values, whose sum is that of all less that of none.

    Example:
        >>> shapley_values({(): 0.0, ("a",): 0.5, ("b",): 0.25, ("a", "b"): 0.75}, ["a", "b"])
        {'a': 0.5, 'b': 0.25}
    """
    found = dict.fromkeys(players, 0 * values[()])
    for player, before, after, orders in joinings(players):
        found[player] = found[player] + orders * (values[after] - values[before]) / factorial(len(players))
    return found


def evenness(shares: Sequence[float]) -> float:
    r"""How evenly modalities contribute: :math:`-\sum_m p_m \log p_m / \log M`, 1 evenly, 0 one alone.

    This is ours. MissBench (T. A. Pham et al., arXiv:2603.09874) has a Modality Equity Index of how evenly modalities
    contribute across missing configurations; its equation was not at hand, so that its name is not used here.

    Args:
        shares: Contributions, such as Shapley values of a metric; those below zero count as none.

    Returns:
        A number from 0 to 1, NaN where no contribution is above zero.

    Example:
        >>> round(evenness([0.3, 0.1, 0.1]), 4), evenness([0.2, 0.2]), evenness([0.4, -0.1, 0.0])
        (0.865, 1.0, 0.0)
    """
    positive = [share for share in shares if share > 0]
    if not positive or len(shares) < 2:
        return math.nan
    parts = [share / sum(positive) for share in positive]
    return abs(sum(part * math.log(part) for part in parts)) / math.log(len(shares))


def gradient_imbalance(norms: Sequence[float]) -> float:
    """How unevenly modalities are trained: the deviation of their gradients' norms over the mean of these, 0 evenly.

    This is ours, of a step; a run has the mean of its steps. MissBench (T. A. Pham et al., arXiv:2603.09874) has a
    Modality Learning Index of the gradients' norms; its equation was not at hand, so that its name is not used here.

    Args:
        norms: For each modality the norm of the gradient of its own parameters, over the root of their number.

    Returns:
        At least 0; NaN where no modality has a gradient.

    Example:
        >>> round(gradient_imbalance([3.0, 1.0, 2.0]), 4)
        0.4082
    """
    mean = fmean(norms)
    return pstdev(norms) / mean if mean > 0 else math.nan
