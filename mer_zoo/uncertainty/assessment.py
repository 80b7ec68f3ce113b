"""What the uncertainty of a model is worth under one test condition."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from mer_zoo.errors import MERError
from mer_zoo.functional.calibration import (
    brier_score,
    debiased_calibration_error,
    expected_calibration_error,
    negative_log_likelihood,
)
from mer_zoo.functional.selective import accuracy_at, area_under_risk_coverage
from mer_zoo.scores import Scores
from mer_zoo.task import Task
from mer_zoo.uncertainty.answers import Answers
from mer_zoo.uncertainty.calibration import labelled
from mer_zoo.uncertainty.thresholds import Thresholds

__all__ = ["ASSESSED", "UNBOUNDED", "Judged", "assess", "judge"]

COVERAGES = (1.0, 0.8, 0.5)
ASSESSED = (
    "ECE_before",
    "ECE",
    "ECE_debiased",
    "NLL_before",
    "NLL",
    "Brier_before",
    "Brier",
    "AURC",
    *(f"accuracy_at_{100 * share:.0f}" for share in COVERAGES),
    "set_coverage",
    "set_size",
    "interval_coverage",
    "interval_width",
    "promised",
)
UNBOUNDED = ("NLL_before", "NLL", "Brier_before", "Brier", "set_size", "interval_width")  # all others are shares


@dataclass(frozen=True)
class Judged:
    """Calibrated predictions beside the truth, of samples that have labels.

    Attributes:
        answers: The predictions.
        classes: (N, P...) true classes.
        raw: (N, P..., C) probabilities without a temperature.
        target: (N, ...) the labels.
    """

    answers: Answers
    classes: Tensor
    raw: Tensor
    target: Tensor

    @property
    def confidence(self) -> Tensor:
        """(N, P) probability of the predicted class of each problem."""
        return self.answers.probabilities.max(-1).values.view(len(self.classes), -1)

    @property
    def right(self) -> Tensor:
        """(N, P) whether it is the true one."""
        return (self.answers.probabilities.argmax(-1) == self.classes).view(len(self.classes), -1)

    @property
    def set_covered(self) -> Tensor:
        """(N,) share of problems whose set holds the true class."""
        return _by_sample(self.answers.sets.gather(-1, self.classes[..., None]).squeeze(-1))

    @property
    def set_size(self) -> Tensor:
        """(N,) classes of a set, the mean over problems."""
        return _by_sample(self.answers.sets.sum(-1))

    @property
    def interval_covered(self) -> Tensor | None:
        """(N,) whether the interval holds the label; None where classes are scored."""
        low, high = self.answers.low, self.answers.high
        if low is None or high is None:
            return None
        return ((low <= self.target) & (self.target <= high)).double()


def _by_sample(values: Tensor) -> Tensor:
    return values.double().flatten(1).mean(1) if values.dim() > 1 else values.double()


def judge(task: Task, scores: Scores, thresholds: Thresholds) -> Judged:
    """Read scores by a calibration, beside their labels.

    Args:
        task: What the logits mean.
        scores: The scores of a whole split; samples without labels are left out.
        thresholds: The calibration.
    """
    known = labelled(scores)
    logits, target = scores.logits[known], scores.target[known]
    available = None if scores.available is None else scores.available[known]
    answers = Answers.of(task, logits, available, thresholds)
    return Judged(answers, task.classify(target), task.probabilities(logits.double()), target)


def assess(task: Task, scores: Scores, thresholds: Thresholds) -> dict[str, float]:
    """Calibration, selective prediction and coverage under one condition.

    Args:
        task: What the logits mean.
        scores: The scores of a whole split.
        thresholds: The calibration.

    Returns:
        ``ECE`` (15 bins of equal mass), ``NLL`` and ``Brier``, of each also what it was without the temperature,
        ``ECE_debiased``, ``AURC``, ``accuracy_at_80`` on the most confident 80 % and the like, ``set_coverage``,
        ``set_size``, ``interval_coverage`` and ``interval_width`` of scores, and ``promised``, the share of samples
        that the level is promised for. Means over problems where a task has several; NaN where a number is not
        defined, as errors of fewer samples than bins are.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> from mer_zoo.uncertainty.thresholds import Limits
        >>> limits = Limits(torch.tensor(1.0), torch.tensor(0.6), torch.tensor(1.5), 99)
        >>> target = torch.linspace(-3, 3, 41)
        >>> scores = Scores(target[:, None], {}, target, torch.arange(41))
        >>> found = assess(SentimentRegression(), scores, Thresholds(0.9, "{l}", {"{l}": limits}))
        >>> found["accuracy_at_80"], found["interval_coverage"], found["interval_width"]
        (1.0, 1.0, 3.0)
    """
    judged = judge(task, scores, thresholds)
    answers, classes = judged.answers, judged.classes
    before = judged.raw.max(-1)
    raw = before.values.view(len(classes), -1), (before.indices == classes).view(len(classes), -1)
    now = judged.confidence, judged.right
    found = {
        "ECE_before": _mean_over_problems(expected_calibration_error, *raw),
        "ECE": _mean_over_problems(expected_calibration_error, *now),
        "ECE_debiased": _mean_over_problems(debiased_calibration_error, *now),
        "NLL_before": float(negative_log_likelihood(judged.raw, classes).mean()),
        "NLL": float(negative_log_likelihood(answers.probabilities, classes).mean()),
        "Brier_before": float(brier_score(judged.raw, classes).mean()),
        "Brier": float(brier_score(answers.probabilities, classes).mean()),
        "AURC": _mean_over_problems(area_under_risk_coverage, *now),
    }
    for share in COVERAGES:
        found[f"accuracy_at_{100 * share:.0f}"] = _mean_over_problems(partial(accuracy_at, share), *now)
    found["set_coverage"], found["set_size"] = float(judged.set_covered.mean()), float(judged.set_size.mean())
    inside = judged.interval_covered
    if inside is not None and answers.low is not None and answers.high is not None:
        found["interval_coverage"] = float(inside.mean())
        found["interval_width"] = float((answers.high - answers.low).mean())
    return {**found, "promised": float(answers.promised.double().mean())}


def _mean_over_problems(measure: Callable[[Tensor, Tensor], float], confidence: Tensor, right: Tensor) -> float:
    try:
        values = [measure(*pair) for pair in zip(confidence.unbind(1), right.unbind(1), strict=True)]
    except MERError:  # fewer samples than bins, or none
        return math.nan
    return float(torch.tensor(values, dtype=torch.float64).mean())
