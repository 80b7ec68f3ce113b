"""Rows of the papers' tables run to their end, on corpora that are tiny."""

from __future__ import annotations

import json
import math
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from forks import Fork

from mer_zoo.cli import main
from mer_zoo.cli.reproduce.commands import Command
from mer_zoo.cli.reproduce.plan import plan
from mer_zoo.cli.reproduce.protocol import differences
from mer_zoo.cli.reproduce.rows import all_rows
from mer_zoo.cli.reproduce.runner import RECORD, Runner
from mer_zoo.cli.sweeps.jobs import LAUNCH
from mer_zoo.data.ood.resplit import split_ood
from mer_zoo.errors import MERError

TINY_BERT = "{model_type: bert, hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 8}"
SHORT = ["--", "--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.limit_train_batches=1"]
SHORT += ["--trainer.enable_progress_bar=false", "--data.batch_size=3"]
OUT = Path("runs/reproduce")
CAUSALMER = "PMR (reimplemented) + CausalMER"


def reproduce(*args: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["reproduce", *args])
    return int(ended.value.code or 0)


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_a_row_of_causalmer_and_what_is_kept_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus_files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = f"--data.path={corpus_files['mult_mosei']}"
    short = [*SHORT, "--model.wrappers.branches=light"]
    assert reproduce(f"CausalMER:5:{CAUSALMER}", path, "--seeds=0", *short) == 0
    told = capsys.readouterr().out
    assert "Seeds: the mean of 1 here; the paper does not print how many it took." in told
    (report,) = OUT.glob("*.md")
    rows = [line.split(" | ") for line in report.read_text().splitlines() if "contribution_" in line]
    assert [row[-2] for row in rows] == ["0.323", "0.346", "0.332", "0.012"]
    *shares, spread = (float(row[-1].rstrip(" |").split()[0]) for row in rows)
    assert math.isfinite(spread)
    assert spread >= 0
    assert min(abs(sum(shares) - total) for total in (0, 1)) < 2e-3  # of all that is gained; one may be below 0

    assert reproduce(f"CausalMER:4:{CAUSALMER}", path, "--seeds=0", *short) == 0
    again = capsys.readouterr().out
    assert (again.count("kept: mer-zoo fit"), again.count("kept: mer-zoo test"), again.count("$ ")) == (1, 1, 0)
    assert "Acc7_drop" in again

    assert reproduce(f"CausalMER:4:{CAUSALMER}", path, "--seeds=0", *short, "--model.clip_norm=1") == 2
    assert "was trained by another command" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_a_row_of_cider_out_of_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus_files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    source, split = corpus_files["mmsa_unaligned"], OUT / "data" / "mosi_ood_binary"
    split_ood(source, str(split), "binary", steps=20, min_count=2)  # so few samples are not split by the defaults
    shutil.copytree(split, split.with_name("mosi_ood_seven"))
    given = [f"--data.path={source}", "--seeds=0", f"--text-encoder={TINY_BERT}"]
    assert reproduce("CIDer:V:w/o MCM", *given, "--markdown", *SHORT) == 0
    told = capsys.readouterr().out
    rows = [line.split(" | ") for line in told.splitlines() if line.startswith("| CMU-MOSI | OOD")]
    assert [row[3:5] for row in rows] == [["Acc2", "61.7"], ["F1", "61.3"], ["Acc7", "31.0"]]
    assert all(0 <= float(row[5].rstrip(" |")) <= 100 for row in rows)
    assert "mer-zoo split-ood makes splits of other samples" in told
    for results in OUT.rglob("results.json"):
        nest = json.loads(results.read_text())["nest"]
        assert {each["class"]: each["options"] for each in nest}["MACI"]["labels"] is False


def test_no_file_and_a_file_that_is_not_of_its_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus_files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert reproduce("CIDer:IX:DMD") == 2
    assert "CIDer:IX:DMD needs its corpus; give --data.path FILE, MOSI unaligned" in capsys.readouterr().err
    assert reproduce("CIDer:IX:DMD", f"--data.path={corpus_files['mmsa_aligned']}") == 2
    assert "mmsa_aligned.pkl is aligned, and CIDer:IX:DMD is unaligned; give" in capsys.readouterr().err
    assert reproduce("CausalMER:2:MulT", f"--data.path={corpus_files['mult_mosei']}") == 2
    assert "mult_mosei.pkl" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_every_row_has_its_differences_in_words() -> None:
    for row in all_rows():
        if not row.reason:
            told = differences(plan([row]), 5)
            assert len(told) > 1
            assert all(sentence.endswith(".") for sentence in told)


