"""Sharing: a model as safetensors, config.json and a model card, and the weights of a checkpoint as such a folder."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mer_zoo.arguments import plain
from mer_zoo.errors import MERError
from mer_zoo.fields import Fields
from mer_zoo.model import Model
from mer_zoo.reports.record import RunResults, load_results
from mer_zoo.runs.files import whole_file
from mer_zoo.runs.folder import folder_of
from mer_zoo.runs.provenance import weights_sha256
from mer_zoo.sharing.card import about_model, model_card
from mer_zoo.sharing.parts import Recipe
from mer_zoo.sharing.recipe import (
    Modules,
    describe,
    foreign_modules,
    outline,
    under_current_names,
    without_teachers,
)
from mer_zoo.sharing.sureness import CALIBRATION, from_tensors, named, to_tensors
from mer_zoo.text import shown, told
from mer_zoo.training.checkpoint import (
    Checkpoint,
    check_record,
    check_state,
    describe_model,
    needed_state,
    read_checkpoint,
)
from mer_zoo.training.record import RECORD, REMEDY, About, DataAbout, Record, ScalerState, check_scaler

__all__ = ["export_checkpoint", "load_exported", "main", "save_pretrained"]

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
_FILES = (WEIGHTS, CARD, CONFIG)  # the last one makes a folder an export
LARGEST_RECORD = 2**20  # bytes of what a file of weights says of its model
SCALER = "scaler."  # in front of the names of the datamodule's statistics
_SAID = "calibration"  # what is said of it beside its tensors


def save_pretrained(model: Model, dest: str | Path, licence: str | None = None, overwrite: bool = False) -> Path:
    """Write a model into a folder from which :func:`mer_zoo.load_pretrained` builds it again.

    Args:
        model: The model. What its ``scaler_state``, ``uncertainty`` and ``made_by`` hold is written too.
        dest: The folder, new or without an export; it gets all files or none.
        licence: Name of the licence, for the model card.
        overwrite: Replace the export that is there.

    Returns:
        The file of weights.

    Raises:
        MERError: If an argument of one of its classes is no plain value, or the folder has such files already.

    Example:
        >>> from tempfile import mkdtemp
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentRegression
        >>> save_pretrained(LFLSTM(DataSpec(), SentimentRegression()), mkdtemp(), licence="mit").name
        'model.safetensors'
    """
    dest = _destination(dest, overwrite)
    recipe = describe(model)
    said = vars(describe_model(model))
    record = Record(**said, scaler=model.scaler_state, recipe=recipe.plain(), uncertainty=model.uncertainty)
    data = DataAbout(modalities=tuple(model.spec.modalities), made_by=model.made_by) if model.made_by else None
    about = replace(about_model(model), licence=licence, data=data)
    state = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    return _write(dest, recipe, foreign_modules(recipe), state, record, about, None, "the model")


def export_checkpoint(
    checkpoint: str | Path,
    dest: str | Path,
    student: bool = False,
    licence: str | None = None,
    modules: Modules = (),
    overwrite: bool = False,
) -> Path:
    """Write what a prediction needs of a checkpoint into a folder: weights, configuration and model card.

    Args:
        checkpoint: A checkpoint of a run; nothing in it is executed. Results of its test stand in the card if they are
            beside it.
        dest: The folder, new or without an export; it gets all files or none.
        student: Leave out the teacher, as of CUMDF, and all else that only training needs.
        licence: Name of the licence, for the model card.
        modules: Modules of models that are not of the zoo.
        overwrite: Replace the export that is there.

    Returns:
        The file of weights.

    Raises:
        MERError: If the checkpoint can't be used, holds no student, its model can't be described in plain values, or
            the folder has such files already.
    """
    dest = _destination(dest, overwrite)
    given = read_checkpoint(checkpoint, "give a .ckpt file that mer-zoo fit wrote")
    record = given.record
    if record.recipe is None or record.about is None:
        raise MERError(f"{checkpoint} can't be exported: {shown(record.refused)}")
    recipe = Recipe.read(record.recipe)
    if student:
        alone = without_teachers(recipe, modules)
        if alone is None:
            raise MERError(f"{checkpoint} holds {shown(record.model)}, which has no student; leave out --student")
        recipe = alone
    about = replace(record.about, selection=_selection(given), licence=licence, seed=record.seed)
    return _write(dest, recipe, modules, given.model_state, record, about, _results(given), str(checkpoint))


def _write(
    dest: Path,
    recipe: Recipe,
    modules: Modules,
    state: Mapping[str, Tensor],
    record: Record,
    about: About,
    results: RunResults | None,
    where: str,
) -> Path:
    model = outline(recipe, modules, len(state))
    needed = needed_state(model)
    check_record(record, model, where)
    check_state({name: state[name] for name in needed if name in state}, needed, shown(record.model))
    # clones, because the file format refuses tensors that share memory
    tensors = {name: state[name].detach().cpu().contiguous().clone() for name in needed}
    for kind, statistics in (record.scaler or {}).items():
        tensors |= {f"{SCALER}{kind}.{name}": value.contiguous().clone() for name, value in statistics.items()}
    tensors |= to_tensors(record.uncertainty)
    sure = named(record.uncertainty)
    described = {"model": record.model, "task": record.task, "seed": record.seed, _SAID: sure}
    recipe = under_current_names(recipe)
    config = json.dumps({**recipe.plain(), "about": about.plain()}, indent=2, allow_nan=False)
    whole = replace(recipe, spec=plain(dict(model.spec), "DataSpec"))  # a foreign one may say less
    card = model_card(whole, about, results, record.scaler is not None)
    with _all_or_none(dest) as folder:
        # by way of bytes: the library's own writer makes files that only their owner may read
        for name, content in {
            WEIGHTS: save(tensors, {RECORD: json.dumps(described)}),
            CARD: card.encode(),
            CONFIG: f"{config}\n".encode(),
        }.items():
            with whole_file(folder / name) as part:
                part.write_bytes(content)
    return dest / WEIGHTS


def _destination(dest: str | Path, overwrite: bool) -> Path:
    dest = Path(dest).expanduser()
    if dest.exists() and not dest.is_dir():
        raise MERError(f"{dest} is a file; name a folder for the export")
    there = [name for name in _FILES if (dest / name).exists()]
    if there and not overwrite:
        raise MERError(
            f"{dest} has a {there[0]} already; name another folder, or replace it by --overwrite (overwrite=True)"
        )
    return dest


@contextmanager
def _all_or_none(dest: Path) -> Iterator[Path]:
    """Hand out a folder whose files come into ``dest`` when the block ends without an error.

    A kill while they come leaves a folder without config.json, which nothing takes for an export, never files of two
    exports.
    """
    new = not dest.exists()
    part = (dest.parent if new else dest) / f".{os.getpid()}.{dest.name}"
    try:
        part.mkdir(parents=True)
        yield part
        if new:
            part.rename(dest)
        else:
            (dest / CONFIG).unlink(missing_ok=True)
            for name in _FILES:
                (part / name).replace(dest / name)
    except OSError as error:
        raise MERError(
            f"{dest} can't be written ({error.strerror or error}); make room there, or name another folder"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _results(checkpoint: Checkpoint) -> RunResults | None:
    """What was measured with these weights; None where the run was not tested, or with others."""
    folder = folder_of(checkpoint.path)
    results = load_results(folder) if (folder / "results.json").is_file() else None
    return results if results is not None and results.weights == weights_sha256(checkpoint.state) else None


def _selection(checkpoint: Checkpoint) -> str:
    """How the weights were chosen among those of the run."""
    after = f"the weights after epoch {checkpoint.epoch} (counted from 0), step {checkpoint.step}"
    for key, state in checkpoint.callbacks.items():
        callback = Fields(state, f"{checkpoint.path}: callbacks: {key}", REMEDY)
        monitor = callback.optional_text("monitor") if key.startswith("ModelCheckpoint") else None
        if monitor and Path(callback.text("best_model_path")).name == checkpoint.path.name:
            extreme = "highest" if "'mode': 'max'" in key else "lowest"
            return f"{after}: of all epochs the one with the {extreme} {monitor}"
    return f"{after}, which no metric chose"


def load_exported(model: Model, folder: str | Path) -> ScalerState | None:
    """Load exported weights into the model that the exported configuration describes.

    Args:
        model: The model, which also gets its calibration.
        folder: Where :func:`export_checkpoint` or :func:`save_pretrained` wrote.

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
            about = (file.metadata() or {}).get(RECORD, "null")
            if len(about) > LARGEST_RECORD:
                raise MERError(f"{path} says more of its model than any has to say; export again")
            described = json.loads(about)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no dictionary
    except (SafetensorError, ValueError, RecursionError) as error:
        raise MERError(f"{path} can't be read ({error}); export again") from error
    check_record(Record.read(described, str(path)), model, str(path))
    beside = {name: value for name, value in tensors.items() if name.startswith((SCALER, CALIBRATION))}
    state = {name: value for name, value in tensors.items() if name not in beside}
    check_state(state, needed_state(model), model.name)
    try:
        model.load_state_dict(state, strict=False)  # strictly compared above, but for what only training reads
    except (RuntimeError, ValueError, TypeError) as error:  # a module that refuses the state it saves by itself
        raise MERError(f"{path} does not fit this {model.name} ({error}); export again") from error
    kept = {name: beside.pop(name) for name in list(beside) if name.startswith(CALIBRATION)}
    model.uncertainty = from_tensors(described.get(_SAID), kept, model.task, str(path))
    return _scaler(beside, tensors, path)


