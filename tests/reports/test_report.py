import csv
import io
import json
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
import torch
from report_toys import RATES, SETS, content, write_run
from rich.console import Console
from torchmetrics import Metric

from mer_zoo.errors import MERError
from mer_zoo.metrics import paired_bootstrap, paired_bootstrap_area
from mer_zoo.metrics.resampling import values_of
from mer_zoo.reports import load_results, write_results
from mer_zoo.reports.report import Report, main, report
from mer_zoo.reports.robustness import summarize
from mer_zoo.task import build_task


def quiet(*paths: Path, dest: Path | None = None, metric: str | None = None, published: bool = False) -> Report:
    console = Console(file=io.StringIO(), width=200)
    return report(paths, dest, metric, published, samples=50, console=console)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for seed in range(2):
        write_run(folder / f"mult{seed}", seed=seed)
        write_run(folder / f"debiased{seed}", model="CausalMER(MulT)", seed=seed, strength=3.0, notes=["a note"])
    return folder


def test_tables(runs: Path) -> None:
    made = quiet(runs)
    comparison, gaps, differences, intervals, *_ = made.tables
    assert list(comparison.header) == ["model", "runs", "IID", "OOD", *SETS]
    assert [row[:2] for row in comparison.rows] == [["MulT", "2"], ["CausalMER(MulT)", "2"], ["majority class", ""]]
    values = [100 * load_results(runs / f"mult{seed}").conditions["ood"].metrics["Acc2_non0"] for seed in (0, 1)]
    mean, deviation = torch.tensor(values).mean().item(), torch.tensor(values).std().item()
    assert comparison.rows[0][3] == f"{mean:.1f} ±{deviation:.1f}"
    majority = load_results(runs / "mult0").conditions["ood"].majority["Acc2_non0"]
    assert comparison.rows[2][3] == f"{100 * majority:.1f}"
    assert "CausalMER(MulT): a note" in comparison.notes
    assert list(gaps.header) == ["model", *SETS, "mean", "std"]
    assert list(differences.header) == list(intervals.header) == ["model", "IID", "OOD"]
    assert [row[0] for row in intervals.rows] == ["MulT", "CausalMER(MulT)"]


def test_difference_is_the_paired_bootstrap(tmp_path: Path) -> None:
    first, second = content(strength=0.5), content(model="Other", strength=2.5)
    for name, (results, scores) in (("a", first), ("b", second)):
        write_results(tmp_path / name, results, scores, pictures=False)
    row = quiet(tmp_path / "a", tmp_path / "b", metric="Acc3").tables[2].rows[0]
    a, b = first[1]["iid"], second[1]["iid"]
    interval = paired_bootstrap(build_task("binary").metrics()["Acc3"], b.logits, a.logits, a.target, 50)
    ends = f"[{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
    assert row[:2] == ["Other", f"{100 * interval.difference:+.1f}* {ends}"]


