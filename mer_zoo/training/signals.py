"""Several processes that are told to end, all of them or one, end together, or at least do not wait for each other."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

__all__ = ["end_together"]


def end_together(trainer: Trainer) -> None:
    """Let processes that are told to end do so: those of a fit agree, before each batch, on whether one of them is.

    In tests, whose processes may have unlike many batches, whoever is told ends behind its batch, and the others when
    they find that it is gone.

    Lightning lets whoever is told wait for the others within the handler of the signal, and asks the first process
    alone: if another one is told, or they are told in different places, they wait for each other until the time limit
    of the process group.

    Args:
        trainer: The trainer, before it listens to signals; of one process it stays as it is.
    """
    if trainer.world_size < 2:
        return
    connector, loop = trainer._signal_connector, trainer.fit_loop.epoch_loop
    is_told = False
    fits = trainer.state.fn == TrainerFn.FITTING

    def note(kind: int, _: Any) -> None:
        nonlocal is_told
        launcher = trainer.strategy.launcher
        if not is_told and launcher is not None:
            launcher.kill(kind)  # processes that this one has started
        is_told = True
        connector.received_sigterm = connector.received_sigterm or not fits

    def agree() -> None:
        told = torch.tensor([is_told], dtype=torch.uint8, device=trainer.strategy.root_device)
        torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX)
        if told.item():
            connector.received_sigterm = True
            with suppress(RuntimeError):
                torch.distributed.barrier()  # so that none is gone while another still asks
            raise SIGTERMException

    connector._sigterm_notifier_fn = note  # type: ignore[method-assign,assignment]
    loop._broadcast_sigterm_tensor = agree  # type: ignore[method-assign]
