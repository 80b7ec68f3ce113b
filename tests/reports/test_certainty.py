"""How sure models are, in reports: tables with coverage and its intervals, and pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from report_toys import content, write_run
from rich.console import Console

from mer_zoo.errors import MERError
from mer_zoo.functional.calibration import reliability
from mer_zoo.reports import load_results, write_results
from mer_zoo.reports.certainty import calibration_table, coverage_table, judged
from mer_zoo.reports.clusters import Clusters
from mer_zoo.reports.groups import Group, conditions_of
from mer_zoo.reports.pictures.certainty import reliability_plot, risk_coverage_plot
from mer_zoo.reports.record import RunResults
from mer_zoo.reports.report import report
from mer_zoo.task import build_task
from mer_zoo.uncertainty import Thresholds, assess
from mer_zoo.uncertainty.thresholds import Limits

SETS = {"{l}": 1, "{l,a}": 3}  # of which {l,a} is not calibrated


def limits(task: str, wide: float) -> Limits:
    shape = build_task(task).shape[:-1]
    distance = None if build_task(task).is_classification else torch.tensor(2 * wide)
    return Limits(torch.full(shape, 1.5), torch.full(shape, 0.6), distance, 50)


def sure_run(folder: Path, seed: int = 0, task: str = "regression") -> RunResults:
    """A run whose test told how sure it was."""
    thresholds = Thresholds(0.9, "{l,a,v}", {"{l,a,v}": limits(task, 1.0), "{l}": limits(task, 2.0)})
    results, scores = content(task=task, seed=seed, sets=list(SETS))
    for name, one in scores.items():
        one.available = torch.full_like(one.index, SETS.get(name, 7))
        one.ids = [f"video{place // 3}$_${place}" for place in range(len(one))]
        found = assess(build_task(task), one, thresholds)
        results["conditions"][name]["uncertainty"] = {"level": 0.9, **found}
    results["calibration"] = thresholds.plain()
    write_results(folder, results, scores, pictures=False)
    return load_results(folder)


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Group:
    folder = tmp_path_factory.mktemp("runs")
    return Group("MulT", [sure_run(folder / str(seed), seed) for seed in (0, 1)])


def test_coverage_is_promised_where_it_was_calibrated_and_nowhere_else(group: Group) -> None:
    table = coverage_table([group], conditions_of(group.runs), 100, Clusters())
    assert table is not None
    assert [(row[1], row[2]) for row in table.rows] == [("IID", "yes"), ("OOD", "no"), ("{l}", "yes"), ("{l,a}", "no")]
    assert "whole recordings are drawn, of 20" in table.notes[1]


def test_a_cell_is_the_mean_over_runs_inside_its_interval(group: Group) -> None:
    table = coverage_table([group], conditions_of(group.runs), 100, Clusters())
    assert table is not None
    for row in table.rows:
        name = row[1].lower() if row[1].isalpha() else row[1]
        inside = [run.conditions[name].uncertainty["interval_coverage"] for run in group.runs]
        value, _, ends = row[5].partition(" ")
        low, high = json.loads(ends)
        assert float(value) == pytest.approx(50 * sum(inside), abs=0.051)
        assert low <= float(value) <= high
        assert low < high or low == 100
        assert float(row[6]) == (8.0 if name == "{l}" else 4.0)


def test_without_resamplings_there_are_no_intervals(group: Group) -> None:
    table = coverage_table([group], conditions_of(group.runs), 0, Clusters())
    assert table is not None
    assert not any("[" in cell for row in table.rows for cell in row)
    assert len(table.notes) == 1


def test_scores_of_another_level_have_no_interval(tmp_path: Path) -> None:
    run = sure_run(tmp_path)
    raw = json.loads(run.path.read_text())
    raw["calibration"]["groups"]["{l,a,v}"]["distance"] = 0.1  # as after a test of other conditions at another level
    run.path.write_text(json.dumps(raw))
    table = coverage_table([Group("MulT", [load_results(tmp_path)])], conditions_of([run])[:1], 50, Clusters())
    assert table is not None
    assert "[" in table.rows[0][3]
    assert "[" not in table.rows[0][5]


def test_a_report_has_both_tables_and_runs_from_before_have_none(tmp_path: Path) -> None:
    sure_run(tmp_path / "new", task="emotions")
    write_run(tmp_path / "old", task="emotions", sets=list(SETS))
    titles = [
        [table.title for table in report([tmp_path / name], samples=0, console=Console(quiet=True)).tables]
        for name in ("new", "old")
    ]
    wanted = ["Calibration and selective prediction", "Coverage of conformal sets and intervals at 90 %"]
    assert [title for title in titles[0] if title not in titles[1]] == wanted
    assert wanted[0] in (tmp_path / "new" / "results.md").read_text()
    old = Group("MulT", [load_results(tmp_path / "old")])
    assert calibration_table([old], conditions_of(old.runs)) is None
    assert reliability_plot([old], "old") is None
    assert risk_coverage_plot([old], "old") is None


def test_pictures_show_what_was_found(group: Group) -> None:
    figure, risk = reliability_plot([group], "MulT"), risk_coverage_plot([group], "MulT")
    assert figure is not None
    assert risk is not None
    found = judged(group, "iid")
    confidence, right = (torch.cat([getattr(one, name).flatten() for one in found]) for name in ("confidence", "right"))
    lines = {str(line.get_label()): line for line in figure.axes[0].get_lines()}
    expected = reliability(confidence, right)
    assert np.asarray(lines["MulT"].get_ydata()).tolist() == pytest.approx(expected.accuracy.tolist())
    assert "without temperature" in lines
    wrong = [1 - one.right.double().mean().item() for one in found]
    assert np.asarray(risk.axes[0].get_lines()[0].get_ydata())[-1] == pytest.approx(sum(wrong) / 2)


@pytest.mark.parametrize(("name", "value"), [("ECE", 1.5), ("set_coverage", -0.1), ("level", 90), ("sureness", 0.5)])
def test_odd_numbers_are_refused_by_name(tmp_path: Path, name: str, value: float) -> None:
    run = sure_run(tmp_path)
    raw = json.loads(run.path.read_text())
    raw["conditions"]["iid"]["uncertainty"][name] = value
    run.path.write_text(json.dumps(raw))
    with pytest.raises(MERError, match=f"uncertainty: {name} is"):
        load_results(tmp_path)
