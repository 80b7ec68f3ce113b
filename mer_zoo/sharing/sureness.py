"""A model's calibration in a file of weights: a tensor for each set of modalities and quantity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mer_zoo.errors import MERError
from mer_zoo.fields import Fields
from mer_zoo.task import Task
from mer_zoo.text import told
from mer_zoo.uncertainty import Uncertainty

__all__ = ["CALIBRATION", "from_tensors", "named", "to_tensors"]

CALIBRATION = "calibration."  # in front of the names of its tensors
_AGAIN = "export again"


def to_tensors(uncertainty: Uncertainty | None) -> dict[str, Tensor]:
    """The tensors of a calibration by name.

    Example:
        >>> import torch
        >>> from mer_zoo.uncertainty import Calibration
        >>> kept = {"{l}": Calibration(torch.ones(()), torch.zeros(20))}
        >>> list(to_tensors(Uncertainty("SentimentClassification [3]", "{l}", kept)))
        ['calibration.{l}.temperature', 'calibration.{l}.oddness']
    """
    groups = {} if uncertainty is None else uncertainty.groups
    return {
        f"{CALIBRATION}{name}.{kind}": value.cpu().contiguous().clone()
        for name, group in groups.items()
        for kind, value in group.plain().items()
        if value is not None
    }


def named(uncertainty: Uncertainty | None) -> dict[str, str] | None:
    """What is said of a calibration beside its tensors; None where there are none."""
    if uncertainty is None or not uncertainty.groups:
        return None
    return {"task": uncertainty.task, "complete": uncertainty.complete}


def from_tensors(said: Any, tensors: Mapping[str, Tensor], task: Task, where: str) -> Uncertainty | None:
    """Read what :func:`to_tensors` and :func:`named` wrote.

    Args:
        said: What is said of the calibration.
        tensors: The tensors of the file whose names begin with :data:`CALIBRATION`.
        task: What the logits of the model mean.
        where: The file, for messages.

    Raises:
        MERError: For a tensor that is part of no calibration, or one for another task.
    """
    if said is None and not tensors:
        return None
    given = Fields(said, f"{where}: calibration", _AGAIN)
    groups: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        name, _, kind = key.removeprefix(CALIBRATION).partition(".")
        if kind not in ("temperature", "oddness", "distance"):
            raise MERError(f"{where} holds {told(key)}, which is part of no calibration; {_AGAIN}")
        groups.setdefault(name, {})[kind] = value
    found = Uncertainty.read({**given.content, "groups": groups}, f"{where}: calibration", _AGAIN)
    found.check(task, where)
    return found
