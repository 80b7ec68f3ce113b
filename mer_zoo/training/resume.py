"""What a checkpoint holds beyond Lightning's own state, so that a resumed run is the unbroken run, bit for bit."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import NoneType
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from typing_extensions import override

from mer_zoo.fields import Fields
from mer_zoo.training.generators import rng_state, set_rng_state
from mer_zoo.training.record import REMEDY
from mer_zoo.training.settings import STRETCHES, Settings, Stretches

__all__ = ["LastCheckpoint", "ResumableModule"]

TRAINING = "mer_zoo_training"  # the key of a checkpoint under which this state stands
_MOST_PROCESSES = 4096


def _training_state(trainer: Trainer, device: torch.device) -> dict[str, Any]:
    """What Lightning leaves out of a checkpoint; to be called on every process."""
    mine = {"rng": rng_state(device), "means": _means(trainer)}
    processes: list[Any] = [mine]
    if trainer.world_size > 1:
        processes = [None] * trainer.world_size
        torch.distributed.all_gather_object(processes, mine)
    return {
        "processes": processes,
        "logged_step": trainer.fit_loop.epoch_loop._batches_that_stepped if _between_batches(trainer) else None,
        "stopping": trainer.should_stop,
        "sampler_seed": getattr(_sampler(trainer), "seed", None),
    }


def _sampler(trainer: Trainer) -> Any:
    """What draws the order of training samples; on several processes it has a seed of its own."""
    return getattr(trainer.train_dataloader, "sampler", None)


def _means(trainer: Trainer) -> dict[str, list[Tensor]]:
    """Sums and counts behind the training means of an epoch that is not over."""
    progress: Any = trainer.fit_loop.epoch_progress.current
    if progress.processed == progress.started:
        return {}
    results = trainer.fit_loop.epoch_loop._results
    means = {name: metric for name, metric in results.items() if metric.meta.on_epoch and metric.meta.is_mean_reduction}
    return {
        name: [metric.value.cpu(), torch.as_tensor(metric.cumulated_batch_size).cpu()] for name, metric in means.items()
    }


def _between_batches(trainer: Trainer) -> bool:
    """Whether a batch is about to begin, and all that the one before it had to do is done."""
    progress: Any = trainer.fit_loop.epoch_loop.batch_progress.current
    return int(progress.ready) > int(progress.started)


def _settle_progress(loops: Mapping[str, Any]) -> None:
    """Let the progress in ``checkpoint["loops"]`` say what a resumed run has still to do.

    At the beginning of a batch Lightning has counted and fetched it already; a run that is resumed there is to begin it
    again. Where an epoch is over, its order is of no use any more.
    """
    fit = loops["fit_loop"]
    batches, epochs = fit["epoch_loop.batch_progress"], fit["epoch_progress"]["current"]
    if batches["current"]["ready"] > batches["current"]["started"]:
        batches["is_last_batch"] = False
        for count in (batches["current"], batches["total"]):
            count["ready"] = count["started"]
    is_over = epochs["processed"] == epochs["started"] or batches["is_last_batch"]
    states = fit["state_dict"].get("combined_loader", [])
    for place, state in enumerate(states):
        if "batches" in state:
            states[place] = {} if is_over else {**state, "batches": batches["current"]["ready"]}


def _checked(state: Any) -> dict[str, Any]:
    """A copy of what :func:`_training_state` has written, refused if a field of it is odd."""
    given = Fields(state, f"the checkpoint: {TRAINING}", REMEDY)
    processes = given.content.get("processes")
    if not isinstance(processes, list) or not 0 < len(processes) <= _MOST_PROCESSES:
        raise given.refusal("processes", "a list of what each process was at")
    for process in processes:
        own = Fields(process, f"{given.where}: processes", REMEDY)
        own.part("rng")
        means = own.part("means")
        for name, mean in means.content.items():
            if not isinstance(mean, list) or [isinstance(x, Tensor) and x.numel() for x in mean] != [1, 1]:
                raise means.refusal(name, "a sum and a count")
        with torch.random.fork_rng(devices=[]):
            before = rng_state(torch.device("cpu"))
            try:
                set_rng_state(own.content["rng"], torch.device("cpu"))
            except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
                raise own.refusal("rng", "the state of the generators") from error
            finally:
                set_rng_state(before, torch.device("cpu"))
    monitored = given.content.get("monitored")
    if not isinstance(monitored, (float, NoneType)):
        raise given.refusal("monitored", "a number")
    stopping = given.flag("stopping")
    numbers = {name: given.optional_count(name) for name in ("logged_step", "sampler_seed")}
    return {"processes": processes, "stopping": stopping, "monitored": monitored, **numbers}


class ResumableModule(LightningModule, ABC):
    """A LightningModule whose training goes on from a checkpoint as if it had never stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.stretches = Stretches()

    _monitored: float | None = None
    _resumed: dict[str, Any] | None = None  # what is still to be put back of the checkpoint

    @property
    @abstractmethod
    def monitor(self) -> str:
        """Metric that a scheduler follows, which a checkpoint keeps."""

    @abstractmethod
    def settings(self, data: Any) -> Settings:
        """What is trained on, a datamodule or None where it is not known, and by."""

    @override
    def setup(self, stage: str) -> None:
        self._resumed = None

    def monitored(self) -> float | None:
        """The monitored metric as it was measured last; None before the first time."""
        if self.monitor in self.trainer.callback_metrics:
            self._monitored = float(self.trainer.callback_metrics[self.monitor])
        return self._monitored

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint.update({STRETCHES: told} if (told := self.stretches.told) else {})  # finders save before training
        checkpoint[TRAINING] = {**_training_state(self.trainer, self.device), "monitored": self.monitored()}
        _settle_progress(checkpoint["loops"])

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self._trainer is not None and self._trainer.state.fn == "fit":
            self.stretches.begin(checkpoint, self.settings(getattr(self._trainer, "datamodule", None)))
            if TRAINING in checkpoint:
                self._resumed = _checked(checkpoint[TRAINING])
                self._monitored = self._resumed["monitored"]

    @override
    def on_fit_start(self) -> None:
        if self._resumed is None:
            self.stretches.begin(None, self.settings(getattr(self.trainer, "datamodule", None)))
        self.stretches.note(self.trainer)
        if self._resumed is not None and self._resumed["stopping"]:
            rank_zero_info("the run of this checkpoint was stopped early; there is nothing left to train")
            self.trainer.should_stop = True

    @override
    def on_train_start(self) -> None:
        self.stretches.take_over(self.trainer)
        if self._resumed is None:
            return
        # As late as possible: whatever is set up may draw.
        set_rng_state(self._own_state()["rng"], self.device)
        if self._resumed["sampler_seed"] is not None and hasattr(_sampler(self.trainer), "seed"):
            _sampler(self.trainer).seed = self._resumed["sampler_seed"]
        fit = self.trainer.fit_loop
        if fit.restarted_on_epoch_end:  # with max_steps Lightning would end the last epoch a second time
            fit.epoch_progress.increment_completed()
            fit.reset_restart_stage()
            fit._restarting = fit.epoch_loop.restarting = False

    @override
    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        step = None if self._resumed is None else self._resumed.pop("logged_step", None)
        if step is not None:
            self.trainer.fit_loop.epoch_loop._batches_that_stepped = step

    @override
    def log(self, *args: Any, **kwargs: Any) -> None:
        super().log(*args, **kwargs)
        if self._resumed is None or not self.trainer.training:
            return
        # The means of the epoch begin anew; what one held is added once it has been logged, in the same order of sums.
        results, means = self.trainer.fit_loop.epoch_loop._results, self._own_state()["means"]
        for name in [name for name in means if name in results]:
            metric, (value, count) = results[name], means.pop(name)
            metric.value = value.to(metric.value.device) + metric.value
            metric.cumulated_batch_size = metric.cumulated_batch_size + count.to(metric.value.device)

    def _own_state(self) -> Any:
        assert self._resumed is not None
        processes = self._resumed["processes"]
        return processes[self.trainer.global_rank if len(processes) == self.trainer.world_size else 0]


