"""The option ``trainer.logger``: one logger, several, a truth value or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from mer_zoo.runs.folder import Place, default_logger

__all__ = ["at_run", "expand_home", "plain", "without_curves"]


def plain(logger: Any) -> Any:
    """The option ``trainer.logger``, one logger, several, a truth value or nothing, without jsonargparse's classes."""
    if isinstance(logger, list):
        return [plain(one) for one in logger]
    return logger.as_dict() if isinstance(logger, Namespace) else logger


def at_run(logger: Any, run: Place, root: str | None) -> Any:
    """The option ``trainer.logger`` with the first logger in the folder of a run."""
    if isinstance(logger, list):
        return [at_run(logger[0], run, root), *logger[1:]]
    if not isinstance(logger, Namespace):
        return Namespace(default_logger(root, run.value))  # type: ignore[no-untyped-call]
    logger = logger.clone()
    logger.init_args[run.option] = run.value
    return logger


def without_curves(logger: Any) -> Any:
    """The option ``trainer.logger`` without what writes a metrics.csv: one logger, several, or Lightning's own."""
    if isinstance(logger, list):
        return [one for one in logger if without_curves(one)] or False
    return False if logger in (True, None) or "CSVLogger" in str(getattr(logger, "class_path", "")) else logger


def expand_home(config: Namespace) -> None:
    """Let ``~`` stand for the user's home in the folders of runs, in place: a shell does so only where it is unquoted.

    Args:
        config: The configuration of a command, or of each of several.

    Example:
        >>> options = Namespace(trainer=Namespace(default_root_dir="~/runs", logger=None))
        >>> expand_home(options)
        >>> options.trainer.default_root_dir == str(Path.home() / "runs")
        True
    """
    for options in _with_folders(config):
        for name in ("default_root_dir", "save_dir", "root_dir"):
            folder = options.get(name)
            if isinstance(folder, str) and (folder == "~" or folder.startswith("~/")):
                options[name] = str(Path(folder).expanduser())


def _with_folders(config: Namespace) -> Iterator[Namespace]:
    """Options of trainers and of their loggers."""
    for options in (config, config.get(str(config.get("subcommand")))):
        trainer = options.get("trainer") if isinstance(options, Namespace) else None
        if trainer is not None:
            yield trainer
            given = trainer.get("logger")
            loggers = given if isinstance(given, list) else [given]
            yield from (one.init_args for one in loggers if isinstance(one, Namespace) and "init_args" in one)
