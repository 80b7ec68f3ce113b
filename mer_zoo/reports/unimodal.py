"""The best model of a single modality among those compared: what several modalities have to beat."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from mer_zoo.batch import MODALITIES
from mer_zoo.reports.groups import Group, without_draw
from mer_zoo.reports.record import ConditionResult
from mer_zoo.reports.scored import measure_of
from mer_zoo.reports.tables import with_deviation

__all__ = ["best_unimodal", "unimodal_label", "unimodal_notes", "unimodal_rows"]

NOTE = (
    "Best of one modality: of the models that read a single one, the one that is best under {condition} of this very"
    " test, so rather a high bar than a low one."
)
SETS_NOTE = (
    "A set such as {l} is a model of several modalities that misses some; what text alone can do is told by a model"
    " that is trained on it, with --data.modalities '[text]', and given here too."
)


def _modalities(group: Group) -> list[str]:
    return list(group.runs[0].data.get("modalities") or MODALITIES)


def best_unimodal(groups: Sequence[Group], conditions: Sequence[ConditionResult], metric: str) -> list[Group]:
    """The best model of one modality on each data that models of several were tested on, too.

    Args:
        groups: The models.
        conditions: The conditions, the first of which tells the best.
        metric: The metric.
    """
    by_data: dict[str, list[Group]] = {}
    for group in groups:
        run = group.runs[0]
        data = {name: value for name, value in without_draw(run).items() if name in ("corpus", "source", "sha256")}
        by_data.setdefault(json.dumps([run.task, run.convention, data], sort_keys=True, default=str), []).append(group)
    found = []
    for members in by_data.values():
        single = [group for group in members if len(_modalities(group)) == 1]
        values = {place: group.value(conditions[0].name, metric)[0] for place, group in enumerate(single)}
        values = {place: value for place, value in values.items() if not math.isnan(value)}
        _, measure = measure_of(members[0], metric)
        if values and len(single) < len(members) and measure is not None:
            found.append(single[(max if measure.higher_is_better else min)(values, key=values.__getitem__)])
    return found


def unimodal_label(group: Group) -> str:
    """What the row of such a model is called.

    Args:
        group: The model.
    """
    return f"best of one modality: {_modalities(group)[0]} only, {group.label}"


def unimodal_rows(groups: Sequence[Group], conditions: Sequence[ConditionResult], metric: str) -> list[list[str]]:
    """Rows of a comparison for the best model of one modality, one for each data; none where there is no such model.

    Args:
        groups: The models.
        conditions: The conditions, the first of which tells the best.
        metric: The metric.
    """
    return [
        [
            unimodal_label(group),
            str(len(group.runs)),
            *(with_deviation(metric, *group.value(condition.name, metric)) for condition in conditions),
        ]
        for group in best_unimodal(groups, conditions, metric)
    ]


def unimodal_notes(groups: Sequence[Group], conditions: Sequence[ConditionResult], metric: str) -> list[str]:
    """What is to be said of these rows, or of their absence where sets of modalities were tested.

    Args:
        groups: The models.
        conditions: The conditions.
        metric: The metric.
    """
    if best_unimodal(groups, conditions, metric):
        return [NOTE.format(condition=conditions[0].name)]
    return [SETS_NOTE] if any(len(condition.available) == 1 for condition in conditions) else []
