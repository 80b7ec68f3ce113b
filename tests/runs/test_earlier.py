"""A run is neither replaced by accident nor mixed up with another, and untrained weights are not tested unawares."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mer_zoo.cli import main
from mer_zoo.errors import MERError
from mer_zoo.reports.merge import results_to_add_to
from mer_zoo.reports.report import report
from mer_zoo.runs.earlier import check_no_run, clear_run, lock_run
from mer_zoo.runs.folder import newest_run

SIZES = ["--data.scm.train=8", "--data.scm.valid=4", "--data.scm.test=4", "--model.backbone.dim=4"]
BASIC = ["--data=SyntheticMER", "--data.task=binary", "--data.batch_size=4", "--model.backbone=LFLSTM", *SIZES]
QUIET = ["--trainer.accelerator=cpu", "--record.pictures=false", "--trainer.enable_progress_bar=false"]
FIT = ["fit", *BASIC, *QUIET, "--trainer.max_epochs=2", "--trainer.enable_model_summary=false"]
FIXED = ["--trainer.logger.version=", "--trainer.logger.name=mine"]
RUN = Path("runs/mine")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 2
    (sentence,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mer-zoo: error: ")]
    return sentence


def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RUN / "results.json").read_text())
    return found


@pytest.mark.slow
def test_a_forgotten_checkpoint_is_the_best_of_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    main([*FIT, *FIXED])
    curve = (RUN / "metrics.csv").read_bytes()
    for command in ("test", "validate", "predict"):
        main([command, "--config", str(RUN / "config.yaml")])
    assert results()["checkpoint"] == str(RUN / "checkpoints" / "best.ckpt")
    assert (RUN / "metrics.csv").read_bytes() == curve
    assert (RUN / "predictions.csv").is_file()
    assert [path.name for path in Path("runs").iterdir()] == ["mine"]


@pytest.mark.slow
def test_untrained_weights_are_refused_or_asked_for_and_marked(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("test", "validate", "predict"):
        assert f"{command} needs trained weights" in refused([command, *BASIC, *QUIET], capsys)
    assert not Path("runs").exists()
    main(["test", *BASIC, *QUIET, "--untrained=true", *FIXED])
    assert results()["model"] == "LFLSTM[untrained]"
    assert "never been trained" in (RUN / "results.md").read_text()
    assert "untrained" not in (RUN / "config_test.yaml").read_text()


@pytest.mark.slow
def test_a_run_is_replaced_only_where_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    main([*FIT, *FIXED])
    main(["test", "--config", str(RUN / "config.yaml")])
    before = {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()}
    assert "holds a run already (best.ckpt)" in refused([*FIT, *FIXED, "--seed_everything=1"], capsys)
    untrained = ["test", "--config", str(RUN / "config.yaml"), "--untrained=true"]
    assert "holds a run already" in refused(untrained, capsys)
    assert {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()} == before
    main([*FIT, *FIXED, "--seed_everything=1", "--overwrite=true"])
    left = {path.name for path in RUN.rglob("*") if path.is_file()}
    assert left == {
        "config.yaml",
        "cost.json",
        "hparams.yaml",
        "metrics.csv",
        "provenance.json",
        *(f"{name}.ckpt{old}" for name in ("best", "last") for old in ("", ".old")),
    }
    kept = yaml.safe_load((RUN / "config.yaml").read_text())
    assert "overwrite" not in kept
    assert kept["record"]["overwrite"] is False


@pytest.mark.slow
def test_a_second_test_adds_its_conditions(capsys: pytest.CaptureFixture[str]) -> None:
    main([*FIT, *FIXED])
    test = ["test", "--config", str(RUN / "config.yaml")]
    main([*test, "--data.conditions=availability"])
    first = results()["conditions"]
    main([*test, "--data.conditions=default"])
    both = results()["conditions"]
    assert both.keys() == first.keys() | {"iid", "ood", "rct"}
    assert both["{l}"] == first["{l}"]
    report([RUN], Path("comparison"))
    assert "{l,a}" in Path("comparison/report.md").read_text()
    main([*FIT, "--trainer.logger.name=other", "--seed_everything=1"])
    other = ["test", "--config=runs/other/version_0/config.yaml", f"--record.folder={RUN}"]
    assert "holds a test with other weights" in refused(other, capsys)
    assert results()["conditions"] == both
    main([*other, "--overwrite=true"])
    assert "{l}" not in results()["conditions"]
    main(["predict", "--config", str(RUN / "config.yaml")])
    assert "predictions.csv is there already" in refused(["predict", "--config", str(RUN / "config.yaml")], capsys)


@pytest.mark.parametrize("form", ["mapping", "list", "several", "true", "null", "false"])
@pytest.mark.slow
def test_last_goes_on_whatever_the_logger(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    csv_logger = '{"class_path": "CSVLogger", "init_args": {"save_dir": "runs", "name": "mine"}}'
    values = {
        "mapping": csv_logger,
        "list": f"[{csv_logger}]",
        "several": f"[{csv_logger}, {csv_logger.replace('mine', 'other')}]",
        "true": "true",
        "null": "null",
        "false": "false",
    }
    given = [*FIT, f"--trainer.logger={values[form]}"]
    main(given)
    last = next(Path().rglob("last.ckpt"))
    main([*given, "--trainer.max_epochs=4", "--ckpt_path=last"])
    assert list(Path().rglob("last.ckpt")) == [last]
    if form != "false":
        rows = csv.DictReader((last.parents[1] / "metrics.csv").read_text().splitlines())
        assert {row["epoch"] for row in rows} == {"0", "1", "2", "3"}
    main(["test", *given[1:], "--ckpt_path=best"])
    assert (last.parents[1] / "results.json").is_file()


def test_newest_run_of_lists_and_truth_values(tmp_path: Path) -> None:
    (tmp_path / "lightning_logs" / "version_3").mkdir(parents=True)
    (tmp_path / "lightning_logs" / "version_3" / "config.yaml").touch()
    place = newest_run(True, str(tmp_path))
    assert place is not None
    assert place.value == 3
    assert newest_run([], str(tmp_path)) is None
    one = {"class_path": "CSVLogger", "init_args": {"save_dir": str(tmp_path), "name": "lightning_logs"}}
    assert newest_run([one]) == place


def test_two_trainings_do_not_share_a_folder(tmp_path: Path) -> None:
    code = f"from pathlib import Path; from mer_zoo.runs.earlier import lock_run; lock_run(Path({str(tmp_path)!r}))"
    with (
        lock_run(tmp_path),
        pytest.raises(subprocess.CalledProcessError) as failed,
    ):
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "another process is training in" in failed.value.stderr
    subprocess.run([sys.executable, "-c", code], check=True)


def test_clearing_keeps_checkpoints_aside(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    for name in ("results.json", "notes.txt", "checkpoints/best.ckpt"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(MERError, match=r"holds a run already \(best.ckpt\); .* --overwrite=true"):
        check_no_run(tmp_path)
    check_no_run(tmp_path, overwrite=True)
    clear_run(tmp_path)
    check_no_run(tmp_path)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"notes.txt", "best.ckpt.old"}


@pytest.mark.parametrize("text", ["", "[]", '{"conditions": 3}', "[" * 100_000])
def test_results_that_can_not_be_read_are_not_added_to(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(MERError, match=r"can't be read.*--overwrite=true"):
        results_to_add_to(tmp_path, {"conditions": {}})
    assert results_to_add_to(tmp_path, {"conditions": {}}, overwrite=True) == {}
