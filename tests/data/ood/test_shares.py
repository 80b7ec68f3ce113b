from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mer_zoo.data.ood.allocation import allocate
from mer_zoo.data.ood.partition import Ints
from mer_zoo.data.ood.shares import label_shift_of, positive_share, share_out
from mer_zoo.errors import MERError

BINARY = ["negative", "neutral", "positive"]
SEVEN = ["-3", "-2", "-1", "0", "1", "2", "3"]


def corpus(counts: list[int], seed: int = 0, weights: tuple[float, ...] = (0.6, 0.1, 0.3)) -> tuple[Ints, Ints]:
    """Classes by their counts, and splits of random sizes."""
    classes = np.repeat(np.arange(len(counts)), counts)
    return classes, np.random.default_rng(seed).choice(3, len(classes), p=weights)


def test_equal_shares_are_those_of_the_corpus() -> None:
    classes, origin = corpus([500, 60, 440])
    shares = share_out(classes, origin, BINARY, None, 0.0, "a corpus")
    assert shares.tolist() == allocate(np.array([500, 60, 440]), np.bincount(origin).tolist()).tolist()


@example([20, 48, 102, 35, 20, 292, 400], -0.4453125, 126)  # a class that became rare by what was put aside for another
@given(
    st.one_of([st.lists(st.integers(20, 400), min_size=n, max_size=n) for n in (3, 7)]),
    st.floats(-0.6, 0.6),
    st.integers(0, 2**32 - 1),
)
def test_a_shift_is_reached_and_nothing_else_moves(counts: list[int], shift: float, seed: int) -> None:
    classes, origin = corpus(counts, seed)
    names, sizes = (BINARY if len(counts) == 3 else SEVEN), np.bincount(origin, minlength=3)
    assume((sizes > 10).all() and shift != 0)  # without a shift each class is shared out by itself
    before = share_out(classes, origin, names, 1, 0.0, "a corpus")
    try:
        after = share_out(classes, origin, names, 1, shift, "a corpus")
    except MERError as error:
        low, high = map(float, re.findall(r"from (\S+) to (\S+);", str(error))[0])
        assert shift < low + 0.05 or shift > high - 0.05
        return
    assert after.sum(1).tolist() == counts
    assert after.sum(0).tolist() == sizes.tolist()
    assert (after >= 1).all()
    middle = len(counts) // 2
    assert after[middle].tolist() == before[middle].tolist()
    train, valid, test = map(positive_share, after.T)
    charged = after.sum(0) - after[middle]
    assert abs(test - train - shift) <= 0.5 / charged[0] + 0.5 / charged[2] + 1e-9
    assert abs(valid - train) <= 1.5 / charged[1] + 0.5 / charged[0] + 1e-9


def test_what_the_corpus_cannot_give_is_said_with_what_it_can() -> None:
    classes, origin = corpus([100, 10, 300], weights=(0.5, 0.1, 0.4))
    with pytest.raises(MERError, match=r"cannot give a label shift of \+0\.900: with 75\.0 % of 400 samples") as caught:
        share_out(classes, origin, BINARY, 1, 0.9, "a corpus")
    low, high = map(float, re.findall(r"from (\S+) to (\S+);", str(caught.value))[0])
    assert -1 < low < 0 < high < 0.9
    for inside, outside in ((high - 0.02, high + 0.02), (low + 0.02, low - 0.02)):
        share_out(classes, origin, BINARY, 1, inside, "a corpus")
        with pytest.raises(MERError, match="cannot give a label shift"):
            share_out(classes, origin, BINARY, 1, outside, "a corpus")


def test_presets_are_the_released_sets() -> None:
    """Of OOD-MOSEI 67.4 % are positive in training and 40.7 % in testing, of OOD-MOSI 49.1 and 56.6 %."""
    assert label_shift_of("cider-mosei") == pytest.approx(0.407 - 0.674, abs=5e-4)
    assert label_shift_of("cider-mosi") == pytest.approx(0.566 - 0.491, abs=5e-4)


@pytest.mark.parametrize("wanted", ["cider", "nan", 1.2, "-1.01", ""])
def test_shifts_that_there_are_not(wanted: float | str) -> None:
    with pytest.raises(MERError, match="give a number from -1 to 1, or one of cider-mosi, cider-mosei"):
        label_shift_of(wanted)


@pytest.mark.parametrize(("rare", "lowered"), [(0, False), (2, False), (5, True)])
def test_what_lowering_cannot_mend_is_not_said(rare: int, lowered: bool) -> None:
    classes, origin = np.array([0] * 40 + [1] * rare), np.arange(40 + rare) % 3
    with pytest.raises(MERError, match=f"{rare} samples of class b, too few .* add samples") as refused:
        share_out(classes, origin, ["a", "b"], 3, 0.0, "a corpus")
    assert ("--min-per-class" in str(refused.value)) == lowered
