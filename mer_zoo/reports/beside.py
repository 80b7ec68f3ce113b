"""Printed figures beside ours: the same nest, corpus, split, condition and metric, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mer_zoo.reports.contribution import right_by
from mer_zoo.reports.groups import Group
from mer_zoo.reports.identities import same_nest
from mer_zoo.reports.published import DATASETS, Published, paper_metric, printed_as
from mer_zoo.reports.record import ConditionResult
from mer_zoo.reports.tables import Table, with_deviation

__all__ = ["nothing_printed", "published_table"]

CONTRIBUTION = "contribution_"
OTHER_SPLITS = (
    "OOD: the paper's splits shift the words and the labels. Those of mer-zoo split-ood are other samples, and without"
    " --label-shift their labels do not shift."
)
_PAPER_CONDITIONS = {"iid": (("IID", "full"), ("IID", "{l,a,v}")), "ood": (("OOD", "full"),)}


def published_table(groups: Sequence[Group], conditions: Sequence[ConditionResult], metric: str) -> Table | None:
    """Printed figures beside ours for the same thing.

    Args:
        groups: The models.
        conditions: The conditions.
        metric: The metric.

    Returns:
        None where the papers print nothing that could stand beside ours.
    """
    rows, notes = [], list[str]()
    for group in groups:
        corpus = str(group.runs[0].data.get("corpus", ""))
        run = group.runs[0]
        for identity, figure in printed_as(run.model, run.nest):
            ours = _ours(group, figure, conditions, metric) if figure.dataset == DATASETS.get(corpus, corpus) else None
            if ours is not None:
                name = figure.model + (f" ({identity.note})" if identity.note else "")
                rows.append([group.label, *_place(figure, name), _printed(figure), ours])
                notes += [OTHER_SPLITS] if figure.split == "OOD" and not notes else []
    header = ["model", "where", "name there", "what", "paper", "ours"]
    return Table("Printed in the papers", header, rows, notes) if rows else None


def nothing_printed(groups: Sequence[Group], conditions: Sequence[ConditionResult], metric: str) -> str:
    """The sentence for where :func:`published_table` finds nothing, with what was looked for.

    Args:
        groups: The models.
        conditions: The conditions.
        metric: The metric.
    """
    looked = []
    for group in groups:
        run = group.runs[0]
        names = dict.fromkeys(f"{one.name} ({one.source})" for one in same_nest(run.model, run.nest))
        called = f"called {', '.join(names)}" if names else "which no paper has with these options"
        looked.append(f"{group.label} on {run.data.get('corpus') or 'unknown data'}, {called}")
    under = ", ".join(condition.name for condition in conditions)
    return (
        f"The papers print no {paper_metric(metric)} that could stand beside these; looked for: {'; '.join(looked)};"
        f" under {under}."
    )


def _printed(figure: Published) -> str:
    return f"{figure.value:,.0f}" if figure.metric == "parameters_without_bert" else str(figure.value)


def _place(figure: Published, name: str) -> list[str]:
    """Where it stands, under which name, and of what it is."""
    which = figure.condition if figure.pattern in ("complete", "SMM") else f"{figure.pattern} {figure.condition}"
    where = f"{figure.source}, table {figure.table}, {figure.alignment}"
    return [where, name, f"{figure.metric} {figure.split} {which}"]


def _our_parameters(group: Group) -> str | None:
    return next((f"{one.trained_without:,}" for one in group.complexities), None)


def _our_seconds(group: Group) -> str | None:
    return _on_gpu(group, *group.seconds)


def _our_memory(group: Group) -> str | None:
    return _on_gpu(group, *group.memory)


def _on_gpu(group: Group, mean: float, deviation: float | None) -> str | None:
    """Time and memory of a GPU, as the paper's are; None of another device."""
    if math.isnan(mean) or not all(one.on_gpu for one in group.complexities):
        return None
    return f"{with_deviation('', mean, deviation)} on {group.complexities[0].device}"


_COSTS = {
    "parameters_without_bert": _our_parameters,
    "seconds_per_epoch": _our_seconds,
    "gpu_memory_GiB": _our_memory,
}


def _our_share(group: Group, column: str) -> str | None:
    """Our contribution of a modality; the paper gives it beside its accuracy in seven classes."""
    if {right_by(run) for run in group.runs} != {"Acc7"}:
        return None
    mean, deviation = group.contribution("iid", {"video": "vision"}.get(column, column))
    return None if math.isnan(mean) else with_deviation("", mean, deviation)


def _ours(group: Group, figure: Published, conditions: Sequence[ConditionResult], metric: str) -> str | None:
    """Our figure for the same thing, None where there is none."""
    if figure.metric == f"{paper_metric(metric)}_drop":
        is_std = figure.condition == "std"
        mean, deviation = group.gap(metric, figure.condition)
        return None if math.isnan(mean) else with_deviation(metric, mean, deviation, not is_std)
    if figure.metric in _COSTS:
        return _COSTS[figure.metric](group)
    if figure.metric.startswith(CONTRIBUTION):
        return _our_share(group, figure.metric.removeprefix(CONTRIBUTION))
    if figure.metric != paper_metric(metric):
        return None
    curve = figure.pattern if figure.split == "IID" else f"{figure.split.lower()} {figure.pattern}"
    rate = float(figure.condition.removeprefix("rate=")) if figure.condition.startswith("rate=") else None
    rates = group.rates(curve)
    if rates and (figure.condition == "AUILC" or rate in rates):
        mean, deviation = group.area(curve, metric) if rate is None else group.at_rate(curve, rate, metric)
        return None if math.isnan(mean) else with_deviation(metric, mean, deviation)
    for condition in conditions:
        own_set = (condition.place.upper() or "IID", condition.set_name)
        is_same = (figure.split, figure.condition) in (*_PAPER_CONDITIONS.get(condition.name, ()), own_set)
        if is_same or (rate is not None and (condition.curve, condition.rate) == (curve, rate)):
            mean, deviation = group.value(condition.name, metric)
            return None if math.isnan(mean) else with_deviation(metric, mean, deviation)
    return None
