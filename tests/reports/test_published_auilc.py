"""AUILC on the curves that the CIDer paper prints, against the areas that it prints."""

from collections.abc import Callable

import pytest
import torch

from mer_zoo.metrics import AUILC
from mer_zoo.reports import Published, published

RATES = [step / 10 for step in range(11)]
FIGURES = [figure for figure in published() if figure.source == "CIDer"]
AREAS = [f for f in FIGURES if f.condition == "AUILC" and f.table in ("IV", "VII", "VIII")]
# Tables X and XI have a row for each pattern that MPLMM was trained with, under labels of their own.
ROWS_OF_MPLMM = {
    "RMFM": "MPLMM RMFM",
    "TraditionalRMFM": "Traditional RMFM",
    "RMM": "RMM",
    "TMFM": "TMFM",
    "STMFM": "STMFM",
}
Names = Callable[[Published], str]


def own_name(figure: Published) -> str:
    return figure.model


def row_label(figure: Published) -> str:
    whole = figure.split == "OOD" or figure.model != "MPLMM"
    return figure.model if whole else ROWS_OF_MPLMM[figure.pattern]


def key(figure: Published, model: str, condition: str) -> tuple[str, ...]:
    pattern = figure.pattern if condition.startswith("rate") else "complete"
    return model, condition, pattern, figure.dataset, figure.split, figure.alignment, figure.metric


VALUES = {
    key(figure, figure.model, figure.condition): figure.value for figure in FIGURES if figure.condition != "AUILC"
}


def recompute(area: Published, name: Names) -> float | None:
    complete = VALUES.get(key(area, name(area), "full"))
    if complete is None:
        return None
    missing = [VALUES[key(area, area.model, f"rate={rate:.1f}")] for rate in RATES[1:]]
    metric = AUILC()
    metric.update(torch.tensor(RATES), torch.tensor([complete, *missing]))
    return metric.compute().item()


def checked(tables: tuple[str, ...], name: Names) -> tuple[int, list[Published], set[tuple[str, ...]]]:
    """How many areas agree, those that do not, and those that cannot be recomputed."""
    agree = 0
    disagree: list[Published] = []
    unknown: set[tuple[str, ...]] = set()
    for area in AREAS:
        if area.table in tables:
            found = recompute(area, name)
            if found is None:
                unknown.add((area.model, area.dataset, area.split, area.pattern, area.metric))
            elif found == pytest.approx(area.value, abs=0.1):
                agree += 1
            else:
                disagree.append(area)
    return agree, disagree, unknown


def test_table_iv() -> None:
    agree, disagree, unknown = checked(("IV",), own_name)
    assert (agree, disagree) == (138, [])
    assert unknown == {
        ("MPLMM", "CMU-MOSI", "IID", "RMFM", "Acc2"),
        ("MPLMM", "CMU-MOSI", "IID", "RMFM", "F1"),
        ("MPLMM", "CMU-MOSI", "IID", "RMFM", "Acc7"),
        ("MPLMM", "CMU-MOSEI", "IID", "RMFM", "Acc2"),
        ("MPLMM", "CMU-MOSEI", "IID", "RMFM", "F1"),
        ("MPLMM", "CMU-MOSEI", "IID", "RMFM", "Acc7"),
    }


def test_tables_vii_and_viii() -> None:
    agree, disagree, unknown = checked(("VII", "VIII"), own_name)
    assert (agree, disagree) == (150, [])
    patterns, metrics = ("TraditionalRMFM", "RMM", "TMFM", "STMFM"), ("Acc2", "F1", "Acc7")
    assert unknown == {("MPLMM", "CMU-MOSI", "IID", pattern, m) for pattern in patterns for m in metrics}


def test_with_the_rows_of_mplmm_every_area_agrees() -> None:
    assert checked(("IV", "VII", "VIII"), row_label) == (306, [], set())
