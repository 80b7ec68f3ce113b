"""What a calibrated model answers: probabilities, sets of classes, intervals of scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mer_zoo.functional.conformal import prediction_sets, set_scores
from mer_zoo.task import Task
from mer_zoo.uncertainty.available import codes_of, places_of
from mer_zoo.uncertainty.thresholds import Thresholds

__all__ = ["Answers"]


@dataclass(frozen=True)
class Answers:
    """Calibrated predictions of samples.

    Attributes:
        probabilities: (N, P..., C).
        sets: (N, P..., C) whether a class belongs to the set.
        low: (N,) lower ends of the intervals; None where classes are scored.
        high: (N,) upper ends.
        promised: (N,) whether samples with the same modalities calibrated it, so that the level is promised to hold for
            data that are drawn as the validation split was.
    """

    probabilities: Tensor
    sets: Tensor
    low: Tensor | None
    high: Tensor | None
    promised: Tensor

    @classmethod
    def of(cls, task: Task, logits: Tensor, available: Tensor | None, thresholds: Thresholds) -> Answers:
        """Read logits by a calibration.

        Args:
            task: What the logits mean.
            logits: (N, *task shape).
            available: (N,) what each sample has; None takes all for complete. Where a set was not calibrated, that of
                complete data serves, without a promise.
            thresholds: The calibration.

        Example:
            >>> from mer_zoo.task import SentimentRegression
            >>> from mer_zoo.uncertainty.thresholds import Limits
            >>> limits = Limits(torch.tensor(1.0), torch.tensor(0.6), torch.tensor(1.5), 99)
            >>> made = Answers.of(
            ...     SentimentRegression(), torch.tensor([[2.0]]), None, Thresholds(0.9, "{l}", {"{l}": limits})
            ... )
            >>> made.sets.tolist(), made.low.tolist(), made.high.tolist()
            ([[False, True]], [0.5], [3.5])
        """
        names = list(thresholds.groups)
        codes, complete = codes_of(thresholds.groups), names.index(thresholds.complete)
        if available is None:
            available = codes[complete].expand(len(logits))
        places, own = places_of(available.cpu(), codes, complete)
        groups = list(thresholds.groups.values())
        logits = logits.double().cpu()
        probabilities = task.probabilities(logits, torch.stack([group.temperature for group in groups])[places])
        limits = torch.stack([group.oddness for group in groups])[places]
        # as they were kept, so that a sample as odd as the limit itself is in
        sets = prediction_sets(set_scores(probabilities).float(), limits)
        low = high = None
        distances = [group.distance for group in groups if group.distance is not None]
        if len(distances) == len(groups):
            score, half = task.score(logits), torch.stack(distances)[places]
            low, high = score - half, score + half
        return cls(probabilities, sets, low, high, own)
