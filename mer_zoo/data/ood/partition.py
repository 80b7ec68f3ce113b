"""Out-of-distribution partitions: words go along with other classes in the test split than in the training split.

The idea: a word's class distribution P(class | word) is estimated in both splits, and the mean over frequent words of
the total variation between the two is raised by simulated annealing. Only samples of one class and of about the same
number of frequent words change places. So the classes keep their shares in every split, and within a class long and
short samples do: what shifts is what a word says about the class. Without the second rule the annealing finds a
shortcut, long samples of one class here and of another there, which moves P(class | word) of all words in the same
direction. Training and validation are drawn at random from what is not tested on, so validation is distributed as
training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.data.ood.allocation import allocate

__all__ = [
    "WordTable",
    "anneal",
    "class_given_word",
    "draw_partition",
    "frequent_words",
    "length_strata",
    "word_shift",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MIN_STRATUM = 20
COOLING = 1e-3  # last temperature over the first
TRIALS = 500  # random swaps that set the first temperature


@dataclass(frozen=True)
class WordTable:
    """The frequent words of a corpus and the samples that hold them.

    Args:
        words: W words.
        samples: For each sample the places of its frequent words in ``words``.

    Example:
        >>> table = WordTable(["so"], [frozenset({0}), frozenset()])
        >>> table.counts(np.array([True, True]), np.array([1, 0]), num_classes=2).tolist()
        [[0.0, 1.0]]
    """

    words: list[str]
    samples: list[frozenset[int]]

    def counts(self, chosen: Bools, classes: Ints, num_classes: int) -> Floats:
        """Count the samples that hold each word, by class.

        Args:
            chosen: (N,) the samples to count.
            classes: (N,) class of each sample.
            num_classes: C.

        Returns:
            (W, C).
        """
        counts = np.zeros((len(self.words), num_classes))
        for row in np.flatnonzero(chosen):
            counts[list(self.samples[row]), classes[row]] += 1
        return counts


def frequent_words(texts: Sequence[Collection[str]], min_count: int) -> WordTable:
    """Find the words that occur in enough samples; a sample counts once, however often it repeats a word.

    Args:
        texts: The words of each sample.
        min_count: Samples in which a word has to occur.

    Example:
        >>> frequent_words([["so", "so", "bad"], ["so", "good"]], 2)
        WordTable(words=['so'], samples=[frozenset({0}), frozenset({0})])
    """
    counts = Counter(word for text in texts for word in set(text))
    words = sorted(word for word, count in counts.items() if count >= min_count)
    place = {word: at for at, word in enumerate(words)}
    return WordTable(words, [frozenset(place[word] for word in text if word in place) for text in texts])


def class_given_word(counts: Floats, prior: Floats) -> Floats:
    r"""The smoothed :math:`P(c \mid w) = (n_{wc} + C \pi_c) / (n_w + C)`.

    One sample a class on the average is added in the proportions of the corpus. So a word that a split lacks counts
    there as going along with the classes as all samples do, and driving words out of a split is not worth while.

    Args:
        counts: (..., C) samples with the word.
        prior: (C,) share of each class in the corpus.

    Returns:
        (..., C).

    Example:
        >>> class_given_word(np.array([[0.0, 0.0], [6.0, 0.0]]), np.array([0.5, 0.5])).tolist()
        [[0.5, 0.5], [0.875, 0.125]]
    """
    smoothed = counts + len(prior) * prior
    shares: Floats = smoothed / smoothed.sum(-1, keepdims=True)
    return shares


def word_shift(train: Floats, test: Floats, prior: Floats) -> Floats:
    r"""Total variation :math:`\frac12 \sum_c |P_\mathrm{train}(c \mid w) - P_\mathrm{test}(c \mid w)|` of each word.

    Args:
        train: (..., C) samples with the word in training, by class.
        test: (..., C) the same in the test split.
        prior: (C,) share of each class in the corpus.

    Returns:
        (...) in [0, 1]. Its mean over the frequent words is the objective.

    Example:
        >>> word_shift(np.array([6.0, 0.0]), np.array([0.0, 6.0]), np.array([0.5, 0.5])).item()
        0.75
    """
    difference = class_given_word(train, prior) - class_given_word(test, prior)
    shift: Floats = 0.5 * np.abs(difference).sum(-1)
    return shift


def length_strata(classes: Ints, lengths: Ints, bins: int) -> Ints:
    """Sort the samples of each class into equally filled bins of increasing length.

    Args:
        classes: (N,) class of each sample.
        lengths: (N,) number of frequent words of each sample.
        bins: Bins of a class; a class of fewer than 20 samples a bin gets fewer.

    Returns:
        (N,) stratum of each sample; stratum // bins is its class.

    Example:
        >>> length_strata(np.zeros(40, dtype=int), np.arange(40), 5).tolist() == [0] * 20 + [1] * 20
        True
    """
    strata = np.empty(len(classes), dtype=np.int64)
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        own = min(bins, max(1, len(members) // MIN_STRATUM))
        shortest_first = members[np.argsort(lengths[members], kind="stable")]
        strata[shortest_first] = label * bins + np.arange(len(members)) * own // len(members)
    return strata


def draw_partition(strata: Ints, bins: int, shares: Ints, rng: np.random.Generator) -> Ints:
    """Deal out the samples at random, the strata of each class in the proportions of the class.

    Args:
        strata: (N,) from :func:`length_strata`.
        bins: The number given there.
        shares: (C, S) how many samples of a class a split gets; its rows sum to the numbers of samples.
        rng: Source of randomness.

    Returns:
        (N,) split of each sample.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> np.bincount(draw_partition(np.zeros(4, dtype=int), 1, np.array([[3, 1]]), rng)).tolist()
        [3, 1]
    """
    splits = np.empty(len(strata), dtype=np.int64)
    counts = np.bincount(strata, minlength=bins * len(shares)).reshape(len(shares), bins)
    tables = np.concatenate([allocate(own, sizes.tolist()) for own, sizes in zip(counts, shares, strict=True)])
    for stratum, table in enumerate(tables):
        splits[strata == stratum] = rng.permutation(np.repeat(np.arange(len(table)), table))
    return splits


class _State:
    """A partition in two, and by how much every possible move of a word's sample would change that word's shift.

    Each word's shift depends on its own counts only, so the change that a swap makes is a sum over the words that just
    one of the two samples holds, and its terms can be kept ready.
    """

    def __init__(self, table: WordTable, classes: Ints, in_test: Bools, num_classes: int) -> None:
        self.classes, self.samples = classes, table.samples
        self.prior = np.bincount(classes, minlength=num_classes) / len(classes)
        counts = (table.counts(side, classes, num_classes) for side in (~in_test, in_test))
        self.counts = np.stack(list(counts))
        self.gain = np.zeros((2, num_classes, len(table.words)))
        self.refresh(np.arange(len(table.words)))

    def refresh(self, words: npt.NDArray[np.intp]) -> None:
        """Recompute gains of some words: gain[0, c] of a sample of class c going to the test split, gain[1, c] back."""
        rest, test = self.counts[:, words]
        now = word_shift(rest, test, self.prior)
        move = np.eye(len(self.prior))[:, None]
        self.gain[0][:, words] = word_shift(rest - move, test + move, self.prior) - now
        self.gain[1][:, words] = word_shift(rest + move, test - move, self.prior) - now

    def propose(self, out: Any, back: Any) -> tuple[float, npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Change of the sum of shifts when ``out`` goes to the test split and ``back``, of the same class, returns."""
        one, other = self.samples[out], self.samples[back]
        going, coming = np.fromiter(one - other, np.intp), np.fromiter(other - one, np.intp)
        label = self.classes[out]
        return float(self.gain[0, label, going].sum() + self.gain[1, label, coming].sum()), going, coming

    def swap(self, label: int, going: npt.NDArray[np.intp], coming: npt.NDArray[np.intp]) -> None:
        """Carry out a proposed swap."""
        self.counts[0, going, label] -= 1
        self.counts[1, going, label] += 1
        self.counts[0, coming, label] += 1
        self.counts[1, coming, label] -= 1
        self.refresh(np.concatenate([going, coming]))


