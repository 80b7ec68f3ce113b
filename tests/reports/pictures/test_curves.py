from pathlib import Path

import numpy as np
import pytest
from report_toys import RATES, write_run

from mer_zoo.reports.groups import group_runs
from mer_zoo.reports.pictures.curves import curve_picture
from mer_zoo.reports.record import find_results


def test_a_panel_for_each_curve_and_a_line_for_each_model(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path / f"a{seed}", seed=seed, curves=["RMFM", "RMM", "ood RMFM"])
        write_run(tmp_path / f"b{seed}", model="MSSD(MulT)", seed=seed, curves=["RMFM"])
    groups = group_runs(find_results([tmp_path]))
    figure = curve_picture(groups, "Acc3", "title")
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert list(panels) == ["RMFM", "RMM", "ood RMFM"]
    assert [len(axes.lines) for axes in panels.values()] == [2, 1, 1]
    for line, group in zip(panels["RMFM"].lines, groups, strict=True):
        assert np.asarray(line.get_xdata()).tolist() == [0.0, *RATES]
        expected = [group.at_rate("RMFM", rate, "Acc3")[0] for rate in [0.0, *RATES]]
        assert np.asarray(line.get_ydata()).tolist() == pytest.approx(expected)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["MulT", "MSSD(MulT)"]


def test_of_very_many_curves_the_first_are_drawn(tmp_path: Path) -> None:
    folder = write_run(tmp_path, sets=[], curves=[f"P{number} RMFM" for number in range(42)])
    figure = curve_picture(group_runs(find_results([folder])), "Acc3", "Test")
    assert len(figure.axes) == 40
    assert any("the first 40 of 42 patterns" in text.get_text() for text in figure.texts)
