"""Stops training at a loss that is not finite, and saves which samples it came of; no such weights are kept."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from mer_zoo.batch import Batch
from mer_zoo.errors import TrainingError
from mer_zoo.runs.files import whole_file
from mer_zoo.runs.folder import is_trial, run_folder
from mer_zoo.training.kept import EXPLODED

__all__ = ["NAN_BATCH", "LossGuard", "check_kept", "open_entries"]

NAN_BATCH = "nan_batch.json"


@dataclass
class _Seen:
    """A loss that has been looked at, and where it came from."""

    bad: Tensor  # of any process
    ready: torch.cuda.Event | None
    batch: Batch
    loss: Tensor
    parts: list[dict[str, Tensor]]
    place: dict[str, int]


class LossGuard:
    """Watches the losses of training.

    A GPU is not waited for: whether a loss is finite is copied in the background, and read when the loss of the next
    batch is there, or before a checkpoint is written. On a CPU it is read at once, before the optimiser steps. What is
    watched is the loss itself, so a gradient that overflows in fp16 and is skipped by the scaler is no matter. All
    processes stop together.
    """

    def __init__(self) -> None:
        self._parts: list[dict[str, Tensor]] = []
        self._seen: _Seen | None = None

    def note(self, parts: Mapping[str, Tensor]) -> None:
        """Remember the parts of the loss that :meth:`watch` gets next, by name.

        Args:
            parts: Scalars.
        """
        self._parts.append({name: value.detach() for name, value in parts.items()})

    def watch(self, trainer: Trainer, batch: Batch, loss: Tensor) -> None:
        """Look at the loss of a batch.

        Args:
            trainer: The trainer.
            batch: What the loss came of.
            loss: Scalar.

        Raises:
            TrainingError: If this loss, or that of the batch before, is not finite on some process.
        """
        self.check(trainer)
        loss, parts, self._parts = loss.detach(), self._parts, []
        if loss.device.type == "cpu" and trainer.world_size == 1 and math.isfinite(float(loss)):
            return  # there is nothing to wait for, and nobody to ask
        bad = (~torch.isfinite(loss)).to(torch.uint8)
        if trainer.world_size > 1:
            torch.distributed.all_reduce(bad, torch.distributed.ReduceOp.MAX)
        place = {"epoch": trainer.current_epoch, "batch": trainer.fit_loop.batch_idx, "step": trainer.global_step}
        self._seen = _Seen(bad, None, batch, loss, parts, place)
        if bad.device.type == "cuda":
            self._seen.bad = torch.empty((), dtype=torch.uint8, pin_memory=True).copy_(bad, non_blocking=True)
            self._seen.ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._seen.ready.record()
        else:
            self.check(trainer)

    def check(self, trainer: Trainer) -> None:
        """Read what the last look found.

        Args:
            trainer: The trainer.

        Raises:
            TrainingError: If that loss is not finite on some process.
        """
        seen, self._seen = self._seen, None
        if seen is None:
            return
        if seen.ready is not None:
            seen.ready.synchronize()
        if seen.bad:
            raise TrainingError(_sentence(seen.place, _save(trainer, seen)))


def open_entries(state: Mapping[str, Any]) -> set[str]:
    """Names of the entries of a state that hold numbers that are not finite; of a fresh model, those yet to be fitted.

    Args:
        state: A state dict.

    Example:
        >>> open_entries({"weight": torch.ones(2), "lowest": torch.tensor([torch.inf, 1.0])})
        {'lowest'}
    """
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor) and not value.is_meta}
    return {name for name, value in tensors.items() if not bool(value.isfinite().all())}


def _open_optimizers(trainer: Trainer) -> list[str]:
    """What optimisers keep of parameters that is not finite, in words."""
    names: dict[Any, str] = {parameter: name for name, parameter in trainer.lightning_module.named_parameters()}
    return [
        f"{name} of {names.get(parameter, 'a parameter')} in the state of the optimizer"
        for optimizer in trainer.optimizers
        for parameter, kept in optimizer.state.items()
        for name in sorted(open_entries(kept))
    ]


def check_kept(trainer: Trainer, checkpoint: Mapping[str, Any], may_be_open: set[str]) -> None:
    """Refuse to keep weights that have exploded behind the last loss that was looked at, or such an optimiser.

    Args:
        trainer: The trainer, on whose processes alike this is called.
        checkpoint: What is about to be kept.
        may_be_open: Entries of its state that were not finite when training began.

    Raises:
        TrainingError: Naming an entry, and the last checkpoint before.
    """
    bad = sorted(open_entries(checkpoint["state_dict"]) - may_be_open)
    if "optimizer_states" in checkpoint:
        bad += _open_optimizers(trainer)
    if not trainer.strategy.reduce_boolean_decision(bool(bad), all=False):
        return
    callbacks = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
    kept = [Path(callback.best_model_path) for callback in callbacks if callback.best_model_path]
    last = max((path for path in kept if path.is_file()), key=lambda path: path.stat().st_mtime, default=None)
    before = "no checkpoint has been kept" if last is None else f"the last checkpoint before is {last}"
    raise TrainingError(
        f"{bad[0] if bad else 'the state'} holds numbers that are not finite in epoch {trainer.current_epoch},"
        f" optimizer step {trainer.global_step}, and is not saved; {before}; {EXPLODED}"
    )


def _save(trainer: Trainer, seen: _Seen) -> Path | None:
    """Write the batch into the run's folder; a trial run has none."""
    mine = None if bool(torch.isfinite(seen.loss)) else _describe(seen)
    found = [mine]
    if trainer.world_size > 1:
        found = [None] * trainer.world_size
        torch.distributed.all_gather_object(found, mine)
    if is_trial(trainer):
        return None
    # another process may number its logger's folder otherwise
    path = Path(trainer.strategy.broadcast(str(run_folder(trainer) / NAN_BATCH)))
    if trainer.is_global_zero:
        record = {**seen.place, "batches": [batch for batch in found if batch is not None]}
        with whole_file(path) as part:
            part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return path


def _describe(seen: _Seen) -> dict[str, Any]:
    parts = [{name: _in_json(value) for name, value in step.items()} for step in seen.parts]
    return {
        "loss": _in_json(seen.loss),
        "parts": parts,
        "index": seen.batch.index.tolist(),
        "ids": seen.batch.ids,
    }


def _in_json(value: Tensor) -> float | str:
    number = float(value)
    return number if math.isfinite(number) else str(number)  # JSON has no NaN


def _sentence(place: Mapping[str, int], path: Path | None) -> str:
    where = f"epoch {place['epoch']}, batch {place['batch']}, optimizer step {place['step']}"
    saved = "" if path is None else f"; the ids of the batch are in {path}"
    return (
        f"the loss is not a finite number in {where}{saved}; look for faults with mer-zoo validate-data, lower the"
        f" learning rate, or"
        " set model.clip_norm"
    )
