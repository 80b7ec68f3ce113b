"""What a model learns from the training split before the first epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from mer_zoo.batch import Batch, BatchSource
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.training.modes import evaluating

__all__ = ["NoSource", "prepare"]


def prepare(model: Model, source: Callable[[], BatchSource]) -> None:
    """Let a model fit its statistics, unless a checkpoint has brought them; training draws stay as they were.

    Args:
        model: The model.
        source: Opens the training split; not called where nothing is to be fitted.
    """
    if model.needs_preparing:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), evaluating(model):
            model.prepare(source())


class NoSource:
    """Stands in for the training split where the Trainer runs without a MERDataModule; complains when it is read."""

    def __iter__(self) -> Iterator[Batch]:
        raise MERError(
            "a network, a wrapper or deconfounded metrics read the training split before the first epoch; pass a"
            " MERDataModule to the Trainer"
        )
