from pathlib import Path

import pytest
from matplotlib import image
from report_toys import SETS, content

from mer_zoo.reports import load_results, write_results
from mer_zoo.reports.run import condition_table, gap_table


def test_files_of_a_run(tmp_path: Path) -> None:
    results, scores = content(notes=["vision is absent in every sample"])
    write_results(tmp_path, results, scores)
    assert {path.name for path in tmp_path.iterdir()} == {
        "results.json",
        "results.md",
        "scores.safetensors",
        "conditions.png",
    }
    text = (tmp_path / "results.md").read_text()
    assert text.startswith("# MulT\n")
    assert "Note: vision is absent in every sample" in text
    assert "mmsa" in text
    picture = image.imread(tmp_path / "conditions.png")
    assert picture.shape[1] > 1000
    assert picture.std() > 0.01


def test_rows_and_columns(tmp_path: Path) -> None:
    results, scores = content()
    write_results(tmp_path, results, scores, pictures=False)
    table = condition_table(load_results(tmp_path))
    assert list(table.header[:4]) == ["condition", "samples", "Acc2_non0", "F1_non0"]
    assert "loss" not in table.header
    names = [row[0] for row in table.rows]
    # each split's baselines stand below its conditions
    assert names == [
        *("IID", *SETS, "majority class (test_iid)", "best constant (test_iid)"),
        *("OOD", "majority class (test_ood)", "best constant (test_ood)"),
    ]
    iid = results["conditions"]["iid"]
    assert table.rows[0][2] == f"{100 * iid['metrics']['Acc2_non0']:.1f}"
    assert table.rows[7][2] == f"{100 * iid['majority']['Acc2_non0']:.1f}"


def test_gaps_are_against_the_same_split(tmp_path: Path) -> None:
    results, scores = content()
    write_results(tmp_path, results, scores, pictures=False)
    table = gap_table(load_results(tmp_path))
    assert table is not None
    assert list(table.header) == ["metric", *SETS, "mean", "std"]
    row = dict(zip(table.header, next(row for row in table.rows if row[0] == "Acc3"), strict=True))
    value = {name: entry["metrics"]["Acc3"] for name, entry in results["conditions"].items()}
    gaps = [100 * (value[name] - value["iid"]) for name in SETS]
    assert [float(row[name]) for name in SETS] == pytest.approx(gaps, abs=0.051)
    assert float(row["mean"]) == pytest.approx(sum(gaps) / 6, abs=0.051)


def test_regression_units(tmp_path: Path) -> None:
    results, scores = content(task="regression")
    write_results(tmp_path, results, scores, pictures=False)
    table = condition_table(load_results(tmp_path))
    cells = dict(zip(table.header, table.rows[0], strict=True))
    assert cells["MAE"] == f"{results['conditions']['iid']['metrics']['MAE']:.3f}"


def test_without_missing_modalities_there_is_no_gap_table(tmp_path: Path) -> None:
    results, scores = content()
    for name in SETS:
        del results["conditions"][name], scores[name]
    write_results(tmp_path, results, scores, pictures=False)
    assert gap_table(load_results(tmp_path)) is None
    assert "Drop gap" not in (tmp_path / "results.md").read_text()
