"""Differences between models on the same test samples, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torchmetrics import Metric

from mer_zoo.errors import MERError
from mer_zoo.metrics.confusion import ConfusionMetric
from mer_zoo.metrics.significance import Interval, paired_bootstrap, paired_bootstrap_area
from mer_zoo.reports.groups import Group, curve_names
from mer_zoo.reports.kept_scores import read_scores
from mer_zoo.reports.record import ConditionResult
from mer_zoo.reports.tables import ABSENT, Table, condition_title, format_value, is_fraction
from mer_zoo.task import Task, build_task

__all__ = ["difference_table"]


@dataclass(frozen=True)
class _Scored:
    """Logits of every run of a model under one condition, and the labels they share."""

    logits: list[Tensor]
    target: Tensor
    index: Tensor


def difference_table(
    groups: Sequence[Group], conditions: Sequence[ConditionResult], metric: str, samples: int
) -> Table | None:
    """Each model minus the first one, with 95 % intervals, where nothing is missing and in AUILC of accuracies and F1.

    Args:
        groups: The models.
        conditions: The conditions.
        metric: The metric.
        samples: Number of resamplings.

    Returns:
        None where no model can be compared with the first: another task, other samples, or no scores kept.
    """
    complete = [condition.name for condition in conditions if not condition.available]
    try:
        task = build_task(groups[0].runs[0].task, groups[0].runs[0].convention)  # type: ignore[arg-type]
        measure: Metric = task.metrics()[metric]
    except (MERError, KeyError):
        return None
    curves = curve_names(groups[0].runs) if isinstance(measure, ConfusionMetric) else []
    rows = []
    for group in groups[1:]:
        if all(run.task == groups[0].runs[0].task for run in group.runs):
            compare = _Comparison(group, groups[0], task, measure, metric, samples)
            cells = [*map(compare.condition, complete), *map(compare.area, curves)]
            rows += [[group.label, *cells]] if set(cells) != {ABSENT} else []
    if not rows:
        return None
    title = f"{metric} minus that of {groups[0].label}" + (", percentage points" if is_fraction(metric) else "")
    note = (
        f"Brackets: 95 % paired bootstrap interval over the test samples, {samples} resamplings; * excludes zero."
        f" {ABSENT}: not tested alike, or (oracles) the values reported are not those of the scores kept."
    )
    header = ["model", *map(condition_title, complete), *(f"AUILC {name}" for name in curves)]
    return Table(title, header, rows, [note])


@dataclass(frozen=True)
class _Comparison:
    """Makes the cells of a model in its comparison with another one."""

    model: Group
    base: Group
    task: Task
    measure: Metric
    metric: str
    samples: int

    def condition(self, name: str) -> str:
        """The difference under one condition."""
        pair = self._pair(name)
        if pair is None:
            return ABSENT
        a, b = pair
        interval = paired_bootstrap(self.measure, a.logits, b.logits, a.target, self.samples)
        return self._cell(interval, self.model.value(name, self.metric)[0] - self.base.value(name, self.metric)[0])

    def area(self, curve: str) -> str:
        """The difference in AUILC."""
        reported = self.model.area(curve, self.metric)[0] - self.base.area(curve, self.metric)[0]
        rates = self.base.rates(curve)
        if math.isnan(reported) or any(c.rates != rates for g in (self.model, self.base) for c in g.curves(curve)):
            return ABSENT
        pairs = [self._pair(condition.name) for _, condition in self.base.curves(curve)[0].points]
        known = [pair for pair in pairs if pair is not None]
        if len(known) < len(pairs):
            return ABSENT
        logits_a, logits_b = [a.logits for a, _ in known], [b.logits for _, b in known]
        return self._cell(
            paired_bootstrap_area(self.measure, rates, logits_a, logits_b, known[0][0].target, self.samples), reported
        )

    def _pair(self, name: str) -> tuple[_Scored, _Scored] | None:
        a, b = (_scored(group, name, self.task) for group in (self.model, self.base))
        if a is None or b is None or not (a.index.equal(b.index) and a.target.equal(b.target)):
            return None
        return a, b

    def _cell(self, interval: Interval, reported: float) -> str:
        if not math.isclose(interval.difference, reported, abs_tol=1e-4):
            return ABSENT
        low, high = (format_value(self.metric, end, signed=True) for end in (interval.low, interval.high))
        star = "*" if interval.significant else ""
        return f"{format_value(self.metric, interval.difference, signed=True)}{star} [{low}, {high}]"


def _scored(group: Group, condition: str, task: Task) -> _Scored | None:
    """Read a condition's scores; None where a run kept none or the runs saw different samples."""
    tables = []
    for run in group.runs:
        found = read_scores(run.path.parent, condition, task.shape)
        if found is None:
            return None
        tables.append(found)
    target, index = tables[0].target, tables[0].index
    if any(not (table.target.equal(target) and table.index.equal(index)) for table in tables):
        return None
    return _Scored([table.logits for table in tables], target, index)
