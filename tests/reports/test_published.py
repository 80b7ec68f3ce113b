from statistics import pstdev

import pytest

from mer_zoo.functional.metrics import drop_gap
from mer_zoo.reports import published
from mer_zoo.reports.published import printed_as

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
    drops = {figure.condition: figure.value for _, figure in printed_as(model) if figure.metric == "Acc7_drop"}
    gap = drop_gap({key: drops[key] for key in SETS}, 0.0)
    assert gap.mean == pytest.approx(drops["mean"], abs=0.051)
    # the papers' deviation divides by five; the protocol's by six
    assert gap.sample_std == pytest.approx(drops["std"], abs=0.051)
    assert gap.std == pytest.approx(pstdev(drops[key] for key in SETS))
