"""The record that every run leaves in its folder: config.yaml, results.json, results.md, pictures, predictions."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger
from typing_extensions import override

from mer_zoo.module import MERModule
from mer_zoo.provenance import provenance
from mer_zoo.reports import write_results
from mer_zoo.reports.files import whole_file

__all__ = ["RunRecord", "SaveConfig", "run_folder"]


def run_folder(trainer: Trainer, ckpt_path: str | None = None) -> Path:
    """The folder of this run, the same for every logger.

    Args:
        trainer: The trainer. When it tests or predicts with a checkpoint, the folder of that run is meant.
        ckpt_path: That checkpoint, where the trainer does not know it yet.

    Returns:
        ``save_dir/name/version`` of the first logger, or ``default_root_dir`` without one.
    """
    given = trainer.ckpt_path or ckpt_path
    checkpoint = Path(str(given)) if given else None
    if checkpoint is not None and trainer.state.fn != "fit":
        return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent
    logger = trainer.logger
    if logger is None:
        return Path(trainer.default_root_dir)
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return Path(logger.save_dir or trainer.default_root_dir) / str(logger.name) / version


def is_trial(trainer: Trainer) -> bool:
    """Whether this is a ``fast_dev_run``, which leaves no record."""
    return bool(getattr(trainer, "fast_dev_run", False))


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
        text = self.parser.dump(self.config)
        doing = trainer.state.fn.value if trainer.state.fn is not None else stage
        name = "config.yaml" if doing == "fit" else f"config_{doing}.yaml"
        folder = run_folder(trainer, self.config.get("ckpt_path"))
        with whole_file(folder / name) as part:
            part.write_text(text)
        if trainer.logger is not None:
            trainer.logger.log_hyperparams({"config": text})


class RunRecord(BasePredictionWriter):
    """Writes what a run came of, its results and its predictions.

    That is provenance.json when training begins; results.json, results.md, scores and pictures after ``test``; predictions.csv
    after ``predict``.

    Args:
        folder: Where to write; by default the run's own folder.
        pictures: Whether to draw.

    Attributes:
        command: The command line; that of the process by default.
    """

    command: Sequence[str] | None = None

    def __init__(self, folder: str | None = None, pictures: bool = True) -> None:
        super().__init__(write_interval="epoch")
        self.folder, self.pictures = folder, pictures

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # The base class would refuse strategies that do not matter here. Every run keeps its curves in metrics.csv, whatever
        # other logger was asked for.
        has_curves = any(isinstance(logger, CSVLogger) for logger in trainer.loggers)
        if stage == "fit" and trainer.loggers and not has_curves and not is_trial(trainer):
            folder = run_folder(trainer)
            trainer.loggers = [*trainer.loggers, CSVLogger(folder.parent, name=folder.name, version="")]

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not isinstance(pl_module, MERModule) or not trainer.is_global_zero or is_trial(trainer):
            return
        data = None if pl_module.datamodule is None else pl_module.datamodule.origin()
        record = {**provenance(self.command), "seed": pl_module.trained_seed(), "data": data}
        with whole_file(self.folder_of(trainer) / "provenance.json") as part:
            part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not isinstance(pl_module, MERModule) or not trainer.is_global_zero or is_trial(trainer):
            return
        results = {**results_of(trainer, pl_module), "provenance": provenance(self.command)}
        write_results(self.folder_of(trainer), results, pl_module.test_scores, pictures=self.pictures)

    @override
    def write_on_epoch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        predictions: Sequence[Any],
        batch_indices: Sequence[Any],
    ) -> None:
        mine = [_plain(prediction) for prediction in predictions]
        parts: list[list[dict[str, Any]]] = [mine]
        if trainer.world_size > 1:
            parts = [[] for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(parts, mine)
        if trainer.is_global_zero and not is_trial(trainer):
            rows = _rows([prediction for part in parts for prediction in part])
            write_csv(self.folder_of(trainer) / "predictions.csv", rows)

    def folder_of(self, trainer: Trainer) -> Path:
        """Where this record is written."""
        return Path(self.folder) if self.folder is not None else run_folder(trainer)


def results_of(trainer: Trainer, module: MERModule) -> dict[str, Any]:
    """The content of results.json: what was tested, on what, and the metrics of each condition.

    Args:
        trainer: The trainer that has just tested.
        module: The module it tested.

    Returns:
        Plain values only.
    """
    datamodule = module.datamodule
    results: dict[str, Any] = {
        "model": module.model.label,
        "parameters": sum(p.numel() for p in module.parameters()),
        "checkpoint": str(trainer.ckpt_path) if trainer.ckpt_path else None,
        "seed": module.trained_seed(),
        "conditions": module.results,
        "diagnostics": module.model.diagnostics(),
        "notes": module.model.notes(),
    }
    if datamodule is not None:
        results["task"], results["convention"] = datamodule.task_name, datamodule.convention
        results["data"] = datamodule.describe()
        results["notes"] += results["data"].pop("notes")
        for condition in datamodule.conditions:
            if condition.name in module.results:
                pattern = None if condition.pattern is None else repr(condition.pattern)
                entry = {"split": condition.split, "pattern": pattern, "source": condition.source}
                results["conditions"][condition.name] = {**entry, **module.results[condition.name]}
    return results


def _plain(prediction: dict[str, Any]) -> dict[str, Any]:
    return {key: value if key == "ids" else _cpu(value) for key, value in prediction.items()}


def _cpu(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _cpu(item) for key, item in value.items()}
    return value.float().cpu() if value.is_floating_point() else value.cpu()


def _rows(predictions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a sample, in the order of the split; a distributed sampler's repetitions are dropped."""
    rows: dict[int, dict[str, Any]] = {}
    for part in predictions:
        scores, logits = part["scores"], part["logits"]
        columns = {"logit": logits, "score": scores, **{f"effect_{k}": v for k, v in part["effects"].items()}}
        for place, index in enumerate(part["index"].tolist()):
            row: dict[str, Any] = {"id": part["ids"][place]}
            for name, value in columns.items():
                flat = value[place].flatten().tolist()
                row.update({name if len(flat) == 1 else f"{name}_{i}": number for i, number in enumerate(flat)})
            rows[index] = row
    return [rows[index] for index in sorted(rows)]


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows to a CSV file, all or nothing.

    Args:
        path: The file; its folder is made.
        rows: Dictionaries with equal keys.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["id"])
        writer.writeheader()
        writer.writerows(rows)
