"""What is wrong with a command line's surroundings, such as devices and folders, is told in one sentence, too."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from mer_zoo.cli import main
from mer_zoo.runs.files import whole_file

FIT = ["fit", "--data=SyntheticMER", "--data.task=binary", "--data.batch_size=4", "--model.backbone=LFLSTM"]
FIT += ["--data.scm.train=8", "--data.scm.valid=4", "--data.scm.test=4", "--model.backbone.dim=4"]
FIT += ["--trainer.max_epochs=1", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")


def failure(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main([*FIT, *args])
    assert stopped.value.code == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("mer-zoo: error: "))
    return line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--trainer.strategy=dpp"], "strategy='dpp'"),
        (["--trainer.accelerator=cpu", "--trainer.devices=0"], "devices='0'"),
        (["--trainer.accelerator=cpu", "--trainer.strategy=fsdp"], "requires a GPU accelerator"),
        (["--trainer.max_epochs=-2"], "max_epochs"),
        pytest.param(["--trainer.accelerator=gpu"], "No supported gpu backend found", marks=NO_GPU),
    ],
)
def test_a_trainer_that_can_not_be_had(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    told = failure(capsys, *options)
    assert words in told
    assert "see mer-zoo fit --help for the options of --trainer" in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "ours"), [("gradient_clip_val=1", "clip_norm"), ("accumulate_grad_batches=2", "accumulate")]
)
def test_options_of_the_trainer_that_the_model_has(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: str, ours: str
) -> None:
    monkeypatch.chdir(tmp_path)
    mssd = ["--trainer.accelerator=cpu", "--model.wrappers+=MSSD", "--model.wrappers.alpha=0"]
    told = failure(capsys, *mssd, f"--trainer.{option}")
    assert f"trainer.{option.split('=')[0]} does not work with several optimiser steps a batch" in told
    assert f"take --model.{ours}" in told
    main([*FIT, *mssd, f"--model.{ours}=2"])


def test_a_folder_that_can_not_be_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    here = ["--trainer.accelerator=cpu", f"--trainer.logger.save_dir={tmp_path / 'notes.txt'}"]
    assert f"{tmp_path / 'notes.txt'}" in (told := failure(capsys, *here))
    assert "Not a directory; give a place that can be read and written" in told
    assert (tmp_path / "notes.txt").read_text() == "mine"

    def refuse(*args: Any, **options: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/locked/runs")

    monkeypatch.setattr(Trainer, "fit", refuse)
    assert "/locked/runs: Permission denied; give a place that" in failure(capsys, "--trainer.accelerator=cpu")


def test_faults_that_no_option_can_mend_keep_their_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for fault in (ValueError("a bug"), OSError(errno.EIO, "Input/output error", "disk")):

        def fail(*args: Any, fault: Exception = fault, **options: Any) -> None:
            raise fault

        monkeypatch.setattr(Trainer, "fit", fail)
        with pytest.raises(type(fault), match=str(fault.args[-1])):
            main([*FIT, "--trainer.accelerator=cpu"])


def test_a_full_disk_is_told_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as caught, whole_file(tmp_path / "metrics.csv"):
        raise OSError(errno.ENOSPC, "No space left on device")  # of a write, which knows no name
    assert caught.value.filename == str(tmp_path / "metrics.csv")
