"""Mathematics of refitting a last layer on groups of equal size: subsets, the choice of a strength, the mean of refits.

Symbols: x (N, D) features, standardised; y (N,) classes or scores; C the inverse strength of the penalty.

References:
    Kirichenko, Izmailov and Wilson, "Last Layer Re-Training is Sufficient for Robustness to Spurious Correlations",
    ICLR 2023, arXiv:2204.02937.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mer_zoo.functional.logistic import Logistic

__all__ = [
    "Chosen",
    "Fit",
    "Refitted",
    "Trial",
    "averaged",
    "balanced_subset",
    "choose_strength",
    "quality",
    "refit_last_layer",
    "ridge",
    "standardiser",
    "worst_mean",
]

Fit = Callable[[Tensor, Tensor, float, Logistic | None], Logistic]
"""Fits a layer to (N, D) features and (N,) labels under a C, beginning from another layer where one is given."""


def balanced_subset(group: Tensor, permutations: Sequence[Tensor]) -> Tensor:
    """Places of a subset in which every group has as many samples as the smallest one.

    Args:
        group: (N,) numbers of groups; negative for none.
        permutations: Of the samples of each group that there is, by its number: the first ones are taken.

    Returns:
        The places, group after group.

    Example:
        >>> balanced_subset(torch.tensor([0, 1, 0, 0, 1]), [torch.tensor([2, 0, 1]), torch.tensor([0, 1])]).tolist()
        [3, 0, 1, 4]
    """
    members = [(group == g).nonzero()[:, 0] for g in torch.unique(group[group >= 0])]
    least = min(len(places) for places in members)
    pairs = zip(members, permutations, strict=True)
    return torch.cat([places[permutation][:least] for places, permutation in pairs])


def standardiser(x: Tensor) -> tuple[Tensor, Tensor]:
    """(D,) means and population deviations of (N, D) features; 1 where a feature never changes."""
    std, mean = torch.std_mean(x.double(), 0, correction=0)
    return mean, torch.where(std > 0, std, 1.0)


def ridge(x: Tensor, y: Tensor, C: float) -> Logistic:  # noqa: N803
    r"""Minimise :math:`\lVert w \rVert^2 + C \sum_i (x_i w + b - y_i)^2`, of which b is free.

    Args:
        x: (N, D).
        y: (N,) scores.
        C: How much the samples count beside the penalty.

    Returns:
        One column of weights and its intercept.

    Example:
        >>> layer = ridge(torch.tensor([[-1.0], [1.0]]), torch.tensor([1.0, 3.0]), C=0.5)
        >>> layer.weight.item(), layer.bias.item()
        (0.5, 2.0)
    """
    x, y = x.double(), y.double()
    mean, offset = x.mean(0), y.mean()
    x = x - mean
    weight = torch.linalg.solve(x.T @ x + torch.eye(x.shape[1]).to(x) / C, x.T @ (y - offset))
    return Logistic(weight[:, None], (offset - mean @ weight)[None])


def averaged(layers: Sequence[Logistic]) -> Logistic:
    """The mean of layers, weight by weight."""
    return Logistic(*(torch.stack(parts).mean(0) for parts in zip(*layers, strict=True)))


def quality(scores: Tensor, y: Tensor) -> Tensor:
    """How good each prediction is: 1 for a right class and 0 for a wrong one, the negative error of a single score.

    Args:
        scores: (N, K), or (N, 1) of a regression.
        y: (N,) classes or scores.

    Returns:
        (N,) values.

    Example:
        >>> quality(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([1, 1])).tolist()
        [1.0, 0.0]
    """
    return (scores.argmax(1) == y).double() if scores.shape[1] > 1 else -(scores[:, 0] - y).abs().double()


def worst_mean(values: Tensor, group: Tensor) -> float:
    """The smallest mean of a group that there is.

    Args:
        values: (N,).
        group: (N,) numbers of groups; negative for none.

    Example:
        >>> worst_mean(torch.tensor([1.0, 0.0, 1.0, 0.0]), torch.tensor([0, 0, 3, -1]))
        0.5
    """
    means = [float(values[group == g].mean()) for g in torch.unique(group[group >= 0])]
    return min(means, default=math.nan)


class Chosen(NamedTuple):
    """What :func:`choose_strength` found.

    Attributes:
        strength: The C.
        worst: The quality of the worst group with it, among samples that were not fitted.
        option: Place of the fit among those that were tried.
    """

    strength: float
    worst: float
    option: int = 0


class Trial(NamedTuple):
    """Samples that are fitted, and others by which a strength is chosen.

    Args:
        x: (N, D) features to fit, standardised.
        y: (N,) their labels.
        held_x: (M, D) other features, standardised alike.
        held_y: (M,) their labels.
        held_group: (M,) their groups.
    """

    x: Tensor
    y: Tensor
    held_x: Tensor
    held_y: Tensor
    held_group: Tensor


def choose_strength(fits: Sequence[Fit], strengths: Sequence[float], trials: Sequence[Trial]) -> Chosen:
    """The first C, and way of fitting, with the best worst group; the mean over trials where there are several.

    Args:
        fits: Ways of fitting, such as under several weights of the classes.
        strengths: Values of C, in the order in which the first of equals wins.
        trials: What is fitted, and what is judged.

    Example:
        >>> x, y = torch.tensor([[-1.0], [1.0], [2.0]]), torch.tensor([-1.0, 1.0, 2.0])
        >>> trial = Trial(x, y, x, y, torch.tensor([0, 0, 1]))
        >>> choose_strength([lambda x, y, C, start: ridge(x, y, C)], [0.1, 10.0], [trial]).strength
        10.0
    """
    found: dict[tuple[int, float], float] = {}
    for option, fit in enumerate(fits):
        for C, layers in _path(fit, strengths, trials):  # noqa: N806
            worst = [
                worst_mean(quality(trial.held_x.double() @ layer.weight + layer.bias, trial.held_y), trial.held_group)
                for trial, layer in zip(trials, layers, strict=True)
            ]
            found[option, C] = sum(worst) / len(worst)
    best = Chosen(strengths[0], -math.inf)
    for C in strengths:  # noqa: N806
        for option in range(len(fits)):
            if found[option, C] > best.worst:
                best = Chosen(C, found[option, C], option)
    return best


def _path(fit: Fit, strengths: Sequence[float], trials: Sequence[Trial]) -> Iterator[tuple[float, list[Logistic]]]:
    """Layers of each strength, of which each begins from that of the one before."""
    layers: list[Logistic | None] = [None] * len(trials)
    for C in sorted(strengths):  # noqa: N806
        fitted = [fit(trial.x, trial.y, C, layer) for trial, layer in zip(trials, layers, strict=True)]
        layers = list(fitted)
        yield C, fitted


class Refitted(NamedTuple):
    """A last layer that was fitted again; see :func:`refit_last_layer`.

    Attributes:
        layer: It takes standardised features.
        mean: (D,) their means.
        std: (D,) their deviations.
        held_out: (N, K) scores of each sample by a layer of the half that it is not in.
        chosen: How strongly it was penalised.
    """

    layer: Logistic
    mean: Tensor
    std: Tensor
    held_out: Tensor
    chosen: Chosen


def refit_last_layer(
    fit: Fit,
    x: Tensor,
    y: Tensor,
    group: Tensor,
    second: Tensor,
    strengths: Sequence[float],
    retrains: int,
    generator: torch.Generator,
) -> Refitted | None:
    """Fit a last layer to groups of equal size, its strength chosen by the worst group of the half that is not fitted.

    Args:
        fit: Fits a layer.
        x: (N, D) features.
        y: (N,) classes or scores.
        group: (N,) numbers of groups; negative for none, which are scored and no more.
        second: (N,) bool, the second half.
        strengths: Values of C to choose from.
        retrains: Balanced subsets whose layers are averaged.
        generator: Draws them.

    Returns:
        The layer, and scores of each half by layers of the other one; None where a half has no two groups, or labels.

    Example:
        >>> x = torch.tensor([[-1.0], [1.0]]).repeat(4, 1)
        >>> y, second = torch.arange(8) % 2, torch.arange(8) > 3
        >>> group = 2 * y + torch.arange(8) // 2 % 2
        >>> fit = lambda x, y, C, start: ridge(x, y, C)
        >>> found = refit_last_layer(fit, x, y.double(), group, second, [1e6], 1, torch.Generator())
        >>> found.held_out.flatten().round().abs().tolist(), round(found.chosen.worst, 4)
        ([0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0], -0.0)
    """
    halves = (second, ~second)
    if not all(_can_be_fitted(y[half], group[half]) for half in halves):
        return None
    trials = [_trial(x, y, group, half, generator) for half in halves]
    chosen = choose_strength([fit], strengths, trials)
    held_out: Tensor | None = None
    for half in halves:
        layer, mean, std = _mean_refit(fit, x[half], y[half], group[half], chosen.strength, retrains, generator)
        scores = (x.double() - mean) / std @ layer.weight + layer.bias
        held_out = scores if held_out is None else torch.where(half[:, None], held_out, scores)
    assert held_out is not None
    layer, mean, std = _mean_refit(fit, x, y, group, chosen.strength, retrains, generator)
    return Refitted(layer, mean, std, held_out, chosen)


def _can_be_fitted(y: Tensor, group: Tensor) -> bool:
    known = group >= 0
    return len(torch.unique(group[known])) > 1 and len(torch.unique(y[known])) > 1


def _draw(group: Tensor, generator: torch.Generator) -> Tensor:
    sizes = torch.unique(group[group >= 0], return_counts=True)[1].tolist()
    return balanced_subset(group, [torch.randperm(size, generator=generator) for size in sizes])


def _trial(x: Tensor, y: Tensor, group: Tensor, fitted: Tensor, generator: torch.Generator) -> Trial:
    places = fitted.nonzero()[:, 0][_draw(group[fitted], generator)]
    mean, std = standardiser(x[places])
    scaled = (x.double() - mean) / std
    return Trial(scaled[places], y[places], scaled[~fitted], y[~fitted], group[~fitted])


def _mean_refit(
    fit: Fit,
    x: Tensor,
    y: Tensor,
    group: Tensor,
    C: float,  # noqa: N803
    retrains: int,
    generator: torch.Generator,
) -> tuple[Logistic, Tensor, Tensor]:
    mean, std = standardiser(x)
    scaled, layers = (x.double() - mean) / std, list[Logistic]()
    for _ in range(retrains):
        places = _draw(group, generator)
        layers.append(fit(scaled[places], y[places], C, layers[-1] if layers else None))
    return averaged(layers), mean, std
