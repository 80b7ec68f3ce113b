"""How sure a model may be where modalities are missing: a run's best weights are calibrated when training has ended."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from itertools import chain, combinations, islice
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities import rank_zero_warn
from typing_extensions import override

from mer_zoo.batch import availability_name
from mer_zoo.data.datamodule import MERDataModule
from mer_zoo.data.missing.conditions import Condition
from mer_zoo.data.missing.pattern import SMM
from mer_zoo.data.source import MappedSource
from mer_zoo.errors import MERError
from mer_zoo.module import MERModule
from mer_zoo.runs.folder import is_trial
from mer_zoo.scores import Scores
from mer_zoo.training.checkpoint import check_file
from mer_zoo.training.record import RECORD, Record
from mer_zoo.training.scoring import score
from mer_zoo.uncertainty import Calibration, fit_calibration
from mer_zoo.uncertainty.available import SETS

__all__ = ["SetCalibration"]

_VALIDATION = "valid"


class SetCalibration(Callback):
    """Calibrates the best checkpoint for each set of modalities, so that coverage holds where some are missing.

    When training has come to its end, the validation split is scored once under each incomplete set, six where three
    modalities are in use. What is fitted goes into the checkpoint, whose weights stay as they are. Nothing happens
    where complete data calibrate nothing, or where each process holds a part of the weights.

    Args:
        sets: Whether to do so; without it the calibration of complete data serves every set, without a promise.

    Example:
        >>> from tempfile import mkdtemp
        >>> from mer_zoo import LFLSTM, SyntheticMER
        >>> from mer_zoo.data import SyntheticConfig
        >>> data = SyntheticMER(SyntheticConfig(train=8, valid=24, test=4), task="regression", standardize=False)
        >>> best = ModelCheckpoint(mkdtemp(), monitor="val/MAE")
        >>> quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        >>> trainer = Trainer(callbacks=[best, SetCalibration()], max_epochs=1, **quiet)
        >>> trainer.fit(MERModule(LFLSTM(data.spec, data.task, dim=4)), data)
        >>> list(MERModule.load_from_checkpoint(best.best_model_path).model.uncertainty.groups)
        ['{l,a,v}', '{l}', '{a}', '{v}', '{l,a}', '{l,v}', '{a,v}']
    """

    def __init__(self, sets: bool = True) -> None:
        super().__init__()
        self.sets = sets

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.sets or is_trial(trainer) or not isinstance(pl_module, MERModule):
            return
        is_whole = isinstance(trainer.strategy, (DDPStrategy, SingleDeviceStrategy))
        if trainer.is_global_zero and is_whole and pl_module.datamodule is not None and _most_batches(trainer):
            for path in _best(trainer):
                _complete(path, trainer, pl_module, pl_module.datamodule)
        trainer.strategy.barrier("calibration")


def _best(trainer: Trainer) -> Iterable[Path]:
    """The checkpoints that a metric chose, as far as they are here."""
    keepers = [each for each in trainer.checkpoint_callbacks if isinstance(each, ModelCheckpoint) and each.monitor]
    paths = dict.fromkeys(Path(each.best_model_path) for each in keepers if each.best_model_path)
    return [path for path in paths if path.is_file()]


def _complete(path: Path, trainer: Trainer, module: MERModule, data: MERDataModule) -> None:
    """Write into a checkpoint what its weights give for each set of modalities."""
    content = check_file(path)
    record = Record.of(content, str(path))
    if record.uncertainty is None or not record.uncertainty.groups:
        return
    now = deepcopy(module.state_dict())  # modules may save by themselves what is no tensor
    module.load_state_dict(content["state_dict"])
    try:
        found = _groups(trainer, module, data)
    finally:
        module.load_state_dict(now)
    whole = replace(record.uncertainty, groups={**record.uncertainty.groups, **found})
    content[RECORD] = {**content[RECORD], "uncertainty": whole.plain()}
    try:
        trainer.strategy.checkpoint_io.save_checkpoint(content, path)
    except MERError as error:  # what training has come to is there, without it
        rank_zero_warn(f"sets of modalities are not calibrated: {error}")


def _groups(trainer: Trainer, module: MERModule, data: MERDataModule) -> dict[str, Calibration]:
    """What is fitted on each incomplete set, where there are samples enough."""
    found = {}
    used = data.spec.modalities
    for available in chain.from_iterable(combinations(used, size) for size in range(1, len(used))):
        name = availability_name(available)
        scores = _scores(trainer, module, data, Condition(name, _VALIDATION, SMM(available)))
        assert scores.available is not None
        own = scores.available == SETS[name]
        mine = Scores(scores.logits[own], {}, scores.target[own], scores.index[own])
        try:
            found[name] = fit_calibration(data.task, mine)
        except MERError:  # too few have all of the set, or too few classes
            continue
    return found


def _scores(trainer: Trainer, module: MERModule, data: MERDataModule, condition: Condition) -> Scores:
    convert = trainer.precision_plugin.convert_input
    source = MappedSource(data.condition_source(condition, module.device), convert)
    batches = islice(source, _most_batches(trainer))
    with trainer.precision_plugin.forward_context():
        return score(module.model, batches, calibrating=False)


def _most_batches(trainer: Trainer) -> int:
    """As many as validation takes; as a sampler may share them out, of every process."""
    return int(sum(trainer.num_val_batches)) * trainer.world_size
