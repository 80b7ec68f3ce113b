"""Printed figures beside ours: the same nest, corpus, split, condition and metric, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mer_zoo.reports.contribution import right_by
from mer_zoo.reports.groups import Group
from mer_zoo.reports.identities import same_nest
from mer_zoo.reports.published import DATASETS, Published, paper_metric, printed_as
from mer_zoo.reports.record import ConditionResult, RunResults
from mer_zoo.reports.tables import Table, with_deviation

__all__ = ["beside", "metric_of", "nothing_printed", "place_in_paper", "printed", "published_table"]

CONTRIBUTION = "contribution_"
OTHER_SPLITS = (
    "OOD: the paper's splits shift the words and the labels. Those of mer-zoo split-ood are other samples, and without"
    " --label-shift their labels do not shift."
)
WHOLE = ("full", "{l,a,v}")


def published_table(groups: Sequence[Group], metric: str) -> Table | None:
    """Printed figures beside ours for the same thing.

    Args:
        groups: The models.
        metric: The metric.

    Returns:
        None where the papers print nothing that could stand beside ours.
    """
    rows, notes = [], list[str]()
    for group in groups:
        run = group.runs[0]
        for identity, figure in printed_as(run.model, run.nest):
            ours = beside(group, figure, metric)
            if ours is not None:
                name = figure.model + (f" ({identity.note})" if identity.note else "")
                rows.append([group.label, *place_in_paper(figure, name), printed(figure), ours])
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


def printed(figure: Published) -> str:
    """A figure as it is printed.

    Args:
        figure: The figure.
    """
    return f"{figure.value:,.0f}" if figure.metric == "parameters_without_bert" else str(figure.value)


def place_in_paper(figure: Published, name: str) -> list[str]:
    """Where a figure stands, under which name, and of what it is.

    Args:
        figure: The figure.
        name: The name.
    """
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
    return _shown("", group.contribution("iid", {"video": "vision"}.get(column, column)))


def beside(group: Group, figure: Published, metric: str) -> str | None:
    """Our figure for the same thing that a figure is of; None where there is none.

    Args:
        group: Runs of the model that the figure is of.
        figure: The figure.
        metric: The metric of ours that may be meant.
    """
    if figure.dataset.partition("->")[0] != DATASETS.get(corpus := str(group.runs[0].data.get("corpus", "")), corpus):
        return None
    if figure.metric == f"{paper_metric(metric)}_drop":
        return _shown(metric, group.gap(metric, figure.condition), signed=figure.condition != "std")
    if figure.metric in _COSTS:
        return _COSTS[figure.metric](group)
    if figure.metric.startswith(CONTRIBUTION):
        return _our_share(group, figure.metric.removeprefix(CONTRIBUTION))
    if figure.metric != paper_metric(metric):
        return None
    found = next((c for run in group.runs for c in run.conditions.values() if _is_same(run, c, figure)), None)
    if found is None:
        return None
    if figure.condition == "AUILC":
        return _shown(metric, group.area(str(found.curve), metric))
    return _shown(metric, group.value(found.name, metric))


def metric_of(group: Group, figure: Published) -> str:
    """The metric of ours that a figure is in; empty where the runs have none.

    Args:
        group: The runs.
        figure: The figure.
    """
    names = group.runs[0].metric_names
    wanted = figure.metric.removesuffix("_drop")
    return next((name for name in names if paper_metric(name) == wanted or wanted.startswith(CONTRIBUTION)), "")


def _is_same(run: RunResults, condition: ConditionResult, figure: Published) -> bool:
    """Whether a condition is that of a figure: on the same test split, with the same things missing."""
    tested = figure.dataset.partition("->")[2]
    wanted = next((name for name, paper in DATASETS.items() if paper == tested), figure.split).lower()
    full = run.full(condition)
    if wanted != (condition.place or ("" if full is None else full.name)):
        return False
    pattern = (condition.curve or "").rpartition(" ")[2]
    if figure.condition == "AUILC":
        return pattern == figure.pattern
    if figure.condition.startswith("rate="):
        return (pattern, condition.rate) == (figure.pattern, float(figure.condition.removeprefix("rate=")))
    return condition.set_name == ("" if figure.condition in WHOLE else figure.condition) and condition.curve is None


def _shown(metric: str, numbers: tuple[float, float | None], signed: bool = False) -> str | None:
    return None if math.isnan(numbers[0]) else with_deviation(metric, *numbers, signed)
