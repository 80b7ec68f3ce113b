"""What a run is refused for, or warned of, before its first epoch."""

from __future__ import annotations

import math

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, LearningRateFinder, ModelCheckpoint, Timer
from lightning.pytorch.strategies import FSDPStrategy
from lightning.pytorch.utilities import rank_zero_warn

from mer_zoo.errors import MERError
from mer_zoo.model import Model

__all__ = ["check_evaluation", "check_schedule", "check_training", "warn_of_plain_loaders"]

_LEAST = {"check_val_every_n_epoch": 1, "accumulate_grad_batches": 1, "num_sanity_val_steps": 0, "log_every_n_steps": 0}


def check_schedule(trainer: Trainer) -> None:
    """Refuse options of a Trainer that train nothing, or of which Lightning says nothing until it divides by them.

    Args:
        trainer: The trainer, before the fit.

    Raises:
        MERError: For numbers out of range, and where epochs are chosen by a validation that never comes.

    Example:
        >>> check_schedule(Trainer(logger=False, limit_train_batches=0, accelerator="cpu"))
        Traceback (most recent call last):
        mer_zoo.errors.MERError: limit_train_batches is 0: nothing would be trained; leave it out
    """
    _check_length(trainer)
    for name, least in _LEAST.items():
        number = getattr(trainer, name)
        if isinstance(number, (int, float)) and number < least:
            more = ", or -1 for all of the split" if name == "num_sanity_val_steps" else ""
            raise MERError(f"{name} is {number:g}; give at least {least}{more}")
    interval = trainer.val_check_interval
    if isinstance(interval, (int, float)) and not interval > 0:
        raise MERError(f"val_check_interval is {interval}; give a number of batches, or a share of the epoch above 0")
    clip = trainer.gradient_clip_val
    if clip is not None and not clip >= 0:
        raise MERError(f"gradient_clip_val is {clip:g}; give a positive number, or null to switch clipping off")
    choosing = [callback for callback in trainer.callbacks if isinstance(callback, EarlyStopping | ModelCheckpoint)]  # type: ignore[attr-defined]
    for callback in choosing:
        if isinstance(callback, EarlyStopping):
            _check_stopping(callback)
    _check_names([callback for callback in choosing if isinstance(callback, ModelCheckpoint)])
    if any((callback.monitor or "").startswith("val/") for callback in choosing):
        _check_validation(trainer)


def _check_length(trainer: Trainer) -> None:
    """Refuse trainings of no length."""
    for name, number in (
        ("limit_train_batches", trainer.limit_train_batches),
        ("max_epochs", trainer.max_epochs),
        ("max_steps", trainer.max_steps),
    ):
        if number == 0:
            raise MERError(f"{name} is 0: nothing would be trained; leave it out")
    loop = trainer.fit_loop
    for kind, least, most in (
        ("epochs", loop.min_epochs, trainer.max_epochs),
        ("steps", loop.epoch_loop.min_steps, trainer.max_steps),
    ):
        if least is not None and least < 0:
            raise MERError(f"min_{kind} is {least}; give the number of {kind} to be trained in any case, 0 or more")
        if least is not None and most is not None and 0 < most < least:
            raise MERError(f"min_{kind} is {least} and max_{kind} {most}; give a larger max_{kind}")
    for timer in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(timer, Timer) and timer._duration is not None and timer._duration <= 0:
            raise MERError(f"max_time is {timer._duration:g} s: nothing would be trained; give it days:hours:min:s")


def _check_stopping(callback: EarlyStopping) -> None:
    if callback.patience < 0:
        raise MERError(f"patience is {callback.patience}; give the number of validations to wait for, 0 or more")
    delta = callback.min_delta if callback.mode == "max" else -callback.min_delta  # as Lightning signs it
    if not 0 <= delta < math.inf:
        raise MERError(f"min_delta is {delta:g}; give how much better counts as better, 0 or more")
    for name in ("stopping_threshold", "divergence_threshold"):
        threshold = getattr(callback, name)
        if threshold is not None and math.isnan(threshold):
            raise MERError(f"{name} is nan; give a number, or leave it out")


