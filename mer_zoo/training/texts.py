"""Whether text encoders keep what they have read: as long as their weights stay, and each process has all of them."""

from __future__ import annotations

from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from mer_zoo.layers.text_encoder import remember_texts
from mer_zoo.model import Model

__all__ = ["read_once"]


def read_once(trainer: Trainer, model: Model) -> None:
    """Let text encoders read each text once: in a test under several conditions all, in training those that are frozen.

    Args:
        trainer: Of the run; where processes share weights among them, all must read at the same time, and none keeps
            anything.
        model: The model, which forgets with :func:`~mer_zoo.layers.text_encoder.remember_texts`.
    """
    if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
        return
    if not trainer.testing or len(trainer.num_test_batches) > 1:
        remember_texts(model, trained=trainer.testing)
