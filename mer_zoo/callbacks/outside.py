"""A LightningModule of the user's own, seen from outside: its answers, and the corpus that it is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import Batch, DataSpec, Output
from mer_zoo.data import MERDataModule
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.task import Task

__all__ = ["Unseen", "batch_of", "check_own", "corpus_of", "output_of"]


class Unseen(Model):
    """Stands for a network that nothing is known of but the data and the task.

    Args:
        spec: Shapes of the data.
        task: What the logits mean.

    Example:
        >>> from mer_zoo.task import SentimentClassification
        >>> Unseen(DataSpec(), SentimentClassification(3)).task.shape
        (3,)
    """

    def __init__(self, spec: DataSpec, task: Task) -> None:
        super().__init__()
        self.spec, self.task = spec, task

    @override
    def forward(self, batch: Batch) -> Output:
        raise MERError("what this network answers is known to its LightningModule alone")

    @override
    def drop_head(self) -> None:
        raise MERError("the classifier of this network is known to its LightningModule alone")


def check_own(module: LightningModule, callback: str, instead: str) -> None:
    """Refuse MERModule, which needs no callback for it.

    Args:
        module: The LightningModule.
        callback: Name of the callback.
        instead: What MERModule has in its place.

    Raises:
        MERError: Naming it.
    """
    if isinstance(module, MERModule):
        raise MERError(f"{callback} is for LightningModules of your own; MERModule has {instead}, so leave it out")


def corpus_of(trainer: Trainer, callback: str) -> MERDataModule:
    """The datamodule of a trainer.

    Args:
        trainer: The trainer.
        callback: Name of the callback that reads it.

    Raises:
        MERError: Where there is none of the zoo's.
    """
    found = getattr(trainer, "datamodule", None)
    if not isinstance(found, MERDataModule):
        raise MERError(f"{callback} reads a MERDataModule, such as mer_zoo.MOSI; pass one as datamodule to the Trainer")
    return found


def batch_of(batch: Any, callback: str) -> Batch:
    """The batch itself, where it is one of the zoo's.

    Args:
        batch: What the LightningModule is given.
        callback: Name of the callback that reads it.

    Raises:
        MERError: Where it is another.
    """
    if not isinstance(batch, Batch):
        raise MERError(f"{callback} reads mer_zoo.Batch, and was given a {type(batch).__name__}; let the batches be")
    return batch


def output_of(answer: Any, batch: Batch, task: Task, step: str) -> Output:
    """What a step of a LightningModule has answered.

    Args:
        answer: The logits (B, *task shape), of a regression (B,) too, or a mapping that holds them as ``logits``.
        batch: The batch.
        task: What the logits mean.
        step: Name of the step and the LightningModule, for messages.

    Raises:
        MERError: Where it is something else.

    Example:
        >>> import torch
        >>> from mer_zoo.task import SentimentRegression
        >>> batch, task = Batch.random(DataSpec(), SentimentRegression(), size=2), SentimentRegression()
        >>> output_of({"loss": torch.zeros(()), "logits": torch.zeros(2)}, batch, task, "test_step of Net").logits.shape
        torch.Size([2, 1])
        >>> output_of(None, batch, task, "test_step of Net")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: test_step of Net returned None; let it return the logits (2, 1), or a mapping that ...
    """
    logits = answer.get("logits") if isinstance(answer, Mapping) else answer
    wanted = (len(batch), *task.shape)
    if isinstance(logits, Tensor) and logits.shape == (len(batch),) and task.num_outputs == 1:
        logits = logits.view(wanted)
    if not isinstance(logits, Tensor) or logits.shape != wanted:
        given = f"logits of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else _kind(answer)
        raise MERError(
            f"{step} returned {given}; let it return the logits {wanted}, or a mapping that holds them as 'logits'"
        )
    return Output(logits.detach(), logits.new_zeros(len(batch), 0))


def _kind(answer: Any) -> str:
    if isinstance(answer, Mapping):
        return f"a mapping of {', '.join(map(str, answer)) or 'nothing'}"
    return "None" if answer is None else f"a {type(answer).__name__}"
