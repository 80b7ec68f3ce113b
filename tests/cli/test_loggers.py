"""The folders that the options of trainer and loggers name."""

from __future__ import annotations

from pathlib import Path

import pytest

from mer_zoo.cli import main


def test_a_tilde_in_a_configuration_is_the_home_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    options = ["fit", "--data=SyntheticMER", "--data.scm.train=16", "--data.scm.valid=8", "--data.scm.test=8"]
    options += ["--data.task=seven", "--data.batch_size=8", "--model.backbone=LFLSTM", "--model.backbone.dim=4"]
    options += ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.max_epochs=1"]
    options += ["--trainer.logger.save_dir=~/runs", "--trainer.logger.name=mine", "--trainer.logger.version="]
    main(options)
    assert (tmp_path / "home" / "runs" / "mine" / "checkpoints" / "best.ckpt").is_file()
    assert not any((tmp_path / "here").iterdir())
