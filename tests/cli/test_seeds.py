"""Several seeds by one command: what is run, what is kept, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from mer_zoo.cli import main
from mer_zoo.cli.reproduce.runner import Runner

FIT = ["--", "fit", "--config", "configs/quickstart.yaml"]


def seeds(*args: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["seeds", *args])
    return int(ended.value.code or 0)


def test_commands_of_each_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert seeds("2", "--out", str(tmp_path), "--dry-run", *FIT) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["fit", "test", "fit", "test"]
    assert "--seed_everything=1" in lines[2]
    assert f"--trainer.logger.save_dir={tmp_path}" in lines[2]
    assert "--trainer.logger.name=seed_1" in lines[2]
    assert f"--config={tmp_path}/seed_1/config.yaml '--data.conditions=[default]'" in lines[3]
    assert seeds("7,3", "--out", str(tmp_path), "--conditions", "none", "--dry-run", *FIT) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split("--seed_everything=")[1].split()[0] for line in told] == ["7", "3"]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["5"], "give the training behind two dashes"),
        (["5", "--", "test"], "give the training behind two dashes"),
        (["0", *FIT], "'0' names no seeds"),
        (["five", *FIT], "'five' names no seeds"),
        (["2", *FIT, "--seed_everything=3"], "--seed_everything is set for each seed"),
        (["2", *FIT, "--trainer.logger=WandbLogger"], "--trainer.logger is set for each seed"),
        (["2", "--jobs", "0", *FIT], "--jobs is 0"),
    ],
)
def test_what_can_not_be_run_is_told(args: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert seeds(*args) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_seed_that_fails_is_told_and_the_others_go_on(
    jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: Runner, command: Sequence[str], environment: Mapping[str, str]) -> int:
        failed = "--seed_everything=1" in command
        if not failed:
            folder = tmp_path / next(word.split("=")[1] for word in command if ".name=" in word)
            folder.mkdir(parents=True)
        return int(failed)

    monkeypatch.setattr(Runner, "_in_a_process", run)
    options = ("--out", str(tmp_path), "--conditions", "none", "--jobs", str(jobs))
    assert seeds("3", *options, *FIT) == 1
    told = capsys.readouterr().out.splitlines()
    assert [line for line in told if line.startswith("failed: ")] == [told[-1]]
    assert "--seed_everything=1" in told[-1]
    assert {path.name for path in tmp_path.iterdir()} == {"seed_0", "seed_2"}
    assert seeds("3", *options, *FIT) == 1
    assert sum(line.startswith("kept: ") for line in capsys.readouterr().out.splitlines()) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_runs_are_tested_and_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    short = ["--data.scm.train=32", "--data.scm.valid=16", "--data.scm.test=16"]
    short += ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    short += ["--model.backbone.dim=8", "--model.backbone.heads=2", "--model.backbone.depth=1"]
    assert seeds("2", "--out", str(tmp_path), "--jobs", "2", "--conditions", "default,availability", *FIT, *short) == 0
    told = capfd.readouterr().out
    assert "Mean ± sample standard deviation over runs." in told
    assert " | 2 | " in (tmp_path / "report.md").read_text()
    assert "Contribution of each modality" in told
    assert seeds("2", "--out", str(tmp_path), "--conditions", "default,availability", *FIT, *short) == 0
    again = capfd.readouterr().out
    assert (again.count("kept: mer-zoo fit"), again.count("kept: mer-zoo test"), again.count("$ ")) == (2, 2, 0)
