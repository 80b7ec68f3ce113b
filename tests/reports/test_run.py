import json
from pathlib import Path
from statistics import fmean, stdev

import pytest
from matplotlib import image
from report_toys import RATES, SETS, content

from mer_zoo.functional.metrics import auilc
from mer_zoo.reports import load_results, show_results, write_results
from mer_zoo.reports.run import condition_table, curve_tables, gap_table
from mer_zoo.text import in_markdown


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


def test_the_deviation_of_one_set_is_none(tmp_path: Path) -> None:
    results, scores = content(sets=["{l}"])
    write_results(tmp_path, results, scores, pictures=False)
    assert json.loads((tmp_path / "results.json").read_text())["summary"]["drop_gap"]["iid"]["Acc3"]["std"] is None
    table = gap_table(load_results(tmp_path))
    assert table is not None
    assert {row[-1] for row in table.rows} == {"-"}


def test_regression_units(tmp_path: Path) -> None:
    results, scores = content(task="regression")
    write_results(tmp_path, results, scores, pictures=False)
    table = condition_table(load_results(tmp_path))
    cells = dict(zip(table.header, table.rows[0], strict=True))
    assert cells["MAE"] == f"{results['conditions']['iid']['metrics']['MAE']:.3f}"


def test_curves_of_a_run(tmp_path: Path) -> None:
    results, scores = content(curves=["RMFM", "ood RMM"])
    write_results(tmp_path, results, scores)
    run = load_results(tmp_path)
    # points of curves have tables of their own
    assert [row[0] for row in condition_table(run).rows][:2] == ["IID", "{l}"]
    first, second = curve_tables(run)
    assert (first.title, second.title) == (
        "MulT at each missing rate, RMFM",
        "MulT at each missing rate, ood RMM",
    )
    assert list(first.header) == ["metric", "AUILC", "0.0", *map(str, RATES)]
    curve = [results["conditions"][name]["metrics"]["Acc3"] for name in ("iid", *(f"RMFM {rate}" for rate in RATES))]
    row = next(row for row in first.rows if row[0] == "Acc3")
    area = auilc([0.0, *RATES], curve)
    assert row[1:] == [f"{100 * value:.1f}" for value in (area, *curve)]
    # the other split's curve starts at that split's complete value
    ood = next(row for row in second.rows if row[0] == "Acc3")
    assert ood[2] == f"{100 * results['conditions']['ood']['metrics']['Acc3']:.1f}"
    text = (tmp_path / "results.md").read_text()
    assert first.markdown() in text
    assert "(robustness.png)" in text
    assert image.imread(tmp_path / "robustness.png").std() > 0.01


def test_summary(tmp_path: Path) -> None:
    results, scores = content(curves=["RMFM"], sets=[*SETS, "ood {l}", "ood {a}"])
    write_results(tmp_path, results, scores, pictures=False)
    summary = json.loads((tmp_path / "results.json").read_text())["summary"]
    value = {name: entry["metrics"]["Acc3"] for name, entry in results["conditions"].items()}
    curve = [value["iid"], *(value[f"RMFM {rate}"] for rate in RATES)]
    assert summary["auilc"]["RMFM"]["Acc3"] == pytest.approx(auilc([0.0, *RATES], curve), abs=1e-6)
    assert "loss" not in summary["auilc"]["RMFM"]
    gaps = [value[name] - value["iid"] for name in SETS]
    found = summary["drop_gap"]["iid"]["Acc3"]
    assert [found[name] for name in SETS] == pytest.approx(gaps, abs=1e-6)
    assert (found["mean"], found["std"]) == pytest.approx((fmean(gaps), stdev(gaps)), abs=1e-6)
    other = summary["drop_gap"]["ood"]["Acc3"]
    assert other["{a}"] == pytest.approx(value["ood {a}"] - value["ood"], abs=1e-6)
    assert set(other) == {"{l}", "{a}", "mean", "std"}
    table = gap_table(load_results(tmp_path))
    assert table is not None
    row = next(row for row in table.rows if row[0] == "Acc3 on ood")
    assert row[1:3] == [f"{100 * other[name]:+.1f}" for name in ("{l}", "{a}")]


def test_part_of_a_curve_has_no_area(tmp_path: Path) -> None:
    results, scores = content(curves=["RMFM"])
    del results["conditions"]["RMFM 1.0"], scores["RMFM 1.0"]
    write_results(tmp_path / "part", results, scores, pictures=False)
    (table,) = curve_tables(load_results(tmp_path / "part"))
    assert table.rows[0][1] == "-"
    for rate in RATES[1:-1]:
        del results["conditions"][f"RMFM {rate}"], scores[f"RMFM {rate}"]
    for name in ("iid", *SETS):  # without the complete split there is no rate 0
        del results["conditions"][name], scores[name]
    write_results(tmp_path / "one", results, scores)
    run = load_results(tmp_path / "one")
    assert curve_tables(run) == []
    assert "RMFM 0.1" in [row[0] for row in condition_table(run).rows]


def test_an_oracle_is_labelled_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label, note = "MACI[oracle tau](CIDerNet)", "tau was chosen on the test split itself"
    results, scores = content(model=label, curves=["RMFM"], notes=[note], diagnostics={"maci/tau": 0.4})
    write_results(tmp_path, results, scores, pictures=False)
    text = (tmp_path / "results.md").read_text()
    show_results(tmp_path)
    printed = capsys.readouterr().out
    for shown, name in ((text, in_markdown(label)), (printed, label)):
        assert note in shown
        assert shown.count(name) >= 5  # every table's title
        assert "0.400" in shown
    titles = [line for line in text.splitlines() if line.startswith("**")]
    assert len(titles) == 6
    assert all(in_markdown(label) in title for title in titles)


def test_without_missing_modalities_there_is_no_gap_table(tmp_path: Path) -> None:
    results, scores = content()
    for name in SETS:
        del results["conditions"][name], scores[name]
    write_results(tmp_path, results, scores, pictures=False)
    assert gap_table(load_results(tmp_path)) is None
    assert "Drop gap" not in (tmp_path / "results.md").read_text()
