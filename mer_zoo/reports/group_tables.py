"""Who is served worst: tables of a metric on groups of the test samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mer_zoo.metrics.groups import LEAST, ByGroup, by_group
from mer_zoo.metrics.significance import Interval
from mer_zoo.reports.groups import Group
from mer_zoo.reports.record import ConditionResult
from mer_zoo.reports.resampled import Resampler
from mer_zoo.reports.sample_groups import SampleGroups
from mer_zoo.reports.scored import measure_of, scores_of
from mer_zoo.reports.tables import ABSENT, Table, condition_title, format_value, is_fraction

__all__ = ["group_tables"]

MOST = 20  # rows of a table, and names in a note
WORST_NOTE = (
    "All: the value on all samples; average: the mean over the groups; gap: all minus worst. Brackets: 95 % intervals"
    " of that group; as it looks worst partly by chance, its own truth lies rather on the better side."
)


@dataclass(frozen=True)
class _Found:
    label: str
    condition: str
    value: ByGroup


def group_tables(
    groups: Sequence[Group], conditions: Sequence[ConditionResult], resampler: Resampler, by: SampleGroups
) -> list[Table]:
    """Average, worst group and gap of each model, and its value on each group of the first test split.

    Args:
        groups: The models.
        conditions: The conditions.
        resampler: Says the metric, the number of resamplings, and which samples go together.
        by: What makes a group.

    Raises:
        MERError: Where the group of a sample is not told.
    """
    metric = resampler.metric
    complete = [condition.name for condition in conditions if not condition.available]
    found: dict[str, list[_Found]] = {}
    for group in groups:
        for name in complete:
            for title, value in _values(group, name, resampler, by).items():
                found.setdefault(title, []).append(_Found(group.label, name, value))
    tables = []
    for title, values in found.items():
        tables += [_worst(title, values, metric, complete), _each(title, values, metric)]
    return [table for table in tables if table is not None]


def _values(group: Group, condition: str, resampler: Resampler, by: SampleGroups) -> dict[str, ByGroup]:
    """The values of a model by each of the groupings; none where its scores are not kept or not those reported."""
    metric = resampler.metric
    task, measure = measure_of(group, metric)
    scored = None if task is None else scores_of(group, condition, task)
    if task is None or measure is None or scored is None:
        return {}
    found = {}
    for title, names in by.of(scored.tests, task).items():
        one = not scored.own
        value = by_group(
            measure,
            scored.logits,
            scored.targets[0] if one else scored.targets,
            names[0] if one else names,
            resampler.samples,
            clusters=resampler.clusters.of_test(scored.tests[0]) if one else None,
        )
        if math.isclose(value.all, group.value(condition, metric)[0], abs_tol=1e-4):
            found[title] = value
    return found


def _worst(title: str, values: Sequence[_Found], metric: str, conditions: Sequence[str]) -> Table | None:
    rows = []
    for found in values:
        worst, gap = found.value.worst, found.value.gap
        if worst is not None and gap is not None:
            on = "" if found.condition == conditions[0] else f" on {condition_title(found.condition)}"
            numbers = [format_value(metric, number) for number in (found.value.all, found.value.average)]
            of_group = [worst.name, str(worst.count), str(worst.interval.clusters)]
            rows.append(
                [found.label + on, *numbers, *of_group, _ends(metric, worst.interval), _ends(metric, gap, signed=True)]
            )
    small = {name: size for found in values for name, size in found.value.small.items()}
    notes = [WORST_NOTE]
    if small:
        named = ", ".join(f"{name} ({size})" for name, size in list(small.items())[:MOST])
        more = f" and {len(small) - MOST} more" if len(small) > MOST else ""
        notes.append(f"Not ranked, as of fewer than {LEAST} samples: {named}{more}.")
    if not rows and not small:
        return None
    unit = ", percent" if is_fraction(metric) else ""
    header = ["model", "all", "average", "worst group", "samples", "clusters", "worst", "gap"]
    return Table(f"Worst group of {metric} by {title}{unit}", header, rows, notes)


def _each(title: str, values: Sequence[_Found], metric: str) -> Table | None:
    """A row for each group of the first model's first condition, the worst first."""
    shown = [found for found in values if found.condition == values[0].condition]
    ranked = shown[0].value.ranked
    rows = []
    for group in ranked[:MOST]:
        others = [{one.name: one for one in found.value.ranked} for found in shown]
        cells = [_ends(metric, other[group.name].interval) if group.name in other else ABSENT for other in others]
        rows.append([group.name, str(group.count), *cells])
    if not rows:
        return None
    unit = ", percent" if is_fraction(metric) else ""
    on = condition_title(shown[0].condition)
    more = f" {len(ranked) - MOST} groups that are better are left out." if len(ranked) > MOST else ""
    note = f"Brackets: 95 % intervals. The order is that of {shown[0].label}.{more}"
    header = ["group", "samples", *(found.label for found in shown)]
    return Table(f"{metric} by {title} on {on}{unit}", header, rows, [note])


def _ends(metric: str, interval: Interval, signed: bool = False) -> str:
    numbers = (interval.difference, interval.low, interval.high)
    value, low, high = (format_value(metric, number, signed=signed) for number in numbers)
    return f"{value} [{low}, {high}]"
