"""The tables of a comparison of runs, each of what its runs allow."""

from __future__ import annotations

from collections.abc import Sequence

from mer_zoo.batch import MODALITIES
from mer_zoo.reports.complexity import COMPLEXITY_NOTE
from mer_zoo.reports.contribution import CONTRIBUTION_NOTE, right_by
from mer_zoo.reports.groups import Group, curve_names
from mer_zoo.reports.record import ConditionResult
from mer_zoo.reports.run import CURVE_NOTE, GAP_NOTE
from mer_zoo.reports.tables import ABSENT, Table, condition_title, format_value, is_fraction, with_deviation
from mer_zoo.reports.unimodal import unimodal_notes, unimodal_rows

__all__ = [
    "comparison_table",
    "complexity_table",
    "contribution_table",
    "curve_tables",
    "diagnostics_table",
    "gap_table",
    "mark",
]


def mark(table: Table, best: frozenset[tuple[int, int]], second: frozenset[tuple[int, int]]) -> None:
    """Mark the best models of a comparison, whose conditions stand behind two columns."""
    table.best, table.second = (frozenset((row, column + 2) for row, column in marks) for marks in (best, second))
    if best:
        table.notes.append(
            "Bold: best, and what does not differ from it (paired p >= .05); in italics or underlined: next."
        )


def comparison_table(groups: Sequence[Group], conditions: Sequence[ConditionResult], metric: str) -> Table:
    """The metric of each model under each condition, then of the best model of one modality and the majority class.

    Args:
        groups: The models.
        conditions: The conditions.
        metric: The metric.
    """
    names = [condition.name for condition in conditions]
    rows = []
    majorities: dict[tuple[str, ...], str] = {}
    for group in groups:
        cells = [with_deviation(metric, *group.value(name, metric)) for name in names]
        rows.append([group.label, str(len(group.runs)), *cells])
        numbers = tuple(format_value(metric, group.majority(name, metric)) for name in names)
        majorities.setdefault(numbers, group.label)
    rows += unimodal_rows(groups, conditions, metric)
    for numbers, label in majorities.items():
        of_whom = f" (data of {label})" if len(majorities) > 1 else ""
        rows.append([f"majority class{of_whom}", "", *numbers])
    conventions = ", ".join(sorted({run.convention for group in groups for run in group.runs}))
    unit = " in percent" if is_fraction(metric) else ""
    notes = [f"Convention: {conventions}. Mean ± sample standard deviation over runs."]
    notes += unimodal_notes(groups, conditions, metric)
    notes += dict.fromkeys(f"{group.label}: {note}" for group in groups for run in group.runs for note in run.notes)
    return Table(f"{metric}{unit}", ["model", "runs", *map(condition_title, names)], rows, notes)


def curve_tables(groups: Sequence[Group], metric: str) -> list[Table]:
    """AUILC by pattern, then for each pattern the metric at each rate."""
    curves = curve_names([run for group in groups for run in group.runs])
    tested = [group for group in groups if any(group.rates(name) for name in curves)]
    if not tested:
        return []
    unit = " in percent" if is_fraction(metric) else ""
    rows = [[g.label, *(with_deviation(metric, *g.area(name, metric)) for name in curves)] for g in tested]
    tables = [Table(f"AUILC of {metric}{unit}", ["model", *curves], rows, [CURVE_NOTE])]
    for name in curves:
        rates = sorted({rate for group in tested for rate in group.rates(name)})
        rows = [
            [group.label, *(with_deviation(metric, *group.at_rate(name, rate, metric)) for rate in rates)]
            for group in tested
            if group.rates(name)
        ]
        tables.append(Table(f"{metric}{unit} at each missing rate, {name}", ["model", *map(str, rates)], rows))
    return tables


def gap_table(groups: Sequence[Group], conditions: Sequence[ConditionResult], metric: str) -> Table | None:
    """What each missing modality costs; None where no run was tested without one.

    Args:
        groups: The models.
        conditions: The conditions.
        metric: The metric.
    """
    available = [condition for condition in conditions if condition.available]
    columns = [*dict.fromkeys(condition.set_name for condition in available), "mean", "std"]
    rows = []
    for group in groups:
        for place in dict.fromkeys(condition.place for condition in available):
            if group.gaps(metric, place):
                values = [(column, *group.gap(metric, column, place)) for column in columns]
                cells = [with_deviation(metric, mean, deviation, column != "std") for column, mean, deviation in values]
                rows.append([" on ".join(filter(None, [group.label, place])), *cells])
    unit = ", percentage points" if is_fraction(metric) else ""
    return Table(f"Drop gap of {metric}{unit}", ["model", *columns], rows, [GAP_NOTE]) if rows else None


def contribution_table(groups: Sequence[Group]) -> Table | None:
    """Contributions of the modalities; None where no run was tested with every set of them."""
    found = [(group, name) for group in groups for name in group.contributed]
    columns = [*MODALITIES, "std"]
    first = next((name for _, name in found), "")
    rows = []
    for group, name in found:
        label = " on ".join(filter(None, [group.label, name if name != first else ""]))
        rows.append([label, *(with_deviation("", *group.contribution(name, column)) for column in columns)])
    by = ", ".join(sorted({right_by(run) for group, _ in found for run in group.runs}))
    title = f"Contribution of each modality to right predictions, by {by}"
    return Table(title, ["model", *columns], rows, [CONTRIBUTION_NOTE]) if rows else None


def complexity_table(groups: Sequence[Group]) -> Table | None:
    """Parameters, seconds an epoch and memory; None where no run tells of them."""
    rows = []
    for group in groups:
        for one in group.complexities[:1]:
            sizes = [one.trained, one.whole, one.trained_without, one.whole_without]
            cost = [with_deviation("", *group.seconds), with_deviation("", *group.memory)]
            on = {found.device for found in group.complexities if found.device}
            rows.append([group.label, *(f"{size:,}" for size in sizes), *cost, ", ".join(sorted(on)) or ABSENT])
    header = ["model", "trained", "in all", "trained, without", "in all, without", "s an epoch", "GiB", "trained on"]
    return Table("Complexity", header, rows, [COMPLEXITY_NOTE]) if rows else None


def diagnostics_table(groups: Sequence[Group]) -> Table | None:
    """What the models report about themselves; None where they report nothing."""
    columns = list(dict.fromkeys(name for group in groups for run in group.runs for name in run.diagnostics))
    rows = [
        [group.label, *(with_deviation("", *group.diagnostic(name)) for name in columns)]
        for group in groups
        if any(run.diagnostics for run in group.runs)
    ]
    note = "Numbers that the models report about themselves. Mean ± sample standard deviation over runs."
    return Table("Diagnostics", ["model", *columns], rows, [note]) if rows else None
