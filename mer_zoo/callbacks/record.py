"""The record that every run leaves in its folder: provenance, results.json, results.md, pictures, predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_info
from typing_extensions import override

from mer_zoo.callbacks.certainty import calibration_of
from mer_zoo.callbacks.features import keep_features, write_features
from mer_zoo.callbacks.interaction import check_emap, keep_additive
from mer_zoo.callbacks.results import results_of
from mer_zoo.confounding.propensity import Propensity
from mer_zoo.errors import MERError
from mer_zoo.functional.conformal import check_level
from mer_zoo.module import MERModule
from mer_zoo.reports import write_results
from mer_zoo.reports.merge import results_to_add_to
from mer_zoo.reports.predictions import on_cpu, prediction_rows
from mer_zoo.runs.curves import CURVE, CurveWriter, curve_of, epoch_row
from mer_zoo.runs.earlier import check_no_run, clear_run, lock_run
from mer_zoo.runs.files import write_csv, write_json
from mer_zoo.runs.folder import is_trial, run_folder
from mer_zoo.runs.provenance import provenance
from mer_zoo.training.cost import EpochClock, read_cost, write_cost
from mer_zoo.training.record import REMEDY
from mer_zoo.training.stretches import with_stretch

__all__ = ["RunRecord"]


class RunRecord(BasePredictionWriter):
    """Writes what a run came of, its results and its predictions.

    That is provenance.json when training begins and cost.json when it ends, and propensity.json and propensity.csv
    where the model or its validation goes by biased words; results.json, results.md, scores and pictures after
    ``test``; predictions.csv after ``predict``.

    What an earlier run has left is kept: training in its folder is refused, a test of the same weights adds its
    conditions to what is there, one of other weights is refused, and so are predictions where there are some.

    Args:
        folder: Where to write; by default the run's own folder.
        pictures: Whether to draw.
        overwrite: Replace what an earlier run has left in the folder. Its checkpoints are put aside, as ``*.ckpt.old``.
        level: Share of samples that conformal sets and intervals are to cover.
        emap: Of how many samples of the first test split modalities are put together anew, to tell what interactions
            between them add (EMAP), by as many predictions as their number squared, three times that for three
            modalities. 0 leaves it out.
        features: Keep the joint representation of each sample that is tested, features.safetensors.

    Attributes:
        command: The command line; that of the process by default.
        untrained: Whether a network is tested as it was initialised, which results and tables then say.

    Raises:
        MERError: Where something is there that may not be replaced, or another process trains in the folder.

    Example:
        >>> from tempfile import mkdtemp
        >>> from mer_zoo import LFLSTM, SyntheticMER
        >>> from mer_zoo.data import SyntheticConfig
        >>> folder = Path(mkdtemp())
        >>> data = SyntheticMER(SyntheticConfig(train=8, valid=4, test=4), standardize=False)
        >>> model = MERModule(LFLSTM(data.spec, data.task, dim=4))
        >>> quiet = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu", "default_root_dir": folder}
        >>> _ = Trainer(callbacks=[RunRecord(str(folder), pictures=False)], **quiet).test(model, data, verbose=False)
        >>> sorted(path.name for path in folder.iterdir())
        ['results.json', 'results.md', 'scores.safetensors']
    """

    command: Sequence[str] | None = None
    untrained: bool = False

    def __init__(
        self,
        folder: str | None = None,
        pictures: bool = True,
        overwrite: bool = False,
        level: float = 0.9,
        emap: int = 0,
        features: bool = False,
    ) -> None:
        super().__init__(write_interval="epoch")
        check_level(level)
        check_emap(emap)
        self.level, self.emap, self.features = level, emap, features
        self.folder, self.pictures, self.overwrite = folder, pictures, overwrite
        self._lock: FileLock | None = None
        self._curve: CurveWriter | None = None
        self._clock: EpochClock | None = None
        self._rows: list[dict[str, float]] | None = None  # of the run that is resumed

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # The base class would refuse strategies that do not matter here. Every run keeps its curves in metrics.csv,
        # whatever other logger was asked for.
        has_curves = any(isinstance(logger, CSVLogger) for logger in trainer.loggers)
        if stage == "fit" and trainer.loggers and not has_curves and not is_trial(trainer):
            folder = run_folder(trainer)
            trainer.loggers = [*trainer.loggers, CSVLogger(folder.parent, name=folder.name, version="")]
        self._rows = None
        if stage == "fit" and trainer.is_global_zero and not is_trial(trainer):
            self._lock = lock_run(run_folder(trainer))
        self.keep_curve(trainer, stage)

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._unlock()

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            Path(self._lock.lock_file).unlink(missing_ok=True)  # while it is held: others then lock a new file
            self._lock.release()
            self._lock = None

    def check_place(self, trainer: Trainer, resumed: str | Path | None) -> None:
        """Refuse to train where an earlier run is, unless it is gone on with; before anything is written.

        Args:
            trainer: The trainer that is to fit.
            resumed: The checkpoint that it goes on from.

        Raises:
            MERError: Naming the folder and the ways out.
        """
        folder = run_folder(trainer)
        goes_on = resumed is not None and folder.absolute() in Path(str(resumed)).absolute().parents
        if trainer.is_global_zero and not is_trial(trainer) and not goes_on:
            check_no_run(folder, self.overwrite)

    def keep_curve(self, trainer: Trainer, stage: str) -> None:
        """Let the run's metrics.csv be whole at any moment; before the fit, where the logger first deletes an old one.

        Args:
            trainer: The trainer.
            stage: What it is to do.
        """
        if stage == "fit" and trainer.is_global_zero and not is_trial(trainer):
            loggers = [logger for logger in trainer.loggers if isinstance(logger, CSVLogger)]
            self._curve = curve_of(loggers[0]) if loggers else None

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        rows = checkpoint.get(CURVE, [])
        if not isinstance(rows, list) or not all(map(_is_row, rows)):
            raise MERError(f"the checkpoint: {CURVE} is no list of numbers by name; {REMEDY}")
        self._rows = list(rows)

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        pending = epoch_row(trainer) if trainer.state.fn == "fit" else []
        if self._curve is not None:
            checkpoint[CURVE] = [*self._curve.rows, *self._curve.metrics, *pending]

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not isinstance(pl_module, MERModule) or not trainer.is_global_zero or is_trial(trainer):
            return
        if self._rows is None:
            self.check_place(trainer, None)
            clear_run(run_folder(trainer))
        if self._curve is not None:
            self._curve.restart(self._rows or [])
        data = None if pl_module.datamodule is None else pl_module.datamodule.origin()
        record = {**provenance(self.command), "seed": pl_module.trained_seed(), "data": data}
        path = self.folder_of(trainer) / "provenance.json"
        if self._rows is not None:
            lost = [vars(best) for best in pl_module.stretches.not_at_hand]
            now = {**provenance(self.command), "resumed_from": str(trainer.ckpt_path), "best_not_at_hand": lost}
            record = with_stretch(path, now) if path.exists() else {**record, **now}
        write_json(path, {**record, "stretches": pl_module.stretches.told})
        self._clock = EpochClock(pl_module.device)

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._clock is not None:
            self._clock.begin()

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._clock is not None:
            self._clock.end()

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        clock, self._clock = self._clock, None
        if isinstance(pl_module, MERModule) and clock is not None and clock.seconds:
            write_cost(self.folder_of(trainer), pl_module.model.label, clock.told())

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not isinstance(pl_module, MERModule) or not trainer.is_global_zero or is_trial(trainer):
            return
        weights = pl_module.validation_weights
        propensity = pl_module.model.offered(Propensity) or weights.propensity
        if propensity is not None and weights.report:
            folder = self.folder_of(trainer)
            write_json(folder / "propensity.json", weights.report)
            write_csv(folder / "propensity.csv", propensity.sample_rows())

    @override
    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if isinstance(pl_module, MERModule) and trainer.is_global_zero and not is_trial(trainer):
            # What can't be kept is refused before the work, not after it.
            results_to_add_to(self.folder_of(trainer), results_of(trainer, pl_module, self.level), self.overwrite)
            self._cost(trainer, pl_module.model.label)
            check_emap(self.emap, trainer, pl_module)
        if isinstance(pl_module, MERModule) and self.features:
            keep_features(pl_module)

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not isinstance(pl_module, MERModule) or not trainer.is_global_zero or is_trial(trainer):
            return
        keep_additive(trainer, pl_module, self.emap)
        results, folder = results_of(trainer, pl_module, self.level), self.folder_of(trainer)
        if not self.untrained:
            _say_if_not_sure(results["calibration"])
        if not self.untrained:
            results["complexity"] |= self._cost(trainer, pl_module.model.label)
        earlier = results_to_add_to(folder, results, self.overwrite)
        results["conditions"] = {**earlier, **results["conditions"]}
        results["provenance"] = provenance(self.command)
        if self.untrained:
            results["model"] += "[untrained]"
            results["notes"] = [
                "tested as it was initialised: these weights have never been trained",
                *results["notes"],
            ]
        write_results(folder, results, pl_module.test_scores, pictures=self.pictures)
        if self.features:
            write_features(folder, pl_module, earlier.keys())

    def _cost(self, trainer: Trainer, model: str) -> dict[str, Any]:
        """What training has cost, in the folder of the run whose weights are tested, or beside this record."""
        places = [run_folder(trainer), self.folder_of(trainer)]
        return next(filter(None, (read_cost(folder, model) for folder in places)), {})

    @override
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        path = self.folder_of(trainer) / "predictions.csv"
        if path.exists() and trainer.is_global_zero and not is_trial(trainer) and not self.overwrite:
            raise MERError(
                f"{path} is there already; write to another folder by --record.folder, or replace it by"
                " --overwrite=true"
            )

    @override
    def write_on_epoch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        predictions: Sequence[Any],
        batch_indices: Sequence[Any],
    ) -> None:
        mine = [on_cpu(prediction) for prediction in predictions]
        parts: list[list[dict[str, Any]]] = [mine]
        if trainer.world_size > 1:
            parts = [[] for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(parts, mine)
        if trainer.is_global_zero and not is_trial(trainer):
            task, sure = None, None
            if isinstance(pl_module, MERModule):
                task, (sure, told) = pl_module.model.task, calibration_of(pl_module, self.level)
                _say_if_not_sure(told)
            rows = prediction_rows([prediction for part in parts for prediction in part], task, sure)
            write_csv(self.folder_of(trainer) / "predictions.csv", rows)

    def folder_of(self, trainer: Trainer) -> Path:
        """Where this record is written."""
        return Path(self.folder) if self.folder is not None else run_folder(trainer)


def _say_if_not_sure(calibration: Mapping[str, Any]) -> None:
    if "refused" in calibration:
        rank_zero_info(f"without probabilities, conformal sets and intervals: {calibration['refused']}")


def _is_row(row: object) -> bool:
    is_row = isinstance(row, dict) and {"step", "epoch"} <= row.keys()
    return is_row and all(isinstance(k, str) and type(v) in (int, float) for k, v in row.items())  # type: ignore[attr-defined]
