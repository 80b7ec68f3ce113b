"""MACI's language debiasing: words that go with a class, the text of these words alone, and subtracting its effect.

Symbols: y(x) what was predicted from what was seen, y(x_cf) from the counterfactual text, tau the strength of the
subtraction, which ``functional/deconfounding.py`` chooses; n_wi how often word w occurs in samples of class i.

References:
    Zhong, Huan, Wu, Liang and Chen, "Towards Robust Multimodal Emotion Recognition under Missing Modalities and
    Distribution Shifts", arXiv:2506.10452, 2025. Equation numbers are the paper's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mer_zoo.functional.precision import widen
from mer_zoo.functional.variants import Variant

__all__ = ["BiasWords", "bias_words", "counterfactual_ids", "debias", "intervened", "split_words", "uneven_words"]

_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")


class BiasWords(NamedTuple):
    """Words whose counts differ between the classes, most frequent first.

    Args:
        ids: (K,) int64 token ids.
        total: (K,) int64, how often each occurs in the training split.
        variation: (K,) float64, the coefficient of variation of its counts over the classes.

    Example:
        >>> found = BiasWords(torch.tensor([1200]), torch.tensor([9]), torch.tensor([0.5]))
        >>> dict(zip(found.ids.tolist(), found.total.tolist()))
        {1200: 9}
    """

    ids: Tensor
    total: Tensor
    variation: Tensor


def bias_words(
    ids: Tensor,
    classes: Tensor,
    num_classes: int,
    num_words: int = 100,
    threshold: float = 0.1,
    variant: Variant = "released",
) -> BiasWords:
    r"""Find the words that a shortcut from text to label may lean on (Eqs. 26-27).

    The variation of a word is :math:`CV_w = \mathrm{std}_i \, n_{wi} \, / \, \mathrm{mean}_i \, n_{wi}`, with the
    population deviation. Words are counted over all classes; of equal counts the one that came first goes first.

    Args:
        ids: (M,) token ids of the whole training split in its order, special tokens left out.
        classes: (M,) class of the sample that each token stands in.
        num_classes: Number of classes.
        num_words: Most words to return, or to look at.
        threshold: Least coefficient of variation.
        variant: ``paper`` takes the ``num_words`` most frequent words, and of these all whose variation over all
            classes reaches the threshold. ``released`` takes the ``num_words`` most frequent ones of all words whose
            variation reaches it; of three classes only the outer two, negative and positive, enter the variation, and a
            word seen in neutral samples only inherits that of the word that first occurred before it.

    Returns:
        At most ``num_words`` words.

    Example:
        >>> ids, classes = torch.tensor([7, 8, 7, 9, 9, 9]), torch.tensor([0, 0, 2, 2, 2, 1])
        >>> bias_words(ids, classes, 3)
        BiasWords(ids=tensor([9, 8]), total=tensor([3, 1]), variation=tensor([1., 1.], dtype=torch.float64))
        >>> bias_words(ids, classes, 3, num_words=2, variant="paper").ids
        tensor([9, 7])
    """
    words, counts = _class_counts(ids, classes, num_classes)
    total = counts.sum(1)
    order = total.argsort(descending=True, stable=True)
    if variant == "paper":
        variation = _variation(counts)
        order = order[:num_words]
    else:
        variation = _fill_forward(_variation(counts[:, [0, 2]] if num_classes == 3 else counts))
    top = order[variation[order] >= threshold][:num_words]  # NaN, of a word without a variation, is not kept
    return BiasWords(words[top], total[top], variation[top])


def uneven_words(ids: Tensor, classes: Tensor, num_classes: int, least: int) -> BiasWords:
    """Find the frequent words whose counts differ between the classes at all, MulDeF's rule.

    Args:
        ids: (M,) token ids.
        classes: (M,) class of the sample that each token stands in; -1 for one that counts as none, such as neutral
            where there are two classes.
        num_classes: Number of classes.
        least: Fewest occurrences of a word, in samples of any class or none.

    Returns:
        Every such word.

    Example:
        >>> ids, classes = torch.tensor([7, 8, 7, 9, 9, 8]), torch.tensor([0, 0, 1, 1, -1, 0])
        >>> uneven_words(ids, classes, 2, least=2)
        BiasWords(ids=tensor([8, 9]), total=tensor([2, 2]), variation=tensor([1., 1.], dtype=torch.float64))
    """
    words, counts = _class_counts(ids, classes + 1, num_classes + 1)
    total, variation = counts.sum(1), _variation(counts[:, 1:])
    order = total.argsort(descending=True, stable=True)
    found = order[(total[order] >= least) & (variation[order] > 0)]  # NaN, of a word without a variation, is not above
    return BiasWords(words[found], total[found], variation[found])


def _class_counts(ids: Tensor, classes: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """The words (W,) in the order of their first occurrence, and n (W, C)."""
    words, place = torch.unique(ids, return_inverse=True)
    first = torch.full_like(words, len(ids)).scatter_reduce(0, place, torch.arange(len(ids), device=ids.device), "amin")
    counts = torch.bincount(place * num_classes + classes, minlength=len(words) * num_classes)
    order = first.argsort()
    return words[order], counts.view(-1, num_classes)[order]


def _variation(counts: Tensor) -> Tensor:
    """CV (W,) of n (W, C); NaN for a word that was never counted."""
    n = counts.double()
    mean = n.mean(1)
    variation: Tensor = (n - mean[:, None]).square().mean(1).sqrt() / mean
    return variation


def split_words(text: str) -> list[str]:
    """The words of a transcript, in lower case.

    Example:
        >>> split_words("It's GOOD - so good.")
        ["it's", 'good', 'so', 'good']
    """
    return _WORD.findall(text.lower())


def _fill_forward(values: Tensor) -> Tensor:
    """Replace each NaN by the last number before it."""
    known = torch.where(values.isnan(), 0, torch.arange(len(values), device=values.device))
    return values[known.cummax(0).values] if len(values) else values


def counterfactual_ids(ids: Tensor, words: Tensor, special: Sequence[int], mask_id: int) -> Tensor:
    """The counterfactual text x_cf, which keeps only bias words and special tokens (Eqs. 26-27).

    Args:
        ids: (B, T) token ids; missing tokens, which are [UNK], stay so.
        words: (K,) bias words; an entry of -1 stands for none.
        special: Ids of the special tokens, padding too.
        mask_id: What every other token becomes.

    Returns:
        (B, T) token ids.

    Example:
        >>> counterfactual_ids(torch.tensor([[101, 7, 8, 102, 0]]), torch.tensor([8, -1]), (0, 100, 101, 102, 103), 103)
        tensor([[101, 103,   8, 102,   0]])
    """
    kept = torch.cat([words, words.new_tensor(list(special))])
    return ids.masked_fill(~torch.isin(ids, kept), mask_id)


def intervened(y: Tensor, variant: Variant = "released") -> Tensor:
    r"""What Eq. 25 subtracts from, and what it subtracts: :math:`P(Y \mid do(l))`.

    Args:
        y: (..., C) scores of a backdoor adjustment.
        variant: ``paper`` gives probabilities. ``released`` gives the scores as they are, log-probabilities.

    Returns:
        (..., C), at least float32 where they are probabilities.

    Example:
        >>> y = torch.tensor([0.25, 0.75]).log()
        >>> intervened(y).equal(y), [round(p, 6) for p in intervened(y, "paper").tolist()]
        (True, [0.25, 0.75])
    """
    return y if variant == "released" else widen(y).softmax(-1)


def debias(y: Tensor, y_cf: Tensor, tau: Tensor | float) -> Tensor:
    r"""Test-time scores without the effect of the bias words, :math:`y(x) - \tau \, y(x_{cf})` (Eq. 25).

    Args:
        y: (..., C) log-probabilities, or probabilities; see :func:`intervened`.
        y_cf: (..., C) the same of the counterfactual text.
        tau: Strength, a number or of shape (...).

    Returns:
        (..., C) scores.

    Example:
        >>> debias(torch.tensor([-1.0, -2.0]), torch.tensor([0.0, -4.0]), 0.5).tolist()
        [-1.0, 0.0]
    """
    return y - (tau[..., None] if isinstance(tau, Tensor) else tau) * y_cf
