"""How sure models are and were right to be: tables of calibration, selective prediction and coverage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from torch import Tensor
from typing_extensions import override

from mer_zoo.errors import MERError
from mer_zoo.metrics.regression import ScoreMetric
from mer_zoo.metrics.significance import Interval, bootstrap
from mer_zoo.reports.clusters import Clusters
from mer_zoo.reports.groups import Group
from mer_zoo.reports.kept_scores import KeptScores, read_scores
from mer_zoo.reports.record import ConditionResult
from mer_zoo.reports.tables import ABSENT, Table, condition_title
from mer_zoo.scores import Scores
from mer_zoo.task import build_task
from mer_zoo.uncertainty import UNBOUNDED, Judged, judge

__all__ = ["calibration_table", "coverage_table", "judged"]

_HEADS = {
    "ECE_before": "ECE before",
    "ECE": "ECE",
    "ECE_debiased": "debiased",
    "NLL": "NLL",
    "Brier": "Brier",
    "AURC": "AURC",
    "accuracy_at_100": "100 %",
    "accuracy_at_80": "80 %",
    "accuracy_at_50": "50 %",
}
_CALIBRATION_NOTE = (
    "Fitted on validation data alone. ECE: 15 bins of equally many samples, before and after the temperature, and"
    " debiased as the root of a mean square. AURC: area under the risk-coverage curve. 100, 80, 50 %: accuracy on that"
    " share of the samples, the most confident ones; of a score whether it is negative or not. Percent, but for NLL and"
    " Brier. Mean over runs."
)
_PROMISED = ("test", "test_iid")  # splits that are taken for drawn as the validation split is
_MOST_ODD = 0.01  # share of samples, as those of an empty transcript, that do not undo a promise
_HELD, _NOT_HELD = "yes", "no"


@dataclass(frozen=True)
class _Run:
    """Predictions of a run under a condition, beside the truth."""

    judged: Judged
    kept: KeptScores


def judged(group: Group, condition: str) -> list[Judged]:
    """Predictions of each run of a model under a condition, read by the run's calibration.

    Args:
        group: The model.
        condition: Name of the condition.

    Returns:
        None of a run that has kept no scores or was not calibrated.
    """
    return [run.judged for run in _runs(group, condition)]


def _runs(group: Group, condition: str) -> list[_Run]:
    try:
        task = build_task(group.runs[0].task, group.runs[0].convention)  # type: ignore[arg-type]
    except MERError:
        return []
    found = []
    for run in sorted(group.runs, key=lambda run: (run.seed is None, run.seed or 0)):
        fits = run.calibration is not None and run.calibration.fits(task)
        kept = read_scores(run.path.parent, condition, task.shape) if fits else None
        if kept is None or run.calibration is None:
            continue
        scores = Scores(kept.logits, {}, kept.target, kept.index, available=kept.available)
        found.append(_Run(judge(task, scores, run.calibration), kept))
    return found


def calibration_table(groups: Sequence[Group], conditions: Sequence[ConditionResult]) -> Table | None:
    """Calibration error, likelihood and accuracy at several coverages; None where no run was calibrated.

    Args:
        groups: The models.
        conditions: The conditions.
    """
    rows = []
    for group in groups:
        for condition in conditions:
            values = [_mean(group, condition.name, name) for name in _HEADS]
            if not all(map(math.isnan, values)):
                cells = [_text(name, value) for name, value in zip(_HEADS, values, strict=True)]
                rows.append([group.label, condition_title(condition.name), *cells])
    header = ["model", "condition", *_HEADS.values()]
    title = "Calibration and selective prediction"
    return Table(title, header, rows, [_CALIBRATION_NOTE], names=2) if rows else None


def coverage_table(
    groups: Sequence[Group], conditions: Sequence[ConditionResult], samples: int, clusters: Clusters
) -> Table | None:
    """How often conformal sets and intervals hold the truth; None where no run was calibrated.

    Args:
        groups: The models.
        conditions: The conditions.
        samples: Number of resamplings of the intervals; 0 for none.
        clusters: Which samples go together.
    """
    rows, cells = [], list[tuple[Interval, bool]]()
    levels = set[float]()
    for group in groups:
        for condition in conditions:
            level = _mean(group, condition.name, "level")
            if math.isnan(level):
                continue
            levels.add(round(level, 6))
            runs = _runs(group, condition.name) if samples else []
            row = [group.label, condition_title(condition.name), _HELD if _is_promised(group, condition) else _NOT_HELD]
            for name in ("set_coverage", "set_size", "interval_coverage", "interval_width"):
                value = _mean(group, condition.name, name)
                values = _values(runs, name) if name.endswith("coverage") else []
                interval = _interval(runs, values, value, samples, clusters)
                cells += [] if interval is None else [interval]
                row.append(_text(name, value) + (f" {_ends(interval[0])}" if interval is not None else ""))
            rows.append(row)
    if not rows:
        return None
    level_text = " and ".join(f"{100 * level:g} %" for level in sorted(levels))
    header = ["model", "condition", "promised", "sets cover", "classes", "intervals cover", "width"]
    title = f"Coverage of conformal sets and intervals at {level_text}"
    return Table(title, header, rows, list(_notes(cells, samples, clusters)), names=3)


def _notes(cells: Sequence[tuple[Interval, bool]], samples: int, clusters: Clusters) -> Sequence[str]:
    promise = (
        "Promised: for data drawn as the validation split is, and samples whose modalities calibrated it. Elsewhere, as"
        " out of distribution or where a part of a modality is missing, coverage is what it is. Mean over runs."
    )
    if not cells:
        return [promise]
    ways = dict.fromkeys(clustered for _, clustered in cells)
    drawn = [clusters.note([cell.clusters for cell, clustered in cells if clustered is way], way) for way in ways]
    return [promise, f"Brackets: 95 % intervals, bootstrap of {samples} resamplings; {'; '.join(drawn)}."]


def _mean(group: Group, condition: str, name: str) -> float:
    found = [run.conditions[condition].uncertainty for run in group.runs if condition in run.conditions]
    values = [numbers[name] for numbers in found if not math.isnan(numbers.get(name, math.nan))]
    return fmean(values) if values else math.nan


def _text(name: str, value: float) -> str:
    if math.isnan(value):
        return ABSENT
    return f"{value:.2f}" if name in UNBOUNDED else f"{100 * value:.1f}"


def _is_promised(group: Group, condition: ConditionResult) -> bool:
    return condition.split in _PROMISED and _mean(group, condition.name, "promised") > 1 - _MOST_ODD


def _values(runs: Sequence[_Run], name: str) -> list[Tensor]:
    found = [run.judged.set_covered if name == "set_coverage" else run.judged.interval_covered for run in runs]
    return [values for values in found if values is not None]


class _Mean(ScoreMetric):
    """The mean of what stands for scores."""

    @override
    def reduce(self, score: Tensor, value: Tensor, weights: Tensor) -> Tensor:
        return weights @ score / weights.sum()


def _interval(
    runs: Sequence[_Run], values: Sequence[Tensor], reported: float, samples: int, clusters: Clusters
) -> tuple[Interval, bool] | None:
    """The interval of a mean over samples and runs, and whether samples were drawn by clusters.

    None where it is not of the value that is reported, as at another level, or some runs lack labels or samples.
    """
    if not values or len(values) < len(runs) or any(len(each) != len(runs[0].kept.index) for each in values):
        return None
    same = all(run.kept.target.equal(runs[0].kept.target) for run in runs)
    names = clusters.of_test(next((run.kept for run in runs if run.kept.ids is not None), runs[0].kept))
    scores = [each[:, None] for each in values]
    target = scores[0].new_zeros(len(scores[0]))
    labels = target if same else [target] * len(scores)
    groups = names if same else None
    try:
        found = bootstrap(_Mean(), scores, labels, samples, clusters=groups)
    except MERError:  # all samples are of one recording
        return None
    known = not math.isnan(found.p) and math.isclose(found.difference, reported, abs_tol=1e-4)
    return (found, groups is not None) if known else None


def _ends(interval: Interval) -> str:
    return f"[{100 * max(0.0, interval.low):.1f}, {100 * min(1.0, interval.high):.1f}]"
