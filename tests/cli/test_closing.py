"""The last lines of a training name what the run itself has kept."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from mer_zoo.cli.closing import after_fit


def kept(folder: Path, monitor: str | None, epoch: int) -> ModelCheckpoint:
    folder.mkdir(parents=True)
    callback = ModelCheckpoint(folder, monitor=monitor)
    callback.best_model_path = str(folder / "best.ckpt")
    callback.best_model_score = torch.tensor(0.5)
    torch.save({"epoch": epoch}, callback.best_model_path)
    return callback


def test_a_checkpoint_of_another_callback_is_not_the_best(tmp_path: Path) -> None:
    run = tmp_path / "run"
    own, every = kept(run / "checkpoints", "val/MAE", 3), kept(run / "every", None, 9)
    elsewhere = kept(tmp_path / "elsewhere", "val/Corr", 7)
    (run / "config.yaml").touch()
    for callbacks in ([own, every, elsewhere], [elsewhere, every, own]):
        trainer = Trainer(callbacks=list(callbacks), logger=False, accelerator="cpu", enable_progress_bar=False)
        told = after_fit(trainer, run).splitlines()
        assert told[0] == "best epoch: 3 (the first is 0), val/MAE 0.5"
        assert told[-1].endswith(f"--ckpt_path {own.best_model_path}")
