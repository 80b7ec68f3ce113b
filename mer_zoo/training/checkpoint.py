"""What a checkpoint says about its model, and whether it fits the model at hand."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mer_zoo.errors import MERError
from mer_zoo.model import Model

__all__ = ["RECORD", "check_file", "check_if_local", "check_record", "check_state", "describe_model", "needed_state"]

_OWN_STATE = "_extra_state"  # what a module saves by itself may vary in size, and is checked by the module
RECORD = "mer_zoo"  # the key of a checkpoint under which the description stands


def describe_model(model: Model) -> dict[str, str]:
    """Name the nest and the shape of the logits, in plain values that a checkpoint may hold."""
    return {"model": model.name, "task": f"{type(model.task).__name__} {list(model.task.shape)}"}


def needed_state(model: Model) -> dict[str, Tensor]:
    """The part of a model's state that predictions need: all but what ``training_only`` modules save by themselves."""
    left_out = {f"{name}.{_OWN_STATE}" for name, part in model.named_modules() if getattr(part, "training_only", False)}
    return {
        name: value for name, value in model.state_dict().items() if isinstance(value, Tensor) and name not in left_out
    }


def check_file(path: Path) -> None:
    """Refuse a file that is no checkpoint of Lightning, can't be read or is damaged; nothing in it is executed.

    torch checks no checksum, so a flipped bit would pass for another weight; and it unpacks what is compressed, however
    large.

    Args:
        path: An existing path.

    Raises:
        MERError: Naming the file.
    """
    try:
        _check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises a different error for each way in which a file can be broken
        raise MERError(f"{path} is damaged or not a checkpoint; give another, or train again") from error
    if not isinstance(content, dict) or not {"state_dict", "pytorch-lightning_version"} <= content.keys():
        raise MERError(f"{path} holds no checkpoint of a training run; give a .ckpt file that mer-zoo fit wrote")


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


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
        if not stored or sum(entry.file_size for entry in entries) > path.stat().st_size or archive.testzip():
            raise zipfile.BadZipFile


def check_record(record: Mapping[str, Any] | None, model: Model) -> None:
    """Refuse a checkpoint of another model or task.

    Args:
        record: What stands under :data:`RECORD` in the checkpoint.
        model: The model that is to be restored.

    Raises:
        MERError: Naming both sides.

    Example:
        >>> from mer_zoo.backbones import MulT
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentClassification, SentimentRegression
        >>> trained = describe_model(MulT(DataSpec(), SentimentRegression()))
        >>> check_record(trained, MulT(DataSpec(), SentimentClassification(7)))
        Traceback (most recent call last):
        mer_zoo.errors.MERError: the checkpoint holds task SentimentRegression [1], not SentimentClassification [7]; ...
    """
    if not isinstance(record, Mapping):
        raise MERError(
            "the checkpoint was not written by mer_zoo; load released ones with mer_zoo.compat.load_released"
        )
    for key, value in describe_model(model).items():
        if record.get(key) != value:
            raise MERError(f"the checkpoint holds {key} {record.get(key)}, not {value}; use the config.yaml of its run")


def check_state(theirs: Mapping[str, Tensor], mine: Mapping[str, Tensor], name: str) -> None:
    """Refuse a state dict whose names or shapes differ.

    Args:
        theirs: The checkpoint's.
        mine: The model's.
        name: The model, for the message.

    Raises:
        MERError: Naming the first parameter that differs.
    """
    for key in sorted(theirs.keys() | mine.keys()):
        fault = ""
        if key not in mine or key not in theirs:
            fault = f"{key} is only in the {'checkpoint' if key in theirs else 'model'}"
        elif not key.endswith(_OWN_STATE) and theirs[key].shape != mine[key].shape:
            fault = f"{key} has shape {tuple(theirs[key].shape)} there and {tuple(mine[key].shape)} here"
        if fault:
            raise MERError(f"the checkpoint does not fit this {name} ({fault}); use the config.yaml of its run")
