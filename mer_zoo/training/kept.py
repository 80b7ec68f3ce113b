"""Scores of an epoch, kept batch by batch, and what is made of them at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mer_zoo.batch import Batch, Output
from mer_zoo.model import Model
from mer_zoo.scores import Scores, baselines, measure

__all__ = ["KeptScores", "calibrate", "needed_effects", "prediction", "results_on"]


class KeptScores:
    """Test-time scores of the batches of each loader, until their epoch ends.

    Example:
        >>> import torch
        >>> from mer_zoo import DataSpec, SentimentRegression
        >>> kept, batch = KeptScores(), Batch.random(DataSpec(), SentimentRegression(), size=3)
        >>> kept.keep(1, Output(torch.zeros(3, 1), torch.zeros(3, 8)), batch, {})
        >>> kept.names(), kept.take(0), len(kept.take(1)), kept.take(1)
        (['iid', 'loader1'], None, 3, None)
    """

    def __init__(self) -> None:
        self._parts: dict[int, list[Scores]] = {}

    def start(self, model: Model, calibrating: bool) -> None:
        """Begin an epoch: forget what one that was broken off has left.

        Args:
            model: The model that makes the scores.
            calibrating: Whether its nest is to give what only its choices need.
        """
        self._parts.clear()
        for part in model.nest:
            part.calibrating = calibrating

    def keep(self, loader: int, output: Output, batch: Batch, effects: Mapping[str, Tensor]) -> None:
        """Keep the scores of a batch.

        Args:
            loader: Place of its loader among those of the epoch.
            output: Test-time output of the model.
            batch: The batch.
            effects: What is to be kept beside the logits.
        """
        scores = Scores(output.logits, dict(effects), batch.target, batch.index).cpu()
        self._parts.setdefault(loader, []).append(scores)

    def names(self) -> Sequence[str]:
        """Names of the loaders, where nobody has given them any."""
        return ["iid", *(f"loader{loader}" for loader in range(1, max(self._parts, default=0) + 1))]

    def take(self, loader: int) -> Scores | None:
        """The scores of a loader's split, gathered from all processes, and kept no longer; None where it gave none."""
        return Scores.gather(self._parts.pop(loader)) if loader in self._parts else None


def needed_effects(model: Model, output: Output) -> dict[str, Tensor]:
    """The effects that validation needs: all where a model chooses by them, else only those that are measured."""
    return {name: value for name, value in output.effects.items() if model.calibrates or name == "factual"}


def calibrate(model: Model, scores: Scores) -> None:
    """Let a model choose what it chooses on validation data, and turn the kept logits into those of the choice.

    Args:
        model: The model; nothing happens where none of its nest chooses anything.
        scores: Its scores of the whole validation split.
    """
    if model.calibrates:
        model.calibrate(scores)
        scores.logits = model.rescore(scores).float().cpu()


def results_on(model: Model, scores: Scores) -> dict[str, Any]:
    """What a run record says of a condition: its samples, the model's metrics and those of ignoring the input.

    Args:
        model: The model.
        scores: Its scores of the whole split.

    Raises:
        MERError: Without a label.
    """
    metrics = measure(model.task, scores, model.oracle(scores))
    return {"count": len(scores), "metrics": metrics, **baselines(model.task, scores.target)}


def prediction(model: Model, batch: Batch) -> dict[str, Any]:
    """What a prediction tells of a batch.

    Args:
        model: The model.
        batch: The batch.

    Returns:
        ``ids`` and ``index`` of the samples, ``logits``, ``scores`` as of the task's ``score``, and ``effects``.
    """
    output = model.predict(batch)
    scores = model.task.score(output.logits.float())
    return {
        "ids": batch.ids,
        "index": batch.index,
        "logits": output.logits,
        "scores": scores,
        "effects": output.effects,
    }
