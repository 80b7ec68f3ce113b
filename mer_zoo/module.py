"""MERModule: the one LightningModule, which trains any model of the zoo for its task and tests it under conditions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from typing_extensions import override

from mer_zoo.batch import Batch, BatchSource, Output, Step
from mer_zoo.confounding.trace import Words
from mer_zoo.confounding.validation import ValidationWeights
from mer_zoo.data.datamodule import MERDataModule
from mer_zoo.data.dataset import MappedSource
from mer_zoo.distributed import distributed_mean, global_count
from mer_zoo.errors import MERError
from mer_zoo.functional.draws import global_seed
from mer_zoo.model import Model, WrapperFactory
from mer_zoo.scores import Scores, baselines, measure
from mer_zoo.sharing.card import about_model
from mer_zoo.sharing.recipe import recipe_or_reason
from mer_zoo.training.checkpoint import RECORD, check_record, check_state, describe_model
from mer_zoo.training.checkpoint_io import keep_whole
from mer_zoo.training.compilation import compile_networks
from mer_zoo.training.guard import LossGuard
from mer_zoo.training.modes import evaluating
from mer_zoo.training.param_groups import ParamGroups, group_parameters
from mer_zoo.training.resume import ResumableModule

__all__ = ["MERModule"]

OptimizerFactory = Callable[[Iterable[Any]], Optimizer]
SchedulerFactory = Callable[[Optimizer], LRScheduler | ReduceLROnPlateau]


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
        monitor: Metric that a ReduceLROnPlateau scheduler follows.
        deconfounded: Log each validation metric, and the loss, also under weights that make label and biased words
            independent, as ``val/..._deconfounded``. ``frequent`` and ``maci`` are the rules for these words, as
            ``words`` of PropensityWeighting; true is ``frequent``, or whatever PropensityWeighting in the nest goes by,
            with which they are logged without asking.
        stop_at_nan: Stop at a training loss that is not finite, and save the ids of its batch; see :class:`LossGuard`.
        compile: Whether ``torch.compile`` compiles the networks, each at its first batch, or the name of the backend
            that does. What is saved is the same. Wrappers run as they are around a compiled network.

    Raises:
        MERError: For an option out of range.

    Example:
        >>> from mer_zoo.backbones import MulT
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentClassification
        >>> from mer_zoo.wrappers import CausalMER
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
        monitor: str = "val/loss",
        deconfounded: bool | Words = False,
        stop_at_nan: bool = True,
        compile: bool | str = False,  # noqa: A002  # the name that users know
    ) -> None:
        super().__init__()
        if clip_norm is not None and clip_norm <= 0:
            raise MERError(f"clip_norm is {clip_norm}; give a positive norm, or null to switch clipping off")
        if accumulate < 1:
            raise MERError(f"accumulate is {accumulate}; give the number of batches an optimiser step, at least 1")
        if scheduler_interval not in ("epoch", "step"):
            raise MERError(f"scheduler_interval is {scheduler_interval!r}; choose epoch or step")
        self.model = backbone
        for wrapper in wrappers or []:
            self.model = wrapper(self.model)
        if compile:
            compile_networks(self.model, compile)
        self.optimizer_factory, self.scheduler_factory = optimizer, lr_scheduler
        default_groups: ParamGroups = {"*.text_encoder.*": {"lr": 5e-5}}
        self.param_groups: ParamGroups = default_groups if param_groups is None else param_groups
        self.clip_norm, self.accumulate = clip_norm, accumulate
        self.scheduler_interval, self.monitor = scheduler_interval, monitor
        self.automatic_optimization = self.model.num_steps == 1
        asked: bool | Words = deconfounded or any(model.weighs_validation for model in self.model.nest)
        self.validation_weights = ValidationWeights(self.model, asked)
        self.results: dict[str, dict[str, Any]] = {}
        self.test_scores: dict[str, Scores] = {}
        self._kept: dict[int, list[Scores]] = {}
        self._waiting: list[Batch] = []
        self._seed: int | None = None
        self._guard = LossGuard() if stop_at_nan else None

    @property
    def datamodule(self) -> MERDataModule | None:
        """The Trainer's MERDataModule; None with plain loaders, or without a Trainer."""
        found = getattr(self._trainer, "datamodule", None)
        return found if isinstance(found, MERDataModule) else None

    @override
    def setup(self, stage: str) -> None:
        super().setup(stage)
        strategy = self.trainer.strategy
        keep_whole(strategy)
        if stage != "fit" and self.model.scaler_state is not None and self.datamodule is not None:
            self.datamodule.load_scaler_state(self.model.scaler_state)  # of a model from load_pretrained
        if stage == "fit" and not self.automatic_optimization and isinstance(strategy, DDPStrategy):
            # Each backward pass of a multi-step model may leave out parameters that only the other one uses.
            strategy._ddp_kwargs.setdefault("find_unused_parameters", True)
        if stage == "fit":
            self._check_monitors()
            self._check_precision()
            self._check_sharding()
        if stage == "fit" and self.automatic_optimization and self.accumulate > 1:
            if self.trainer.accumulate_grad_batches not in (1, self.accumulate):
                raise MERError(
                    "gradients are accumulated twice; set model.accumulate or trainer.accumulate_grad_batches"
                )
            self.trainer.accumulate_grad_batches = self.accumulate

    @override
    def teardown(self, stage: str) -> None:
        if stage == "fit" and self.automatic_optimization and self.accumulate > 1:
            self.trainer.accumulate_grad_batches = 1

    def _check_monitors(self) -> None:
        """Refuse, before the first epoch, to select by a metric that does not exist or is of the test split."""
        known = {
            "epoch",
            "step",
            "train/loss",
            "train/task",
            "val/loss",
            *(f"val/{name}" for name in (*self.model.task.metrics(), *self.validation_weights.names)),
        }
        monitors = {getattr(callback, "monitor", None) for callback in self.trainer.callbacks}  # type: ignore[attr-defined]
        for monitor in sorted(name for name in {*monitors, self.monitor} if isinstance(name, str)):
            if monitor not in known and not monitor.startswith("train/"):
                raise MERError(
                    f"monitor {monitor!r} is not a validation metric of this task; choose from"
                    f" {', '.join(sorted(known))}"
                )

    def _check_precision(self) -> None:
        """Refuse fp16 where gradients outlive a step: the first is unscaled by then, what is added to it is not."""
        if self.model.accumulates_stages and self.trainer.precision == "16-mixed":
            raise MERError(
                f"{self.model.name} keeps gradients between its stages, which 16-mixed cannot scale; use bf16-mixed or"
                f" 32-true"
            )

    def _check_sharding(self) -> None:
        """Refuse with FSDP what it would silently do to a process' shard alone, or stop at with words of its own."""
        if not isinstance(self.trainer.strategy, FSDPStrategy):
            return
        if self.clip_norm is not None:
            raise MERError(
                "clip_norm would measure each process' shard of the gradient with fsdp; leave it out, or use ddp"
            )
        if not self.automatic_optimization:
            raise MERError(
                f"{self.model.name} takes {self.model.num_steps} optimiser steps a batch, but fsdp gathers the weights"
                f" once a batch;"
                " use ddp"
            )

    @override
    def forward(self, batch: Batch) -> Output:
        output: Output = self.model(batch)
        return output

    @override
    def configure_optimizers(self) -> OptimizerLRScheduler:
        # Here the model is on its device and restored, and no optimiser holds its parameters yet.
        self._prepare()
        known = self.optimizer_factory([torch.nn.Parameter(torch.zeros(1))]).defaults
        groups = group_parameters(self.named_parameters(), self.param_groups, known)
        optimizer = self.optimizer_factory(groups)
        if self.scheduler_factory is None:
            return optimizer
        scheduler = self.scheduler_factory(optimizer)
        if not self.automatic_optimization:  # stepped by hand, so Lightning would warn about any more
            return {"optimizer": optimizer, "lr_scheduler": scheduler}
        config: Any = {"scheduler": scheduler, "interval": self.scheduler_interval, "monitor": self.monitor}
        if isinstance(scheduler, ReduceLROnPlateau):
            # Lightning steps it only when the checkpoint of the epoch is written, and forgets the metric; here it is
            # stepped by hand.
            config["frequency"] = sys.maxsize
        return {"optimizer": optimizer, "lr_scheduler": config}

    def _prepare(self) -> None:
        """Let the model fit its statistics, unless a checkpoint has brought them; training draws stay as they were."""
        if self.model.needs_preparing:
            with torch.no_grad(), torch.random.fork_rng(devices=[]), evaluating(self.model):
                self.model.prepare(self._train_source())
        self.validation_weights.fit(self._train_source)

    def _train_source(self) -> BatchSource:
        if self.datamodule is None:
            return _NoSource()
        return MappedSource(
            self.datamodule.batch_source("train", self.device), self.trainer.precision_plugin.convert_input
        )

    def step_loss(self, step: Step, stage: str = "train") -> Tensor:
        """Loss of one step: mean(task_weight * task loss) + sum(auxiliary losses); logs its parts."""
        loss = distributed_mean(self.model.task.weighted(step.output.logits, step.batch.target, step.task_weight))
        parts = {"task": loss, **step.losses}
        if self._guard is not None:
            self._guard.note(parts)
        size = self._size(step.batch)
        for name, value in parts.items():
            self._log(f"{stage}/{name}", value, size)
        return torch.stack([value.float() for value in parts.values()]).sum()

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        if not self.automatic_optimization:
            self._manual_step(batch)
            return None
        loss = torch.stack([self.step_loss(step) for step in self.model.steps(batch)]).sum()
        self._watch(batch, loss)
        self._log("train/loss", loss, self._size(batch), prog_bar=True)
        return loss

    def _manual_step(self, batch: Batch) -> None:
        """Collect ``accumulate`` batches, then take each stage's optimiser step on all of them."""
        self._waiting.append(batch)
        if len(self._waiting) < self.accumulate and not self.trainer.is_last_batch:
            return
        batches, self._waiting = self._waiting, []
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        stages = [self.model.steps(waiting) for waiting in batches]
        totals: list[Tensor] = []
        for stage in range(self.model.num_steps):
            if stage == 0 or not self.model.accumulates_stages:
                optimizer.zero_grad()
            for steps in stages:
                step = next(steps, None)
                if step is None:
                    raise RuntimeError(
                        f"{self.model.name} yielded fewer steps than its num_steps {self.model.num_steps}"
                    )
                loss = self.step_loss(step)
                self._watch(step.batch, loss)
                self.manual_backward(loss / len(stages))
                totals.append(loss.detach())
            optimizer.step()
        if any(next(steps, None) is not None for steps in stages):
            raise RuntimeError(f"{self.model.name} yielded more steps than its num_steps {self.model.num_steps}")
        self._log("train/loss", torch.stack(totals).sum() / len(batches), self._size(batch), prog_bar=True)
        if self.scheduler_interval == "step":
            self._step_scheduler()

    def _step_scheduler(self) -> None:
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau):
            # Epochs without validation, before the first one, have no metric to follow.
            metric = self.monitored()
            if metric is not None:
                scheduler.step(metric)
        elif scheduler is not None:
            assert not isinstance(scheduler, list)
            scheduler.step()

    @property
    def _follows_metric(self) -> bool:
        return self.automatic_optimization and isinstance(self.lr_schedulers(), ReduceLROnPlateau)

    def _watch(self, batch: Batch, loss: Tensor) -> None:
        if self._guard is not None:
            self._guard.watch(self.trainer, batch, loss)

    @override
    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        has_stepped = (batch_idx + 1) % self.trainer.accumulate_grad_batches == 0 or self.trainer.is_last_batch
        if self.scheduler_interval == "step" and has_stepped and self._follows_metric:
            self._step_scheduler()

    @override
    def on_train_epoch_end(self) -> None:
        if self.scheduler_interval == "epoch" and (self._follows_metric or not self.automatic_optimization):
            self._step_scheduler()

    @override
    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        if self.clip_norm is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, self.clip_norm)

    @override
    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        output = self.model.predict(batch)
        kept = output.effects if self.model.calibrates else _factual(output.effects)
        self._keep(0, output, batch, {**kept, **self.validation_weights.effects(batch)})

    @override
    def on_validation_epoch_start(self) -> None:
        self._set_calibrating(True)
        self._kept.clear()
        self.validation_weights.fit(self._train_source)

    @override
    def on_validation_epoch_end(self) -> None:
        if not self._kept:
            return
        scores = self.validation_weights.attach(Scores.gather(self._kept.pop(0)))
        if self.model.calibrates and not self.trainer.sanity_checking:
            self.model.calibrate(scores)
            scores.logits = self.model.rescore(scores).float().cpu()
        for name, value in measure(self.model.task, scores).items():
            self.log(f"val/{name}", value, prog_bar=name == "loss", batch_size=len(scores), rank_zero_only=False)
        deconfounded = self.validation_weights.measure(scores, quiet=self.trainer.sanity_checking)
        for name, value in {**deconfounded, **self.model.diagnostics()}.items():
            self.log(f"val/{name}", value, batch_size=len(scores))

    def _keep(self, loader: int, output: Output, batch: Batch, effects: dict[str, Tensor]) -> None:
        self._kept.setdefault(loader, []).append(Scores(output.logits, effects, batch.target, batch.index).cpu())

    def _set_calibrating(self, calibrating: bool) -> None:
        for model in self.model.nest:
            model.calibrating = calibrating

    @override
    def on_predict_epoch_start(self) -> None:
        self._set_calibrating(False)

    @override
    def on_test_epoch_start(self) -> None:
        self._set_calibrating(False)
        self._kept.clear()
        self.results, self.test_scores = {}, {}
        loaders = self.trainer.num_test_batches
        if len(loaders) > 1 and self.datamodule is None:
            rank_zero_warn(
                "several test loaders without their datamodule: missing patterns of conditions are not applied"
            )

    @override
    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        output = self.model.predict(batch)
        self._keep(dataloader_idx, output, batch, output.effects)

    @override
    def on_test_epoch_end(self) -> None:
        for loader, name in enumerate(self._condition_names()):
            if loader not in self._kept:
                continue
            scores = Scores.gather(self._kept.pop(loader))
            metrics = measure(self.model.task, scores, self.model.oracle(scores))
            fixed = baselines(self.model.task, scores.target)
            self.results[name] = {"count": len(scores), "metrics": metrics, **fixed}
            self.test_scores[name] = scores
            prefix = "test" if name == "iid" else f"test/{name}"
            self.log_dict({f"{prefix}/{key}": value for key, value in metrics.items()}, batch_size=len(scores))

    def _condition_names(self) -> Sequence[str]:
        if self.datamodule is not None:
            return [condition.name for condition in self.datamodule.conditions]
        names = [f"loader{loader}" for loader in range(max(self._kept, default=0) + 1)]
        return ["iid", *names[1:]]

    @override
    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        output = self.model.predict(batch)
        return {
            "ids": batch.ids,
            "index": batch.index,
            "logits": output.logits,
            "scores": self.model.task.score(output.logits.float()),
            "effects": output.effects,
        }

    def _log(self, name: str, value: Tensor, batch_size: int | Tensor, prog_bar: bool = False) -> None:
        size: Any = batch_size
        self.log(name, value.detach(), prog_bar=prog_bar, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)

    def _size(self, batch: Batch) -> int | Tensor:
        """Samples of all processes: the weight of a loss over all of them in an epoch's mean, on each process alike."""
        return global_count(len(batch), batch.index.device)

    def trained_seed(self) -> int | None:
        """The seed of the training run, also where a checkpoint of it is tested under another one."""
        return self._seed if self._seed is not None else global_seed()

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self._guard is not None:
            self._guard.check(self.trainer)
        super().on_save_checkpoint(checkpoint)
        scaler = None if self.datamodule is None else self.datamodule.scaler_state()
        checkpoint[RECORD] = {
            **describe_model(self.model),
            "scaler": scaler,
            "seed": self.trained_seed(),
            "recipe": recipe_or_reason(self.model),
            "about": about_model(self.model, self.datamodule),
        }

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        check_record(checkpoint.get(RECORD), self.model)
        check_state(checkpoint["state_dict"], self.state_dict(), self.model.name)
        self._seed = checkpoint[RECORD]["seed"]
        super().on_load_checkpoint(checkpoint)
        if self.datamodule is not None:
            self.datamodule.load_scaler_state(checkpoint[RECORD]["scaler"])


def _factual(effects: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in effects.items() if name == "factual"}


class _NoSource:
    """Stands in for the training split where the Trainer runs without a MERDataModule; complains when it is read."""

    def __iter__(self) -> Iterator[Batch]:
        raise MERError(
            "a wrapper or deconfounded metrics read the training split before the first epoch; pass a MERDataModule to"
            " the Trainer"
        )
