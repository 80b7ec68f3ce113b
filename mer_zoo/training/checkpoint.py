"""What a checkpoint says about its model, and whether it fits the model at hand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mer_zoo.errors import MERError
from mer_zoo.fields import Fields
from mer_zoo.foreign.archives import read_archive
from mer_zoo.foreign.contents import check_values
from mer_zoo.model import Model
from mer_zoo.text import shown
from mer_zoo.training.record import RECORD, REMEDY, Record
from mer_zoo.uncertainty.calibration import task_of

__all__ = [
    "Checkpoint",
    "Described",
    "check_content",
    "check_file",
    "check_if_local",
    "check_record",
    "check_state",
    "describe_model",
    "needed_state",
    "read_checkpoint",
]

_OWN_STATE = "_extra_state"  # what a module saves by itself
_VERSION = r"([2-9]|\d{2,3})\.\d+[\w.+-]{0,50}"  # before 2 states were others, which Lightning would translate


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of a training run, checked.

    Attributes:
        path: The file.
        state: The state of the whole module.
        record: What it says about its model.
        epoch: Epochs that were over, or the one that was going on, counted from 0.
        step: Optimiser steps.
        callbacks: States of the callbacks, whose content is not checked.
    """

    path: Path
    state: Mapping[str, Any]
    record: Record
    epoch: int
    step: int
    callbacks: Mapping[str, Mapping[str, Any]]

    @property
    def model_state(self) -> dict[str, Any]:
        """The state of the model, by the model's own names."""
        return {name.removeprefix("model."): value for name, value in self.state.items()}


def read_checkpoint(path: str | Path, remedy: str, role: str = "") -> Checkpoint:
    """Read a checkpoint that a run of mer_zoo left; nothing in it is executed.

    Args:
        path: The file.
        remedy: What to do where there is none.
        role: What the file is to the reader, in front of its name in messages.

    Raises:
        MERError: If it does not exist, can't be read, was not written by mer_zoo, or holds a field that is odd or
            missing; the message names file and field.

    Example:
        >>> read_checkpoint("nowhere.ckpt", "train one first", "the teacher ")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: the teacher nowhere.ckpt does not exist; train one first
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise MERError(f"{role}{path} does not exist; {remedy}")
    content = check_file(file)
    if content.get(RECORD) is None:
        raise MERError(f"{role}{path} was not written by mer_zoo; {remedy}")
    given = Fields(content, str(file), REMEDY)
    return Checkpoint(
        path=file,
        state=content["state_dict"],
        record=Record.read(content[RECORD], str(file)),
        epoch=given.count("epoch"),
        step=given.count("global_step"),
        callbacks=content.get("callbacks") or {},
    )


@dataclass(frozen=True)
class Described:
    """What a model has in common with those whose weights fit it.

    Attributes:
        model: Name of the nest.
        task: Name of the task and shape of its logits.
    """

    model: str
    task: str

    def difference(self, record: Record) -> tuple[str, str, str] | None:
        """What a record says otherwise: its name, the record's, and that of this model; None where they agree."""
        pairs = (("model", record.model, self.model), ("task", record.task, self.task))
        return next((pair for pair in pairs if pair[1] != pair[2]), None)


def describe_model(model: Model) -> Described:
    """Name the nest and the shape of the logits, as the record of a checkpoint does."""
    return Described(model.name, task_of(model.task))


def needed_state(model: Model) -> dict[str, Tensor]:
    """The part of a model's state that predictions need: all but what ``training_only`` modules save by themselves."""
    left_out = {f"{name}.{_OWN_STATE}" for name, part in model.named_modules() if getattr(part, "training_only", False)}
    return {
        name: value for name, value in model.state_dict().items() if isinstance(value, Tensor) and name not in left_out
    }


def check_file(path: Path) -> dict[str, Any]:
    """Read a file that Lightning wrote, or refuse it if it is none or damaged; nothing in it is executed.

    Args:
        path: An existing path.

    Returns:
        Its content, mapped; of what stands in it :func:`check_content` tells what is checked.

    Raises:
        MERError: Naming the file.
    """
    try:
        content = read_archive(path)
    except MERError:
        raise
    except Exception as error:  # torch raises a different error for each way in which a file can be broken
        raise MERError(f"{path} is damaged or not a checkpoint; give another, or train again") from error
    if not isinstance(content, dict) or not {"state_dict", "pytorch-lightning_version"} <= content.keys():
        raise MERError(f"{path} holds no checkpoint of a training run; give a .ckpt file that mer-zoo fit wrote")
    check_content(content, str(path))
    return content