class Machine:
    """Stands for the processes: notes what is started, and fails what it is told to."""

    def __init__(self, codes: dict[str, int]) -> None:
        self.codes, self.started = codes, list[list[str]]()

    def __call__(self, args: Sequence[str], _: Mapping[str, str]) -> int:
        self.started.append(list(args))
        return self.codes.get(args[0], 0)


def commands_of(folder: Path) -> list[Command]:
    split = Command("split-ood", ("split-ood", "mosi.pkl", str(folder / "data")), folder / "data")
    fit = Command("fit", ("fit", f"--data.path={folder / 'data'}"), folder / "run")
    return [split, fit, Command("test", ("test", f"--config={folder / 'run'}/config.yaml"), folder / "run")]


def test_what_has_ended_is_kept(tmp_path: Path) -> None:
    machine, told = Machine({}), list[str]()
    Runner(told.append, start=machine).run(commands_of(tmp_path))
    assert [args[0] for args in machine.started] == ["split-ood", "fit", "test"]
    assert len(json.loads((tmp_path / "run" / RECORD).read_text())["ended"]) == 2
    (tmp_path / "data").mkdir()
    Runner(told.append, start=machine).run(commands_of(tmp_path))
    assert len(machine.started) == 3
    assert [line.split(":")[0] for line in told[3:]] == ["kept"] * 3


def test_what_was_cut_off_goes_on(tmp_path: Path) -> None:
    machine, told = Machine({"fit": -15}), list[str]()
    _, fit, _ = commands_of(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        Runner(told.append, start=machine).run([fit])
    assert stopped.value.code == 143
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    machine.codes = {}
    Runner(told.append, start=machine).run([fit])
    assert [args[-1] for args in machine.started] == [fit.args[-1], "--ckpt_path=last"]


def test_what_waits_for_what_failed_is_left_out(tmp_path: Path) -> None:
    machine = Machine({"split-ood": 2})
    runner, other = (
        Runner(lambda line: None, start=machine),
        Command("fit", ("fit", "--data.path=other.pkl"), tmp_path / "other"),
    )
    runner.run([*commands_of(tmp_path), other])
    assert [args[0] for args in machine.started] == ["split-ood", "fit"]
    assert list(runner.failed) == [tmp_path / "data"]


@pytest.mark.parametrize("text", ["{}", '{"ended": [[]]}', "[1]", "{"])
def test_an_odd_record_is_refused(tmp_path: Path, text: str) -> None:
    _, fit, _ = commands_of(tmp_path)
    fit.folder.mkdir()
    (fit.folder / RECORD).write_text(text)
    with pytest.raises(MERError, match=RECORD):
        Runner(lambda line: None).run([fit])


# Of many epochs, each a batch: what is waited for is the first checkpoint.
LONG = ["--trainer.max_epochs=100000", "--early_stopping.patience=100000", "--trainer.accelerator=cpu"]
LONG += ["--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["reproduce", "seeds"])
def test_nothing_goes_on_behind_what_was_killed(command: str, tmp_path: Path, corpus_files: dict[str, Path]) -> None:
    """Neither a signal to the command nor its sudden end leaves a training running, which is a process as it is."""
    config, path = Path("configs/base/mult_synthetic.yaml").absolute(), f"--data.path={corpus_files['mult_mosi']}"
    args = {
        "reproduce": ["reproduce", "CUMDF:3:none", path, "--seeds=0", "--", *LONG],
        "seeds": ["seeds", "1", "--jobs=2", "--out=runs", "--", "fit", f"--config={config}", *LONG],
    }[command]
    for kind, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        with Fork([*LAUNCH, *args], cwd=tmp_path) as process:
            wait_for(lambda: list(tmp_path.rglob("last.ckpt")))
            process.send_signal(kind)
            assert process.wait() == code
        wait_for(lambda: not running_in(tmp_path))
        (checkpoint,) = tmp_path.rglob("last.ckpt")
        checkpoint.unlink()


def running_in(folder: Path) -> list[str]:
    """Processes that run in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found += [process.name] if (process / "cwd").readlink() == folder else []
        except OSError:
            continue
    return found


def wait_for(happened: Callable[[], object], seconds: float = 240.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
