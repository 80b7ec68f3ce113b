import io
from pathlib import Path

import pytest
import torch
from report_toys import SETS, content, write_run
from rich.console import Console

from mer_zoo.errors import MERError
from mer_zoo.metrics import paired_bootstrap
from mer_zoo.reports import load_results, write_results
from mer_zoo.reports.report import Report, main, report
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
    comparison, gaps, differences = made.tables
    assert list(comparison.header) == ["model", "runs", "IID", "OOD", *SETS]
    assert [row[:2] for row in comparison.rows] == [["MulT", "2"], ["CausalMER(MulT)", "2"], ["majority class", ""]]
    values = [100 * load_results(runs / f"mult{seed}").conditions["ood"].metrics["Acc2_non0"] for seed in (0, 1)]
    mean, deviation = torch.tensor(values).mean().item(), torch.tensor(values).std().item()
    assert comparison.rows[0][3] == f"{mean:.1f} ±{deviation:.1f}"
    majority = load_results(runs / "mult0").conditions["ood"].majority["Acc2_non0"]
    assert comparison.rows[2][3] == f"{100 * majority:.1f}"
    assert "CausalMER(MulT): a note" in comparison.notes
    assert list(gaps.header) == ["model", *SETS, "mean", "std"]
    assert list(differences.header) == ["model", "IID", "OOD"]


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
    ]
    (tmp_path / "c" / "scores.safetensors").write_bytes(b"rubbish")
    with pytest.raises(MERError, match=r"scores.safetensors cannot be read .* delete it or write it anew"):
        quiet(tmp_path)


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
    rows = {(row[1], row[2]): row for row in table.rows}
    row = rows["CausalMER, table 4, aligned", "Acc7_drop IID {l,v}"]
    assert row[3:] == ["0.3", ours[1 + SETS.index("{l,v}")]]
    write_run(tmp_path / "a", task="seven")
    unknown = quiet(tmp_path, published=True)
    assert "The papers print no figure" in unknown.tables[0].notes[-1]


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
