"""What a run is refused for, or warned of, before its first epoch."""

from __future__ import annotations

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LearningRateFinder
from lightning.pytorch.strategies import FSDPStrategy
from lightning.pytorch.utilities import rank_zero_warn

from mer_zoo.errors import MERError
from mer_zoo.model import Model

__all__ = ["check_training", "warn_of_plain_loaders"]


def check_training(trainer: Trainer, model: Model, clip_norm: float | None) -> None:
    """Refuse what a precision or a strategy would do wrong, without a word or with words of its own.

    Args:
        trainer: The trainer.
        model: The model that is to be trained.
        clip_norm: Largest norm of the gradient; None where it is not clipped.

    Raises:
        MERError: For fp16 where gradients outlive a step: the first is unscaled by then, what is added to it would not
            be. For what FSDP would do to a process' shard alone, or to weights that it gathers once a batch. And for
            LearningRateFinder, which sets an attribute of the module that nothing here reads.
    """
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
