"""Values and differences of models on the same test samples, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torchmetrics import Metric

from mer_zoo.errors import MERError
from mer_zoo.functional.student import holm
from mer_zoo.metrics.confusion import ConfusionMetric
from mer_zoo.metrics.significance import Interval, bootstrap, paired_bootstrap, paired_bootstrap_area
from mer_zoo.reports.clusters import Clusters
from mer_zoo.reports.groups import Group, curve_names
from mer_zoo.reports.kept_scores import read_scores
from mer_zoo.reports.record import ConditionResult
from mer_zoo.reports.tables import ABSENT, Table, condition_title, format_value, is_fraction
from mer_zoo.task import Task, build_task

__all__ = ["difference_table", "interval_table", "ranks"]

LEVEL = 0.05


@dataclass(frozen=True)
class _Scored:
    """Logits of every run of a model under one condition, the labels they share, and which samples go together."""

    logits: list[Tensor]
    target: Tensor
    index: Tensor
    clusters: list[str] | None


@dataclass(frozen=True)
class _Cell:
    """An interval, and whether samples were drawn by clusters."""

    interval: Interval
    clustered: bool


def interval_table(
    groups: Sequence[Group], conditions: Sequence[ConditionResult], metric: str, samples: int, clusters: Clusters
) -> Table | None:
    """Each model's value with its 95 % interval, where nothing is missing.

    Args:
        groups: The models.
        conditions: The conditions.
        metric: The metric.
        samples: Number of resamplings.
        clusters: Which samples go together.

    Returns:
        None where no model has kept the scores.
    """
    complete = [condition.name for condition in conditions if not condition.available]
    rows: list[tuple[str, list[_Cell | None]]] = []
    for group in groups:
        task, measure = _measure(group, metric)
        if task is not None and measure is not None:
            rows.append(
                (group.label, [_value(group, name, metric, task, measure, samples, clusters) for name in complete])
            )
    cells = [cell for _, row in rows for cell in row if cell is not None]
    if not cells:
        return None
    shown = [[label, *(_ends(metric, cell, signed=False) for cell in row)] for label, row in rows]
    title = f"{metric} with its interval" + (", percent" if is_fraction(metric) else "")
    return Table(title, ["model", *map(condition_title, complete)], shown, [_note(cells, samples, clusters)])


def difference_table(
    groups: Sequence[Group], conditions: Sequence[ConditionResult], metric: str, samples: int, clusters: Clusters
) -> Table | None:
    """Each model minus the first one, with 95 % intervals, where nothing is missing and in AUILC of accuracies and F1.

    Args:
        groups: The models.
        conditions: The conditions.
        metric: The metric.
        samples: Number of resamplings.
        clusters: Which samples go together.

    Returns:
        None where no model can be compared with the first: another task, other samples, or no scores kept.
    """
    complete = [condition.name for condition in conditions if not condition.available]
    task, measure = _measure(groups[0], metric)
    if task is None or measure is None:
        return None
    curves = curve_names(groups[0].runs) if isinstance(measure, ConfusionMetric) else []
    rows: list[tuple[str, list[_Cell | None]]] = []
    for group in groups[1:]:
        if all(run.task == groups[0].runs[0].task for run in group.runs):
            compare = _Comparison(group, groups[0], task, measure, metric, samples, clusters)
            row = [*map(compare.condition, complete), *map(compare.area, curves)]
            rows += [(group.label, row)] if any(row) else []
    cells = [cell for _, row in rows for cell in row if cell is not None]
    if not cells:
        return None
    beyond = dict(zip(map(id, cells), holm([cell.interval.p for cell in cells]), strict=True))
    shown = [
        [label, *(_ends(metric, cell, star=cell is not None and beyond[id(cell)] < LEVEL) for cell in row)]
        for label, row in rows
    ]
    title = f"{metric} minus that of {groups[0].label}" + (", percentage points" if is_fraction(metric) else "")
    family = f" after Holm's correction for the {len(cells)} differences of this table" if len(cells) > 1 else ""
    notes = [
        _note(cells, samples, clusters),
        f"*: p < {LEVEL}{family}. {ABSENT}: not tested alike, or (oracles) the values reported are not those of the"
        " scores kept.",
    ]
    header = ["model", *map(condition_title, complete), *(f"AUILC {name}" for name in curves)]
    return Table(title, header, shown, notes)


def ranks(
    groups: Sequence[Group], conditions: Sequence[ConditionResult], metric: str, samples: int, clusters: Clusters
) -> tuple[frozenset[tuple[int, int]], frozenset[tuple[int, int]]]:
    """Which models are best, and which second best, under each condition.

    Args:
        groups: The models.
        conditions: The conditions.
        metric: The metric.
        samples: Number of resamplings; 0 knows no ties.
        clusters: Which samples go together.

    Returns:
        Places (model, condition): of the best value and of those whose difference to it may be chance (p >= .05), and
        of the best one among the rest. None of either where a single model was tested.
    """
    best, second = set[tuple[int, int]](), set[tuple[int, int]]()
    for column, condition in enumerate(conditions):
        values = {row: group.value(condition.name, metric)[0] for row, group in enumerate(groups)}
        values = {row: value for row, value in values.items() if not math.isnan(value)}
        task, measure = _measure(groups[next(iter(values), 0)], metric)
        if len(values) < 2 or task is None or measure is None:
            continue
        order = sorted(values, key=values.__getitem__, reverse=bool(measure.higher_is_better))
        top = groups[order[0]]
        tied = [order[0]]
        for row in order[1:]:
            compare = _Comparison(groups[row], top, task, measure, metric, samples, clusters)
            cell = compare.condition(condition.name) if samples else None
            equal = values[row] == values[order[0]]
            if equal or (cell is not None and cell.interval.p >= LEVEL):
                tied.append(row)
        best |= {(row, column) for row in tied}
        second |= {(row, column) for row in [row for row in order if row not in tied][:1]}
    return frozenset(best), frozenset(second)


def _measure(group: Group, metric: str) -> tuple[Task, Metric] | tuple[None, None]:
    try:
        task = build_task(group.runs[0].task, group.runs[0].convention)  # type: ignore[arg-type]
        return task, task.metrics()[metric]
    except (MERError, KeyError):
        return None, None


def _value(
    group: Group, name: str, metric: str, task: Task, measure: Metric, samples: int, clusters: Clusters
) -> _Cell | None:
    scored = _scored(group, name, task, clusters)
    if scored is None:
        return None
    found = _Cell(
        bootstrap(measure, scored.logits, scored.target, samples, clusters=scored.clusters), scored.clusters is not None
    )
    return found if _agrees(found, group.value(name, metric)[0]) else None


def _agrees(cell: _Cell, reported: float) -> bool:
    """Whether an interval is known, and of the value that is reported."""
    return not math.isnan(cell.interval.p) and math.isclose(cell.interval.difference, reported, abs_tol=1e-4)


def _note(cells: Sequence[_Cell], samples: int, clusters: Clusters) -> str:
    parts = [
        clusters.note([cell.interval.clusters for cell in cells if cell.clustered is way], way)
        for way in dict.fromkeys(cell.clustered for cell in cells)
    ]
    seeds = min(cell.interval.seeds for cell in cells)
    told = "one run of a model says nothing about other seeds" if seeds == 1 else "the choice of seeds is counted in"
    return f"Brackets: 95 % intervals, paired bootstrap of {samples} resamplings; {'; '.join([*parts, told])}."


def _ends(metric: str, cell: _Cell | None, signed: bool = True, star: bool = False) -> str:
    if cell is None:
        return ABSENT
    found = cell.interval
    value, low, high = (
        format_value(metric, number, signed=signed) for number in (found.difference, found.low, found.high)
    )
    return f"{value}{'*' if star else ''} [{low}, {high}]"


@dataclass(frozen=True)
class _Comparison:
    """Makes the cells of a model in its comparison with another one."""

    model: Group
    base: Group
    task: Task
    measure: Metric
    metric: str
    samples: int
    clusters: Clusters

    def condition(self, name: str) -> _Cell | None:
        """The difference under one condition."""
        pair = self._pair(name)
        if pair is None:
            return None
        a, b = pair
        interval = paired_bootstrap(self.measure, a.logits, b.logits, a.target, self.samples, clusters=a.clusters)
        reported = self.model.value(name, self.metric)[0] - self.base.value(name, self.metric)[0]
        return self._cell(interval, a, reported)

    def area(self, curve: str) -> _Cell | None:
        """The difference in AUILC."""
        reported = self.model.area(curve, self.metric)[0] - self.base.area(curve, self.metric)[0]
        rates = self.base.rates(curve)
        if math.isnan(reported) or any(c.rates != rates for g in (self.model, self.base) for c in g.curves(curve)):
            return None
        pairs = [self._pair(condition.name) for _, condition in self.base.curves(curve)[0].points]
        known = [pair for pair in pairs if pair is not None]
        if len(known) < len(pairs):
            return None
        logits_a, logits_b = [a.logits for a, _ in known], [b.logits for _, b in known]
        first = known[0][0]
        interval = paired_bootstrap_area(
            self.measure, rates, logits_a, logits_b, first.target, self.samples, clusters=first.clusters
        )
        return self._cell(interval, first, reported)

    def _pair(self, name: str) -> tuple[_Scored, _Scored] | None:
        a, b = (_scored(group, name, self.task, self.clusters) for group in (self.model, self.base))
        if a is None or b is None or not (a.index.equal(b.index) and a.target.equal(b.target)):
            return None
        # of runs from before ids were kept the other model's ids serve: the samples are the same
        known = a.clusters or b.clusters
        return _Scored(a.logits, a.target, a.index, known), b

    def _cell(self, interval: Interval, scored: _Scored, reported: float) -> _Cell | None:
        cell = _Cell(interval, scored.clusters is not None)
        return cell if _agrees(cell, reported) else None


def _scored(group: Group, condition: str, task: Task, clusters: Clusters) -> _Scored | None:
    """Read a condition's scores; None where a run kept none or the runs saw different samples."""
    tables = []
    # in the order of the seeds, so that equal seeds of two models are drawn together
    for run in sorted(group.runs, key=lambda run: (run.seed is None, run.seed or 0)):
        found = read_scores(run.path.parent, condition, task.shape)
        if found is None:
            return None
        tables.append(found)
    target, index = tables[0].target, tables[0].index
    if any(not (table.target.equal(target) and table.index.equal(index)) for table in tables):
        return None
    ids = next((table.ids for table in tables if table.ids is not None), None)
    return _Scored([table.logits for table in tables], target, index, clusters.of(ids))
