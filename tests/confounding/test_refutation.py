"""Refutations speak for words that tell the label and against what is there by chance; equal seeds give equal draws."""

from __future__ import annotations

import pytest
import torch

from mer_zoo.batch import DataSpec
from mer_zoo.confounding import Propensity, TrainingSplit, WordRule
from mer_zoo.confounding.refutation import RANDOM_WORD, Refutation, permuted, refute, subset, with_random_word
from mer_zoo.errors import MERError
from mer_zoo.task import SentimentClassification

NAN = float("nan")
TASK = SentimentClassification(2)


def texts(size: int = 120, seed: int = 0) -> TrainingSplit:
    """Of two words one goes with the class in four of five samples; clips of three to a recording."""
    draws = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (size,), generator=draws)
    told = torch.where(torch.rand(size, generator=draws) < 0.8, y, 1 - y)
    words = [torch.tensor([7 + word]) for word in told.tolist()]
    ids = [f"film{i // 3}$_${i}" for i in range(size)]
    return TrainingSplit(words, True, None, y[:, None], ids, [""] * size)


def fitted(split: TrainingSplit, rule: WordRule = WordRule()) -> Propensity:  # noqa: B008  # a tuple
    found = Propensity(DataSpec(tokens=True), TASK, rule)
    found.fit_split(split)
    return found


def test_words_that_tell_the_label_stand_the_refutations() -> None:
    split = texts()
    found = fitted(split)
    before = found.train_weights()
    told = refute(found, split, draws=2)
    gain = float(found.prior_loss - found.loss)
    assert gain > 0.1
    assert [each.holds(gain, is_open=True) for each in told] == [True, True, True]
    assert [each.is_open for each in told] == [(False, False), (True, True), (True, True)]
    assert repr(told) == repr(refute(found, split, draws=2))  # NaN included
    assert told[2] != refute(found, split, draws=2, seed=1)[2]
    assert torch.equal(found.train_weights(), before)


def test_a_random_word_is_tried_where_a_list_names_the_words() -> None:
    split = texts()
    found = fitted(split, WordRule("listed", listed=("#7", "#8")))
    (random,) = (each for each in refute(found, split, draws=1) if each.kind == "random common cause")
    assert random.words == (3,)  # it does count, and its weights are others by a little
    assert 0.9 < random.correlation[0] < 1


def test_words_that_a_changed_split_lacks_or_spells_otherwise() -> None:
    split = texts()
    rare = [torch.cat([row, torch.tensor([9])]) if place == 5 else row for place, row in enumerate(split.words)]
    spelt = [" ".join("abc"[int(word) - 7] for word in row) for row in rare]
    split = split._replace(words=rare, texts=spelt)
    for rule in (WordRule(keep_words=("c",)), WordRule("listed", listed=("a", "b"))):
        told = refute(fitted(split, rule), split, draws=4)
        assert {each.kind: each.holds(0.1, is_open=True) for each in told}["subset"], rule.words
        assert [set(each.words) for each in told][2] == {2}


@pytest.mark.parametrize(
    ("told", "gain", "is_open"),
    [
        (Refutation("placebo", "", (0.1, 0.2), (True, True), (1, 1), (NAN, NAN)), 0.4, True),
        (Refutation("placebo", "", (0.5, 0.0), (True, False), (1, 1), (NAN, NAN)), 0.4, True),
        (Refutation("subset", "", (0.1, 0.0), (True, False), (1, 1), (1.0, NAN)), 0.1, True),
        (Refutation("subset", "", (0.1, 0.1), (True, True), (1, 1), (0.5, 0.7)), 0.1, True),
        (Refutation("random common cause", "", (0.1, 0.1), (True, True), (1, 1), (NAN, NAN)), 0.0, False),
    ],
)
def test_what_speaks_against_it(told: Refutation, gain: float, is_open: bool) -> None:
    assert not told.holds(gain, is_open)


def test_how_the_data_are_changed() -> None:
    split, draws = texts(30), torch.Generator().manual_seed(0)
    other = permuted(split, draws)
    assert torch.equal(torch.cat(other.words).sort().values, torch.cat(split.words).sort().values)
    assert not torch.equal(torch.cat(other.words), torch.cat(split.words))
    assert torch.equal(other.classes, split.classes)
    more = with_random_word(split, draws)
    assert {int(row[-1]) for row in more.words if len(row) == 2} == {RANDOM_WORD}
    less, rows = subset(split, draws, 0.5)
    assert len(rows) == 15  # whole recordings
    assert {name.partition("$")[0] for name in less.ids}.isdisjoint(
        name.partition("$")[0] for place, name in enumerate(split.ids) if place not in rows.tolist()
    )


def test_refusals() -> None:
    split = texts()
    with pytest.raises(MERError, match="draws is 0"):
        refute(fitted(split), split, draws=0)
    with pytest.raises(MERError, match="propensities of source recording cannot be refuted"):
        refute(Propensity(DataSpec(), TASK, source="recording"), split)
