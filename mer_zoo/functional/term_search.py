r"""Subtracting several bias terms from scores, and the search for how much of each, as Corsair and TFD have it.

Symbols: f what is predicted from what was seen, :math:`b_j` what is predicted from a counterfactual, :math:`x_j` the
strength of that term. Debiased scores are :math:`f - \sum_j x_j b_j`.

References:
    Qian, Feng, Wen, Ma and Xie, "Counterfactual Inference for Text Classification Debiasing", ACL 2021.
    Tu et al., "A Training-Free Debiasing Framework with Counterfactual Reasoning for Conversational Emotion Detection",
    EMNLP 2023. Released codes: qianc62/Corsair, HITSZ-HLT/TFD (no licence stated); nothing copied.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from torch import Tensor

__all__ = ["DIRECTIONS", "Point", "search_strengths", "subtract_terms"]

Point = tuple[float, ...]

DIRECTIONS: dict[int, tuple[tuple[int, ...], ...]] = {
    2: ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1)),
    3: tuple(move for move in itertools.product((-1, 0, 1), repeat=3) if any(move)),
}
"""Directions by the number of terms, in their order: Corsair's for two, TFD's for three."""


def subtract_terms(factual: Tensor, terms: Tensor, strengths: Tensor) -> Tensor:
    r"""Debiased scores :math:`f - \sum_j x_j b_j`.

    Args:
        factual: (..., C) scores.
        terms: (J, ..., C) what is taken off.
        strengths: (J,) or (J, ...), the last without the classes.

    Returns:
        (..., C) scores.

    Example:
        >>> import torch
        >>> f, terms = torch.tensor([2.0, 1.0, 0.5]), torch.tensor([[1.0, 0.2, 0.1], [0.8, 0.1, 0.9]])
        >>> [round(score, 6) for score in subtract_terms(f, terms, torch.tensor([0.5, 1.0])).tolist()]
        [0.7, 0.8, -0.45]
    """
    shape = (*strengths.shape, *[1] * (terms.dim() - strengths.dim()))
    return factual - (strengths.view(shape) * terms).sum(0)


def search_strengths(
    score: Callable[[Point], float], terms: int, step: float = 0.1, patience: int = 20
) -> tuple[Point, float]:
    """The strengths with the highest score that a search along a few directions finds, of equal ones the first.

    A round goes along each direction from the point with which it began, that point included, and leaves a direction
    after ``patience`` steps without a gain over the best so far. Rounds end when one brings no gain. Strengths may be
    negative. Points are floats that add up ``step``; those that print alike with two decimals are scored once.

    Args:
        score: Scores a point of ``terms`` numbers; higher is better.
        terms: How many strengths, two or three.
        step: Length of a step in each number that changes.
        patience: Steps without a gain.

    Returns:
        The point and its score.

    Example:
        >>> point, best = search_strengths(lambda at: -abs(at[0] - 0.3) - abs(at[1] + 0.1), 2)
        >>> [round(value, 6) for value in point], round(best, 6)
        ([0.3, -0.1], -0.0)
    """
    known: dict[tuple[str, ...], float] = {}

    def scored(point: Point) -> float:
        key = tuple(f"{value:.2f}" for value in point)
        if key not in known:
            known[key] = score(point)
        return known[key]

    best: Point = (0.0,) * terms
    highest, begun = float("-inf"), None
    while begun != best:
        begun = best
        for move in DIRECTIONS[terms]:
            best, highest = _along(scored, begun, move, (best, highest), step, patience)
    return best, highest


def _along(
    score: Callable[[Point], float],
    start: Point,
    move: Sequence[int],
    best: tuple[Point, float],
    step: float,
    patience: int,
) -> tuple[Point, float]:
    point, waited = start, 0
    while True:
        value = score(point)
        if value > best[1]:
            best, waited = (point, value), 0
        if waited >= patience:
            return best
        point = tuple(at + step * way for at, way in zip(point, move, strict=True))
        waited += 1
