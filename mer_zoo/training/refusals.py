"""What a run is refused for, or warned of, before its first epoch."""

from __future__ import annotations

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, LearningRateFinder, ModelCheckpoint
from lightning.pytorch.strategies import FSDPStrategy
from lightning.pytorch.utilities import rank_zero_warn

from mer_zoo.errors import MERError
from mer_zoo.model import Model

__all__ = ["check_schedule", "check_training", "warn_of_plain_loaders"]


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
    if trainer.limit_train_batches == 0:
        raise MERError("limit_train_batches is 0: nothing would be trained; leave it out")
    for name in ("check_val_every_n_epoch", "accumulate_grad_batches"):
        number = getattr(trainer, name)
        if number is not None and number < 1:
            raise MERError(f"{name} is {number}; give at least 1")
    clip = trainer.gradient_clip_val
    if clip is not None and clip < 0:
        raise MERError(f"gradient_clip_val is {clip}; give a positive number, or null to switch clipping off")
    choosing = [callback for callback in trainer.callbacks if isinstance(callback, EarlyStopping | ModelCheckpoint)]  # type: ignore[attr-defined]
    for callback in choosing:
        if isinstance(callback, EarlyStopping) and callback.patience < 0:
            raise MERError(f"patience is {callback.patience}; give the number of validations to wait for, 0 or more")
    if any((callback.monitor or "").startswith("val/") for callback in choosing):
        _check_validation(trainer)


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
    if not isinstance(trainer.strategy, FSDPStrategy):
        return
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