def test_no_difference_without_the_same_samples(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", model="Other", size=50)
    write_run(tmp_path / "c", model="Third")
    (tmp_path / "c" / "scores.safetensors").unlink()
    assert [table.title for table in quiet(tmp_path).tables] == [
        "Acc2_non0 in percent",
        "Drop gap of Acc2_non0, percentage points",
        "Acc2_non0 with its interval, percent",
        "Contribution of each modality to right predictions, by Acc3",
        "What each modality adds to Acc2_non0, percentage points",
    ]
    (tmp_path / "c" / "scores.safetensors").write_bytes(b"rubbish")
    with pytest.raises(MERError, match=r"scores.safetensors can't be read .* delete it or write it anew"):
        quiet(tmp_path)


def test_difference_in_area(tmp_path: Path) -> None:
    runs = {"a": content(strength=0.5, curves=["RMFM"]), "b": content(model="Other", strength=2.5, curves=["RMFM"])}
    for name, (results, scores) in runs.items():
        write_results(tmp_path / name, results, scores, pictures=False)
    table = {table.title: table for table in quiet(tmp_path, metric="Acc3").tables}[
        "Acc3 minus that of MulT, percentage points"
    ]
    assert list(table.header) == ["model", "IID", "OOD", "AUILC RMFM"]
    first, second = (summarize(load_results(tmp_path / name))["auilc"]["RMFM"]["Acc3"] for name in "ab")
    assert float(table.rows[0][3].split("*")[0]) == pytest.approx(100 * (second - first), abs=0.051)
    rates = [0.0, *RATES]
    names = ["iid", *(f"RMFM {rate}" for rate in RATES)]
    a, b = ([runs[run][1][name].logits for name in names] for run in "ab")
    interval = paired_bootstrap_area(
        build_task("binary").metrics()["Acc3"], rates, b, a, runs["a"][1]["iid"].target, 50
    )
    assert f"[{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]" in table.rows[0][3]


def test_no_interval_where_the_scores_are_not_those_reported(tmp_path: Path) -> None:
    """As with an oracle, which takes the best of several scores for every metric."""
    write_run(tmp_path / "a")
    results, scores = content(model="MACI[oracle tau](MulT)", strength=3.0)
    results["conditions"]["iid"]["metrics"]["Acc3"] += 0.05
    write_results(tmp_path / "b", results, scores, pictures=False)
    table = quiet(tmp_path, metric="Acc3").tables[2]
    assert table.rows[0][1] == "-"
    assert table.rows[0][2] != "-"
    assert "oracles" in table.notes[1]


def test_different_data_have_their_own_majority(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", data={"corpus": "MOSI"}, size=45)
    rows = [row[0] for row in quiet(tmp_path).tables[0].rows]
    assert rows[2:] == [
        "majority class (data of MulT · SyntheticMER)",
        "majority class (data of MulT · MOSI)",
    ]


def test_published_figures(tmp_path: Path) -> None:
    data = {"corpus": "MOSEI", "modalities": ["text", "audio", "vision"]}
    write_run(tmp_path / "a", task="seven", data=data)
    made = quiet(tmp_path, published=True)
    table = made.tables[-1]
    assert table.title == "Printed in the papers"
    ours = {row[0]: row for row in made.tables[1].rows}["MulT"]
    rows = {(row[1], row[3]): row for row in table.rows}
    row = rows["CausalMER, table 4, aligned", "Acc7_drop IID {l,v}"]
    assert row[2:] == ["MulT (reimplemented)", "Acc7_drop IID {l,v}", "0.3", ours[1 + SETS.index("{l,v}")]]
    write_run(tmp_path / "a", task="seven")
    unknown = quiet(tmp_path, published=True)
    assert (
        unknown.tables[0]
        .notes[-1]
        .startswith(
            "The papers print no Acc7 that could stand beside these; looked for: MulT on SyntheticMER,"
            " called MulT (CausalMER), MulT (reimplemented) (CausalMER); under "
        )
    )


def test_command_line(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(runs), "--metric", "F1_has0", "--out", str(tmp_path / "out"), "--bootstrap", "20"])
    printed = capsys.readouterr().out
    assert "CausalMER(MulT)" in printed
    assert max(map(len, printed.splitlines())) > 100  # a pipe's 80 columns would break the cells
    text = (tmp_path / "out" / "report.md").read_text()
    assert text.startswith("# Comparison by F1_has0")
    assert "| MulT | 2 |" in text
    assert (tmp_path / "out" / "report.png").stat().st_size > 10_000
    with pytest.raises(MERError, match="--bootstrap is -1"):
        main([str(runs), "--bootstrap", "-1"])
    with pytest.raises(MERError, match="not every run has the metric 'Acc9'"):
        main([str(runs), "--metric", "Acc9"])


def test_one_run_without_destination(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "only")
    before = sorted(tmp_path.rglob("*"))
    made = quiet(folder)
    assert [row[0] for row in made.tables[0].rows] == ["MulT", "majority class"]
    assert "±" not in made.tables[0].rows[0][2]
    assert sorted(tmp_path.rglob("*")) == before


def test_areas_over_seeds(tmp_path: Path) -> None:
    label = "MACI[oracle tau](MulT)"
    for seed in range(3):
        write_run(tmp_path / f"a{seed}", seed=seed, curves=["RMFM", "RMM"])
        options: dict[str, Any] = {"notes": ["chosen on the test split"], "diagnostics": {"maci/tau": 0.1 * seed}}
        write_run(tmp_path / f"b{seed}", model=label, seed=seed, strength=3.0, curves=["RMFM"], **options)
    made = quiet(tmp_path, dest=tmp_path / "out", metric="Acc3")
    tables = {table.title: table for table in made.tables}
    areas = tables["AUILC of Acc3 in percent"]
    assert list(areas.header) == ["model", "RMFM", "RMM"]
    runs = [load_results(tmp_path / f"a{seed}") for seed in range(3)]
    values = [100 * summarize(run)["auilc"]["RMFM"]["Acc3"] for run in runs]
    assert areas.rows[0][:2] == ["MulT", f"{fmean(values):.1f} ±{stdev(values):.1f}"]
    assert areas.rows[1][0] == label
    assert areas.rows[1][2] == "-"
    rates = tables["Acc3 in percent at each missing rate, RMFM"]
    points = [100 * run.conditions["RMFM 0.3"].metrics["Acc3"] for run in runs]
    assert rates.rows[0][4] == f"{fmean(points):.1f} ±{stdev(points):.1f}"
    assert rates.header[4] == "0.3"
    # the comparison itself keeps to the other conditions
    assert list(made.tables[0].header) == ["model", "runs", "IID", "OOD", *SETS]
    assert tables["Diagnostics"].rows == [[label, "0.100 ±0.100"]]
    assert all(any(label in cell for cell in row) for table in made.tables for row in table.rows if "MACI" in row[0])
    assert f"{label}: chosen on the test split" in made.tables[0].notes
    assert (tmp_path / "out" / "robustness.png").stat().st_size > 10_000
    assert "(robustness.png)" in (tmp_path / "out" / "report.md").read_text()


def test_gaps_on_another_split(tmp_path: Path) -> None:
    write_run(tmp_path / "a", sets=[*SETS, "ood {l}"])
    gaps = quiet(tmp_path).tables[1]
    assert [row[0] for row in gaps.rows] == ["MulT", "MulT on ood"]
    assert list(gaps.header) == ["model", *SETS, "mean", "std"]
    assert gaps.rows[1][2:7] == ["-"] * 5
    assert gaps.rows[1][1] == gaps.rows[1][7]


def test_published_areas(tmp_path: Path) -> None:
    write_run(tmp_path / "a", model="MACI[oracle tau](DLF)", data={"corpus": "MOSI"}, curves=["RMFM", "ood RMFM"])
    made = quiet(tmp_path, published=True)
    tables = {table.title: table for table in made.tables}
    rows = {(row[1], row[3]): row for row in tables["Printed in the papers"].rows}
    areas = tables["AUILC of Acc2_non0 in percent"].rows[0]
    assert rows["CIDer, table IV, unaligned", "Acc2 IID RMFM AUILC"][-1] == areas[1]
    assert rows["CIDer, table IV, unaligned", "Acc2 OOD RMFM AUILC"][-1] == areas[2]
    point = tables["Acc2_non0 in percent at each missing rate, RMFM"].rows[0][4]
    assert rows["CIDer, table XIII, unaligned", "Acc2 IID RMFM rate=0.3"][-1] == point
    (note,) = tables["Printed in the papers"].notes
    assert note.startswith(
        "OOD: the paper's splits shift the words and the labels. Those of mer-zoo split-ood are other"
    )
    write_run(tmp_path / "a", model="MACI[oracle tau](DLF)", data={"corpus": "MOSI"}, curves=["RMFM"])
    results = json.loads((tmp_path / "a" / "results.json").read_text())
    del results["conditions"]["ood"]
    (tmp_path / "a" / "results.json").write_text(json.dumps(results))
    tables = {table.title: table for table in quiet(tmp_path, published=True).tables}
    assert not tables["Printed in the papers"].notes


def test_several_metrics_stand_side_by_side_and_in_a_file(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(runs / name) for name in ("mult0", "debiased0")]
    metrics, out = ["Acc2_non0", "F1_non0", "Acc3"], tmp_path / "out"
    main([*paths, "--metric", ",".join(metrics), "--names", "plain,ours", "--out", str(out), "--bootstrap", "0"])
    text = (out / "report.md").read_text()
    assert "**IID**\n\n| model | runs | Acc2_non0 | F1_non0 | Acc3 |" in text.replace("\\", "")
    assert "plain" in capsys.readouterr().out
    with (out / "report.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["model"] for row in rows} == {"plain", "ours"}
    assert list(dict.fromkeys(row["metric"] for row in rows)) == metrics
    for row in rows:
        condition = load_results(runs / {"plain": "mult0", "ours": "debiased0"}[row["model"]]).conditions[
            row["condition"]
        ]
        assert float(row["mean"]) == condition.metrics[row["metric"]]
        assert row["deviation"] == ""
    table = report(list(map(Path, paths)), metric=metrics, samples=0, console=Console(quiet=True)).tables[0]
    assert table.title == "IID"
    accuracy = load_results(runs / "mult0").conditions["iid"].metrics["Acc3"]
    assert [row[4] for row in table.rows if row[0] == "MulT"] == [f"{100 * accuracy:.1f}"]
    with pytest.raises(MERError, match="not every run has the metric 'Acc9'"):
        main([*paths, "--metric", "Acc3,Acc9"])


def test_published_ablations_are_told_by_their_options(tmp_path: Path) -> None:
    def rows(**options: Any) -> set[str]:
        model = "MSSD(MACI(CIDerNet))"
        write_run(tmp_path / "a", model=model, data={"corpus": "MOSI"}, curves=["ood RMFM"])
        path = tmp_path / "a" / "results.json"
        names = ("MSSD", "MACI", "CIDerNet")
        nest = [{"class": name, "options": options.get(name, {})} for name in names]
        path.write_text(json.dumps({**json.loads(path.read_text()), "nest": nest}))
        tables = {table.title: table for table in quiet(tmp_path, published=True).tables}
        printed = tables["Printed in the papers"].rows if "Printed in the papers" in tables else []
        return {row[2] for row in printed if "table V," in row[1]}

    assert rows() == {"CIDer"}
    assert rows(MACI={"labels": False}) == {"w/o MCM"}
    assert rows(CIDerNet={"wsam": False}, MSSD={"alpha": 0.1}) == {"w/o WSAM"}
    assert rows(CIDerNet={"wsam": False}, MSSD={"alpha": 0}) == set()


def clustered(tmp_path: Path, ids: list[str] | None = None) -> Path:
    for name, (results, scores) in {"a": content(strength=0.5), "b": content(model="Other", strength=2.5)}.items():
        for part in scores.values():
            part.ids = [f"clip{i // 6}$_${i}" for i in range(len(part))] if ids is None else ids
        write_results(tmp_path / name, results, scores, pictures=False)
    return tmp_path


def difference_of(folder: Path, cluster: str = "recording") -> tuple[str, str]:
    made = report([folder], samples=50, console=Console(file=io.StringIO()), cluster=cluster)
    table = next(table for table in made.tables if " minus that of " in table.title)
    return table.rows[0][1], table.notes[0]


def test_whole_recordings_are_drawn(tmp_path: Path) -> None:
    folder = clustered(tmp_path)
    by_recording, note = difference_of(folder)
    assert "whole recordings are drawn, of 10; fewer than 20 say little about others" in note
    alone, note = difference_of(folder, "none")
    assert "taken for independent, as asked" in note
    assert by_recording.split(" ")[0].strip("*") == alone.split(" ")[0].strip("*")
    assert by_recording != alone


def test_groups_of_a_file_are_drawn(tmp_path: Path) -> None:
    folder = clustered(tmp_path)
    file = tmp_path / "speakers.csv"
    lines = [f"clip{i // 6}$_${i},{i // 6}" for i in range(60)]
    file.write_text("\n".join(["id,speaker", *lines]), encoding="utf-8")
    assert difference_of(folder, str(file))[0] == difference_of(folder)[0]
    file.write_text("\n".join(["id,speaker", *lines[:-2]]), encoding="utf-8")
    with pytest.raises(
        MERError, match=r"has no group for 2 samples of the test, 'clip9\$_\$58' for one; give it a line"
    ):
        difference_of(folder, str(file))


def test_runs_without_ids_are_told(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", model="Other", strength=2.5)
    assert "taken for independent, as their ids tell no recording" in difference_of(tmp_path)[1]
    (tmp_path / "speakers.csv").write_text("id,speaker\n1,2\n")
    with pytest.raises(MERError, match="kept no ids; test it again"):
        difference_of(tmp_path, str(tmp_path / "speakers.csv"))


def test_ids_that_are_not_those_of_the_samples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MERError, match="have 2 ids for 60 samples; delete it or write it anew"):
        difference_of(clustered(tmp_path, ["a$_$1", "b$_$1"]))


def test_the_best_are_marked_with_ties(tmp_path: Path) -> None:
    write_run(tmp_path / "a", strength=0.2)
    write_run(tmp_path / "b", model="Twin", strength=6.0)
    write_run(tmp_path / "c", model="Best", strength=6.5)
    write_run(tmp_path / "d", model="Next", strength=0.9)
    table = quiet(tmp_path, metric="Acc3").tables[0]
    assert {row for row, column in table.best if column == 2} == {1, 2}
    assert {row for row, column in table.second if column == 2} == {3}
    twin, worst = table.rows[1][2], table.rows[0][2]
    assert f"| **{twin}** |" in table.markdown()
    assert f"| {worst} |" in table.markdown()
    assert f"& \\textbf{{{twin}}} &" in table.latex()
    assert table.transposed().best == {(column - 1, row + 1) for row, column in table.best}
    assert "does not differ from it" in table.notes[-1]


def test_without_resamplings_only_the_best_value_is_bold(tmp_path: Path) -> None:
    write_run(tmp_path / "a", strength=0.2)
    write_run(tmp_path / "b", model="Best", strength=0.9)
    made = report([tmp_path], samples=0, metric="Acc3", console=Console(quiet=True))
    values = {row[0]: float(row[2]) for row in made.tables[0].rows[:2]}
    rows = [row for row, column in made.tables[0].best if column == 2]
    assert [made.tables[0].rows[row][0] for row in rows] == [max(values, key=values.__getitem__)]


def test_one_model_has_no_best(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    table = quiet(tmp_path).tables[0]
    assert not table.best
    assert "**" not in table.markdown().split("\n", 1)[1]


def test_latex_is_written_and_holds_no_command_of_a_file(tmp_path: Path) -> None:
    write_run(tmp_path / "a", notes=["\\input{/etc/passwd} 50 % & more"])
    main([str(tmp_path / "a"), "--bootstrap", "0", "--latex", str(tmp_path / "tables.tex")])
    text = (tmp_path / "tables.tex").read_text()
    assert text.startswith("% needs \\usepackage{booktabs}\n")
    assert "\\input" not in text.replace("\\textbackslash{}input", "")
    assert "\\textbackslash{}input\\{/etc/passwd\\} 50 \\% \\& more" in text
    assert text.count("\\begin{tabular}") == text.count("\\end{tabular}") == text.count("\\toprule") > 1
    for line in text.splitlines():
        assert line.replace("\\{", "").count("{") == line.replace("\\}", "").count("}"), line


def drawn(seed: int, **options: Any) -> dict[str, Any]:
    """Options of a run whose test samples were drawn with its seed."""
    source = f"SyntheticMER(rho=0.9, sarcasm=0.1, seed={seed})"
    return {"seed": seed, "draw": seed, "data": {"corpus": "SyntheticMER", "source": source}, **options}


def test_seeds_with_test_samples_of_their_own(tmp_path: Path) -> None:
    given = {}
    for seed in range(3):
        for model, strength in (("MulT", 0.5), ("Other", 2.5)):
            results, scores = given[model, seed] = content(**drawn(seed, model=model, strength=strength))
            write_results(tmp_path / f"{model}{seed}", results, scores, pictures=False)
    made = quiet(tmp_path, metric="Acc3")
    comparison, _, differences, intervals, *_ = made.tables
    assert [row[:2] for row in comparison.rows] == [["MulT", "3"], ["Other", "3"], ["majority class", ""]]
    a, b = ([given[model, seed][1]["iid"] for seed in range(3)] for model in ("MulT", "Other"))
    found = paired_bootstrap(
        build_task("binary").metrics()["Acc3"],
        [one.logits for one in b],
        [one.logits for one in a],
        [one.target for one in a],
    )
    ends = f"[{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
    star = "*" if found.p < 0.025 else ""  # Holm's, of the table's two
    assert differences.rows[0][:2] == ["Other", f"{100 * found.difference:+.1f}{star} {ends}"]
    assert "each seed has test samples of its own" in differences.notes[0]
    assert "each seed has test samples of its own" in intervals.notes[0]


def test_corpora_that_are_not_one_a_seed_stand_apart(tmp_path: Path) -> None:
    for draw in range(2):
        for seed in range(2):
            write_run(tmp_path / f"{draw}{seed}", **{**drawn(draw), "seed": seed})
    rows = [row[:2] for row in quiet(tmp_path).tables[0].rows[:2]]
    assert [row[1] for row in rows] == ["2", "2"]
    assert "seed=0" in rows[0][0]
    assert "seed=1" in rows[1][0]


def test_a_model_is_resampled_once_under_each_condition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MulT", "Other", "Third"):
        write_run(tmp_path / name, model=name, sets=["{l}"])
    asked: list[int] = []

    def counted(metric: Metric, *given: torch.Tensor) -> torch.Tensor:
        asked.append(1)
        return values_of(metric, *given)

    monkeypatch.setattr("mer_zoo.metrics.resampling.values_of", counted)
    quiet(tmp_path, metric="Acc3")
    assert len(asked) == 3 * 3  # models, conditions
