"""Every study trains each job once, goes on where it stopped, and shows what came of it; on a few samples."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

from benchmarks.options import this_commit
from benchmarks.studies import cider, cumdf, mosi, which_video, zoo_mosi
from benchmarks.studies.frame import Job, Results, Study, commits_of, read_records, simple_jobs
from benchmarks.studies.table import Answers, Column, cell, difference, resampled_mean
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.reports.measured import read_measured

TINY = SyntheticConfig(train=64, valid=32, test=24)
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*an effective sample size of"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists"),
]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """SyntheticMER of a few samples wherever a study asks for it with its own sizes."""
    for module in (cider, cumdf):
        monkeypatch.setattr(module, "SyntheticMER", lambda scm=TINY, **options: SyntheticMER(TINY, **options))


def rows(folder: Path) -> set[str]:
    lines = (folder / "table.md").read_text().splitlines()
    return {line.split("|")[1].strip() for line in lines if line.startswith("|") and "---" not in line}


def run(module: ModuleType, *args: object) -> None:
    module.main([str(arg) for arg in args])


@pytest.mark.usefixtures("few")
def test_cider_is_tested_under_every_choice_of_tau(tmp_path: Path) -> None:
    run(cider, "run", "--out", tmp_path, "--seeds", "0,1", "--epochs", "1", "--models", "MulT,MulT+MACI")
    labels = ["MulT", *cider.labels("MulT+MACI")]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(labels)
    assert len(labels) == 11
    records = {record["place"][0]: record for record in read_records(tmp_path)}
    for condition in ("iid", "ood", "rct", "RMFM 0.5"):
        results = {name: records[name]["choices"]["loss"]["splits"][condition] for name in labels}
        assert results["MulT+MACI paper, tau 0"]["classes"] == results["MulT+MACI text alone, tau 0"]["classes"]
        for kind in cider.KINDS:
            tried = [results[f"MulT+MACI {kind}, {tau}"]["metrics"]["Acc2_non0"] for tau in cider.TAUS]
            assert tried[-1] == max(tried)  # an oracle's
    run(cider, "table", tmp_path)
    assert set(labels) <= rows(tmp_path)
    assert "AUILC" in (tmp_path / "table.md").read_text()


@pytest.mark.usefixtures("few")
def test_cumdf_learns_from_its_teachers(tmp_path: Path) -> None:
    names = "complete,views,CUMDF joint,CUMDF frozen"
    small = ["--seeds", "0", "--epochs", "1", "--dim", "8", "--out", str(tmp_path)]
    run(cumdf, "run", *small, "--models", names)
    run(cumdf, "table", tmp_path)
    assert set(names.split(",")) <= rows(tmp_path)
    living = (tmp_path / "table.md").read_text().partition("LG-MMT")[2].splitlines()
    assert [line.split("|")[1].strip() for line in living if line.startswith("|")][2:] == sorted(names.split(","))
    run(cumdf, "probe", *small, "--models", "CUMDF joint,views")


def test_a_penalty_is_looked_for_on_validation_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cumdf, "COEFFICIENTS", (1.0, 0.0))
    run(cumdf, "scan", "--seeds", "0", "--epochs", "1", "--dim", "8", "--out", tmp_path)
    found = [line.split("|") for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("|")][2:]
    assert [cells[1].strip() for cells in found] == ["1", "0"]
    assert float(found[0][6]) < float(found[1][6])


def test_the_zoo_and_the_command_line_are_studied_on_a_file(tmp_path: Path, corpus_files: dict[str, Path]) -> None:
    source = str(corpus_files["mmsa_unaligned"])
    run(zoo_mosi, "run", source, "--out", tmp_path / "zoo", "--backbones", "LFLSTM", "--epochs", "1", "--seeds", "0,1")
    run(zoo_mosi, "table", tmp_path / "zoo")
    shown = (tmp_path / "zoo" / "table.md").read_text()
    assert "| LFLSTM | CausalMER | 2 |" in shown
    assert "of 1 |" in shown
    small = ["--epochs", "1", "--seeds", "0", "--dim", "10", "--models", "mult_seven"]
    run(mosi, "run", source, "--out", tmp_path / "mosi", *small)
    run(mosi, "table", tmp_path / "mosi")
    assert "mult_seven" in rows(tmp_path / "mosi")


def test_a_network_of_dialogues_gets_whole_ones(tmp_path: Path, corpus_files: dict[str, Path]) -> None:
    given = ["--backbones", "GCNet", "--wrappers", "plain", "--epochs", "1", "--seeds", "0"]
    run(zoo_mosi, "run", corpus_files["mmsa_unaligned"], "--out", tmp_path, *given)
    assert (tmp_path / "GCNet+plain" / "seed0.json").is_file()


def test_the_share_between_videos_is_measured(tmp_path: Path, corpus_files: dict[str, Path]) -> None:
    given = ["--epochs", "1", "--seeds", "0,1", "--out", tmp_path / "runs"]
    run(which_video, "run", corpus_files["mmsa_unaligned"], *given)
    run(which_video, "table", tmp_path / "runs", "--csv", tmp_path / "mosi_cpu.csv")
    found = read_measured(tmp_path / "mosi_cpu.csv")
    assert {(figure.model, figure.condition) for figure in found} == {
        (way, split) for way in which_video.WAYS for split in ("training", "validation")
    }
    labels = {
        figure.value for figure in found if figure.metric == "share of the labels'" and "train" in figure.condition
    }
    assert len(labels) == 1  # they are the same clips whatever reads them


def test_jobs_are_done_once_and_what_fails_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done: list[str] = []

    def train(job: Job) -> Results:
        (name,) = job.what
        if name == "bad":
            raise MERError("there is no bad")
        done.append(f"{name}{job.seed}")
        return {place: {"value": job.seed} for place in job.places}

    jobs = simple_jobs(["good", "bad"], "0,1")
    study = Study(tmp_path, {"epochs": 1}, train)
    study.run(jobs, "1/2")
    study.run(jobs)
    study.run(jobs)
    assert done == ["good0", "good1"]
    assert "there is no bad" in capsys.readouterr().out
    record = json.loads((tmp_path / "good" / "seed1.json").read_text())
    assert {**record, "code": None, "seconds": None} == {
        "options": {"epochs": 1},
        "place": ["good"],
        "seed": 1,
        "value": 1,
        "code": None,
        "seconds": None,
    }
    with pytest.raises(MERError, match="epochs 1 beside 2; use the same options"):
        Study(tmp_path, {"epochs": 2}, train).run(jobs)


def answers(classes: list[str], truth: str) -> Answers:
    splits = {"a": {"classes": classes[0]}, "b": {"classes": classes[1]}, "c": {"classes": classes[2]}}
    choices = {"loss": {"splits": splits}}
    ids = {name: [str(i) for i in range(len(truth))] for name in splits}
    return Answers([{"seed": 0, "truth": dict.fromkeys(splits, truth), "ids": ids, "choices": choices}])


def test_a_curve_is_an_area_and_several_conditions_a_mean() -> None:
    found = answers(["0000", "2222", "0000"], "0022")
    assert found.accuracy(Column("", ("a", "b"))) == [50.0]
    assert found.accuracy(Column("", ("a", "b", "c"), is_curve=True)) == [50.0]
    half = answers(["0022", "0022", "2200"], "0022")
    assert half.accuracy(Column("", ("a", "b", "c"), is_curve=True)) == [75.0]
    assert half.accuracy(Column("", ("a", "b", "c"))) == [pytest.approx(200 / 3)]
    assert found.accuracy(Column("", ("a",), left_out=2)) == [100.0]
    assert difference(half, found, Column("", ("a",)))[0] == 50.0
    assert cell(half, found, Column("", ("d",))) == "-"
    assert torch.equal(half.confusion(0, Column("", ("a", "c")), 3), torch.tensor([[2.0, 0, 2], [0, 0, 0], [2, 0, 2]]))


def test_an_interval_of_a_mean_holds_it() -> None:
    mean, low, high = resampled_mean([0.0, 1.0, 2.0, 3.0])
    assert 0.0 <= low < mean == 1.5 < high <= 3.0


def test_figures_of_records_tell_the_commits_of_the_records(tmp_path: Path) -> None:
    for seed, code in enumerate(
        [{"commit": "b" * 40}, None, {"commit": "a" * 40, "dirty": True}, {"commit": "b" * 40}]
    ):
        record = {"options": {}, "place": ["plain"], "seed": seed, "code": code}
        (tmp_path / f"seed{seed}.json").write_text(json.dumps(record))
    assert commits_of(tmp_path) == "bbbbbbb aaaaaaa+"


def test_the_commit_of_a_changed_tree_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []
    for state in ({"commit": "a" * 40, "dirty": False}, {"commit": "a" * 40, "dirty": True}, None):
        monkeypatch.setattr("benchmarks.options.code_state", lambda state=state: state)
        found.append(this_commit())
    assert found == ["aaaaaaa", "aaaaaaa+", ""]
