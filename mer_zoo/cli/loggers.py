"""The option ``trainer.logger``: one logger, several, a truth value or nothing."""

from __future__ import annotations

from typing import Any

from jsonargparse import Namespace

from mer_zoo.runs.folder import Place, default_logger

__all__ = ["at_run", "plain", "without_curves"]


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
