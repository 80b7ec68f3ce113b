from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mer_zoo.data.corpus.meaning import Meaning, converted, read_meaning
from mer_zoo.errors import MERError

SIMS = np.linspace(-1, 1, 11)


def by_signs(*values: Any, task: Any = None) -> Any:
    reading = read_meaning({"train": np.array(values, dtype=np.float32)}, task=task)
    assert not reading.faults
    return reading


@pytest.mark.parametrize(
    ("values", "kind", "limits", "names"),
    [
        ([-2.4, 0, 1.8], "sentiment", (-3, 3), 0),
        ([-1.2, 0.4], "sentiment", (-3, 3), 0),
        ([-3, 0, 3, 1], "sentiment", (-3, 3), 0),
        ([-2, -1, 0, 1, 2], "sentiment", (-3, 3), 0),
        ([*SIMS, *SIMS, *SIMS], "sentiment", (-1, 1), 0),
        (np.random.default_rng(0).uniform(-1, 1, 200), "sentiment", (-1, 1), 0),
        ([-1, 0, 1] * 20, "sentiment", (-1, 1), 0),
        ([0, 1, 1, 0], "binary", None, 2),
        ([0, 4, 6, 2], "classes", None, 7),
        ([0, 4, 9], "classes", None, 10),
        ([[1, 0, 1], [0, 0, 0]], "emotions", None, 3),
        ([[1, 0, 0], [0, 0, 1]], "emotions", None, 3),
    ],
)
def test_signs_that_only_one_meaning_shows_decide(values: Any, kind: str, limits: Any, names: int) -> None:
    meaning = by_signs(*values).meaning
    assert (meaning.kind, meaning.range, len(meaning.names)) == (kind, limits, names)


@pytest.mark.parametrize(
    "values",
    [
        [0.5, 0.2, 0.7],  # a probability, or few positive clips
        [0.5, 2.5],
        [-1, 1, -1],  # no and yes, or negative and positive
        [-0.4, 0.2, 0.6],  # a few of CH-SIMS, or of CMU-MOSI
        [-0.31, 0.77] * 20,
    ],
)
def test_what_signs_do_not_tell_is_asked(values: list[float]) -> None:
    reading = by_signs(*values)
    assert reading.meaning is None
    assert "data.label_range: [-3, 3], [-1, 1]" in reading.question


def test_a_task_of_classes_says_that_labels_are_some() -> None:
    one_hot = [[0, 1, 0], [1, 0, 0]]
    assert by_signs(*one_hot, task="classes").meaning == Meaning("classes", names=("0", "1", "2"))
    assert by_signs(*one_hot, task="emotions").meaning.kind == "emotions"
    assert by_signs([1, 1], [0, 0], task="classes").meaning.kind == "emotions"
    assert by_signs(0, 1, 1, task="classes").meaning == Meaning("classes", names=("0", "1"))
    assert by_signs(0, 1, 1, task="sentiment").meaning.kind == "binary"  # the task by default says nothing
    assert by_signs(-0.5, 2, task="classes").meaning.kind == "sentiment"


@pytest.mark.parametrize(
    ("told", "values", "message"),
    [
        (Meaning("sentiment", (-1, 1)), [0.5, -1.5], r"hold a sentiment outside [-1, 1]"),
        (Meaning("binary"), [0, 1, 2], "are not whole numbers from 0 to 1, as labels of binary are"),
        (Meaning("classes", names=("a", "b", "c")), [0, 3], "are not whole numbers from 0 to 2"),
        (Meaning("classes"), [0, 0.5], "are not whole numbers from 0"),
        (Meaning("classes"), [[1, 1], [0, 1]], "do not say one class a sample"),
        (None, [0.5, 7.5], r"hold a sentiment outside [-3, 3]"),
    ],
)
def test_labels_that_are_not_what_they_are_told_to_be_are_faults(told: Any, values: Any, message: str) -> None:
    (fault,) = read_meaning({"train": np.array(values, dtype=np.float64), "test": None}, told).faults
    assert fault[:1] == ("train",)
    assert message in fault[1]
    assert fault[2].sum() in range(1, len(values))


def test_what_is_told_decides_against_signs() -> None:
    assert read_meaning({"train": np.array([0.0, 1.0])}, Meaning("sentiment", (-3, 3))).meaning == Meaning(
        "sentiment", (-3, 3)
    )
    scale = read_meaning({"train": np.array([1.0, 4.5])}, Meaning(range=(1, 5))).meaning
    assert scale == Meaning("sentiment", (1, 5))
    named = read_meaning({"train": np.array([0, 1])}, Meaning(names=("joy", "fear", "anger"))).meaning
    assert named == Meaning("classes", names=("joy", "fear", "anger"))


def test_all_splits_are_read_together() -> None:
    reading = read_meaning({"train": np.array([1.0, 2.0]), "test": np.array([-2.5, 0.0])})
    assert reading.meaning == Meaning("sentiment", (-3, 3))
    assert "different shapes" in read_meaning({"train": np.zeros(2), "test": np.zeros((2, 3))}).question
    assert read_meaning({"train": None}).meaning is None


def test_what_one_says_is_filled_in_by_the_other() -> None:
    assert Meaning(names=("a", "b")).over(Meaning("binary")) == Meaning("binary", names=("a", "b"))
    assert Meaning("classes").over(Meaning("binary", names=("a", "b"))) == Meaning("classes")
    assert Meaning().over(Meaning("sentiment", (-1, 1))) == Meaning("sentiment", (-1, 1))
    assert Meaning(range=(-3, 3)).over(Meaning("classes", names=("a", "b"))) == Meaning("sentiment", (-3, 3))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kind": "labels"}, "choose from sentiment, classes, binary, emotions"),
        ({"range": (1.0, 1.0)}, "give the smallest and the largest"),
        ({"kind": "binary", "names": ("a", "b", "c")}, "binary labels got 3 names"),
        ({"kind": "sentiment", "names": ("a", "b")}, "sentiment has no names"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(MERError, match=told):
        Meaning(**given)


def test_labels_are_brought_into_the_form_of_their_kind() -> None:
    classes = converted(np.array([0.0, 6.0], np.float32), Meaning("classes"))
    assert classes.dtype == np.int64
    assert classes.tolist() == [0, 6]
    assert converted(np.array([-1.0, 1.0, 1.0]), Meaning("binary")).tolist() == [0, 1, 1]
    scores = np.array([-1.0, 0.4], np.float32)
    assert converted(scores, Meaning("sentiment", (-3, 3))) is scores


def test_names_of_classes_are_not_forgotten_where_signs_say_sentiment() -> None:
    reading = read_meaning({"train": np.array([-2.4, 0.0, 1.6])}, Meaning(names=("joy", "anger")))
    assert reading.meaning is None
    assert "leave data.label_names out" in reading.question
