"""Scores of an epoch, kept batch by batch, and what is made of them at its end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mer_zoo.batch import MODALITIES, Batch, DataSpec, Output
from mer_zoo.data.corpus.conversation import beyond_ids
from mer_zoo.errors import TrainingError
from mer_zoo.model import Model
from mer_zoo.model.effects import effects_of
from mer_zoo.scores import Scores, baselines, measure
from mer_zoo.task import Task
from mer_zoo.uncertainty import calibrated

__all__ = [
    "EXPLODED",
    "KeptScores",
    "KnownBaselines",
    "calibrate",
    "facts_of",
    "needed_effects",
    "prediction",
    "results_on",
    "with_effects",
]

NAMED = 5  # samples that a message names
MASKING = (
    "the usual cause is a softmax over a row without an observed key: let the network give such rows zeros, and see"
    " mer-zoo validate-data for faults of the file"
)
EXPLODED = "the weights have exploded: lower the learning rate, or set model.clip_norm"


class KeptScores:
    """Test-time scores of the batches of each loader, until their epoch ends.

    Attributes:
        with_features: Whether joint representations are kept too.

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
        self._not_finite: dict[int, list[str]] = {}  # ids, of this process
        self._spec = DataSpec()
        self.with_features = False

    def start(self, model: Model, calibrating: bool, explaining: bool = False) -> None:
        """Begin an epoch: forget what one that was broken off has left.

        Args:
            model: The model that makes the scores.
            calibrating: Whether its nest is to give what only its choices need.
            explaining: Whether it is to give effects that its scores do not need.
        """
        self._parts.clear()
        self._not_finite.clear()
        self._spec = model.spec
        for part in model.nest:
            part.calibrating, part.explaining = calibrating, explaining

    def keep(
        self,
        loader: int,
        output: Output,
        batch: Batch,
        effects: Mapping[str, Tensor],
        facts: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Keep the scores of a batch.

        Args:
            loader: Place of its loader among those of the epoch.
            output: Test-time output of the model.
            batch: The batch.
            effects: What is to be kept beside the logits.
            facts: What is to be known of the samples, such as :func:`facts_of`.
        """
        scores = Scores(
            output.logits,
            dict(effects),
            batch.target,
            batch.index,
            ids=batch.ids,
            facts=dict(facts or {}),
            available=batch.available(self._spec),
            features=output.features if self.with_features else None,
            names=batch.names,
        ).cpu()
        self._parts.setdefault(loader, []).append(scores)
        self._not_finite.setdefault(loader, []).extend(_named(batch, scores.logits))

    def names(self) -> Sequence[str]:
        """Names of the loaders, where nobody has given them any."""
        return ["iid", *(f"loader{loader}" for loader in range(1, max(self._parts, default=0) + 1))]

    def take(
        self, loader: int, where: str | None = None, remedy: str = MASKING, model: Model | None = None
    ) -> Scores | None:
        """The scores of a loader's split, gathered from all processes, and kept no longer; None where it gave none.

        Args:
            loader: Place of the loader.
            where: What was scored, for a message; without it scores are handed out as they are.
            remedy: What is usually at fault where scores are not finite, and what helps.
            model: The model, whose effects are to be known of each sample, see :func:`with_effects`.

        Raises:
            TrainingError: If some are not finite, which metrics would count as a class; naming how many, and samples.
        """
        if loader not in self._parts:
            return None
        scores, named = Scores.gather(self._parts.pop(loader)), self._not_finite.pop(loader, [])
        if where is not None:
            _check(scores.logits, named, where, remedy)
        return scores if model is None else with_effects(model, scores)


def _not_finite(logits: Tensor) -> Tensor:
    """(N,) whether a sample has a score that is not finite."""
    return (~logits.isfinite()).flatten(1).any(1)


def _named(batch: Batch, logits: Tensor) -> list[str]:
    return [name for name, is_bad in zip(batch.ids, _not_finite(logits).tolist(), strict=True) if is_bad]


def _check(logits: Tensor, ids: Sequence[str], where: str, remedy: str) -> None:
    bad = int(_not_finite(logits).sum())
    if bad:
        named = list(dict.fromkeys(ids))
        shown = ", ".join(named[:NAMED]) + (", ..." if len(named) > NAMED else "")
        raise TrainingError(
            f"{where}: {bad} of {len(logits)} samples have scores that are not finite ({shown}); {remedy}"
        )


def facts_of(batch: Batch) -> dict[str, Tensor]:
    """What is known of samples: how many words their transcript has, and how many steps each modality.

    Args:
        batch: The samples.

    Returns:
        (B,) each; NaN words without a transcript, and no steps of a modality that is not in use.

    Example:
        >>> from mer_zoo import DataSpec, SentimentRegression
        >>> batch = Batch.random(DataSpec(), SentimentRegression(), size=2).replace(raw_text=["so good", ""])
        >>> {name: values.tolist() for name, values in facts_of(batch).items()}
        {'words': [2.0, nan], 'text_steps': [6.0, 4.0], 'audio_steps': [8.0, 4.0], 'vision_steps': [7.0, 2.0]}
    """
    words = [float(len(text.split())) or math.nan for text in batch.raw_text] or [math.nan] * len(batch)
    steps = {f"{name}_steps": batch.modality(name).lengths.float() for name in MODALITIES}
    return {"words": torch.tensor(words), **steps}


def with_effects(model: Model, scores: Scores) -> Scores:
    """Add to what is known of each sample the effects that have words, for its true class.

    Args:
        model: The model that was tested.
        scores: Its scores.

    Returns:
        The same with more ``facts``, NaN for samples without a label.

    Example:
        >>> from mer_zoo import CausalMER, DataSpec, LFLSTM, SentimentClassification
        >>> model = CausalMER(LFLSTM(DataSpec(), SentimentClassification(3))).eval()
        >>> batch = Batch.random(model.spec, model.task)
        >>> output = model.predict(batch)
        >>> scores = Scores(output.logits, output.effects, batch.target, batch.index)
        >>> list(with_effects(model, scores).facts)[-1]
        'CausalMER: total indirect effect (TIE)'
    """
    unknown = scores.target.isnan()
    classes = model.task.encode(scores.target.masked_fill(unknown, 0))
    unknown = unknown.view(len(scores), -1).any(1)
    found = {
        effect.title: effect.of(classes).masked_fill(unknown, math.nan) for effect in effects_of(model, scores.effects)
    }
    return replace(scores, facts={**scores.facts, **found})


def needed_effects(model: Model, output: Output) -> dict[str, Tensor]:
    """The effects that validation needs: all where a model chooses by them, else only those that are measured."""
    return {name: value for name, value in output.effects.items() if model.calibrates or name == "factual"}


def calibrate(model: Model, scores: Scores) -> None:
    """Let a model choose what it chooses on validation data, and learn how sure it may be of the logits of the choice.

    Args:
        model: The model; what it knows of its uncertainty already, as from a checkpoint, stays.
        scores: Its scores of the whole validation split, whose logits become those of the choice.
    """
    if model.calibrates:
        model.calibrate(scores)
        scores.logits = model.rescore(scores).float().cpu()
    if model.uncertainty is None:
        model.uncertainty = calibrated(model.task, model.spec.modalities, scores)


class KnownBaselines:
    """Metrics of ignoring the input, worked out once for all conditions that have the same labels.

    Args:
        task: Names the metrics.

    Example:
        >>> from mer_zoo import SentimentRegression
        >>> known = KnownBaselines(SentimentRegression())
        >>> known(torch.tensor([-1.0, 2.0])) is known(torch.tensor([-1.0, 2.0]))
        True
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._found: dict[bytes, dict[str, dict[str, float]]] = {}

    def __call__(self, target: Tensor) -> dict[str, dict[str, float]]:
        """Those of the labels of a whole split."""
        labels = target.cpu().numpy().tobytes()
        if labels not in self._found:
            self._found[labels] = baselines(self._task, target)
        return self._found[labels]


def results_on(model: Model, scores: Scores, known: KnownBaselines | None = None) -> dict[str, Any]:
    """What a run record says of a condition: its samples, the model's metrics and those of ignoring the input.

    Args:
        model: The model.
        scores: Its scores of the whole split.
        known: Baselines of the conditions before, where there are some.

    Raises:
        MERError: Without a label.
    """
    metrics = measure(model.task, scores, model.oracle(scores))
    return {"count": len(scores), "metrics": metrics, **(known or KnownBaselines(model.task))(scores.target)}


def prediction(model: Model, batch: Batch) -> dict[str, Any]:
    """What a prediction tells of a batch.

    Args:
        model: The model.
        batch: The batch.

    Returns:
        ``ids`` and ``index`` of the samples, what is ``available`` of them, ``logits``, ``scores`` as of the task's
        ``score``, ``effects``, and ``names`` of speakers and dialogues that the ids do not tell.

    Raises:
        TrainingError: If scores are not finite, naming samples.
    """
    output = model.predict(batch)
    _check(output.logits, _named(batch, output.logits), "prediction", MASKING)
    scores = model.task.score(output.logits.float())
    return {
        "ids": batch.ids,
        "index": batch.index,
        "available": batch.available(model.spec),
        "logits": output.logits,
        "scores": scores,
        "effects": output.effects,
        "names": beyond_ids(batch.names, batch.ids),
    }
