"""All pictures of a comparison, each of what its runs allow."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from mer_zoo.reports.groups import Group, curve_names
from mer_zoo.reports.pictures.conditions import Series, condition_picture
from mer_zoo.reports.pictures.curves import curve_picture
from mer_zoo.reports.pictures.style import Picture
from mer_zoo.reports.record import ConditionResult

__all__ = ["all_pictures"]


def all_pictures(groups: Sequence[Group], conditions: Sequence[ConditionResult], metric: str) -> list[Picture]:
    """Draw what runs allow to draw.

    Args:
        groups: The models.
        conditions: The conditions.
        metric: The metric.

    Returns:
        The picture of all conditions first.
    """
    title = _title(groups)
    made = [Picture("report", f"{metric} of each model under each condition.", _all(groups, conditions, metric, title))]
    if curve_names([run for group in groups for run in group.runs]):
        made.append(
            Picture("robustness", f"{metric} over the missing rate.", curve_picture(groups, metric, title)),
        )
    return made


def _title(groups: Sequence[Group]) -> str:
    corpora = sorted({str(run.data["corpus"]) for group in groups for run in group.runs if "corpus" in run.data})
    return f"Test results on {' and '.join(corpora)}" if corpora else "Test results"


def _all(groups: Sequence[Group], conditions: Sequence[ConditionResult], metric: str, title: str) -> Figure:
    names = [condition.name for condition in conditions]
    series = []
    for group in groups:
        values = [group.value(name, metric) for name in names]
        deviations = [deviation or 0.0 for _, deviation in values] if len(group.runs) > 1 else None
        series.append(Series(group.label, [mean for mean, _ in values], deviations))
    majority = [_common_majority(groups, name, metric) for name in names]
    return condition_picture(conditions, series, majority, metric, title)


def _common_majority(groups: Sequence[Group], name: str, metric: str) -> float:
    """The majority class's value; NaN where the models were tested on different data, which have none in common."""
    values = [group.majority(name, metric) for group in groups]
    known = {round(value, 6) for value in values if not math.isnan(value)}
    return known.pop() if len(known) == 1 else math.nan
