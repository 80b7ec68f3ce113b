"""What has to hold of a checkpoint before a module takes anything from it."""

from __future__ import annotations

from typing import Any

from mer_zoo.model import Model
from mer_zoo.training.checkpoint import check_record, check_state
from mer_zoo.training.named_files import settle_named_files
from mer_zoo.training.record import Record
from mer_zoo.training.restore import check_loops_and_callbacks
from mer_zoo.training.resume import ResumableModule

__all__ = ["check_loaded"]


def check_loaded(checkpoint: dict[str, Any], module: ResumableModule, model: Model) -> Record:
    """Check a checkpoint against the module that is to be restored, and its names of files against the files.

    Args:
        checkpoint: Its content; names of files that are not the run's own are taken out.
        module: The module, which is told of best epochs that are not at hand.
        model: Its model.

    Returns:
        What the checkpoint says of the model.

    Raises:
        MERError: Naming the entry that is odd, or that does not fit.
    """
    record = Record.of(checkpoint, "the checkpoint")
    check_record(record, model)
    check_state(checkpoint["state_dict"], module.state_dict(), model.name)
    if module._trainer is not None:
        check_loops_and_callbacks(checkpoint, module._trainer, "the checkpoint")
        module.stretches.not_at_hand = settle_named_files(checkpoint, module._trainer)
    return record
