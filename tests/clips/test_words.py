"""Words' times: of transcripts beside what was heard, and features pooled to them."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
import pytest

from mer_zoo.clips.words import Word, between_neighbours, pool_to_words, times_of_transcript


def distance(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    @cache
    def changes(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        both = changes(i - 1, j - 1) + (one[i - 1] != other[j - 1])
        return min(both, changes(i - 1, j) + 1, changes(i, j - 1) + 1)

    return changes(len(one), len(other))


@pytest.mark.parametrize("seed", range(20))
def test_the_fewest_words_are_changed(seed: int) -> None:
    draw = random.Random(seed)
    one, other = (tuple(draw.choices("abcd", k=draw.randrange(9))) for _ in range(2))
    times = times_of_transcript(one, [Word(word, at, at + 1) for at, word in enumerate(other)])
    places = times[~np.isnan(times[:, 0]), 0].astype(int).tolist()
    assert places == sorted(set(places))
    found = [(word, other[int(at)]) for word, at in zip(one, times[:, 0], strict=True) if not np.isnan(at)]
    changed = sum(a != b for a, b in found)
    assert changed + len(one) - len(found) + len(other) - len(found) == distance(one, other)


def test_case_and_punctuation_do_not_count() -> None:
    heard = [Word("it's", 0.0, 0.2), Word("GOOD,", 0.3, 0.5), Word("—", 0.5, 0.5), Word("ﬁne", 0.6, 0.9)]
    assert times_of_transcript(["\u201cIt\u2019s", "good", "fine!"], heard)[:, 0].tolist() == [0.0, 0.3, 0.6]


def test_nothing_written_or_nothing_heard() -> None:
    assert times_of_transcript([], [Word("so", 0, 1)]).shape == (0, 2)
    times = between_neighbours(times_of_transcript(["so", "good"], []), 3.0)
    assert times.tolist() == [[0.0, 1.5], [1.5, 3.0]]


def test_neighbours_that_touch_leave_nothing_between() -> None:
    times = np.array([[0.0, 1.0], [np.nan, np.nan], [0.9, 2.0]])
    assert between_neighbours(times, 2.0)[1].tolist() == [1.0, 1.0]


def test_pooled_steps_are_those_during_the_word() -> None:
    x = np.arange(1, 41, dtype=np.float32)[:, None]  # ten seconds at 4 a second
    times = np.array([[0.0, 1.0], [2.0, 2.0], [2.3, 2.4], [9.9, 10.5], [12.0, 13.0]])
    assert pool_to_words(x, 4.0, times)[:, 0].tolist() == [2.5, 9.0, 10.0, 0.0, 0.0]


def test_what_was_seen_is_not_taken_for_missing() -> None:
    x = np.zeros((4, 2), np.float32)
    x[2:] = np.nan
    pooled = pool_to_words(x, 2.0, np.array([[0.0, 1.0], [1.0, 2.0]]))
    assert pooled.any(1).tolist() == [True, False]
    assert np.abs(pooled).max() < 1e-30
