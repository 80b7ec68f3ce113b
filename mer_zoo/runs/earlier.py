"""What an earlier run has left in a folder is kept, unless it is to be replaced."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from mer_zoo.errors import MERError
from mer_zoo.runs.folder import CHECKPOINTS

__all__ = ["LEFT_BY_A_RUN", "check_no_run", "clear_run", "lock_run", "trained_weights"]

LEFT_BY_A_RUN = (
    "cost.json",
    "results.json",
    "results.md",
    "scores.safetensors",
    "features.safetensors",
    "predictions.csv",
    "conditions.png",
    "robustness.png",
    "propensity.json",
    "propensity.csv",
    "metrics.csv",
    "config_test.yaml",
    "config_validate.yaml",
    "config_predict.yaml",
)
_CHECKPOINTS = "[!.]*.ckpt"  # and not the part of one that a killed process was writing
_LOCK = ".training"


def trained_weights(config: Path) -> Path | None:
    """The best checkpoint of the run that wrote a configuration.

    Args:
        config: A configuration, such as ``RUN/config.yaml``.

    Returns:
        ``RUN/checkpoints/best.ckpt``; None where the file is no run's or the run has none.

    Example:
        >>> trained_weights(Path("configs/quickstart.yaml")) is None
        True
    """
    best = config.parent / CHECKPOINTS / "best.ckpt"
    return best if config.name == "config.yaml" and best.is_file() else None


def check_no_run(folder: Path, overwrite: bool = False) -> None:
    """Refuse to train in a folder that holds a trained run.

    Args:
        folder: Where a run is about to be written.
        overwrite: Whether an earlier one is to be replaced.

    Raises:
        MERError: Naming the folder and the ways out.

    Example:
        >>> check_no_run(Path("nowhere"))
    """
    left = (*sorted((folder / CHECKPOINTS).glob(_CHECKPOINTS)), folder / "results.json")
    held = [path for path in left if path.exists()]
    if held and not overwrite:
        raise MERError(
            f"{folder} holds a run already ({held[0].name}); give another folder, go on with it by --ckpt_path last, or"
            " replace it by --overwrite=true"
        )


def clear_run(folder: Path) -> None:
    """Take away what an earlier run has left in a folder, but keep its checkpoints aside, as ``*.ckpt.old``.

    Args:
        folder: A run's folder; one that is not there holds nothing.
    """
    for name in LEFT_BY_A_RUN:
        (folder / name).unlink(missing_ok=True)
    for checkpoint in sorted((folder / CHECKPOINTS).glob(_CHECKPOINTS)):
        checkpoint.replace(checkpoint.with_name(f"{checkpoint.name}.old"))


def lock_run(folder: Path) -> FileLock:
    """Keep other trainings out of a run's folder until the lock is released or this process ends.

    Args:
        folder: The run's folder; it is made.

    Returns:
        The lock, which is held.

    Raises:
        MERError: Where another process trains in the folder.

    Example:
        >>> from tempfile import mkdtemp
        >>> folder = Path(mkdtemp())
        >>> with lock_run(folder):
        ...     lock_run(folder)
        Traceback (most recent call last):
        mer_zoo.errors.MERError: another process is training in ...; give another folder, or wait until it has ended
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise MERError(
            f"another process is training in {folder}; give another folder, or wait until it has ended"
        ) from None
    return lock
