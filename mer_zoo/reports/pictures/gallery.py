"""All pictures of a comparison, each of what its runs allow."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from mer_zoo.reports.groups import Group, curve_names
from mer_zoo.reports.pictures.certainty import reliability_plot, risk_coverage_plot
from mer_zoo.reports.pictures.conditions import Series, condition_picture
from mer_zoo.reports.pictures.confusion import confusion_picture
from mer_zoo.reports.pictures.curves import curve_picture
from mer_zoo.reports.pictures.gaps import gap_picture
from mer_zoo.reports.pictures.style import Picture
from mer_zoo.reports.pictures.training import training_picture
from mer_zoo.reports.pictures.triangle import triangle_picture
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
    complete = next((condition.name for condition in conditions if condition.complete), "")
    curves = curve_names([run for group in groups for run in group.runs])
    drawn = {
        "report": _all(groups, conditions, metric, title),
        "robustness": curve_picture(groups, metric, title) if curves else None,
        "gaps": gap_picture(groups, conditions, metric, title),
        "contribution": triangle_picture(groups, title),
        "confusion": confusion_picture(groups, title),
        "reliability": reliability_plot(groups, title, complete),
        "risk_coverage": risk_coverage_plot(groups, title, complete),
        "training": training_picture(groups, _title(groups, "Training")),
    }
    captions = {
        "report": f"{metric} of each model under each condition.",
        "robustness": f"{metric} over the missing rate, with the deviation over seeds.",
        "gaps": f"Drop gaps of {metric}: what it loses where modalities are missing.",
        "contribution": "Contribution of text, audio and vision to right predictions.",
        "confusion": "Confusion matrices on complete test data.",
        "reliability": "How often predictions of a confidence are right, on complete test data.",
        "risk_coverage": "Wrong predictions among the most confident ones, on complete test data.",
        "training": "Losses over the epochs, and the epoch that was kept.",
    }
    return [Picture(name, captions[name], figure) for name, figure in drawn.items() if figure is not None]


def _title(groups: Sequence[Group], what: str = "Test results") -> str:
    corpora = sorted({str(run.data["corpus"]) for group in groups for run in group.runs if "corpus" in run.data})
    return f"{what} on {' and '.join(corpora)}" if corpora else what


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
