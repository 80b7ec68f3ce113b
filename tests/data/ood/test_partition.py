from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mer_zoo.data.ood.allocation import allocate
from mer_zoo.data.ood.partition import (
    Bools,
    Ints,
    WordTable,
    anneal,
    class_given_word,
    draw_partition,
    frequent_words,
    length_strata,
    word_shift,
)
from mer_zoo.data.ood.partition import _State as State


def corpus(samples: int = 240, words: int = 30, seed: int = 0) -> tuple[WordTable, Ints]:
    """Random samples of three classes, of 1 to 12 words that say nothing about the class."""
    rng = np.random.default_rng(seed)
    texts = [[str(word) for word in rng.choice(words, rng.integers(1, 13))] for _ in range(samples)]
    return frequent_words(texts, 3), rng.choice(3, samples, p=[0.5, 0.1, 0.4])


def test_words_count_once_a_sample() -> None:
    table = frequent_words([["b", "a", "a"], ["a"], ["b", "c"]], 2)
    assert table.words == ["a", "b"]
    assert table.samples == [{0, 1}, {0}, {1}]
    chosen, classes = np.array([True, True, False]), np.array([0, 1, 1])
    assert table.counts(chosen, classes, 2).tolist() == [[1, 1], [1, 0]]


def test_shift_by_hand() -> None:
    prior = np.array([0.5, 0.25, 0.25])
    counts = np.array([3.0, 0.0, 0.0])
    np.testing.assert_allclose(class_given_word(counts, prior), [4.5 / 6, 0.75 / 6, 0.75 / 6])
    np.testing.assert_allclose(class_given_word(np.zeros(3), prior), prior)
    assert word_shift(counts, counts, prior) == 0
    np.testing.assert_allclose(word_shift(counts, np.zeros(3), prior), 0.25)


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=7),
    st.lists(st.integers(1, 100), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_shares_fit_and_are_proportional(totals: list[int], weights: list[int], seed: int) -> None:
    count = sum(totals)
    sizes = np.random.default_rng(seed).multinomial(count, np.array(weights) / sum(weights)).tolist()
    table = allocate(np.array(totals), sizes)
    assert table.sum(1).tolist() == totals
    assert table.sum(0).tolist() == sizes
    assert (np.abs(table - np.outer(totals, sizes) / max(count, 1)) < 2).all()


def test_what_is_left_over_is_spread() -> None:
    table = allocate(np.full(4, 29), [35, 11, 39, 31])  # a place once got 2.25 too many
    assert (np.abs(table - np.outer(np.full(4, 29), [35, 11, 39, 31]) / 116) < 2).all()


def test_strata_hold_one_class_and_similar_lengths() -> None:
    rng = np.random.default_rng(0)
    classes, lengths = rng.choice(3, 500, p=[0.6, 0.38, 0.02]), rng.integers(0, 15, 500)
    strata = length_strata(classes, lengths, 5)
    assert (strata // 5 == classes).all()
    for label in range(3):
        own = [lengths[strata == label * 5 + place] for place in range(5)]
        filled = [values for values in own if len(values)]
        assert all(a.max() <= b.min() for a, b in pairwise(filled))
    assert len(np.unique(strata[classes == 0])) == 5
    assert len(np.unique(strata[classes == 2])) == 1  # too few to tell lengths apart


def test_random_partition_keeps_every_share() -> None:
    table, classes = corpus()
    strata = length_strata(classes, np.array([len(words) for words in table.samples]), 4)
    shares = allocate(np.bincount(classes), [150, 30, 60])
    splits = draw_partition(strata, 4, shares, np.random.default_rng(1))
    found = [[int(((classes == label) & (splits == split)).sum()) for split in range(3)] for label in range(3)]
    assert found == shares.tolist()
    for stratum in np.unique(strata):
        share = (splits[strata == stratum] == 2).mean()
        assert share == pytest.approx(
            shares[stratum // 4, 2] / shares[stratum // 4].sum(), abs=2 / (strata == stratum).sum()
        )


def test_changes_of_swaps_are_exact_and_stay_so() -> None:
    table, classes = corpus(60, 12)
    rng = np.random.default_rng(2)
    in_test = rng.random(60) < 0.3
    state = State(table, classes, in_test, 3)

    def total() -> float:
        rest, test = (table.counts(side, classes, 3) for side in (~in_test, in_test))
        return float(word_shift(rest, test, np.bincount(classes) / 60).sum())

    pairs = [(a, b) for a, b in combinations(range(60), 2) if classes[a] == classes[b]]
    swaps = 0
    for a, b in rng.permutation(pairs)[:300]:
        out, back = (a, b) if in_test[b] else (b, a)
        if in_test[out] or not in_test[back]:
            continue
        before = total()
        change, going, coming = state.propose(out, back)
        in_test[out], in_test[back] = True, False
        assert total() - before == pytest.approx(change, abs=1e-9)
        state.swap(int(classes[out]), going, coming)
        swaps += 1
    assert swaps > 50


@pytest.mark.parametrize("bins", [1, 4])
def test_annealing_raises_the_shift_and_keeps_the_strata(bins: int) -> None:
    table, classes = corpus()
    prior = np.bincount(classes) / len(classes)
    strata = length_strata(classes, np.array([len(words) for words in table.samples]), bins)
    splits = draw_partition(strata, bins, allocate(np.bincount(classes), [180, 60]), np.random.default_rng(1))
    start = splits == 1

    def objective(in_test: Bools) -> float:
        rest, test = (table.counts(side, classes, 3) for side in (~in_test, in_test))
        return float(word_shift(rest, test, prior).mean())

    found = anneal(table, classes, strata, start, 5000, np.random.default_rng(3))
    assert objective(found) > 2 * objective(start)
    assert np.bincount(strata[found]).tolist() == np.bincount(strata[start]).tolist()
    again = anneal(table, classes, strata, start, 5000, np.random.default_rng(3))
    assert (again == found).all()
    other = anneal(table, classes, strata, start, 5000, np.random.default_rng(4))
    assert (other != found).any()


def test_equal_lengths_leave_no_shortcut() -> None:
    """Free lengths let one class be wordy in training and another in testing, which moves all words the same way."""
    table, classes = corpus(600, 40)
    lengths = np.array([len(words) for words in table.samples])
    gap = {}
    for bins in (1, 5):
        strata = length_strata(classes, lengths, bins)
        start = draw_partition(strata, bins, allocate(np.bincount(classes), [420, 180]), np.random.default_rng(0)) == 1
        found = anneal(table, classes, strata, start, 20_000, np.random.default_rng(0))
        means = [lengths[side & (classes == label)].mean() for side in (found, ~found) for label in (0, 2)]
        gap[bins] = abs((means[0] - means[1]) - (means[2] - means[3]))
    assert gap[1] > 3
    assert gap[5] < 1


def test_nothing_to_swap_leaves_the_start() -> None:
    table = frequent_words([["a"], ["a"], ["a"]], 1)
    start = np.array([True, False, False])
    classes = np.array([0, 1, 1])
    assert (anneal(table, classes, classes, start, 10, np.random.default_rng(0)) == start).all()
