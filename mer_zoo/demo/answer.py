"""What a model says of one clip: how likely each class is, how far the score may be off, and what that comes of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from mer_zoo.batch import MODALITIES, Batch
from mer_zoo.clips.clip import ClipFeatures
from mer_zoo.data.corpus.corpus import SplitData
from mer_zoo.data.dataset import SplitDataset
from mer_zoo.data.missing.drop import blanked
from mer_zoo.data.scaler import Scaler
from mer_zoo.errors import MERError
from mer_zoo.explain.explanation import WITHOUT, Block, explain
from mer_zoo.feature_spec import gaps_of
from mer_zoo.model import Model
from mer_zoo.uncertainty import Answers, Thresholds

__all__ = ["LEVEL", "Answer", "Sureness", "answer", "batch_of"]

LEVEL = 0.9  # share of samples that sets and intervals are to cover
_NOT_FITTED = "nothing was fitted on validation data for these weights; take the best checkpoint of a run"


@dataclass(frozen=True)
class Sureness:
    """How sure a model is of one answer.

    Attributes:
        probabilities: Of each class, by the problem and the class; the two sides of zero where a score is predicted.
            Without a calibration those of the logits, and none of a score.
        likely: The classes of the conformal set, by the problem; empty without a calibration.
        interval: Lower and upper end around a score; None without a calibration, or where classes are predicted.
        level: Share of samples that sets and intervals are to cover; None without a calibration.
        is_promised: Whether validation data with the same modalities stand for the level.
        refused: Why there is no calibration.
    """

    probabilities: Mapping[str, Mapping[str, float]]
    likely: Mapping[str, Sequence[str]] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    level: float | None = None
    is_promised: bool = False
    refused: str = ""


@dataclass(frozen=True)
class Answer:
    """What a model says of a clip.

    Attributes:
        there: The modalities that the clip has, of those that the model reads.
        used: Those of them that the model was given.
        predicted: What is predicted, in words.
        score: The score; None where classes are predicted.
        sureness: How sure the model is.
        without: What it says without each of the modalities that it was given, where these are several.
        effects: The effects of its wrappers.
    """

    there: tuple[str, ...]
    used: tuple[str, ...]
    predicted: str
    score: float | None
    sureness: Sureness
    without: Mapping[str, Answer] = field(default_factory=dict)
    effects: Sequence[Block] = ()

    @property
    def share(self) -> float | None:
        """The probability of what is predicted; None where that is a score, or several things at once."""
        shares = self.sureness.probabilities.get("", {})
        return None if self.score is not None else shares.get(self.predicted)

    def lost(self, name: str) -> float | None:
        """By how much the probability of what is predicted, or the score, falls without a modality.

        Args:
            name: One of ``without``.
        """
        other = self.without[name]
        if self.score is not None and other.score is not None:
            return self.score - other.score
        shares = other.sureness.probabilities.get("", {})
        return None if self.share is None else self.share - shares[self.predicted]


def batch_of(found: ClipFeatures, model: Model) -> Batch:
    """The features of a clip as a model reads them: scaled as in training, cut to its steps, missing what is not there.

    Args:
        found: The features, made as those that the model was trained on.
        model: The model.

    Returns:
        A batch of one sample, without a label.

    Example:
        >>> import numpy as np
        >>> from mer_zoo import LFLSTM, DataSpec, SentimentRegression
        >>> model = LFLSTM(DataSpec(), SentimentRegression())
        >>> made = batch_of(ClipFeatures({"audio": np.ones((3, 5), np.float32)}), model)
        >>> made.available(model.spec).tolist(), made.audio.lengths.tolist(), made.audio.x.shape
        ([2], [3], torch.Size([1, 8, 5]))
    """
    state, spec = model.scaler_state, model.spec
    scaler = None if state is None else Scaler(state["mean"], state["std"])
    nothing = {name: np.zeros((0, spec.dim(name)), np.float32) for name in MODALITIES}
    features = {name: found.features.get(name, x) for name, x in nothing.items()}
    spans = {name: np.array([[0, len(x)]], np.int32) for name, x in features.items()}
    split = SplitData({name: x[None] for name, x in features.items()}, spans, None, None, ["clip"], [found.text])
    return SplitDataset(split, spec, model.task, scaler, fit_lengths=True, gaps=gaps_of(model.made_by))[0]


def answer(model: Model, found: ClipFeatures, available: Sequence[str] | None = None, level: float = LEVEL) -> Answer:
    """Ask a model about a clip.

    Args:
        model: The model, in evaluation mode.
        found: The features of the clip, made as those that the model was trained on.
        available: The modalities that the model may use; None for all.
        level: Share of samples that sets and intervals are to cover.

    Raises:
        MERError: If the clip has none of these modalities.
    """
    chosen = model.spec.modalities if available is None else tuple(available)
    there = tuple(name for name in model.spec.modalities if name in found.features)
    used = tuple(name for name in there if name in chosen)
    if not used:
        has = f"the clip has {' and '.join(there)} alone" if there else "the clip has nothing that the model reads"
        raise MERError(f"{has}, which leaves the model nothing to go by; switch on what the clip has, or give another")
    said = _said(model, found, there, used, level)
    batch = _seen(model, found, used)
    blocks = [block for block in explain(model, batch)[0].blocks if block.title != WITHOUT]
    without = {
        name: _said(model, found, there, tuple(other for other in used if other != name), level)
        for name in (used if len(used) > 1 else ())
    }
    return replace(said, without=without, effects=blocks)


def _seen(model: Model, found: ClipFeatures, used: tuple[str, ...]) -> Batch:
    batch = blanked(batch_of(found, model), used, model.spec)
    return batch if model.fixed_length else batch.trim()


def _said(model: Model, found: ClipFeatures, there: tuple[str, ...], used: tuple[str, ...], level: float) -> Answer:
    task, batch = model.task, _seen(model, found, used)
    with torch.no_grad():
        logits = model.predict(batch).logits
    score = None if task.is_classification else float(task.score(logits)[0])
    sureness = _sureness(model, logits, batch.available(model.spec), level)
    return Answer(there, used, task.name_predictions(logits)[0], score, sureness)


def _sureness(model: Model, logits: Tensor, available: Tensor, level: float) -> Sureness:
    task = model.task
    thresholds, refused = _thresholds(model, level)
    if thresholds is None:
        raw: Sequence[Tensor] = ()  # of a score, which has no scale of its own
        if task.is_classification:
            raw = list(task.probabilities(logits.double())[0].reshape(len(task.problems), -1))
        return Sureness(_by_problem(task.problems, task.outcomes, raw), refused=refused)
    found = Answers.of(task, logits, available, thresholds)
    shares = found.probabilities[0].reshape(len(task.problems), -1)
    inside = found.sets[0].reshape(len(task.problems), -1)
    return Sureness(
        probabilities=_by_problem(task.problems, task.outcomes, list(shares)),
        likely={
            problem: [name for name, is_in in zip(task.outcomes, row.tolist(), strict=True) if is_in]
            for problem, row in zip(task.problems, inside, strict=True)
        },
        interval=None if found.low is None or found.high is None else (float(found.low[0]), float(found.high[0])),
        level=level,
        is_promised=bool(found.promised[0]),
    )


def _thresholds(model: Model, level: float) -> tuple[Thresholds | None, str]:
    known = model.uncertainty
    if known is None:
        return None, _NOT_FITTED
    try:
        return Thresholds.of(known, level), known.refused
    except MERError as error:  # too few validation samples for the level
        return None, str(error)


def _by_problem(
    problems: Sequence[str], outcomes: Sequence[str], shares: Sequence[Tensor]
) -> dict[str, dict[str, float]]:
    return {
        problem: dict(zip(outcomes, row.tolist(), strict=True)) for problem, row in zip(problems, shares, strict=False)
    }
