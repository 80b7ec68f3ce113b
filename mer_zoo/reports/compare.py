"""Tables of values and differences of models on the same test samples, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mer_zoo.functional.student import holm
from mer_zoo.metrics.confusion import ConfusionMetric
from mer_zoo.reports.groups import Group, curve_names
from mer_zoo.reports.record import ConditionResult
from mer_zoo.reports.resampled import Cell, Resampler, note_on
from mer_zoo.reports.scored import measure_of
from mer_zoo.reports.tables import ABSENT, Table, condition_title, format_value, is_fraction

__all__ = ["difference_table", "interval_table", "ranks"]

LEVEL = 0.05


def interval_table(
    groups: Sequence[Group], conditions: Sequence[ConditionResult], resampler: Resampler
) -> Table | None:
    """Each model's value with its 95 % interval, where nothing is missing.

    Args:
        groups: The models.
        conditions: The conditions.
        resampler: Makes the intervals, of its metric.

    Returns:
        None where no model has kept the scores.
    """
    metric = resampler.metric
    complete = [condition.name for condition in conditions if not condition.available]
    rows: list[tuple[str, list[Cell | None]]] = [
        (group.label, [resampler.value(group, name) for name in complete])
        for group in groups
        if measure_of(group, metric)[0] is not None
    ]
    cells = [cell for _, row in rows for cell in row if cell is not None]
    if not cells:
        return None
    shown = [[label, *(_ends(metric, cell, signed=False) for cell in row)] for label, row in rows]
    title = f"{metric} with its interval" + (", percent" if is_fraction(metric) else "")
    note = note_on(cells, resampler.samples, resampler.clusters)
    return Table(title, ["model", *map(condition_title, complete)], shown, [note])


def difference_table(
    groups: Sequence[Group], conditions: Sequence[ConditionResult], resampler: Resampler
) -> Table | None:
    """Each model minus the first one, with 95 % intervals, where nothing is missing and in AUILC of accuracies and F1.

    Args:
        groups: The models.
        conditions: The conditions.
        resampler: Makes the intervals, of its metric.

    Returns:
        None where no model can be compared with the first: another task, other samples, or no scores kept.
    """
    metric, base = resampler.metric, groups[0]
    complete = [condition.name for condition in conditions if not condition.available]
    _, measure = measure_of(base, metric)
    curves = curve_names(base.runs) if isinstance(measure, ConfusionMetric) else []
    rows: list[tuple[str, list[Cell | None]]] = []
    for group in groups[1:]:
        if all(run.task == base.runs[0].task for run in group.runs):
            row = [resampler.difference(group, base, name) for name in complete]
            row += [resampler.area(group, base, curve) for curve in curves]
            rows += [(group.label, row)] if any(row) else []
    cells = [cell for _, row in rows for cell in row if cell is not None]
    if not cells:
        return None
    beyond = dict(zip(map(id, cells), holm([cell.interval.p for cell in cells]), strict=True))
    shown = [
        [label, *(_ends(metric, cell, star=cell is not None and beyond[id(cell)] < LEVEL) for cell in row)]
        for label, row in rows
    ]
    title = f"{metric} minus that of {base.label}" + (", percentage points" if is_fraction(metric) else "")
    family = f" after Holm's correction for the {len(cells)} differences of this table" if len(cells) > 1 else ""
    notes = [
        note_on(cells, resampler.samples, resampler.clusters),
        f"*: p < {LEVEL}{family}. {ABSENT}: not tested alike, or (oracles) the values reported are not those of the"
        " scores kept.",
    ]
    header = ["model", *map(condition_title, complete), *(f"AUILC {name}" for name in curves)]
    return Table(title, header, shown, notes)


def ranks(
    groups: Sequence[Group], conditions: Sequence[ConditionResult], resampler: Resampler
) -> tuple[frozenset[tuple[int, int]], frozenset[tuple[int, int]]]:
    """Which models are best, and which second best, under each condition.

    Args:
        groups: The models.
        conditions: The conditions.
        resampler: Makes the intervals, of its metric; one without resamplings knows no ties.

    Returns:
        Places (model, condition): of the best value and of those whose difference to it may be chance (p >= .05), and
        of the best one among the rest. None of either where a single model was tested.
    """
    best, second = set[tuple[int, int]](), set[tuple[int, int]]()
    for column, condition in enumerate(conditions):
        values = {row: group.value(condition.name, resampler.metric)[0] for row, group in enumerate(groups)}
        values = {row: value for row, value in values.items() if not math.isnan(value)}
        task, measure = measure_of(groups[next(iter(values), 0)], resampler.metric)
        if len(values) < 2 or task is None or measure is None:
            continue
        order = sorted(values, key=values.__getitem__, reverse=bool(measure.higher_is_better))
        tied = [order[0]]
        for row in order[1:]:
            cell = resampler.difference(groups[row], groups[order[0]], condition.name)
            if values[row] == values[order[0]] or (cell is not None and cell.interval.p >= LEVEL):
                tied.append(row)
        best |= {(row, column) for row in tied}
        second |= {(row, column) for row in [row for row in order if row not in tied][:1]}
    return frozenset(best), frozenset(second)


def _ends(metric: str, cell: Cell | None, signed: bool = True, star: bool = False) -> str:
    if cell is None:
        return ABSENT
    found = cell.interval
    value, low, high = (
        format_value(metric, number, signed=signed) for number in (found.difference, found.low, found.high)
    )
    return f"{value}{'*' if star else ''} [{low}, {high}]"
