"""MACI's language debiasing: words that go with a class, the text of these words alone, and subtracting its effect.

Symbols: y(x) log-probabilities of what was seen, y(x_cf) of the counterfactual text, tau the strength of the
subtraction, which ``functional/deconfounding.py`` chooses.

References:
    Zhong, Huan, Wu, Liang and Chen, "Towards Robust Multimodal Emotion Recognition under Missing Modalities and
    Distribution Shifts", arXiv:2506.10452, 2025. Equation numbers are the paper's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

__all__ = ["BiasVariant", "BiasWords", "bias_words", "counterfactual_ids", "debias", "split_words"]

BiasVariant = Literal["paper", "released"]
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
    variant: BiasVariant = "paper",
) -> BiasWords:
    """Find the words that a shortcut from text to label may lean on (Eqs. 25-27).

    Of the words whose counts over the classes have a coefficient of variation (population deviation over mean) of at
    least ``threshold``, those with the largest count over all classes; of equal counts the one that came first. Of
    three classes only the outer two, negative and positive, enter the variation.

    Args:
        ids: (M,) token ids of the whole training split in its order, special tokens left out.
        classes: (M,) class of the sample that each token stands in.
        num_classes: Number of classes.
        num_words: Most words to return.
        threshold: Least coefficient of variation.
        variant: ``paper`` drops a word seen in neutral samples only; in ``released`` it inherits the variation of the
            word that first occurred before it.

    Returns:
        At most ``num_words`` words.

    Example:
        >>> ids, classes = torch.tensor([7, 8, 7, 9, 9, 9]), torch.tensor([0, 0, 2, 2, 2, 1])
        >>> bias_words(ids, classes, 3)
        BiasWords(ids=tensor([9, 8]), total=tensor([3, 1]), variation=tensor([1., 1.], dtype=torch.float64))
    """
    words, place = torch.unique(ids, return_inverse=True)
    first = torch.full_like(words, len(ids)).scatter_reduce(0, place, torch.arange(len(ids), device=ids.device), "amin")
    counts = torch.bincount(place * num_classes + classes, minlength=len(words) * num_classes)
    order = first.argsort()
    words, counts = words[order], counts.view(-1, num_classes)[order]
    compared = (counts[:, [0, 2]] if num_classes == 3 else counts).double()
    mean = compared.mean(1)
    variation = (compared - mean[:, None]).square().mean(1).sqrt() / mean
    if variant == "released":
        variation = _fill_forward(variation)
    kept = variation >= threshold  # NaN, of a word without a variation, is not kept
    words, total, variation = words[kept], counts.sum(1)[kept], variation[kept]
    top = total.argsort(descending=True, stable=True)[:num_words]
    return BiasWords(words[top], total[top], variation[top])


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
    """The counterfactual text x_cf, which keeps only bias words and special tokens (Eqs. 25-27).

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


def debias(y: Tensor, y_cf: Tensor, tau: Tensor | float) -> Tensor:
    r"""Test-time scores without the effect of the bias words, :math:`y(x) - \tau \, y(x_{cf})` (Eqs. 25-27).

    Args:
        y: (..., C) log-probabilities.
        y_cf: (..., C) log-probabilities of the counterfactual text.
        tau: Strength, a number or of shape (...).

    Returns:
        (..., C) scores.

    Example:
        >>> debias(torch.tensor([-1.0, -2.0]), torch.tensor([0.0, -4.0]), 0.5).tolist()
        [-1.0, 0.0]
    """
    return y - (tau[..., None] if isinstance(tau, Tensor) else tau) * y_cf
