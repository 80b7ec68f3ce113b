from __future__ import annotations

import numpy as np
import pytest

from mer_zoo.data.corpus.meaning import Meaning
from mer_zoo.data.files.drafts import Draft, SplitDraft
from mer_zoo.data.outcomes import Outcome, outcomes


def tried(labels: object, told: Meaning | None = None) -> dict[str, Outcome]:
    split = SplitDraft([str(row) for row in range(len(np.asarray(labels)))], labels=np.asarray(labels))
    return {one.task: one for one in outcomes(Draft({"train": split}), "c.pkl", told)}


def test_a_sentiment_in_every_number_of_classes() -> None:
    found = tried(np.array([-2.6, -0.4, 0.0, 1.2], np.float32))
    assert {name: one.told("train") for name, one in found.items() if not one.refusal} == {
        "regression": "-2.6 to 1.2, mean -0.45 ±1.37",
        "two": "negative 2, non-negative 2",
        "binary": "negative 2, neutral 1, positive 1",
        "five": "-2 1, -1 0, 0 2, +1 1, +2 0",
        "seven": "-3 1, -2 0, -1 0, 0 2, +1 1, +2 0, +3 0",
    }
    assert found["seven"].lacking == ("no training sample is of classes -2, -1, +2, +3",)
    assert {one.reason.partition(";")[0] for one in (found["classes"], found["emotions"])} == {
        "has labels of sentiment, which does not suit"
    }


def test_the_scale_of_sims_has_no_seven_classes() -> None:
    found = tried(np.array([-0.8, 0.0, 0.6], np.float32), Meaning("sentiment", (-1.0, 1.0)))
    assert found["five"].told("train") == "negative 1, weakly negative 0, neutral 1, weakly positive 1, positive 0"
    assert found["seven"].refusal.startswith("sentiment in [-1, 1] has 2, 3 or 5 classes, not 7")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([[1, 0], [0, 1]], {"classes": "joy 1, fear 1", "emotions": "joy 1, fear 1"}),
        ([[1, 1], [0, 0]], {"emotions": "joy 1, fear 1"}),
    ],
)
def test_columns_are_classes_only_where_each_sample_has_one(labels: object, expected: dict[str, str]) -> None:
    found = tried(np.array(labels), Meaning(names=("joy", "fear")))
    assert {name: one.told("train") for name, one in found.items() if not one.refusal} == expected


def test_a_class_that_a_task_does_not_have_is_a_refusal() -> None:
    found = tried(np.array([0, 2, 1]), Meaning("sentiment"))
    assert found["binary"].told("train") == "negative 1, neutral 1, positive 1"
    assert found["two"].refusal.startswith("1 labels lie outside the 2 classes of the task (first id 1)")
    assert found["regression"].refusal.startswith("has classes, not scores")


def test_without_labels_there_is_nothing_to_try() -> None:
    assert outcomes(Draft({"test": SplitDraft(["a"])}), "c.pkl") == []