def _scaler(names: Iterable[str], tensors: dict[str, Tensor], path: Path) -> ScalerState | None:
    state: ScalerState = {"mean": {}, "std": {}}
    for name in names:
        kind, _, modality = name.removeprefix(SCALER).partition(".")
        if kind not in state:
            raise MERError(f"{path} holds {told(name)}, which is no statistic of the data; export again")
        state[kind][modality] = tensors[name]
    check_scaler(state, str(path), "export again")
    return state if state["mean"] else None


def main(args: list[str]) -> None:
    """Export a checkpoint as the command line asks.

    Args:
        args: Arguments of ``mer-zoo export``.

    Raises:
        MERError: If it cannot be done.
    """
    parser = argparse.ArgumentParser(
        "mer-zoo export", description="Write what a prediction needs of a checkpoint.", allow_abbrev=False
    )
    parser.add_argument("checkpoint", help="a .ckpt file that mer-zoo fit wrote, in the folder of its run")
    parser.add_argument("dest", help=f"the folder for {WEIGHTS}, {CONFIG} and {CARD}; it may be new")
    parser.add_argument("--student", action="store_true", help="leave out the teacher of CUMDF")
    parser.add_argument("--licence", "--license", help="name of the model's licence, such as cc-by-4.0, for its card")
    parser.add_argument(
        "--module", action="append", default=[], help="a module of yours that defines a part of the model"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the export that is there")
    options = parser.parse_args(args)
    export_checkpoint(
        options.checkpoint, options.dest, options.student, options.licence, options.module, options.overwrite
    )
    sys.stdout.write(f"exported: {options.dest} ({WEIGHTS}, {CONFIG}, {CARD})\n")
    sys.stdout.write(f"next: model = mer_zoo.load_pretrained({options.dest!r}), in Python\n")
