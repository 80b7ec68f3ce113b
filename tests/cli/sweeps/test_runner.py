"""Sweeps as they run: pruning, several processes, kills, failures, the table."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sweep_toys
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial
from toys import TINY_BERT

from mer_zoo.cli import main
from mer_zoo.cli.sweeps import command, jobs, load_sweep, run_sweep, runner
from mer_zoo.cli.sweeps.config import folder_options
from mer_zoo.cli.sweeps.jobs import read_metric
from mer_zoo.cli.sweeps.study import BEAT, Silence, counted, take_back
from mer_zoo.errors import MERError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep file whose trials take a fraction of a second; see sweep_toys."""
    monkeypatch.setattr(command, "check_sweep", lambda _: 0)
    monkeypatch.setattr(jobs, "LAUNCH", sweep_toys.LAUNCH)
    monkeypatch.setattr(runner, "POLL", 0.02)
    monkeypatch.setenv("COLUMNS", "200")
    path = tmp_path / "toy.yaml"
    path.write_text(sweep_toys.SWEEP)
    return path


def change(path: Path, **changes: Any) -> Path:
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))
    return path


def trials_of(path: Path, name: str = "toy") -> list[FrozenTrial]:
    return optuna.load_study(study_name=name, storage=JournalStorage(JournalFileBackend(str(path)))).trials


def states(trials: list[FrozenTrial]) -> list[str]:
    return sorted(trial.state.name for trial in trials)


