"""The configuration that a run leaves in its folder."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from typing_extensions import override

from mer_zoo.data import MERDataModule
from mer_zoo.runs.files import whole_file
from mer_zoo.runs.folder import is_trial, run_folder

__all__ = ["SaveConfig"]


class SaveConfig(SaveConfigCallback):
    """Writes the configuration into the run's own folder, and hands it to the logger.

    Lightning's own callback writes into ``trainer.log_dir``, which all W&B runs share.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "save_to_log_dir": False})

    @override
    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if is_trial(trainer):
            return
        doing = trainer.state.fn.value if trainer.state.fn is not None else stage
        # What a run is resumed from is no part of its configuration, which trains it again from the beginning.
        config = self.config.clone()
        if doing == "fit":
            config.ckpt_path = None
        for once in (
            "overwrite",
            "untrained",
            "resume",
        ):  # said of this command, and not to be said again by a copy of it
            config.pop(once, None)
        _say_labels(config, trainer)
        if "record" in config:
            config.record.overwrite = False
        text = self.parser.dump(config)
        name = "config.yaml" if doing == "fit" else f"config_{doing}.yaml"
        folder = run_folder(trainer, self.config.get("ckpt_path"))
        with whole_file(folder / name) as part:
            part.write_text(text, encoding="utf-8")
        if trainer.logger is not None:
            trainer.logger.log_hyperparams({"config": text})


def _say_labels(config: Any, trainer: Trainer) -> None:
    """Write down what labels were taken for, where signs in the data decided: other files may show no such signs."""
    data, given = getattr(trainer, "datamodule", None), config.get("data")
    given = None if given is None else given.get("init_args")
    if given is None or not isinstance(data, MERDataModule) or not isinstance(given.get("task"), str):
        return
    for name, value in data.label_options().items():
        if name in given and given[name] is None:
            given[name] = value
