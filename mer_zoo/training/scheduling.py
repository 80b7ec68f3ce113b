"""When a learning-rate scheduler is stepped, and by what."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from mer_zoo.errors import MERError
from mer_zoo.monitors import direction
from mer_zoo.task import Task
from mer_zoo.training.monitors import direct_plateau
from mer_zoo.training.ranges import check_rates, check_schedule_options
from mer_zoo.training.resume import ResumableModule

__all__ = ["SchedulerFactory", "Scheduling"]

SchedulerFactory = Callable[[Optimizer], LRScheduler | ReduceLROnPlateau]


@dataclass(frozen=True)
class Scheduling:
    """Steps the scheduler of a module where Lightning does not.

    Lightning leaves alone what is optimised by hand; and a ReduceLROnPlateau it would step only when the checkpoint of
    the epoch is written, with a metric that it forgets.

    Args:
        factory: Makes the scheduler; None for a rate that stays as it is.
        interval: Whether it is stepped after each ``epoch`` or each optimiser ``step``.
        monitor: Metric that a ReduceLROnPlateau follows.
        by_hand: Whether the module takes its optimiser steps itself.
        task: The task that is trained for, which knows which way its metric is better.

    Raises:
        MERError: For another interval.

    Example:
        >>> import torch
        >>> from torch.optim.lr_scheduler import StepLR
        >>> scheduling = Scheduling(lambda optimizer: StepLR(optimizer, 3), "epoch", "val/loss", by_hand=False)
        >>> configured = scheduling.configure(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0))
        >>> configured["lr_scheduler"]["interval"]
        'epoch'
    """

    factory: SchedulerFactory | None
    interval: str
    monitor: str
    by_hand: bool
    task: Task | None = None

    def __post_init__(self) -> None:
        if self.interval not in ("epoch", "step"):
            raise MERError(f"scheduler_interval is {self.interval!r}; choose epoch or step")

    def configure(self, optimizer: Optimizer) -> OptimizerLRScheduler:
        """What ``configure_optimizers`` of the module returns."""
        if self.factory is None:
            return optimizer
        scheduler = self._made(optimizer)
        if isinstance(scheduler, ReduceLROnPlateau):
            direct_plateau(scheduler, self.monitor, direction(self.monitor, self.task))
        if self.by_hand:  # Lightning would warn about any more
            return {"optimizer": optimizer, "lr_scheduler": scheduler}
        config: Any = {"scheduler": scheduler, "interval": self.interval, "monitor": self.monitor}
        if isinstance(scheduler, ReduceLROnPlateau):
            config["frequency"] = sys.maxsize
        return {"optimizer": optimizer, "lr_scheduler": config}

    def _made(self, optimizer: Optimizer) -> LRScheduler | ReduceLROnPlateau:
        assert self.factory is not None
        try:
            scheduler = self.factory(optimizer)
        except MERError:
            raise
        except (ValueError, ZeroDivisionError) as error:  # torch's, of a number out of range
            raise MERError(f"{str(error).rstrip('.')}; give lr_scheduler other options") from error
        check_schedule_options(scheduler)
        check_rates(self.factory, optimizer)
        return scheduler

    def after_batch(self, module: ResumableModule, batch_idx: int) -> None:
        """To be called after each batch of an automatic optimisation, whether or not it has brought a step."""
        if self.interval != "step":
            return
        trainer = module.trainer
        has_stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch
        if has_stepped and self._follows_metric(module):
            self._step(module)

    def after_steps(self, module: ResumableModule) -> None:
        """To be called after the optimiser steps that were taken by hand for a batch."""
        if self.interval == "step":
            self._step(module)

    def after_epoch(self, module: ResumableModule) -> None:
        """To be called at the end of each epoch."""
        if self.interval == "epoch" and (self.by_hand or self._follows_metric(module)):
            self._step(module)

    def _follows_metric(self, module: ResumableModule) -> bool:
        return not self.by_hand and isinstance(module.lr_schedulers(), ReduceLROnPlateau)

    def _step(self, module: ResumableModule) -> None:
        scheduler = module.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau):
            # Epochs without validation, before the first one, have no metric to follow.
            metric = module.monitored()
            if metric is not None:
                scheduler.step(metric)
        elif scheduler is not None:
            assert not isinstance(scheduler, list)
            scheduler.step()
