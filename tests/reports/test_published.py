import pytest

from mer_zoo.functional.metrics import drop_gap
from mer_zoo.reports import published

SETS = ["{l}", "{a}", "{v}", "{l,a}", "{l,v}", "{a,v}"]


def test_all_figures_are_there() -> None:
    assert len(published()) == 4587
    assert {figure.source for figure in published()} == {"CIDer", "CausalMER", "CUMDF"}
    assert {figure.condition for figure in published(metric="Acc7_drop")} == {*SETS, "mean", "std"}


def test_text_has_one_letter() -> None:
    assert published("MulT (reimplemented)", "MOSEI", "Acc7_drop", "{l,v}")
    assert not [figure for figure in published() if figure.condition.startswith("{") and "t" in figure.condition]


def printed_drops() -> dict[tuple[str, str], dict[str, float]]:
    """Table and model of CausalMER's Tables 3 and 4 -> the drop of each set, their mean and deviation."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for figure in published():
        if figure.source == "CausalMER" and figure.metric.endswith("_drop"):
            found.setdefault((figure.table, figure.model), {})[figure.condition] = figure.value
    return found


def test_every_printed_deviation_comes_out() -> None:
    tables = printed_drops()
    assert [table for table, _ in tables] == ["3"] * 2 + ["4"] * 13
    gaps = {row: drop_gap({name: drops[name] for name in SETS}, 0.0) for row, drops in tables.items()}
    assert all(gap.std is not None for gap in gaps.values())
    ours = {row: round(gap.std or 0.0, 1) for row, gap in gaps.items()}
    assert ours == {row: drops["std"] for row, drops in tables.items()}
    for row, drops in tables.items():
        assert gaps[row].mean == pytest.approx(drops["mean"], abs=0.051)