def check_content(content: Mapping[str, Any], where: str) -> None:
    """Refuse a checkpoint that no walk ends in, or in which what Lightning reads first is of another type.

    Args:
        content: The content.
        where: The file, for messages.

    Raises:
        MERError: Naming file and field.

    Example:
        >>> check_content({"state_dict": {"model.bias": [0.0]}}, "last.ckpt")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: last.ckpt: state_dict: model.bias is a list, not a tensor; use a checkpoint as ...
    """
    given = Fields(content, where, REMEDY)
    check_values(content, where)  # again, as it may come from elsewhere
    state = given.part("state_dict")
    for name, value in state.content.items():
        if not name.endswith(_OWN_STATE) and not isinstance(value, Tensor):  # that one the module checks
            raise state.refusal(name, "a tensor")
    if re.fullmatch(_VERSION, given.text("pytorch-lightning_version")) is None:
        raise given.refusal("pytorch-lightning_version", "a version from 2.0 on")
    for name in ("epoch", "global_step"):
        if name in content:
            given.count(name)
    for name in ("callbacks", "loops"):
        part = given.optional_part(name)
        for inner in () if part is None else part.content:
            part.part(inner)  # type: ignore[union-attr]
    for name in ("optimizer_states", "lr_schedulers"):
        value = content.get(name)
        if name in content and not (isinstance(value, list) and all(isinstance(item, dict) for item in value)):
            raise given.refusal(name, "a list of states")
    given.optional_part("hyper_parameters")


def check_if_local(path: str | Path) -> None:
    """Check a checkpoint as :func:`check_file` does if it is a file of this machine, also one that is named by a URL.

    Args:
        path: A path or a URL.

    Raises:
        MERError: Naming the file.
    """
    file = Path(str(path).removeprefix("file://"))
    if file.exists():
        check_file(file)


def check_record(record: Record, model: Model, what: str = "the checkpoint") -> None:
    """Refuse a checkpoint of another model or task.

    Args:
        record: What the checkpoint says about its model.
        model: The model that is to be restored.
        what: The checkpoint, for the message.

    Raises:
        MERError: Naming both sides.

    Example:
        >>> from mer_zoo.backbones import MulT
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentClassification, SentimentRegression
        >>> trained = Record(**vars(describe_model(MulT(DataSpec(), SentimentRegression()))))
        >>> check_record(trained, MulT(DataSpec(), SentimentClassification(7)))
        Traceback (most recent call last):
        mer_zoo.errors.MERError: the checkpoint holds task SentimentRegression [1], not SentimentClassification [7]; ...
    """
    found = describe_model(model).difference(record)
    if found is not None:
        key, theirs, mine = found
        raise MERError(f"{what} holds {key} {shown(theirs[:100])}, not {mine}; use the config.yaml of its run")
    if record.uncertainty is not None:
        record.uncertainty.check(model.task, what)


def check_state(theirs: Mapping[str, Tensor], mine: Mapping[str, Tensor], name: str) -> None:
    """Refuse a state dict whose names, shapes or kinds of numbers differ, or that holds numbers that are not finite.

    Args:
        theirs: The checkpoint's.
        mine: The model's; what is infinite in it may be so in the checkpoint.
        name: The model, for the message.

    Raises:
        MERError: Naming the first parameter that differs.
    """
    for key in sorted(theirs.keys() | mine.keys()):
        fault = ""
        if key not in mine or key not in theirs:
            fault = f"{shown(key)} is only in the {'checkpoint' if key in theirs else 'model'}"
        elif key.endswith(_OWN_STATE):
            fault = "" if type(theirs[key]) is type(mine[key]) else f"{key} is of another type"
        elif theirs[key].shape != mine[key].shape:
            fault = f"{key} has shape {tuple(theirs[key].shape)} there and {tuple(mine[key].shape)} here"
        elif not theirs[key].is_meta and _kind(theirs[key]) != _kind(mine[key]):
            fault = f"{key} is of type {theirs[key].dtype} there and {mine[key].dtype} here"
        elif not _is_finite(theirs[key], mine[key]):
            fault = f"{key} holds numbers that are not finite"
        if fault:
            raise MERError(f"the checkpoint does not fit this {name} ({fault}); use the config.yaml of its run")


def _kind(tensor: Tensor) -> tuple[bool, bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex(), tensor.dtype is torch.bool


def _is_finite(theirs: Tensor, mine: Tensor) -> bool:
    if theirs.is_floating_point() and theirs.element_size() == 1:  # of some kinds torch can't tell
        theirs = theirs.float()
    if theirs.is_meta or bool(theirs.isfinite().all()):  # shapes alone, or numbers
        return True
    if mine.is_meta:
        return False
    mine = mine.to(theirs)
    return bool((theirs.isfinite() | (theirs == mine) | (theirs.isnan() & mine.isnan())).all())