def test_a_sweep_runs_its_trials_and_goes_on(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = toy.parent / "out"
    main_(["sweep", str(toy), "--trials=3", "--jobs=2", f"--out={out}"])
    first = trials_of(out / "toy" / "journal.log")
    assert states(first) == ["COMPLETE"] * 3
    for trial in first:
        assert trial.value == pytest.approx(sweep_toys.loss(trial.params["x"], 3))
        assert list(trial.intermediate_values) == [1, 2, 3]
        assert (out / "toy" / f"trial_{trial.number:04d}" / "metrics.csv").exists()
    main_(["sweep", str(toy), "--trials=5", f"--out={out}"])
    trials = trials_of(out / "toy" / "journal.log")
    assert [trial.params for trial in trials[:3]] == [trial.params for trial in first]
    assert len({trial.params["x"] for trial in trials}) == 5
    shown = capsys.readouterr().out
    best = min(trials, key=lambda trial: trial.value or 0.0)
    again = f"mer-zoo fit --x={best.params['x']} --trainer.logger=CSVLogger --trainer.logger.save_dir={out / 'toy'} "
    assert f"{again}--trainer.logger.name=best --trainer.logger.version=" in shown.splitlines()
    table = (out / "toy" / "trials.md").read_text()
    assert re.search(rf"\| trial \| state \| val/loss \| epochs \| x \|\n.*\n\| {best.number} \| complete \|", table)
    before = (out / "toy" / "journal.log").stat().st_size
    main_(["sweep", str(toy), "--trials=5", f"--out={out}"])
    assert len(trials_of(out / "toy" / "journal.log")) == 5
    assert (out / "toy" / "journal.log").stat().st_size - before < 2000


def main_(args: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(args)
    assert not stopped.value.code


def test_what_is_drawn_follows_from_the_seed(toy: Path) -> None:
    drawn = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run_sweep(load_sweep(toy), trials=7, out=toy.parent, study=name, seed=seed)
        drawn.append([trial.params["x"] for trial in trials_of(toy.parent / name / "journal.log", name)])
    assert drawn[0] == drawn[1]
    assert not set(drawn[0]) & set(drawn[2])


def test_tpe_closes_in_on_the_best(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_SECONDS", "0")
    monkeypatch.setenv("TOY_EPOCHS", "1")
    run_sweep(load_sweep(toy), trials=20, jobs=1, out=toy.parent)
    drawn = [trial.params["x"] for trial in trials_of(toy.parent / "toy" / "journal.log")]
    errors = [abs(x - 0.3) for x in drawn]
    assert sum(errors[10:]) < sum(errors[:10])


def test_trials_that_fall_behind_are_pruned(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_EPOCHS", "40")
    monkeypatch.setenv("TOY_SECONDS", "0.05")
    change(toy, early_terminate={"type": "hyperband", "min_iter": 2, "eta": 3})
    run_sweep(load_sweep(toy), trials=4, out=toy.parent)
    trials = trials_of(toy.parent / "toy" / "journal.log")
    assert set(states(trials)) == {"COMPLETE", "PRUNED"}
    ran = {"COMPLETE": 40, "PRUNED": 39}
    assert all((trial.last_step or 0) <= ran[trial.state.name] for trial in trials)
    best = min(trials, key=lambda trial: abs(trial.params["x"] - 0.3))
    assert best.state.name == "COMPLETE"
    table = (toy.parent / "toy" / "trials.md").read_text()
    assert "| pruned |" in table


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_processes_share_a_study(toy: Path, storage: str) -> None:
    place = toy.parent / ("shared.log" if storage == "journal" else "shared.db")
    given = str(place) if storage == "journal" else f"sqlite:///{place}"
    args = [str(toy), "--trials=6", f"--storage={given}", f"--out={toy.parent}"]
    processes = [start("sweep", *args, f"--seed={seed}", TOY_SECONDS="0.4") for seed in range(2)]
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    study = optuna.load_study(
        study_name="toy", storage=JournalStorage(JournalFileBackend(given)) if storage == "journal" else given
    )
    assert states(counted(study.trials)) == ["COMPLETE"] * 6
    assert len({trial.params["x"] for trial in counted(study.trials)}) == 6
    started = [len(re.findall(r"^trial \d+: x=", output, flags=re.MULTILINE)) for output in outputs]
    assert min(started) >= 1
    assert sum(started) == 6


def start(kind: str, *args: str, **environment: str) -> subprocess.Popen[str]:
    """The toy as a process."""
    return subprocess.Popen(
        [sys.executable, str(Path(sweep_toys.__file__)), kind, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def wait_for(what: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_a_sweep_goes_on_after_a_kill(toy: Path, monkeypatch: pytest.MonkeyPatch, kind: signal.Signals) -> None:
    folder = toy.parent / "toy"
    process = start("sweep", str(toy), "--trials=2", f"--out={toy.parent}", TOY_SECONDS="1.0", TOY_EPOCHS="20")
    wait_for(lambda: len(read_metric(folder / "trial_0000" / "metrics.csv", "val/loss")) >= 2)
    process.send_signal(kind)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == (143 if kind == signal.SIGTERM else -signal.SIGKILL), said
    left = trials_of(folder / "journal.log")
    assert left[0].state.name == ("FAIL" if kind == signal.SIGTERM else "RUNNING")
    assert ("the same command goes on" in said) == (kind == signal.SIGTERM)

    monkeypatch.setattr(runner, "SILENT", 1.0)
    run_sweep(load_sweep(toy), trials=2, out=toy.parent)
    trials = trials_of(folder / "journal.log")
    assert trials[0].state.name == "FAIL"
    (again,) = [trial for trial in trials if trial.user_attrs.get("retry_of") == 0]
    assert again.params == trials[0].params
    assert states(counted(trials)) == ["COMPLETE"] * 2
    assert "| 0 |" not in (folder / "trials.md").read_text()


def test_a_signal_as_the_storage_lets_go_of_its_lock_stops_the_sweep(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Optuna removes a lock once more where it is interrupted behind that, and finds none."""
    monkeypatch.setenv("TOY_SECONDS", "0.3")
    unlink, struck = os.unlink, list[Path]()

    def strike(path: Any, **options: Any) -> None:
        unlink(path, **options)
        if not struck and (toy.parent / "toy" / "trial_0000" / "metrics.csv").exists():
            struck.append(Path(path))
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(os, "unlink", strike)
    with pytest.raises(SystemExit) as stopped:
        main(["sweep", str(toy), "--trials=2", f"--out={toy.parent}"])
    assert [path.suffix for path in struck] == [".rename"]
    assert stopped.value.code == 143
    assert "the same command goes on" in capsys.readouterr().err
    assert states(trials_of(toy.parent / "toy" / "journal.log")) == ["FAIL", "WAITING"]


@pytest.mark.slow
def test_a_trial_that_another_process_took_over_is_left_to_it(toy: Path) -> None:
    folder = toy.parent / "toy"
    hung = toy.parent / "hung"
    process = start("sweep", str(toy), "--trials=1", f"--out={toy.parent}", TOY_HANGS="1", TOY_HUNG=str(hung))
    wait_for(hung.exists)
    storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    study = optuna.load_study(study_name="toy", storage=storage)
    assert take_back(study, study.trials[0], died=True)
    said = process.communicate(timeout=240)[0]
    assert "trial 0 was taken over by another process" in said
    assert process.returncode == 0
    assert states(counted(study.trials)) == ["COMPLETE"]


@pytest.mark.parametrize("moment", ["while it runs", "as it ends", "as it fails"])
def test_a_trial_may_be_taken_over_while_it_is_watched(
    toy: Path, moment: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The state is read first and the trial told about later: between the two another process may act."""
    if moment == "as it fails":
        change(toy, parameters={"bad": {"values": [1, 2]}})
    read, taken = jobs.Job.values, list[bool]()

    def values(job: jobs.Job, metric: str) -> list[float]:
        if moment != "while it runs":
            job.process.wait()
        measured = read(job, metric)
        if not taken and (measured or moment == "as it fails"):
            study = optuna.load_study(
                study_name="toy", storage=JournalStorage(JournalFileBackend(str(toy.parent / "toy" / "journal.log")))
            )
            taken.append(take_back(study, study.trials[0], died=True))
        return measured

    monkeypatch.setattr(jobs.Job, "values", values)
    fails = pytest.raises(MERError, match="no trial of toy") if moment == "as it fails" else contextlib.nullcontext()
    with fails:
        run_sweep(load_sweep(toy), trials=1, out=toy.parent)
    assert taken == [True]
    assert "trial 0 was taken over by another process" in capsys.readouterr().out
    trials = trials_of(toy.parent / "toy" / "journal.log")
    assert [trial.number for trial in counted(trials)] == [1]
    assert trials[1].state.name == ("FAIL" if moment == "as it fails" else "COMPLETE")


def test_silence_is_a_sign_that_does_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study()
    dying, living = study.ask(), study.ask()
    silence, now = Silence(10.0), 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for now in (0.0, 6.0, 10.0):
        living.set_user_attr(BEAT, int(now))
        assert silence.dead(study.trials) == []
    now = 10.5
    assert [trial.number for trial in silence.dead(study.trials)] == [dying.number]


def test_one_trial_too_many_does_not_count(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes may see at the same moment that one trial is left to draw."""
    run_sweep(load_sweep(toy), trials=1, out=toy.parent)
    seen: Iterator[list[FrozenTrial]] = iter([[]])
    monkeypatch.setattr(runner, "counted", lambda trials: next(seen, counted(trials)))
    run_sweep(load_sweep(toy), trials=1, out=toy.parent)
    trials = trials_of(toy.parent / "toy" / "journal.log")
    assert len(trials) == 2
    assert [trial.number for trial in counted(trials)] == [0]
    assert not (toy.parent / "toy" / "trial_0001").exists()


def test_a_trial_that_kills_its_sweep_is_given_up(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "SILENT", 0.1)
    run_sweep(load_sweep(toy), trials=1, out=toy.parent)
    study = optuna.load_study(
        study_name="toy", storage=JournalStorage(JournalFileBackend(str(toy.parent / "toy" / "journal.log")))
    )
    for death in range(3):  # each time a process draws the trial and dies
        study.ask()
        if death < 2:
            (stuck,) = [trial for trial in study.trials if trial.state.name == "RUNNING"]
            assert take_back(study, stuck, died=True)
            assert not take_back(study, stuck, died=True)
    run_sweep(load_sweep(toy), trials=2, out=toy.parent)
    assert states(counted(study.trials)) == ["COMPLETE", "FAIL"]
    assert "its process died 3 times" in (toy.parent / "toy" / "trials.md").read_text()


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGUSR1])
def test_a_trial_that_is_cut_off_is_run_again(
    toy: Path, monkeypatch: pytest.MonkeyPatch, kind: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOY_SIGNAL", f"{kind:d} {toy.parent / 'struck'}")
    run_sweep(load_sweep(toy), trials=2, out=toy.parent)
    trials = trials_of(toy.parent / "toy" / "journal.log")
    assert states(trials) == ["COMPLETE", "COMPLETE", "FAIL"]
    assert states(counted(trials)) == ["COMPLETE", "COMPLETE"]
    assert trials[0].state.name == "FAIL"  # although it has measured one epoch
    assert trials[1].params == trials[0].params
    assert f"trial 0 was cut off by {kind.name}" in capsys.readouterr().out


def test_trials_that_are_always_cut_off_end_the_sweep(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_SIGNAL", f"{signal.SIGKILL:d}")
    with pytest.raises(MERError, match="3 trials in a row have failed, the last with: cut off by SIGKILL 3 times"):
        run_sweep(load_sweep(toy), trials=9, out=toy.parent)
    trials = trials_of(toy.parent / "toy" / "journal.log")
    assert states(trials) == ["FAIL"] * 9
    assert trials[2].user_attrs["error"].startswith("cut off by SIGKILL 3 times")


def test_a_trial_that_hangs_is_ended_when_it_was_asked_for(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOY_HANGS", "1")
    monkeypatch.setenv("TOY_HUNG", str(toy.parent / "hung"))
    monkeypatch.setattr(jobs, "GRACE", 0.2)
    begin = time.monotonic()
    run_sweep(load_sweep(toy), trials=2, out=toy.parent, trial_timeout=1 / 30)
    assert time.monotonic() - begin < 60
    first, second = trials_of(toy.parent / "toy" / "journal.log")
    assert (first.state.name, second.state.name) == ("FAIL", "COMPLETE")
    assert first.user_attrs["error"].startswith("ended by --trial-timeout: val/loss was not measured for 2 s")
    assert len(first.intermediate_values) == 2
    assert "trial 0 failed: ended by --trial-timeout" in capsys.readouterr().out


def test_trials_that_all_hang_end_the_sweep(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_HANGS", "0")
    monkeypatch.setattr(jobs, "GRACE", 0.2)
    with pytest.raises(MERError, match="3 trials in a row have failed, the last with: ended by --trial-timeout"):
        run_sweep(load_sweep(toy), trials=9, out=toy.parent, trial_timeout=1 / 60)


def test_a_trial_that_goes_on_measuring_is_not_ended(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_SECONDS", "1")
    monkeypatch.setenv("TOY_EPOCHS", "6")
    run_sweep(load_sweep(toy), trials=1, out=toy.parent, trial_timeout=4 / 60)
    assert states(trials_of(toy.parent / "toy" / "journal.log")) == ["COMPLETE"]


def test_a_silent_trial_is_told_of(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "QUIET", 0.4)
    monkeypatch.setenv("TOY_SECONDS", "1.5")
    run_sweep(load_sweep(toy), trials=1, out=toy.parent)
    said = capsys.readouterr().out
    assert "trial 0 has measured nothing for" in said
    assert "--trial-timeout ends such a trial" in said


@pytest.mark.parametrize("given", ["0", "-1", "nan"])
def test_a_timeout_of_no_length_is_refused(toy: Path, given: str) -> None:
    with pytest.raises(MERError, match=r"--trial-timeout is .*; give minutes, more than 0"):
        run_sweep(load_sweep(toy), trials=1, out=toy.parent, trial_timeout=float(given))


def test_a_trial_ends_with_its_sweep(tmp_path: Path) -> None:
    """Its process waits on a pipe, which breaks even by kill -9."""
    code = "import runpy, sys, time, types; cli = types.ModuleType('mer_zoo.cli'); cli.main = lambda: time.sleep(600);"
    code += "sys.modules['mer_zoo.cli'] = cli; runpy.run_path(sys.argv[1], run_name='__main__')"
    script = str(ROOT / "mer_zoo" / "cli" / "sweeps" / "trial.py")
    process = subprocess.Popen(
        [sys.executable, "-c", code, script],
        stdin=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.0)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(60) == -signal.SIGKILL


def test_trials_that_fail_stop_the_sweep_with_their_reason(toy: Path) -> None:
    with pytest.raises(MERError, match=r"3 trials in a row have failed, the last with: bad is 1; leave it out; see "):
        run_sweep(load_sweep(toy, ["--bad=1"]), trials=9, out=toy.parent)
    trials = trials_of(toy.parent / "toy" / "journal.log")
    assert states(trials) == ["FAIL"] * 3
    assert trials[0].user_attrs["error"].startswith("bad is 1; leave it out (")


def test_a_metric_that_is_never_finite_is_no_value(toy: Path) -> None:
    change(toy, metric={"name": "val/MAE", "goal": "minimize"})
    with pytest.raises(MERError, match="no finite val/MAE was measured"):
        run_sweep(load_sweep(toy), trials=9, out=toy.parent)


def test_a_study_keeps_to_its_sweep(toy: Path) -> None:
    run_sweep(load_sweep(toy), trials=1, out=toy.parent)
    with pytest.raises(MERError, match="made with another command; give another --study"):
        run_sweep(load_sweep(toy, ["--y=1"]), trials=2, out=toy.parent)
    change(toy, parameters={"x": {"min": 0.0, "max": 2.0}}, metric={"name": "val/Acc3"})
    with pytest.raises(MERError, match="made with another metric, goal, parameters; give another --study"):
        run_sweep(load_sweep(toy), trials=2, out=toy.parent)


def test_a_folder_of_another_study_is_left_alone(toy: Path) -> None:
    stranger = toy.parent / "toy" / "trial_0000" / "metrics.csv"
    stranger.parent.mkdir(parents=True)
    stranger.write_text("val/loss\n0.0\n")
    with pytest.raises(MERError, match="trial_0000 is there already"):
        run_sweep(load_sweep(toy), trials=1, out=toy.parent)
    assert stranger.read_text() == "val/loss\n0.0\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "number of trials is open; give --trials N"),
        ({"trials": 0}, "--trials is 0"),
        ({"trials": 1, "jobs": 0}, "--jobs is 0"),
        ({"trials": 1, "seed": -1}, "--seed is -1"),
        ({"trials": 1, "study": "../up"}, "'../up' is no name of a folder"),
        ({"trials": 1, "storage": "nosuch://user:secret@host/db"}, "the storage nosuch://... can't be used"),
        ({"trials": 1, "storage": "postgresql://user:secret@localhost:1/db"}, "the storage postgresql://... can't be"),
    ],
)
def test_options_that_make_no_sense_are_refused(toy: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(MERError, match=re.escape(words)) as caught:
        run_sweep(load_sweep(toy), out=toy.parent / "out", **options)
    assert "secret" not in str(caught.value)
    assert not (toy.parent / "out").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not a journal\n", "notes.txt can't be used"),
        ('{"op_code": 99, "worker_id": "a"}\n', "notes.txt can't be used"),
        ("[1]\n", "notes.txt is no journal"),
        ('{"op_code": 0, "worker_id": "a"}\n{"op', "last line of .*notes.txt was not written to its end"),
    ],
)
def test_a_file_that_is_no_journal_is_refused_and_left_alone(toy: Path, text: str, words: str) -> None:
    path = toy.parent / "notes.txt"
    path.write_text(text)
    with pytest.raises(MERError, match=words):
        run_sweep(load_sweep(toy), trials=1, out=toy.parent, storage=str(path))
    assert path.read_text() == text


def test_without_optuna_the_extra_is_named(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    with pytest.raises(MERError, match=r"pip install 'mer-zoo\[sweep\]'"):
        run_sweep(load_sweep(toy), trials=1, out=toy.parent)


def test_a_metrics_file_is_read_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    whole = "epoch,val/loss,z\r\n0,0.75,\r\n0,,1.0\r\n1,0.5123,\r\n2,nan,\r\n"
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end].encode())
        found = read_metric(path, "val/loss")
        assert str(found) in ("[]", "[0.75]", "[0.75, 0.5123]", "[0.75, 0.5123, nan]")
    assert len(found) == 3


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_two_trials_of_the_shipped_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    small = ["--trainer.max_epochs=2", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    small += ["--data.batch_size=8", "--data.scm.train=16", "--data.scm.valid=8", "--data.scm.test=8"]
    main_(["sweep", "configs/sweeps/quickstart.yaml", "--trials=2", "--", *small])
    shown = capsys.readouterr().out
    assert "Trials of quickstart" in shown
    trials = trials_of(tmp_path / "runs" / "sweeps" / "quickstart" / "journal.log", "quickstart")
    assert "COMPLETE" in states(trials)
    for trial in trials:
        run = tmp_path / trial.user_attrs["folder"]
        settings = yaml.safe_load((run / "config.yaml").read_text())
        wrapper = settings["model"]["wrappers"][0]["init_args"]
        assert wrapper["fusion"] == trial.params["model.wrappers.fusion"]
        assert settings["seed_everything"] == 0
        assert not list(run.glob("results*"))
        assert (run / "checkpoints" / "best.ckpt").exists()
    assert json.dumps(trials[0].user_attrs["values"])
    assert not (tmp_path / "wandb").exists()


ENCODERS = {"cider": ["--model.backbone.text_encoder", json.dumps({"config": TINY_BERT})]}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:MACI chose tau by an effective sample size")  # the corpus is tiny
@pytest.mark.parametrize("name", ["cider", "mult", "mult_causalmer"])
def test_two_trials_of_the_sweeps_on_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus_files: dict[str, Path], name: str
) -> None:
    """Both ends of every range, without processes of their own: each trains and measures what the sweep goes by."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.setenv("MOSI", str(corpus_files["mmsa_unaligned"]))
    small = ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    sweep = load_sweep(f"configs/sweeps/{name}.yaml", [*small, *ENCODERS.get(name, [])])
    for end in (0, -1):
        values = [(parameter.name, parameter.samples()[end]) for parameter in sweep.parameters]
        main([*sweep.arguments(values), *folder_options(tmp_path, f"trial_{end}")])
        (measured,) = read_metric(tmp_path / f"trial_{end}" / "metrics.csv", sweep.metric)
        assert math.isfinite(measured)
        assert (tmp_path / f"trial_{end}" / "checkpoints" / "best.ckpt").exists()
