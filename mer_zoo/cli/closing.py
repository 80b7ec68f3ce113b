"""What a command says when it begins and when it has come to its end: how large, where things are, what comes next."""

from __future__ import annotations

import math
import shlex
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from mer_zoo.model import Model

__all__ = ["after_fit", "after_predict", "after_test", "size_of", "word"]


def size_of(model: Model) -> str:
    """A line on a model's parameters, in place of a table.

    Args:
        model: The model.

    Example:
        >>> from mer_zoo import LFLSTM, DataSpec, SentimentRegression
        >>> size_of(LFLSTM(DataSpec(), SentimentRegression(), dim=4))
        'LFLSTM: 585 parameters'
    """
    numbers = [(p.numel(), p.requires_grad) for p in model.parameters()]
    total, trained = sum(n for n, _ in numbers), sum(n for n, learns in numbers if learns)
    return f"{model.label}: {total:,} parameters" + (f", {trained:,} of them trained" if trained < total else "")


def after_fit(trainer: Trainer, folder: Path) -> str:
    """Best epoch and metric, the run's folder, and the command that tests it.

    Args:
        trainer: The trainer that has fitted.
        folder: The run's folder.
    """
    kept = _keeper(trainer, folder)
    best = "" if kept is None else kept.best_model_path
    lines = [f"run: {folder}"]
    if kept is not None and best and Path(best).is_file():
        epoch = torch.load(best, map_location="cpu", weights_only=True, mmap=True)["epoch"]
        score = math.nan if kept.best_model_score is None else float(kept.best_model_score)
        lines.insert(0, f"best epoch: {epoch} (the first is 0), {kept.monitor} {score:.4g}")
        for before in getattr(getattr(trainer.lightning_module, "stretches", None), "not_at_hand", []):
            if before.monitor == kept.monitor and before.is_better_than(score):
                lines.insert(1, f"an epoch before the run was resumed had {before.score:.4g}, and is not at hand")
    if (folder / "config.yaml").is_file() and best:
        lines.append(f"next: mer-zoo test --config {word(folder / 'config.yaml')} --ckpt_path {word(best)}")
    return "\n".join(lines)


def _keeper(trainer: Trainer, folder: Path) -> ModelCheckpoint | None:
    """What keeps the best epoch of the run: of several the one that goes by a metric, in the run's own folder."""
    kept = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
    inside = folder.absolute()

    def fitness(callback: ModelCheckpoint) -> tuple[bool, bool]:
        return callback.monitor is not None, inside in Path(callback.best_model_path).absolute().parents

    return max(kept, key=fitness, default=None)


def after_test(folder: Path) -> str:
    """Where results are, and the command that compares them.

    Args:
        folder: The run's folder.
    """
    names = [name for name in ("results.md", "results.json", "conditions.png") if (folder / name).is_file()]
    return f"results: {folder} ({', '.join(names)})\nnext: mer-zoo report {word(folder)} --out comparison"


def after_predict(folder: Path, checkpoint: str | None) -> str:
    """Where predictions are, and the command that shares the model.

    Args:
        folder: The run's folder.
        checkpoint: The checkpoint they were made with.
    """
    line = f"predictions: {folder / 'predictions.csv'}"
    return line if checkpoint is None else f"{line}\nnext: mer-zoo export {word(checkpoint)} {word(folder / 'export')}"


def word(path: str | Path) -> str:
    """A path as a word of a command line, from here where it lies below."""
    path = Path(path)
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))
