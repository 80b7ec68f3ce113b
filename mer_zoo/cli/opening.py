"""A trained run for tools that look into it: its model, and the data that its configuration names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mer_zoo.cli.argument_parser import MERParser
from mer_zoo.cli.bases import LARGEST, LOADER, with_bases
from mer_zoo.cli.imports import tell_of_imports
from mer_zoo.data import MERDataModule
from mer_zoo.errors import MERError
from mer_zoo.foreign import read_regular
from mer_zoo.model import Model
from mer_zoo.runs.earlier import trained_weights
from mer_zoo.runs.folder import folder_of
from mer_zoo.sharing.pretrained import load_model
from mer_zoo.sharing.recipe import Modules
from mer_zoo.training.checkpoint import describe_model

__all__ = ["Opened", "configured", "open_data", "open_run"]

CONFIG = "config.yaml"


@dataclass(frozen=True)
class Opened:
    """A run that was trained.

    Attributes:
        folder: Its folder.
        checkpoint: The weights that were taken.
        model: Its model with these weights, in evaluation mode.
        data: The data of its configuration, at the scale that the model was trained on.
    """

    folder: Path
    checkpoint: Path
    model: Model
    data: MERDataModule


def open_run(run: Path, options: Sequence[str] = (), modules: Modules = ()) -> Opened:
    """Build the model and the data of a run again.

    Args:
        run: Its folder, of which the best checkpoint is taken, or a checkpoint in it.
        options: Options of the data as ``mer-zoo test`` has them, such as ``--data.path=new.pkl``.
        modules: Modules of your own that define a part of the model, or their names.

    Raises:
        MERError: If the run has no configuration or checkpoint, or model and data do not go together.

    Example:
        >>> open_run(Path("nowhere"))
        Traceback (most recent call last):
        mer_zoo.errors.MERError: nowhere does not exist; give the folder of a run, or a checkpoint in it
    """
    run = run.expanduser()
    if not run.exists():
        raise MERError(f"{run} does not exist; give the folder of a run, or a checkpoint in it")
    folder = run if run.is_dir() else folder_of(run)
    config = folder / CONFIG
    if not config.is_file():
        raise MERError(f"{folder} has no {CONFIG}, which names the data; give the folder of a run of mer-zoo fit")
    checkpoint = trained_weights(config) if run.is_dir() else run
    if checkpoint is None:
        raise MERError(f"{folder} has no best checkpoint; give the path of one that it has, or train first")
    model, _ = load_model(checkpoint, modules)
    data = open_data(config, options)
    _check(model, data, run)
    data.check_features(model.made_by, str(run))
    data.load_scaler_state(model.scaler_state)
    return Opened(folder, checkpoint, model.eval(), data)


def open_data(config: Path, options: Sequence[str] = ()) -> MERDataModule:
    """Build the data that a configuration names.

    Args:
        config: A configuration, such as ``RUN/config.yaml``.
        options: Options of the data, as on the command line, over those of the file.

    Raises:
        MERError: If it names no data, or they can't be read.
    """
    parser, given = _parsed(config, options)
    make = getattr(parser, "instantiate", None) or parser.instantiate_classes  # the old name until jsonargparse 4.48
    data: MERDataModule = make(given).data
    return data


def configured(config: Path, options: Sequence[str], wrapper: str, arguments: Mapping[str, Any]) -> str:
    """The configuration of a run as one of its model inside another wrapper, on data of other options.

    Args:
        config: ``RUN/config.yaml``.
        options: Options of the data, as on the command line, over those of the file.
        wrapper: Name of a wrapper of the zoo, which becomes the outermost.
        arguments: Its options.

    Returns:
        YAML.

    Raises:
        MERError: If the file is no configuration of a run.
    """
    root = _composed(config)
    parser, given = _parsed(config, options)
    parts = {key.value: value for key, value in root.value}
    data = yaml.compose(parser.dump(given), Loader=LOADER).value[0][1]
    model = parts.get("model")
    inside = {key.value: value for key, value in model.value} if isinstance(model, yaml.MappingNode) else {}
    before = inside.get("wrappers")
    named = {"class_path": f"mer_zoo.{wrapper}", "init_args": dict(arguments)}
    added = yaml.compose(yaml.safe_dump([named], allow_unicode=True), Loader=LOADER)
    added.value[:0] = before.value if isinstance(before, yaml.SequenceNode) else []
    whole = yaml.MappingNode("tag:yaml.org,2002:map", _with(_pairs(model), "wrappers", added))
    root.value = _with(_with(root.value, "model", whole), "data", data)
    return str(yaml.serialize(root, Dumper=yaml.SafeDumper, allow_unicode=True))


def _pairs(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    return list(node.value) if isinstance(node, yaml.MappingNode) else []


def _with(pairs: list[tuple[yaml.Node, yaml.Node]], name: str, value: yaml.Node) -> list[tuple[yaml.Node, yaml.Node]]:
    kept = [pair for pair in pairs if pair[0].value != name]
    return [*kept, (yaml.ScalarNode("tag:yaml.org,2002:str", name), value)]


def _composed(config: Path) -> yaml.MappingNode:
    text = with_bases(read_regular(config, LARGEST).decode("utf-8", "replace"), config.absolute())
    root = yaml.compose(text, Loader=LOADER)
    if not isinstance(root, yaml.MappingNode) or "data" not in {key.value for key, _ in root.value}:
        raise MERError(f"{config} names no data; give the configuration of a run")
    return root


def _parsed(config: Path, options: Sequence[str]) -> tuple[MERParser, Any]:
    parts = {key.value: value for key, value in _composed(config).value}
    part = str(yaml.serialize(parts["data"], Dumper=yaml.SafeDumper, allow_unicode=True))
    tell_of_imports(part)
    parser = MERParser()
    parser.add_lightning_class_args(MERDataModule, "data", subclass_mode=True)
    return parser, parser.parse_args([f"--data={part}", *options])


def _check(model: Model, data: MERDataModule, run: Path) -> None:
    """Refuse data of other shapes, or another task, than those of the model."""
    theirs, ours = dict(data.spec), dict(model.spec)
    differing = next((name for name, value in ours.items() if theirs[name] != value), None)
    if differing is not None:
        raise MERError(
            f"the data have {differing} {theirs[differing]}, and {run} was trained on {ours[differing]}; give data of"
            " the same features, lengths and modalities"
        )
    tasks = describe_model(model).task, f"{type(data.task).__name__} {list(data.task.shape)}"
    if tasks[0] != tasks[1]:
        raise MERError(
            f"the data are for the task {tasks[1]}, and {run} was trained for {tasks[0]}; leave out data.task"
        )
