"""Models from a folder or a Hub: weights and plain values of someone else, of which nothing is executed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mer_zoo.batch import MODALITIES
from mer_zoo.errors import MERError
from mer_zoo.feature_spec import FeatureSpec, read_specs
from mer_zoo.fields import Fields
from mer_zoo.foreign.trees import strict_json
from mer_zoo.model import Model
from mer_zoo.sharing.export import CONFIG, SCALER, WEIGHTS, load_exported
from mer_zoo.sharing.parts import Recipe
from mer_zoo.sharing.recipe import Modules, build, outline
from mer_zoo.sharing.sureness import CALIBRATION
from mer_zoo.text import shown
from mer_zoo.training.checkpoint import check_record, check_state, needed_state, read_checkpoint

__all__ = ["load_model", "load_pretrained"]

_LARGEST_CONFIG = 2**20  # bytes
_BESIDE = (SCALER, CALIBRATION)  # in front of the names of what is no weight
_MOST_TENSORS = 10_000  # the building of a model is stopped by their number
_REMEDY = "export again"
_SPARE = 2**24  # elements that a model may have beside those of its file


def load_pretrained(path: str | Path, modules: Modules = (), revision: str | None = None) -> Model:
    """Build a model that was exported, with its weights, in evaluation mode.

    Nothing of the folder is executed or imported: its config.json may name classes of the zoo and give them plain
    values, and the sizes it asks for have to be those of the file of weights.

    Args:
        path: A folder that ``mer-zoo export`` or :func:`~mer_zoo.sharing.export.save_pretrained` wrote, or the id of a
            repository on the Hugging Face Hub, ``owner/name``, of which only these two files are fetched.
        modules: Modules of your own, or their names, in which further classes may be looked up; they are imported.
        revision: Branch, tag or commit of the repository.

    Returns:
        The model. Its ``scaler_state`` holds the statistics by which its data are to be standardised, if any, and its
        ``uncertainty`` what validation data told of how sure its predictions are, and its ``made_by`` what made the
        features that it was trained on; data of other features are refused.

    Raises:
        MERError: If there is no such folder or repository, or it holds no export, or anything that is not allowed
            there.

    Example:
        >>> from tempfile import mkdtemp
        >>> from mer_zoo import LFLSTM, CLUE, DataSpec, SentimentClassification
        >>> from mer_zoo.sharing.export import save_pretrained
        >>> folder = mkdtemp()
        >>> _ = save_pretrained(CLUE(LFLSTM(DataSpec(), SentimentClassification(3))), folder)
        >>> load_pretrained(folder).name
        'CLUE(LFLSTM)'
    """
    folder = _folder(path, revision)
    config, weights = _file(folder, CONFIG), _file(folder, WEIGHTS)
    content, made_by = _read(config)
    shapes = _shapes(weights)
    try:
        recipe = Recipe.read(content)
        with torch.random.fork_rng(devices=[]):
            _check_sizes(outline(recipe, modules, len(shapes)), shapes)
            model = build(recipe, modules)
    except MERError as error:
        raise MERError(f"{config} is refused: {error}") from error
    model.scaler_state, model.made_by = load_exported(model, folder), made_by
    return model.eval()


def load_model(checkpoint: str | Path, modules: Modules = ()) -> tuple[Model, int | None]:
    """Build the model of a run's checkpoint, with its weights.

    Args:
        checkpoint: The file; nothing in it is executed or imported.
        modules: See :func:`load_pretrained`.

    Returns:
        The model, and the seed of its training.

    Raises:
        MERError: If the file is no checkpoint of a run, or its model can't be built from plain values.
    """
    given = read_checkpoint(checkpoint, "give a .ckpt file that mer-zoo fit wrote")
    record = given.record
    if record.recipe is None:
        raise MERError(
            f"{checkpoint} does not tell how its model is built: {shown(record.refused)}; or build it as for training,"
            " and give the file to a Trainer, as in trainer.test(module, data, ckpt_path=...)"
        )
    state = given.model_state
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    try:
        recipe = Recipe.read(record.recipe)
        with torch.random.fork_rng(devices=[]):
            plan = outline(recipe, modules, len(tensors))
            check_record(record, plan, str(checkpoint))
            _check_sizes(plan, {name: tensors[name] for name in needed_state(plan) if name in tensors})
            model = build(recipe, modules)
    except MERError as error:
        raise MERError(f"{checkpoint} can't be built again: {error}") from error
    needed = needed_state(model)
    check_state({name: tensors[name] for name in needed if name in tensors}, needed, model.name)
    try:
        # a teacher that came from a file of its own is not built again, and what it learned is not asked for
        model.load_state_dict(state, strict=False)
    except (RuntimeError, ValueError, TypeError) as error:  # a module that refuses the state it saves by itself
        raise MERError(f"{checkpoint} does not fit this {model.name} ({error}); train again") from error
    model.scaler_state, model.uncertainty, model.made_by = record.scaler, record.uncertainty, record.made_by
    return model, record.seed


def _folder(path: str | Path, revision: str | None) -> Path:
    folder = Path(path).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise MERError(f"{folder} is a folder, which has no revision {revision!r}; leave revision out")
        return folder
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", str(path)):
        raise MERError(f"{path} is neither a folder nor owner/name of a repository; give one that mer-zoo export wrote")
    return _fetch(str(path), revision)


def _fetch(repository: str, revision: str | None) -> Path:
    try:
        return Path(huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=[CONFIG, WEIGHTS]))
    except Exception as error:  # the library has an error for each cause, and others of the network's come through it
        # without the library's own, which is a page of connections
        raise MERError(
            f"{repository} is no folder here and can't be fetched from the Hub ({_cause(error)}); give the folder of an"
            f" export, or"
            " the id of a model that you can reach"
        ) from None


def _cause(error: Exception) -> str:
    """What kept a repository from being fetched; kinds before those they are kinds of."""
    causes: dict[type[Exception], str] = {
        GatedRepoError: "its owner has to let you in first",
        RepositoryNotFoundError: "there is none of that name, or it is private",
        RevisionNotFoundError: "it has no such revision",
        LocalEntryNotFoundError: "the Hub can't be reached, and it was not fetched before",
    }
    told = next((cause for kind, cause in causes.items() if isinstance(error, kind)), None)
    return told or str(error).strip().split("\n")[0] or type(error).__name__


def _file(folder: Path, name: str) -> Path:
    """A regular file of the folder itself; links may only lead about the folder, or to the blobs of a Hub's cache."""
    path, root = folder / name, folder.resolve()
    if not path.is_file():
        raise MERError(f"{path} is no file; give a folder that mer-zoo export wrote")
    allowed = [root, root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [root]
    if not any(path.resolve().is_relative_to(place) for place in allowed):
        raise MERError(f"{path} is a link to another place, which is not followed; copy the file")
    return path


def _read(path: Path) -> tuple[dict[str, Any], dict[str, FeatureSpec]]:
    """How the model is built, and what made the features that it was trained on."""
    if path.stat().st_size > _LARGEST_CONFIG:
        raise MERError(f"{path} is larger than any description of a model; export again")
    try:
        config = strict_json(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise MERError(f"{path} can't be read as JSON ({error}); export again") from error
    about = config.pop("about", {}) if isinstance(config, dict) else None
    if not isinstance(about, dict):
        raise MERError(f"{path} holds no description of a model; export again")
    data = Fields(about, f"{path}: about", _REMEDY).optional_part("data")
    made_by = None if data is None else data.optional_part("made_by")
    return config, {} if made_by is None else read_specs(made_by, MODALITIES)


def _shapes(path: Path) -> dict[str, Tensor]:
    """Tensors without content in the shapes of a file, which is not read yet."""
    try:
        with safe_open(path, "pt") as file:
            names = list(file.keys())
            if len(names) > _MOST_TENSORS:
                raise MERError(f"{path} holds {len(names)} tensors, more than any model; export again")
            shapes = {name: file.get_slice(name).get_shape() for name in names if not name.startswith(_BESIDE)}
        return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    except (SafetensorError, RuntimeError, TypeError, OverflowError) as error:  # the last three from impossible shapes
        raise MERError(f"{path} can't be read ({shown(str(error))}); export again") from error


def _check_sizes(model: Model, shapes: Mapping[str, Tensor]) -> None:
    check_state(shapes, needed_state(model), model.name)
    asked = sum(tensor.numel() for tensor in (*model.parameters(), *model.buffers()))
    if asked > _SPARE + 2 * sum(tensor.numel() for tensor in shapes.values()):
        raise MERError("the model has far more elements than its file of weights")
