"""A printed figure stands beside ours only where both are of the same test split with the same things missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mer_zoo.reports.beside import beside
from mer_zoo.reports.groups import Group
from mer_zoo.reports.published import Published, published
from mer_zoo.reports.record import ConditionResult, RunResults

RATES = [step / 10 for step in range(1, 11)]


def split_of(split: str, name: str, place: str = "") -> list[ConditionResult]:
    """A test split, complete and at every rate of RMFM; what is complete scores 0.6, all else 0.5."""
    at = f"{place} " if place else ""
    whole = ConditionResult(name, split, True, 10, {"Acc2_non0": 0.6}, place=place)
    return [
        whole,
        *(
            ConditionResult(
                f"{at}RMFM {rate}", split, False, 10, {"Acc2_non0": 0.5}, place=place, curve=f"{at}RMFM", rate=rate
            )
            for rate in RATES
        ),
    ]


def group(*conditions: Sequence[ConditionResult], corpus: str = "MOSI") -> Group:
    found = {condition.name: condition for some in conditions for condition in some}
    run = RunResults(
        Path("results.json"), "CIDer", "binary", "mmsa", 0, None, {"corpus": corpus}, [], {}, "", (), found
    )
    return Group("CIDer", [run])


def figure(table: str, dataset: str, split: str, condition: str) -> Published:
    names = {"source": "CIDer", "table": table, "model": "CIDer", "dataset": dataset, "split": split}
    wanted = {**names, "condition": condition, "metric": "Acc2"}
    (found,) = [f for f in published() if all(getattr(f, key) == value for key, value in wanted.items())]
    return found


IID, OOD = split_of("test", "iid"), split_of("test_ood", "ood")  # of a file, and of what split-ood makes
BOTH = [*split_of("test_iid", "iid"), *split_of("test_ood", "ood", "ood")]
NAMED = [
    split_of("test", "ood")[0],
    *split_of("test", "ood")[1:],
]  # an authors' file whose test split is named by the user
ABROAD = [*split_of("test", "iid")[:1], *split_of("test of mosei.pkl", "mosei", "mosei")]


@pytest.mark.parametrize("conditions", [OOD, BOTH, NAMED], ids=["ours", "both", "named"])
@pytest.mark.parametrize(("condition", "value"), [("AUILC", "50.5"), ("rate=0.3", "50.0")])
def test_out_of_distribution(conditions: list[ConditionResult], condition: str, value: str) -> None:
    table = "IV" if condition == "AUILC" else "XVII"
    assert beside(group(conditions), figure(table, "CMU-MOSI", "OOD", condition), "Acc2_non0") == value


@pytest.mark.parametrize(("condition", "table"), [("AUILC", "IV"), ("rate=0.3", "XIII")])
def test_what_is_of_other_samples_stands_apart(condition: str, table: str) -> None:
    iid = figure(table, "CMU-MOSI", "IID", condition)
    assert beside(group(OOD), iid, "Acc2_non0") is None
    assert beside(group(NAMED), iid, "Acc2_non0") is None
    assert beside(group(IID, corpus="MOSEI"), iid, "Acc2_non0") is None
    assert beside(group(IID), iid, "Acc2_non0") is not None
    assert beside(group(IID), figure("IV", "CMU-MOSI", "OOD", "AUILC"), "Acc2_non0") is None


def test_another_corpus() -> None:
    there, back = (
        figure("VII", f"CMU-{a}->CMU-{b}", "IID", "AUILC") for a, b in (("MOSI", "MOSEI"), ("MOSEI", "MOSI"))
    )
    assert beside(group(ABROAD), there, "Acc2_non0") == "50.5"
    assert beside(group(ABROAD), back, "Acc2_non0") is None
    assert beside(group(IID), there, "Acc2_non0") is None
    assert beside(group(ABROAD), figure("XII", "CMU-MOSI->CMU-MOSEI", "IID", "full"), "Acc2_non0") == "60.0"
    assert beside(group(ABROAD), figure("IV", "CMU-MOSI", "IID", "AUILC"), "Acc2_non0") is None