class LastCheckpoint(ModelCheckpoint):
    """Keeps ``last.ckpt``: the end of the last epoch, with ``every_n_train_steps`` also places within epochs.

    In the middle of an epoch it is written between two batches, when the validation of the first one, if any, and its
    schedulers are done, and between two optimiser steps, so never while gradients are being accumulated.

    Args:
        *args: See ModelCheckpoint.
        **kwargs: See ModelCheckpoint.
    """

    _step = 0  # at the beginning of the batch before
    _step_saved = 0

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._step = self._step_saved = trainer.global_step

    @override
    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        pass

    @override
    def on_validation_end(self, *args: Any, **kwargs: Any) -> None:
        pass

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        before, self._step = self._step, trainer.global_step
        if (
            batch_idx
            and self._step > before
            and self._is_due(trainer)
            and not self._should_skip_saving_checkpoint(trainer)
        ):
            self._save(trainer)

    def _is_due(self, trainer: Trainer) -> bool:
        every, interval = self._every_n_train_steps, self._train_time_interval
        if interval is not None and self._last_time_checked is not None:
            late = time.monotonic() - self._last_time_checked >= interval.total_seconds()
            return bool(trainer.strategy.broadcast(late))  # clocks differ, and every process takes part in a checkpoint
        return every > 0 and trainer.global_step // every > self._step_saved // every

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        every = self._every_n_epochs or 1
        if (trainer.current_epoch + 1) % every == 0 and not self._should_skip_saving_checkpoint(trainer):
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        self._step_saved, self._last_time_checked = trainer.global_step, time.monotonic()
        self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))
