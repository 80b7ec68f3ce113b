from statistics import pstdev

import pytest

from mer_zoo.functional.metrics import auilc, drop_gap
from mer_zoo.reports import published
from mer_zoo.reports.published import paper_models

SETS = ["{l}", "{a}", "{v}", "{l,a}", "{l,v}", "{a,v}"]


def test_all_figures_are_there() -> None:
    assert len(published()) == 4587
    assert {figure.source for figure in published()} == {"CIDer", "CausalMER", "CUMDF"}
    assert {figure.condition for figure in published(metric="Acc7_drop")} == {*SETS, "mean", "std"}


def test_text_has_one_letter() -> None:
    assert published("MulT (reimplemented)", "MOSEI", "Acc7_drop", "{l,v}")
    assert not [figure for figure in published() if figure.condition.startswith("{") and "t" in figure.condition]


@pytest.mark.parametrize("model", ["MulT", "CausalMER(MulT)", "CausalMER(PMR)", "DMD"])
def test_drop_gap_against_the_papers_mean(model: str) -> None:
    name = paper_models(model)[-1]
    drops = {figure.condition: figure.value for figure in published(name, "MOSEI", "Acc7_drop")}
    gap = drop_gap({key: drops[key] for key in SETS}, 0.0)
    assert gap.mean == pytest.approx(drops["mean"], abs=0.051)
    # the papers' deviation divides by five; the protocol's by six
    assert gap.sample_std == pytest.approx(drops["std"], abs=0.051)
    assert gap.std == pytest.approx(pstdev(drops[key] for key in SETS))


def test_auilc_against_the_papers() -> None:
    # in the robustness table the complete value stands apart, under another pattern
    curve = {
        f.condition: f.value for f in published("CIDer", "CMU-MOSI", "Acc2") if (f.split, f.table) == ("OOD", "XVII")
    }
    rates = [k / 10 for k in range(1, 11)]
    values = [curve[f"rate={rate:.1f}"] for rate in rates]
    complete = next(f.value for f in published("CIDer", "CMU-MOSI", "Acc2", "full") if f.split == "OOD")
    expected = next(f.value for f in published("CIDer", "CMU-MOSI", "Acc2", "AUILC") if f.split == "OOD")
    assert auilc([0.0, *rates], [complete, *values]) == pytest.approx(expected, abs=0.1)
