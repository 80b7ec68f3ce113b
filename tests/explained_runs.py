"""Small runs that tools can open again: the configuration of the data, and a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer, seed_everything

from mer_zoo import LFLSTM, SyntheticMER
from mer_zoo.data import SyntheticConfig
from mer_zoo.model import Model, WrapperFactory
from mer_zoo.module import MERModule

DATA = """
data:
  class_path: mer_zoo.SyntheticMER
  init_args: {scm: {train: 24, valid: 8, test: 9}, task: TASK, text: tokens, batch_size: 8, conditions: [availability]}
"""


def trained_run(
    folder: Path, wrappers: Sequence[WrapperFactory] = (), task: str = "binary", net: Callable[..., Model] = LFLSTM
) -> MERModule:
    """Train one epoch on a few samples, and leave the folder as ``mer-zoo fit`` does."""
    seed_everything(1, verbose=False)
    data = SyntheticMER(
        SyntheticConfig(train=24, valid=8, test=9), task=task, batch_size=8, conditions=["availability"]
    )
    module = MERModule(net(data.spec, data.task, dim=4), wrappers=list(wrappers))
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = Trainer(max_epochs=1, accelerator="cpu", default_root_dir=folder, **quiet)
    trainer.fit(module, data)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(DATA.replace("TASK", task), encoding="utf-8")
    trainer.save_checkpoint(folder / "checkpoints" / "best.ckpt")
    return module
