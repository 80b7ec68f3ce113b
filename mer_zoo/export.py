"""``mer-zoo export``: what a prediction needs of a training checkpoint, as safetensors and a configuration."""

from __future__ import annotations

import argparse
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mer_zoo.checkpoint import RECORD, check_file, check_record, check_state
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.reports.files import whole_file
from mer_zoo.wrappers.cumdf import CUMDF

__all__ = ["export_checkpoint", "load_exported", "main"]

WEIGHTS, CONFIG = "model.safetensors", "config.yaml"
SCALER = "scaler."  # in front of the names of the datamodule's statistics
WITHOUT_TEACHER = {"role": "student", "teacher": None, "srd_weight": 0.0, "attribution_weight": 0.0}

ScalerState = dict[str, dict[str, Tensor]]


def export_checkpoint(checkpoint: str | Path, dest: str | Path, student: bool = False) -> Path:
    """Write the weights of a checkpoint, and the configuration that builds their model, into a folder.

    Args:
        checkpoint: A checkpoint of ``mer-zoo fit``; nothing in it is executed.
        dest: The folder; its files are replaced.
        student: Leave out the teacher of CUMDF and all that only its training needs.

    Returns:
        The file of weights.

    Raises:
        MERError: If the checkpoint can't be used, holds no student, or its run's config.yaml is not there.
    """
    checkpoint, dest = Path(checkpoint).expanduser(), Path(dest).expanduser()
    if not checkpoint.is_file():
        raise MERError(f"{checkpoint} does not exist; give a .ckpt file that mer-zoo fit wrote")
    check_file(checkpoint)
    content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(checkpoint))
    record = content.get(RECORD)
    if record is None:
        raise MERError(f"{checkpoint} was not written by mer_zoo; give a .ckpt file that mer-zoo fit wrote")
    config = _config(checkpoint)
    state = {name.removeprefix("model."): value for name, value in content["state_dict"].items()}
    if student:
        prefix = _place_of_cumdf(str(record["model"]), checkpoint)
        gone = tuple(f"{prefix}{part}." for part in CUMDF.TRAINING_ONLY)
        state = {name: value for name, value in state.items() if not name.startswith(gone)}
        _drop_teacher(config)
    for kind, statistics in (record["scaler"] or {}).items():
        state |= {f"{SCALER}{kind}.{name}": value for name, value in statistics.items()}
    about = {name: record[name] for name in ("model", "task", "seed")}
    tensors = {name: value.contiguous().clone() for name, value in state.items()}
    with whole_file(dest / WEIGHTS) as part:
        save_file(tensors, part, {RECORD: json.dumps(about)})
    with whole_file(dest / CONFIG) as part:
        part.write_text(yaml.safe_dump(config, sort_keys=False))
    return dest / WEIGHTS


def load_exported(model: Model, folder: str | Path) -> ScalerState | None:
    """Load exported weights into the model that the exported configuration describes.

    Args:
        model: The model.
        folder: Where :func:`export_checkpoint` wrote.

    Returns:
        The statistics of the datamodule's scaler, for :meth:`~mer_zoo.data.MERDataModule.load_scaler_state`.

    Raises:
        MERError: If the folder holds no export, or that of another model.
    """
    path = Path(folder).expanduser() / WEIGHTS
    if not path.is_file():
        raise MERError(f"{path} does not exist; give a folder that mer-zoo export wrote")
    try:
        with safe_open(path, "pt") as file:
            about = (file.metadata() or {}).get(RECORD)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no dictionary
    except SafetensorError as error:
        raise MERError(f"{path} can't be read ({error}); export again") from error
    check_record(None if about is None else json.loads(about), model)
    state = {name: value for name, value in tensors.items() if not name.startswith(SCALER)}
    mine = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    check_state(state, mine, model.name)
    model.load_state_dict(state)
    return _scaler(set(tensors) - set(state), tensors)


def _scaler(names: Iterable[str], tensors: dict[str, Tensor]) -> ScalerState | None:
    state: ScalerState = {}
    for name in names:
        kind, modality = name.removeprefix(SCALER).split(".", 1)
        state.setdefault(kind, {})[modality] = tensors[name]
    return state or None


def _config(checkpoint: Path) -> dict[str, Any]:
    """The configuration of the checkpoint's run."""
    folder = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent
    if not (folder / CONFIG).is_file():
        raise MERError(f"{folder / CONFIG} does not exist; export from the folder of the run, with its config.yaml")
    config: dict[str, Any] = yaml.safe_load((folder / CONFIG).read_text())
    return config


def _place_of_cumdf(nest: str, checkpoint: Path) -> str:
    """Where CUMDF's parameters stand in a nest such as CausalMER(CUMDF(MulT))."""
    names = nest.rstrip(")").split("(")
    if CUMDF.__name__ not in names:
        raise MERError(f"{checkpoint} holds {nest}, which has no student; leave out --student")
    return "backbone." * names.index(CUMDF.__name__)


def _drop_teacher(config: dict[str, Any]) -> None:
    for place, wrapper in enumerate(config["model"]["wrappers"]):
        entry: dict[str, Any] = {"class_path": wrapper} if isinstance(wrapper, str) else wrapper
        if entry["class_path"].rsplit(".", 1)[-1] == CUMDF.__name__:
            options = {**(entry.get("init_args") or {}), **WITHOUT_TEACHER}
            config["model"]["wrappers"][place] = {**entry, "init_args": options}


def main(args: list[str]) -> None:
    """Export a checkpoint as the command line asks.

    Args:
        args: Arguments of ``mer-zoo export``.

    Raises:
        MERError: If it cannot be done.
    """
    parser = argparse.ArgumentParser("mer-zoo export", description="Write what a prediction needs of a checkpoint.")
    parser.add_argument("checkpoint", help="a .ckpt file that mer-zoo fit wrote, in the folder of its run")
    parser.add_argument("dest", help=f"the folder for {WEIGHTS} and {CONFIG}")
    parser.add_argument("--student", action="store_true", help="leave out the teacher of CUMDF")
    options = parser.parse_args(args)
    export_checkpoint(options.checkpoint, options.dest, options.student)
