"""Sweep files in the syntax of W&B, and the command line of a trial."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonargparse import capture_parser

from mer_zoo.cli.sweeps.space import Parameter, Value, build_parameter
from mer_zoo.errors import MERError
from mer_zoo.foreign import read_yaml

__all__ = ["Sweep", "check_sweep", "folder_options", "load_sweep"]

ARGS = "${args}"
KEYS = {
    *("program", "name", "description", "project", "entity", "method", "metric", "parameters", "command"),
    *("run_cap", "early_terminate"),
}
METHODS = ("bayes", "random")
GOALS = ("minimize", "maximize")
OPTION = re.compile(r"[A-Za-z_]\w*(\.\w+)*", re.ASCII)
VARIABLE = re.compile(r"\$\{envvar:([A-Z0-9_]*)\}")
# What a trial owns: its folder, and what its value is read from.
OWN = ("trainer.logger", "checkpoint", "last_checkpoint", "ckpt_path", "config", "record", "print_config")


@dataclass(frozen=True)
class Sweep:
    """What a sweep file says.

    Args:
        name: Name of the sweep; by default the file's.
        method: ``bayes`` or ``random``.
        metric: The metric, under ``val/``.
        goal: ``minimize`` or ``maximize``.
        parameters: The search space.
        command: Arguments behind ``mer-zoo fit``, ``${args}`` among them.
        run_cap: How many trials; None where the file leaves it open.
        halving: ``min_iter`` and ``eta`` of its early termination; None for none.
    """

    name: str
    method: str
    metric: str
    goal: str
    parameters: Sequence[Parameter]
    command: Sequence[str]
    run_cap: int | None = None
    halving: tuple[int, int] | None = None
    extra: Sequence[str] = field(default_factory=list)

    def arguments(self, values: Iterable[tuple[str, Value]]) -> list[str]:
        """Arguments of ``mer-zoo`` for one trial: the file's command, its options, then the extra ones.

        Args:
            values: Parameters with their values; where one comes again, the last counts.

        Raises:
            MERError: If an environment variable that the command names is not set.

        Example:
            >>> sweep = Sweep("s", "bayes", "val/loss", "minimize", [], ["--config=a.yaml", "${args}"])
            >>> sweep.arguments([("model.clip_norm", 0.8)])
            ['fit', '--config=a.yaml', '--model.clip_norm=0.8']
        """
        # As W&B writes them, so that both drivers start the same command.
        options = [f"--{name}={value}" for name, value in values]
        parts = [options if part == ARGS else [VARIABLE.sub(_variable, part)] for part in self.command]
        return ["fit", *(argument for part in parts for argument in part), *self.extra]

    @property
    def identity(self) -> dict[str, Any]:
        """What trials must share in order to be compared, in plain values."""
        space = {parameter.name: [parameter.kind, dict(parameter.options)] for parameter in self.parameters}
        command = [*self.command, *self.extra]
        return {"metric": self.metric, "goal": self.goal, "parameters": space, "command": command}


def folder_options(parent: Path, name: str) -> list[str]:
    """Options that put a run into a folder of that name, with curves in metrics.csv whatever logger is asked for."""
    logger = "--trainer.logger"
    return [f"{logger}=CSVLogger", f"{logger}.save_dir={parent}", f"{logger}.name={name}", f"{logger}.version="]


def _variable(found: re.Match[str]) -> str:
    value = os.environ.get(found[1])
    if not value:
        raise MERError(
            f"the sweep's command names the environment variable {found[1]}; set it, such as {found[1]}=FILE"
        )
    return value


def load_sweep(path: str | Path, extra: Sequence[str] = ()) -> Sweep:
    """Read a sweep file.

    Args:
        path: A YAML file as ``wandb sweep`` takes it, whose command is ``mer-zoo fit``.
        extra: Further arguments of ``mer-zoo fit``, for every trial.

    Raises:
        MERError: For a file that can't be read, a metric that is not under ``val/``, or what can't be run offline.
    """
    path = Path(path).expanduser()
    content = _read(path)
    try:
        for key in sorted(map(str, content.keys() - KEYS)):
            raise MERError(f"{key!r} is not known; choose from {', '.join(sorted(KEYS))}")
        metric, goal = _metric(content.get("metric"))
        method = content.get("method")
        if method not in METHODS:
            raise MERError(f"method {method!r} can't be run offline; choose from {', '.join(METHODS)}")
        parameters = content.get("parameters")
        if not isinstance(parameters, Mapping) or not parameters:
            raise MERError("parameters is missing; give options in dots with their ranges")
        built = [build_parameter(str(name), given) for name, given in parameters.items()]
        for parameter in built:
            _check_name(parameter)
        _check_extra(extra, built)
        command = _command(content.get("program"), content.get("command"))
        name = str(content.get("name") or path.stem)
        run_cap, halving = content.get("run_cap"), _halving(content.get("early_terminate"))
        if run_cap is not None and (type(run_cap) is not int or run_cap < 1):
            raise MERError(f"run_cap is {run_cap!r}; give the number of trials")
    except MERError as error:
        raise MERError(f"{path}: {error}") from None
    return Sweep(name, str(method), metric, goal, built, command, run_cap, halving, list(extra))


def _read(path: Path) -> dict[Any, Any]:
    if not path.is_file():
        raise MERError(f"{path} does not exist; give a sweep file, such as configs/sweeps/quickstart.yaml")
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise MERError(f"{path} holds no settings; give a sweep file, such as configs/sweeps/quickstart.yaml")
    return content


def _metric(given: Any) -> tuple[str, str]:
    if not isinstance(given, Mapping) or "name" not in given:
        raise MERError("metric is missing; give its name, such as val/loss, and its goal")
    for key in sorted(map(str, given.keys() - {"name", "goal"})):
        raise MERError(f"metric.{key} can't be used offline; leave it out")
    name = str(given["name"])
    from mer_zoo.monitors import direction  # brings torch, which the help of a sweep does without

    way = direction(name)
    goal = given.get("goal", "maximize" if way == "max" else "minimize")
    if not name.startswith("val/"):
        raise MERError(f"metric {name!r} is not under val/; nothing is selected on anything but the validation split")
    if goal not in GOALS:
        raise MERError(f"metric.goal is {goal!r}; choose from {', '.join(GOALS)}")
    if way is not None and way != goal[:3]:
        better = "smaller" if way == "min" else "larger"
        raise MERError(f"metric.goal is {goal!r}, but {name} is better when {better}; leave the goal out")
    return name, goal


def _check_name(parameter: Parameter) -> None:
    name = parameter.name
    if OPTION.fullmatch(name) is None:  # with more in it, it could reach another option
        raise MERError(f"parameter {name!r} is no option in dots; write it like model.clip_norm")
    if name == "seed_everything" and len(parameter.samples()) > 1:
        raise MERError(f"{name} is searched, but the best seed is nothing that holds for another; give one value")
    if _owns(name):
        raise MERError(f"{name} can't be searched, because each trial's value and folder depend on it; leave it out")


def _check_extra(extra: Sequence[str], parameters: Sequence[Parameter]) -> None:
    searched = {parameter.name for parameter in parameters}
    for argument in extra:
        name = argument.removeprefix("--").split("=", 1)[0]
        if argument.startswith("--") and name in searched:
            raise MERError(f"--{name} is a parameter of the sweep; change it in the file")
        if argument.startswith("--") and name in ("ckpt_path", "print_config"):
            raise MERError(f"--{name} can't be given to the trials of a sweep; leave it out")


def _owns(name: str) -> bool:
    return any(name == own or name.startswith(f"{own}.") for own in OWN)


def _command(program: Any, given: Any) -> list[str]:
    """The arguments behind ``mer-zoo fit``. Nothing else is ever run, whoever wrote the file."""
    wanted = '["${env}", "${program}", "fit", "--config", FILE, "${args}"] with program: mer-zoo'
    if not isinstance(given, list):
        raise MERError(f"command is missing; write {wanted}")
    words = [str(word) for word in given]
    words = words[words[:1] == ["${env}"] :]
    starts = [["${interpreter}", "-m", "mer_zoo", "fit"], ["python", "-m", "mer_zoo", "fit"], ["mer-zoo", "fit"]]
    if program == "mer-zoo":
        starts.append(["${program}", "fit"])
    start = next((start for start in starts if words[: len(start)] == start), None)
    if start is None:
        raise MERError(f"the command is not mer-zoo fit, and nothing else is run; write {wanted}")
    words = words[len(start) :]
    if words.count(ARGS) != 1:
        raise MERError(
            f"the command has {words.count(ARGS)} times {ARGS}, which stands for the options; write {wanted}"
        )
    for word in words:
        if word != ARGS and re.search(r"\$\{(?!envvar:[A-Z0-9_]*\})", word):
            raise MERError(f"{word!r} in the command can't be filled in; write {wanted}")
    return words


def _halving(given: Any) -> tuple[int, int] | None:
    if given is None:
        return None
    if not isinstance(given, Mapping) or given.get("type") != "hyperband":
        raise MERError("early_terminate has one type only; write {type: hyperband, min_iter: 3, eta: 3}")
    for key in sorted(map(str, given.keys() - {"type", "min_iter", "eta"})):
        raise MERError(f"early_terminate.{key} can't be used offline; give min_iter and eta")
    first, factor = given.get("min_iter"), given.get("eta", 3)
    if not isinstance(first, int) or not isinstance(factor, int) or first < 1 or factor < 2:
        raise MERError("early_terminate needs min_iter, epochs of at least 1, and eta, an integer of at least 2")
    return first, factor


def check_sweep(sweep: Sweep) -> int:
    """Let the command line's own parser read every choice and both ends of every range.

    Args:
        sweep: The sweep.

    Returns:
        The seed that the trials train with.

    Raises:
        MERError: For an option that does not exist or does not take the value, trials without a fixed seed, or
            checkpoints that are chosen by something else than the sweep's metric.
    """
    from mer_zoo.cli.parser import MERCLI  # the command line imports this package
    from mer_zoo.monitors import AUTO, direction
    from mer_zoo.task import build_task

    parser = capture_parser(MERCLI)
    values = [(parameter.name, value) for parameter in sweep.parameters for value in parameter.samples()]
    settings = parser.parse_args([*sweep.arguments(values), *folder_options(Path("runs"), "trial")]).fit
    monitor, mode = settings.checkpoint.monitor, settings.checkpoint.mode
    task = (settings.data.get("init_args") or {}).get("task")
    if monitor == AUTO and isinstance(task, str):  # what classes are called makes no difference to what is followed
        monitor = build_task(task, names=("no", "yes") if task == "classes" else ()).monitor[0]
    kept = (monitor, (direction(monitor) or sweep.goal[:3]) if mode == AUTO else mode)
    wanted = (sweep.metric, sweep.goal[:3])
    if kept != wanted:
        raise MERError(
            f"the sweep goes by the {wanted[1]} of {wanted[0]}, but checkpoints are kept by the {kept[1]} of {kept[0]};"
            f" add --checkpoint.monitor={wanted[0]} --checkpoint.mode={wanted[1]} to its command"
        )
    seed = settings.seed_everything
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise MERError("the trials have no fixed seed and can't be repeated; give seed_everything a number")
    return seed