def anneal(
    table: WordTable, classes: Ints, strata: Ints, in_test: Bools, steps: int, rng: np.random.Generator
) -> Bools:
    """Raise the mean shift of the words by swapping samples of one stratum between test split and rest.

    The temperature falls geometrically from the mean change of random swaps to a thousandth of it.

    Args:
        table: The frequent words.
        classes: (N,) class of each sample.
        strata: (N,) which samples may take each other's place; all of a stratum are of one class.
        in_test: (N,) where to start.
        steps: Number of proposed swaps.
        rng: Source of randomness.

    Returns:
        (N,) the samples to test on, as many of every stratum as at the start.

    Example:
        >>> table, classes = frequent_words([["a"], ["a"], ["b"], ["b"]] * 2, 2), np.array([0] * 4 + [1] * 4)
        >>> start = np.array([True, False] * 4)
        >>> int(anneal(table, classes, classes, start, 200, np.random.default_rng(0)).sum())  # two of each class
        4
    """
    state = _State(table, classes, in_test, int(classes.max(initial=0)) + 1)
    rest = np.flatnonzero(~in_test)
    test = [np.flatnonzero(in_test & (strata == stratum)) for stratum in range(strata.max(initial=0) + 1)]
    sizes = np.array([len(members) for members in test])
    movable = np.flatnonzero(sizes[strata[rest]])
    if not len(movable):
        return in_test

    def draw(count: int) -> zip[tuple[Any, ...]]:
        """Pairs of a place in ``rest`` and one in its stratum's ``test``.

        A swap leaves the stratum at every place as it is, so all pairs can be drawn at once.
        """
        first = rng.choice(movable, count)
        second = (rng.random(count) * sizes[strata[rest[first]]]).astype(np.int64)
        return zip(first, second, np.log1p(-rng.random(count)), strict=True)

    trials = [state.propose(rest[a], test[strata[rest[a]]][b])[0] for a, b, _ in draw(TRIALS)]
    temperature, cooling = float(np.mean(np.abs(trials))), COOLING ** (1 / steps)
    for a, b, threshold in draw(steps):
        out, partners = rest[a], test[strata[rest[a]]]
        change, going, coming = state.propose(out, partners[b])
        if change > threshold * temperature:
            state.swap(int(classes[out]), going, coming)
            rest[a], partners[b] = partners[b], out
        temperature *= cooling
    return np.isin(np.arange(len(in_test)), np.concatenate(test))