def _check_names(callbacks: list[ModelCheckpoint]) -> None:
    """Refuse checkpoints without a name, or of which one would be written over the other."""
    names: set[tuple[str, str]] = set()
    for callback in callbacks:
        if callback.filename == "":
            raise MERError("the filename of a checkpoint is empty; give one, or leave it out")
        if callback.filename is None or callback._enable_version_counter:
            continue
        place = (str(callback.dirpath), callback.filename)
        if place in names:
            raise MERError(
                f"two callbacks keep their checkpoints as {callback.filename!r}; give one another filename or dirpath"
            )
        names.add(place)


def check_evaluation(trainer: Trainer, stage: str) -> None:
    """Refuse a test or a prediction of nothing.

    Args:
        trainer: The trainer.
        stage: ``test``, ``predict`` or ``validate``.

    Raises:
        MERError: Naming the option.

    Example:
        >>> check_evaluation(Trainer(logger=False, limit_test_batches=0, accelerator="cpu"), "test")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: limit_test_batches is 0: there would be no result; leave it out
    """
    name = f"limit_{stage.replace('validate', 'val')}_batches"
    if getattr(trainer, name, None) == 0:
        raise MERError(f"{name} is 0: there would be no result; leave it out")


def _check_validation(trainer: Trainer) -> None:
    every, epochs, never = trainer.check_val_every_n_epoch, trainer.max_epochs, ""
    if trainer.limit_val_batches == 0:
        never = "limit_val_batches is 0"
    elif every is not None and epochs is not None and 0 < epochs < every:
        never = f"check_val_every_n_epoch is {every} and max_epochs {epochs}"
    if never:
        raise MERError(
            f"{never}: without validation there is nothing to stop by or to choose a checkpoint by; let there be some"
        )


def check_training(trainer: Trainer, model: Model, clip_norm: float | None) -> None:
    """Refuse what :func:`check_schedule` refuses, and what a precision or a strategy would do wrong.

    Args:
        trainer: The trainer.
        model: The model that is to be trained.
        clip_norm: Largest norm of the gradient; None where it is not clipped.

    Raises:
        MERError: For fp16 where gradients outlive a step: the first is unscaled by then, what is added to it would not
            be. For what FSDP would do to a process' shard alone, or to weights that it gathers once a batch. And for
            LearningRateFinder, which sets an attribute of the module that nothing here reads.
    """
    check_schedule(trainer)
    if any(isinstance(callback, LearningRateFinder) for callback in trainer.callbacks):  # type: ignore[attr-defined]
        raise MERError(
            "the learning rate is an option of --model.optimizer; LearningRateFinder is not supported, so leave it out"
        )
    if model.accumulates_stages and trainer.precision == "16-mixed":
        raise MERError(
            f"{model.name} keeps gradients between its stages, which 16-mixed cannot scale; use bf16-mixed or 32-true"
        )
    if model.reads_gradients and trainer.precision == "16-mixed":
        raise MERError(f"{model.name} computes with gradients that 16-mixed has not scaled; use bf16-mixed or 32-true")
    if not isinstance(trainer.strategy, FSDPStrategy):
        return
    if model.changes_gradients:
        raise MERError(
            f"{model.name} changes gradients of whole parameters, of which a process has a shard with fsdp; use ddp"
        )
    if clip_norm is not None:
        raise MERError(
            "clip_norm would measure each process' shard of the gradient with fsdp; leave it out, or use ddp"
        )
    if model.num_steps > 1:
        raise MERError(
            f"{model.name} takes {model.num_steps} optimiser steps a batch, but fsdp gathers the weights once a batch;"
            " use ddp"
        )


def warn_of_plain_loaders(trainer: Trainer) -> None:
    """Warn of a test on several loaders that come without their datamodule, which alone knows their conditions."""
    if len(trainer.num_test_batches) > 1:
        rank_zero_warn("several test loaders without their datamodule: missing patterns of conditions are not applied")
