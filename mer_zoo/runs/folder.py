"""Where runs lie: the folder of a run, and the newest run of a configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

__all__ = ["CHECKPOINTS", "Place", "folder_of", "is_trial", "newest_run", "run_folder"]

CHECKPOINTS = "checkpoints"


def run_folder(trainer: Trainer, ckpt_path: str | None = None) -> Path:
    """The folder of this run, the same for every logger.

    Args:
        trainer: The trainer. When it tests or predicts with a checkpoint, the folder of that run is meant.
        ckpt_path: That checkpoint, where the trainer does not know it yet.

    Returns:
        ``save_dir/name/version`` of the first logger, or ``default_root_dir`` without one.
    """
    given = trainer.ckpt_path or ckpt_path
    checkpoint = Path(str(given)) if given else None
    if checkpoint is not None and trainer.state.fn != "fit":
        return folder_of(checkpoint)
    logger = trainer.logger
    if logger is None:
        return Path(trainer.default_root_dir)
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return Path(logger.save_dir or trainer.default_root_dir) / str(logger.name) / version


def folder_of(checkpoint: Path) -> Path:
    """The folder of the run that a checkpoint is of.

    Args:
        checkpoint: Its path.

    Example:
        >>> folder_of(Path("runs/mult/version_0/checkpoints/best.ckpt")).name, folder_of(Path("mine/best.ckpt")).name
        ('version_0', 'mine')
    """
    return checkpoint.parent.parent if checkpoint.parent.name == CHECKPOINTS else checkpoint.parent


def is_trial(trainer: Trainer) -> bool:
    """Whether this is a ``fast_dev_run``, which leaves no record."""
    return bool(getattr(trainer, "fast_dev_run", False))


@dataclass(frozen=True)
class Place:
    """A run's folder, and the option of its logger that leads there again.

    Args:
        folder: The folder.
        option: Name of the option; None where the logger's options lead there as they are.
        value: Its value.
    """

    folder: Path
    option: str | None = None
    value: str | int | None = None


def default_logger(root: str | None = None, version: str | int | None = None) -> dict[str, Any]:
    """What Lightning logs with where ``trainer.logger`` is true, as a configuration.

    Args:
        root: ``default_root_dir`` of the trainer.
        version: The version; None for the next one.

    Example:
        >>> default_logger("runs", 3)["init_args"]["version"]
        3
    """
    name = "TensorBoardLogger" if find_spec("tensorboard") or find_spec("tensorboardX") else "CSVLogger"
    options = {"save_dir": root or ".", "name": "lightning_logs", "version": version}
    return {"class_path": f"lightning.pytorch.loggers.{name}", "init_args": options}


def newest_run(logger: Any, root: str | None = None) -> Place | None:
    """Find the run that was begun last with a logger's options, by their names in a configuration.

    Args:
        logger: ``class_path`` and ``init_args`` of the logger, a list of such, of which the first decides, true or
            null for Lightning's own, or false.
        root: ``default_root_dir`` of the trainer, where runs without a logger lie.

    Returns:
        Its place; None where there is no run.

    Example:
        >>> from tempfile import mkdtemp
        >>> folder = Path(mkdtemp())
        >>> for version in (2, 10):
        ...     (folder / "mult" / f"version_{version}").mkdir(parents=True)
        ...     _ = (folder / "mult" / f"version_{version}" / "config.yaml").write_text("")
        >>> newest_run({"class_path": "CSVLogger", "init_args": {"save_dir": folder, "name": "mult"}}).value
        10
    """
    if isinstance(logger, Sequence) and not isinstance(logger, str):
        return newest_run(logger[0] if logger else False, root)
    if logger is True or logger is None:
        logger = default_logger(root)
    if not isinstance(logger, Mapping):
        place = Place(Path(root or "."))
        return place if _is_run(place.folder) else None
    options = dict(logger.get("init_args") or {})
    is_wandb = str(logger.get("class_path", "")).endswith("WandbLogger")
    base = Path(options.get("save_dir") or options.get("root_dir") or root or ".")
    base /= str(options.get("project" if is_wandb else "name", "lightning_logs") or "")
    version = options.get("version") if options.get("version") is not None else options.get("id")
    if version is not None:
        place = Place(base / (version if isinstance(version, str) else f"version_{version}"))
        return place if _is_run(place.folder) else None
    if is_wandb:
        folders = [folder for folder in base.glob("*") if _is_run(folder)]
        newest = max(folders, key=lambda folder: (folder / "config.yaml").stat().st_mtime, default=None)
        return None if newest is None else Place(newest, "id", newest.name)
    # A run that was killed at its very beginning has a folder and nothing in it; one of a test alone has another
    # configuration.
    runs = (folder for folder in base.glob("version_*") if _is_run(folder) or not any(folder.glob("config_*.yaml")))
    numbers = [int(found.group(1)) for run in runs if (found := re.fullmatch(r"version_(\d+)", run.name))]
    return Place(base / f"version_{max(numbers)}", "version", max(numbers)) if numbers else None


def _is_run(folder: Path) -> bool:
    """Whether a training run has begun there."""
    return (folder / "config.yaml").is_file()
