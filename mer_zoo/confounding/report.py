"""What propensities say about a training split, in plain values: biased words, what they predict, weighting's cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mer_zoo.functional.deconfounding import effective_sample_size

__all__ = ["by_problem", "class_shares", "curve_point", "imbalance", "no_confounding", "sample_rows", "word_rows"]


def by_problem(owner: str, numbers: Mapping[str, Tensor], problems: Sequence[str]) -> dict[str, float]:
    """Numbers of each problem of a task by the names under which they are logged.

    Args:
        owner: Whose they are, in front of the names.
        numbers: Kind to a tensor with a number a problem.
        problems: "" for one problem, else the problems' names.

    Example:
        >>> by_problem("clue", {"alpha": torch.tensor([0.5, 1.0])}, ["happy", "sad"])
        {'clue/alpha_happy': 0.5, 'clue/alpha_sad': 1.0}
    """
    return {
        f"{owner}/{kind}_{name}" if name else f"{owner}/{kind}": round(float(value), 6)
        for kind, values in numbers.items()
        for name, value in zip(problems, values.flatten().tolist(), strict=True)
    }


def class_shares(x: Tensor, y: Tensor, num_classes: int, weights: Tensor) -> Tensor:
    """P(class | word) under weights.

    Args:
        x: (N, V) counts of words.
        y: (N,) classes.
        num_classes: C.
        weights: (N,) weights of the samples.

    Returns:
        (V, C); zeros for a word that does not occur.

    Example:
        >>> class_shares(torch.tensor([[1.0], [2.0]]), torch.tensor([0, 1]), 2, torch.tensor([2.0, 1.0])).tolist()
        [[0.5, 0.5]]
    """
    counts = x.double().T @ (F.one_hot(y, num_classes) * weights.double()[:, None])
    return counts / counts.sum(1, keepdim=True).clamp(min=torch.finfo(counts.dtype).tiny)


def imbalance(x: Tensor, y: Tensor, num_classes: int, weights: Tensor) -> float:
    r"""Dependence of words and label, :math:`\sum_v n_v \, TV(P(c \mid v), P(c)) / \sum_v n_v`, under weights.

    Args:
        x: (N, V) counts of words.
        y: (N,) classes.
        num_classes: C.
        weights: (N,) weights of the samples.

    Returns:
        In [0, 1]; 0 where each word goes along with the classes as all samples do.

    Example:
        >>> x, y = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), torch.tensor([0, 0, 1, 1])
        >>> weights = torch.tensor([0.5, 0.5, 0.0, 1.0])
        >>> round(imbalance(x, y, 2, torch.ones(4)), 3), round(imbalance(x, y, 2, weights), 3)
        (0.3, 0.167)
    """
    prior = (F.one_hot(y, num_classes) * weights.double()[:, None]).sum(0) / weights.sum()
    counts = (x.double() * weights.double()[:, None]).sum(0)
    distance = 0.5 * (class_shares(x, y, num_classes, weights) - prior).abs().sum(1)
    return float((counts * distance).sum() / counts.sum().clamp(min=torch.finfo(counts.dtype).tiny))


def curve_point(x: Tensor | None, y: Tensor, num_classes: int, strength: float, weights: Tensor) -> dict[str, float]:
    """One point of the trade-off between independence and sample size.

    Args:
        x: (N, V) counts of words; None where the trace is not of words.
        y: (N,) classes.
        num_classes: C.
        strength: The weights' exponent.
        weights: (N,) weights of the samples.

    Example:
        >>> curve_point(None, torch.tensor([0, 1]), 2, 1.0, torch.tensor([1.5, 0.5]))
        {'strength': 1.0, 'ess': 1.6, 'largest_weight': 1.5}
    """
    point = {"strength": strength, "ess": effective_sample_size(weights), "largest_weight": float(weights.max())}
    return point if x is None else {**point, "imbalance": imbalance(x, y, num_classes, weights)}


def word_rows(
    words: Tensor,
    names: Sequence[str],
    x: Tensor,
    y: Tensor,
    num_classes: int,
    weights: Tensor,
    holders: Callable[[int], list[str]] | None = None,
) -> list[dict[str, Any]]:
    """Biased words and the classes they go along with.

    Args:
        words: (V,) numbers of the words, -1 where there are fewer.
        names: V spellings; a word without one gets its number.
        x: (N, V) their counts.
        y: (N,) classes.
        num_classes: C.
        weights: (N,) weights of the samples.
        holders: Gives the words that a token without a spelling is a piece of.

    Example:
        >>> word_rows(torch.tensor([7, -1]), ["so", ""], torch.ones(2, 2), torch.tensor([0, 1]), 2, torch.ones(2))
        [{'word': 'so', 'number': 7, 'count': 2, 'shares': [0.5, 0.5], 'weighted_shares': [0.5, 0.5]}]
    """
    shares = class_shares(x, y, num_classes, torch.ones_like(weights))
    weighted = class_shares(x, y, num_classes, weights)
    rows = zip(words.tolist(), names, x.sum(0).tolist(), shares.tolist(), weighted.tolist(), strict=True)
    found = []
    for number, name, count, plain, under in rows:
        if number < 0:
            continue
        row = {"word": name or f"#{number}", "number": number, "count": int(count)}
        whole = {} if name or holders is None else {"piece_of": holders(number)}
        found.append({**row, **whole, "shares": plain, "weighted_shares": under})
    return found


def sample_rows(
    ids: Sequence[str], problems: Sequence[str], target: Tensor, weights: Tensor, log_p: Tensor
) -> list[dict[str, Any]]:
    """A row a training sample: its class, weight and propensities out of sample.

    Args:
        ids: N ids.
        problems: Names of G problems, "" for one nameless.
        target: (N, G) classes.
        weights: (N, G) weights.
        log_p: (N, G, C) log-probabilities.

    Example:
        >>> sample_rows(["a"], [""], torch.tensor([[1]]), torch.ones(1, 1), torch.tensor([[[0.25, 0.75]]]).log())
        [{'id': 'a', 'index': 0, 'class': 1, 'weight': 1.0, 'p_0': 0.25, 'p_1': 0.75}]
    """
    rows: list[dict[str, Any]] = [{"id": name, "index": place} for place, name in enumerate(ids)]
    for g, problem in enumerate(problems):
        end = f"_{problem}" if problem else ""
        columns = {"class": target[:, g], "weight": weights[:, g]}
        columns |= {f"p_{c}": column for c, column in enumerate(log_p[:, g].exp().T)}
        for name, values in columns.items():
            for row, value in zip(rows, values.tolist(), strict=True):
                row[f"{name}{end}"] = round(value, 6)
    return rows


def no_confounding(problem: str, source: str, gain: float, error: float) -> str:
    """What is said of a problem whose trace gains no more than chance would.

    Args:
        problem: Its name, "" for a nameless one.
        source: Where the trace is.
        gain: Its gain over the class shares on samples not seen, in nats.
        error: Standard error of the gain.

    Example:
        >>> no_confounding("sad", "words", 0.01, 0.02)
        'no confounding for sad: on samples not seen the biased words tell 0.0100 nats more than the class shares, ...'
    """
    where = f" for {problem}" if problem else ""
    what = {"words": "biased words", "recording": "recordings", "groups": "groups"}.get(source, f"features of {source}")
    return (
        f"no confounding{where}: on samples not seen the {what} tell {gain:.4f} nats more than the class shares, with a"
        f" standard error"
        f" of {error:.4f}"
    )
