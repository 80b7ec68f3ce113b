r"""Words as a trace of a confounder: their counts, which frequent ones go along with the class, and their shares.

Symbols: N samples; V words; C classes; :math:`x_{ij} = [\text{word } j \text{ occurs in sample } i]`; :math:`e(y_i)`
the one-hot class; :math:`\pi` the class shares.

References:
    Rao, "Large sample tests of statistical hypotheses", Mathematical Proceedings of the Cambridge Philosophical Society
    44(1), 1948 (score test); Benjamini and Hochberg, "Controlling the False Discovery Rate", Journal of the Royal
    Statistical Society B 57(1), 1995.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["benjamini_hochberg", "frequent_words", "score_test", "word_counts", "word_shares"]

FALSE_DISCOVERIES = 0.05
SHARE_SCALE = 3.0  # shares of a few words in counts' range, so that one penalty suits both


def word_counts(ids: Tensor, sample: Tensor, words: Tensor, size: int) -> Tensor:
    """Count words in samples.

    Args:
        ids: (M,) every token of all samples.
        sample: (M,) the sample that each stands in.
        words: (V,) the words to count; an entry of -1 stands for none.
        size: Number of samples N.

    Returns:
        (N, V) float64.

    Example:
        >>> word_counts(torch.tensor([7, 8, 7, 9]), torch.tensor([0, 0, 0, 1]), torch.tensor([7, 9, -1]), 2).tolist()
        [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    if not len(words):
        return torch.zeros(size, 0, dtype=torch.float64)
    order = words.argsort()
    place = torch.searchsorted(words[order].contiguous(), ids).clamp(max=len(words) - 1)
    found = (words[order][place] == ids) & (ids >= 0)
    flat = sample[found] * len(words) + order[place[found]]
    return torch.bincount(flat, minlength=size * len(words)).view(size, len(words)).double()


def word_shares(counts: Tensor) -> Tensor:
    r"""Shares :math:`3 n_j / \max(1, \sum_k n_k)`: a second word of a topic says nothing more, as in a sum it would.

    Args:
        counts: (..., V) counts.

    Example:
        >>> word_shares(torch.tensor([[2.0, 1.0], [0.0, 0.0]])).tolist()
        [[2.0, 1.0], [0.0, 0.0]]
    """
    return SHARE_SCALE * counts / counts.sum(-1, keepdim=True).clamp(min=1)


def score_test(counts: Tensor, totals: Tensor) -> Tensor:
    r"""How surprising the classes of the samples with a word would be if its presence told nothing of the class.

    The score of a multinomial regression on the presence of word j, at coefficients 0, with the last class left out:

    .. math::
        U_j &= \sum_i (x_{ij} - \bar x_j)(e(y_i) - \pi) \\
        V_j &= \sum_i (x_{ij} - \bar x_j)^2 (\mathrm{diag}(\pi) - \pi \pi^\top) \\
        U_j^\top V_j^{-1} U_j &= \sum_c U_{jc}^2 / \pi_c \Big/ \sum_i (x_{ij} - \bar x_j)^2 \sim \chi^2_{C-1}

    which is Pearson's statistic of the table of presence and class. Classes without samples do not count.

    Args:
        counts: (V, C) samples of each class that have the word.
        totals: (C,) samples of each class.

    Returns:
        (V,) float64 probabilities of a statistic at least as large; 1 for a word in all samples or none.

    Example:
        >>> p = score_test(torch.tensor([[9, 1], [5, 5]]), torch.tensor([10, 10]))
        >>> [round(value, 5) for value in p.tolist()]
        [0.00035, 1.0]
    """
    seen = totals > 0
    counts, totals = counts[:, seen].double(), totals[seen].double()
    shares = totals / totals.sum()
    samples = counts.sum(1)
    score = counts - samples[:, None] * shares
    spread = samples * (1 - samples / totals.sum())
    statistic = torch.where(spread > 0, (score.square() / shares).sum(1) / spread, 0.0)
    freedom = torch.full_like(statistic, max(len(totals) - 1, 1) / 2)
    p: Tensor = torch.special.gammaincc(freedom, statistic / 2)
    return p


def benjamini_hochberg(p: Tensor, q: float = FALSE_DISCOVERIES) -> Tensor:
    r"""Which of several tests to believe, so that a share of at most q of those believed is expected to be wrong.

    With :math:`p_{(1)} \le \dots \le p_{(m)}`, those up to the largest k with :math:`p_{(k)} \le q k / m`.

    Args:
        p: (m,) probabilities.
        q: The share.

    Returns:
        (m,) bool.

    Example:
        >>> benjamini_hochberg(torch.tensor([0.9, 0.001, 0.04, 0.035]), 0.05).tolist()
        [False, True, False, False]
    """
    ordered, order = p.sort(stable=True)
    under = ordered <= q * torch.arange(1, len(p) + 1).to(p) / max(len(p), 1)
    number = int(under.nonzero().max()) + 1 if under.any() else 0
    return torch.zeros_like(p, dtype=torch.bool).index_fill(0, order[:number], True)


def frequent_words(
    counts: Tensor, totals: Tensor, max_words: int = 100, min_share: float = 0.05, q: float = FALSE_DISCOVERIES
) -> Tensor:
    """Choose the frequent words that go along with the class.

    Args:
        counts: (V, C) samples of each class that have the word; of equally frequent words the first one counts.
        totals: (C,) samples of each class.
        max_words: Most words to test.
        min_share: Least share of the samples that a word occurs in.
        q: Largest expected share of words among those chosen that tell nothing.

    Returns:
        Rows of ``counts``, the most frequent word first.

    Example:
        >>> frequent_words(torch.tensor([[50, 50], [20, 1], [1, 0]]), torch.tensor([100, 100])).tolist()
        [1]
    """
    samples = counts.sum(1)
    order = samples.argsort(descending=True, stable=True)[:max_words]
    # the margin is for shares such as 0.05 that no float is equal to
    least = max(1.0, min_share * int(totals.sum()) - 1e-6)
    candidates = order[samples[order] >= least]
    return candidates[benjamini_hochberg(score_test(counts[candidates], totals), q)]
