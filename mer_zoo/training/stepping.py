"""From the steps of a model to losses and optimiser steps, one or several a batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.optim import Optimizer

from mer_zoo.batch import Batch, Step
from mer_zoo.distributed import distributed_mean, global_count
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.training.guard import LossGuard

__all__ = ["Stepping"]


class Stepping:
    """Computes and logs the losses of a model's steps; where a batch has several, takes the optimiser's steps too.

    Args:
        model: The model that is trained.
        accumulate: Batches whose gradients are averaged into one optimiser step.
        clip_norm: Largest norm of the gradient; None where it is not clipped.
        guard: What watches the losses; None for nothing.

    Raises:
        MERError: For an option out of range.
    """

    def __init__(self, model: Model, accumulate: int, clip_norm: float | None, guard: LossGuard | None) -> None:
        if clip_norm is not None and not clip_norm > 0:  # not a number is not, either
            raise MERError(f"clip_norm is {clip_norm}; give a positive norm, or null to switch clipping off")
        if accumulate < 1 or accumulate != int(accumulate):
            raise MERError(f"accumulate is {accumulate}; give the number of batches an optimiser step, at least 1")
        self.model, self.accumulate, self.clip_norm, self.guard = model, accumulate, clip_norm, guard
        self.by_hand = model.num_steps > 1
        self._waiting: list[Batch] = []

    def set_up(self, trainer: Trainer) -> None:
        """Tell a Trainer before the fit what it has to do its own part of.

        Raises:
            MERError: If it accumulates gradients, too.
        """
        if self.by_hand:
            if isinstance(trainer.strategy, DDPStrategy):
                # Each backward pass of a multi-step model may leave out parameters that only the other one uses.
                trainer.strategy._ddp_kwargs.setdefault("find_unused_parameters", True)
        elif self.accumulate > 1:
            if trainer.accumulate_grad_batches not in (1, self.accumulate):
                raise MERError(
                    "gradients are accumulated twice; set model.accumulate or trainer.accumulate_grad_batches"
                )
            trainer.accumulate_grad_batches = self.accumulate

    def tear_down(self, trainer: Trainer) -> None:
        """Leave a Trainer as it was before :meth:`set_up`."""
        if not self.by_hand and self.accumulate > 1:
            trainer.accumulate_grad_batches = 1

    def loss(self, module: LightningModule, step: Step, stage: str = "train") -> Tensor:
        """Loss of one step: mean(task_weight * task loss) + sum(auxiliary losses).

        Args:
            module: Logs the parts.
            step: The step.
            stage: In front of the logged names.

        Returns:
            A scalar.
        """
        task = distributed_mean(self.model.task.weighted(step.output.logits, step.batch.target, step.task_weight))
        parts = {"task": task, **step.losses}
        if self.guard is not None:
            self.guard.note(parts)
        size = _size(step.batch)
        for name, value in parts.items():
            _log(module, f"{stage}/{name}", value, size)
        return _sum_of([value.float() for value in parts.values()])

    def batch_loss(self, module: LightningModule, batch: Batch) -> Tensor:
        """Loss of all steps of a batch together, a scalar, for an automatic optimisation."""
        loss = _sum_of([self.loss(module, step) for step in self.model.steps(batch)])
        self._watch(module, batch, loss)
        _log(module, "train/loss", loss, _size(batch), prog_bar=True)
        return loss

    def take_steps(self, module: LightningModule, batch: Batch) -> bool:
        """Take each step of the model as an optimiser step of its own, once ``accumulate`` batches have come.

        Args:
            module: Owns the optimiser.
            batch: The next batch.

        Returns:
            Whether the optimiser has stepped.

        Raises:
            RuntimeError: If the model yields another number of steps than its ``num_steps``.
        """
        self._waiting.append(batch)
        if len(self._waiting) < self.accumulate and not module.trainer.is_last_batch:
            return False
        batches, self._waiting = self._waiting, []
        optimizer = module.optimizers()
        assert not isinstance(optimizer, list)
        stages = [self.model.steps(waiting) for waiting in batches]
        totals: list[Tensor] = []
        for stage in range(self.model.num_steps):
            if stage == 0 or not self.model.accumulates_stages:
                optimizer.zero_grad()
            for steps in stages:
                step = self._next_step(steps)
                loss = self.loss(module, step)
                self._watch(module, step.batch, loss)
                module.manual_backward(loss / len(stages))
                totals.append(loss.detach())
            optimizer.step()
        if any(next(steps, None) is not None for steps in stages):
            raise RuntimeError(f"{self.model.name} yielded more steps than its num_steps {self.model.num_steps}")
        _log(module, "train/loss", torch.stack(totals).sum() / len(batches), _size(batch), prog_bar=True)
        return True

    def _next_step(self, steps: Iterator[Step]) -> Step:
        step = next(steps, None)
        if step is None:
            raise RuntimeError(f"{self.model.name} yielded fewer steps than its num_steps {self.model.num_steps}")
        return step

    def _watch(self, module: LightningModule, batch: Batch, loss: Tensor) -> None:
        if self.guard is not None:
            self.guard.watch(module.trainer, batch, loss)

    def check_losses(self, trainer: Trainer) -> None:
        """Wait for what the guard has still to say; to be called before a checkpoint is written.

        Raises:
            TrainingError: If a loss is not finite.
        """
        if self.guard is not None:
            self.guard.check(trainer)

    def clip(self, optimizer: Optimizer) -> None:
        """Clip the gradients of an optimiser's parameters; to be called when they are unscaled."""
        if self.clip_norm is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, self.clip_norm)


def _sum_of(losses: list[Tensor]) -> Tensor:
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


def _log(module: LightningModule, name: str, value: Tensor, size: int | Tensor, prog_bar: bool = False) -> None:
    """Let the mean over an epoch be logged."""
    weight: int = size  # type: ignore[assignment]  # Lightning takes a tensor too
    mean = _mean_of(module, name)
    if mean is not None:
        mean.update(value.detach(), weight)
        return
    module.log(name, value.detach(), prog_bar=prog_bar, on_step=False, on_epoch=True, batch_size=weight, sync_dist=True)


def _mean_of(module: LightningModule, name: str) -> Any:
    """The mean that earlier batches of the epoch have logged: adding to it takes a tenth of the time of logging."""
    trainer, stage = module._trainer, module._current_fx_name
    if trainer is None or stage != "training_step":
        return None
    mean = trainer.fit_loop.epoch_loop._results.get(f"{stage}.{name}")  # not by way of ten properties of the Trainer
    return None if mean is None or mean.has_reset or trainer._logger_connector.should_reset_tensors(stage) else mean


def _size(batch: Batch) -> int | Tensor:
    """Samples of all processes: what a loss over all of them weighs in the mean of an epoch, on each process alike."""
    return global_count(len(batch), batch.index.device)
