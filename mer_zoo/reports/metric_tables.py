"""Several metrics of each model side by side, and the same numbers as a CSV file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from mer_zoo.reports.groups import Group
from mer_zoo.reports.record import ConditionResult
from mer_zoo.reports.tables import Table, condition_title, format_value, is_fraction, with_deviation
from mer_zoo.reports.unimodal import best_unimodal, unimodal_label
from mer_zoo.runs.files import write_csv

__all__ = ["metric_tables", "write_numbers"]

COLUMNS = ("model", "runs", "condition", "metric", "mean", "deviation", "majority")


def metric_tables(
    groups: Sequence[Group], conditions: Sequence[ConditionResult], metrics: Sequence[str]
) -> list[Table]:
    """A table for each condition, with a column for each metric.

    Args:
        groups: The models.
        conditions: The conditions.
        metrics: The metrics.
    """
    fractions = [metric for metric in metrics if is_fraction(metric)]
    note = f"{', '.join(fractions)}: percent. " if fractions else ""
    single = best_unimodal(groups, conditions, metrics[0])
    labelled = [*((group.label, group) for group in groups), *((unimodal_label(group), group) for group in single)]
    tables = []
    for condition in conditions:
        rows = [
            [
                label,
                str(len(group.runs)),
                *(with_deviation(metric, *group.value(condition.name, metric)) for metric in metrics),
            ]
            for label, group in labelled
        ]
        majorities = dict.fromkeys(
            tuple(format_value(metric, group.majority(condition.name, metric)) for metric in metrics)
            for group in groups
        )
        rows += [["majority class", "", *numbers] for numbers in majorities]
        tables.append(
            Table(
                condition_title(condition.name),
                ["model", "runs", *metrics],
                rows,
                [f"{note}Mean ± sample standard deviation over runs."],
            )
        )
    return tables


def write_numbers(
    path: Path, groups: Sequence[Group], conditions: Sequence[ConditionResult], metrics: Sequence[str]
) -> None:
    """Write the numbers of a comparison, not rounded, one line for a model, a condition and a metric.

    Args:
        path: The file; fractions stand in it as such, not in percent.
        groups: The models.
        conditions: The conditions.
        metrics: The metrics.
    """
    rows = []
    for group in groups:
        for name, metric in product((condition.name for condition in conditions), metrics):
            mean, deviation = group.value(name, metric)
            if not math.isnan(mean):
                numbers = (mean, deviation, group.majority(name, metric))
                cells = ["" if number is None or math.isnan(number) else number for number in numbers]
                rows.append(dict(zip(COLUMNS, (group.label, len(group.runs), name, metric, *cells), strict=True)))
    write_csv(path, rows)
