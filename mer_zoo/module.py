"""MERModule: the one LightningModule, which trains any model of the zoo for its task and tests it under conditions.

More than 300 lines, because Lightning calls its hooks on one class; what they do stands in :mod:`mer_zoo.training`.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.model_helpers import _restricted_classmethod
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import Self, override

from mer_zoo.batch import Batch, BatchSource, Output
from mer_zoo.confounding import ValidationWeights, WorstGroup
from mer_zoo.data.datamodule import MERDataModule
from mer_zoo.data.source import MappedSource
from mer_zoo.functional.draws import global_seed
from mer_zoo.layers.text_encoder import remember_texts
from mer_zoo.model import Model, WrapperFactory, check_model
from mer_zoo.monitors import AUTO, monitor_of
from mer_zoo.scores import Scores, measure
from mer_zoo.sharing.card import record_of
from mer_zoo.sharing.pretrained import load_model
from mer_zoo.sharing.recipe import Modules
from mer_zoo.training.checkpoint_io import keep_whole
from mer_zoo.training.compilation import compile_networks
from mer_zoo.training.guard import LossGuard, check_kept, open_entries
from mer_zoo.training.kept import (
    EXPLODED,
    KeptScores,
    KnownBaselines,
    calibrate,
    facts_of,
    needed_effects,
    prediction,
    results_on,
)
from mer_zoo.training.loaded import check_loaded
from mer_zoo.training.monitors import follow_all
from mer_zoo.training.param_groups import DEFAULT_GROUPS, OptimizerFactory, ParamGroups, build_optimizer
from mer_zoo.training.preparing import NoSource, prepare
from mer_zoo.training.record import RECORD, DataAbout
from mer_zoo.training.refusals import check_evaluation, check_training, warn_of_plain_loaders
from mer_zoo.training.restore import check_optimizers
from mer_zoo.training.resume import ResumableModule
from mer_zoo.training.scheduling import SchedulerFactory, Scheduling
from mer_zoo.training.settings import Settings, optimisation, settings_of
from mer_zoo.training.signals import end_together
from mer_zoo.training.stepping import Stepping
from mer_zoo.training.texts import read_once

__all__ = ["MERModule"]


class MERModule(ResumableModule):
    """Trains, validates, tests and predicts with any model of the zoo.

    A model that takes one optimiser step a batch is optimised automatically, so every Trainer flag works. A wrapper
    that declares more steps is optimised by hand, each step of :meth:`Model.steps` in turn.

    Args:
        backbone: The network, or a nest of wrappers built in Python.
        wrappers: Factories applied to the backbone from the inside out.
        optimizer: Makes the optimiser from parameter groups.
        lr_scheduler: Makes a learning-rate scheduler from the optimiser.
        param_groups: Glob pattern of parameter names -> optimiser options; the first match wins.
        clip_norm: Largest norm of the gradient, applied after unscaling, so right in fp16 too.
        accumulate: Batches whose gradients are averaged into one optimiser step (one of each stage, with several).
        scheduler_interval: Whether the scheduler steps after each ``epoch`` or each optimiser ``step``.
        monitor: Metric that a ReduceLROnPlateau scheduler follows, whichever way is better; ``auto`` is the task's.
        deconfounded: Log each validation metric, and the loss, also under weights that make label and biased words
            independent, as ``val/..._deconfounded``. ``frequent``, ``maci`` or a file say which words, as ``words`` of
            PropensityWeighting; true is ``frequent``, or whatever PropensityWeighting in the nest goes by, with which
            they are logged without asking.
        stop_at_nan: Stop at a training loss that is not finite, and save the ids of its batch; see :class:`LossGuard`.
        compile: Whether ``torch.compile`` compiles the networks, each at its first batch, or the name of the backend
            that does. What is saved is the same. Wrappers run as they are around a compiled network.

    Raises:
        MERError: For an option out of range, or a network that is no Backbone.

    Example:
        >>> from mer_zoo import CausalMER, DataSpec, MulT, SentimentClassification
        >>> MERModule(MulT(DataSpec(), SentimentClassification(3)), wrappers=[CausalMER]).model.name
        'CausalMER(MulT)'
    """

    def __init__(
        self,
        backbone: Model,
        wrappers: list[WrapperFactory] | None = None,
        optimizer: OptimizerFactory = torch.optim.Adam,
        lr_scheduler: SchedulerFactory | None = None,
        param_groups: dict[str, dict[str, float]] | None = None,
        clip_norm: float | None = None,
        accumulate: int = 1,
        scheduler_interval: str = "epoch",
        monitor: str = AUTO,
        deconfounded: bool | str = False,
        stop_at_nan: bool = True,
        compile: bool | str = False,  # noqa: A002  # the name that users know
    ) -> None:
        super().__init__()
        check_model(backbone, "MERModule")
        self.model = backbone
        for wrapper in wrappers or []:
            self.model = wrapper(self.model)
        if compile:
            compile_networks(self.model, compile)
        self.optimizer_factory = optimizer
        self.param_groups: ParamGroups = DEFAULT_GROUPS if param_groups is None else param_groups
        self.stepping = Stepping(self.model, accumulate, clip_norm, LossGuard() if stop_at_nan else None)
        self.automatic_optimization = not self.stepping.by_hand
        monitor = monitor_of(monitor, self.model.task)
        self.scheduling = Scheduling(lr_scheduler, scheduler_interval, monitor, self.stepping.by_hand, self.model.task)
        self.validation_weights = ValidationWeights(self.model, deconfounded)
        self.worst_group = WorstGroup(self.model)
        self.results: dict[str, dict[str, Any]] = {}
        self.test_scores: dict[str, Scores] = {}
        self.kept = KeptScores()
        self._seed: int | None = None
        self.trained_on: DataAbout | None = None

    @override
    @_restricted_classmethod
    def load_from_checkpoint(
        cls, checkpoint_path: Any, map_location: Any = None, *_: Any, modules: Modules = (), **options: Any
    ) -> Self:
        """Build the module of a checkpoint again, with its weights; nothing in the file is executed or imported.

        Args:
            checkpoint_path: A checkpoint of a run; of a model from elsewhere only with the ``modules`` it is made of.
            map_location: Device of the module; None for the CPU.
            *_: What Lightning's takes beside them is of no use here.
            modules: See :func:`mer_zoo.load_pretrained`.
            **options: Options of the module, such as ``optimizer``, of which a checkpoint holds none.

        Raises:
            MERError: If it can't be used, or its model can't be built from plain values.
        """
        model, seed = load_model(checkpoint_path, modules)
        module = cls(model, **options)
        module._seed = seed
        return module if map_location is None else module.to(map_location)

    @override
    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_current_fx_name":  # set forty times a step; torch would look whether it is a parameter
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    @property
    @override
    def monitor(self) -> str:
        return self.scheduling.monitor

    @property
    def datamodule(self) -> MERDataModule | None:
        """The Trainer's MERDataModule; None with plain loaders, or without a Trainer."""
        found = getattr(self._trainer, "datamodule", None)
        return found if isinstance(found, MERDataModule) else None

    @override
    def setup(self, stage: str) -> None:
        super().setup(stage)
        remember_texts(self.model, wanted=False)  # a run that was broken off has not torn down
        keep_whole(self.trainer.strategy)
        end_together(self.trainer)
        if stage == "fit":
            metrics = [*self.model.task.metrics(), *self.validation_weights.names, *self.worst_group.names]
            follow_all(self.trainer, self.monitor, self.model.task, metrics)
            self._may_be_open = open_entries(self.state_dict())
            check_training(self.trainer, self.model, self.stepping.clip_norm)
            self.stepping.set_up(self.trainer)
            return
        check_evaluation(self.trainer, stage)
        if self.datamodule is not None:
            self.datamodule.check_features(self.model.made_by, "the model")
        if self.model.scaler_state is not None and self.datamodule is not None:
            self.datamodule.load_scaler_state(self.model.scaler_state)  # of a model from load_pretrained

    @override
    def teardown(self, stage: str) -> None:
        remember_texts(self.model, wanted=False)
        if stage == "fit":
            self.stepping.tear_down(self.trainer)

    @override
    def forward(self, batch: Batch) -> Output:
        output: Output = self.model(batch)
        return output

    @override
    def configure_optimizers(self) -> OptimizerLRScheduler:
        # Here the model is on its device and restored, and no optimiser holds its parameters yet.
        prepare(self.model, self._train_source)
        self.validation_weights.fit(self._train_source)
        optimizer = build_optimizer(self.optimizer_factory, self.named_parameters(), self.param_groups)
        return self.scheduling.configure(optimizer)

    @override
    def settings(self, data: MERDataModule | None) -> Settings:
        steps = {"clip_norm": self.stepping.clip_norm, "accumulate": self.stepping.accumulate}
        factories = (self.optimizer_factory, self.param_groups, self.scheduling.factory)
        made = optimisation(*factories, {**steps, "scheduler_interval": self.scheduling.interval})
        return settings_of(made, record_of(self.model, None, None).recipe, data)

    @override
    def on_fit_start(self) -> None:
        super().on_fit_start()
        content = self.trainer._checkpoint_connector._loaded_checkpoint
        taken_over = "optimizer" in self.stretches.may_differ
        check_optimizers(content, self.trainer, self.optimizer_factory, "the checkpoint", taken_over)
        read_once(self.trainer, self.model)

    def _train_source(self) -> BatchSource:
        data, convert = self.datamodule, self.trainer.precision_plugin.convert_input
        return NoSource() if data is None else MappedSource(data.batch_source("train", self.device), convert)

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        self.model.uncertainty = None  # that of the weights before this step
        if self.automatic_optimization:
            return self.stepping.batch_loss(self, batch)
        if self.stepping.take_steps(self, batch):
            self.scheduling.after_steps(self)
        return None

    @override
    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        self.scheduling.after_batch(self, batch_idx)

    @override
    def on_train_epoch_end(self) -> None:
        self.scheduling.after_epoch(self)

    @override
    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        self.stepping.clip(optimizer)

    @override
    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        output = self.model.predict(batch)
        needed = needed_effects(self.model, output) | self.validation_weights.effects(batch)
        self.kept.keep(0, output, batch, needed | self.worst_group.effects(batch))

    @override
    def on_validation_epoch_start(self) -> None:
        self.kept.start(self.model, calibrating=True)
        self.validation_weights.fit(self._train_source)

    @override
    def on_validation_epoch_end(self) -> None:
        scores = self.kept.take(0, None if self.stepping.guard is None else "validation", EXPLODED)
        if scores is None:
            return
        self.validation_weights.attach(scores)
        if not (quiet := self.trainer.sanity_checking):
            calibrate(self.model, scores)
        further = self.worst_group.measure(scores, quiet) | self.validation_weights.measure(scores, quiet)
        for name, value in {**measure(self.model.task, scores), **further, **self.model.diagnostics()}.items():
            self.log(f"val/{name}", value, prog_bar=name == "loss", batch_size=len(scores))

    @override
    def on_predict_epoch_start(self) -> None:
        self.kept.start(self.model, calibrating=False, explaining=True)

    @override
    def on_test_epoch_start(self) -> None:
        self.kept.start(self.model, calibrating=False)
        self.results, self.test_scores = {}, {}
        read_once(self.trainer, self.model)
        if self.datamodule is None:
            warn_of_plain_loaders(self.trainer)

    @override
    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        output = self.model.predict(batch)
        self.kept.keep(dataloader_idx, output, batch, output.effects, facts_of(batch))

    @override
    def on_test_epoch_end(self) -> None:
        names = self.kept.names() if self.datamodule is None else [c.name for c in self.datamodule.conditions]
        known = KnownBaselines(self.model.task)
        for loader, name in enumerate(names):
            scores = self.kept.take(loader, f"condition {name!r}", model=self.model)
            if scores is None:
                continue
            self.results[name], self.test_scores[name] = results_on(self.model, scores, known), scores
            prefix = "test" if name == "iid" else f"test/{name}"
            found = self.results[name]["metrics"].items()
            self.log_dict({f"{prefix}/{key}": value for key, value in found}, batch_size=len(scores))

    @override
    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        return prediction(self.model, batch)

    @override
    def on_predict_batch_end(self, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        if self.trainer.received_sigterm:  # at which Lightning itself looks in its other loops only
            raise SIGTERMException

    def trained_seed(self) -> int | None:
        """The seed of the training run, also where a checkpoint of it is tested under another one."""
        return self._seed if self._seed is not None else global_seed()

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.stepping.check_losses(self.trainer)
        if self.trainer.state.fn == "fit":
            check_kept(self.trainer, checkpoint, self._may_be_open)
        super().on_save_checkpoint(checkpoint)
        checkpoint[RECORD] = record_of(self.model, self.datamodule, self.trained_seed()).plain()

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        record = check_loaded(checkpoint, self, self.model)
        self._seed, self.trained_on, self.model.uncertainty = record.seed, record.trained_on, record.uncertainty
        super().on_load_checkpoint(checkpoint)
        if self.datamodule is not None:
            self.datamodule.check_features(record.made_by)
            self.datamodule.load_scaler_state(record.scaler)
