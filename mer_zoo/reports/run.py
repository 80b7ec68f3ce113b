"""The record of one test: results.json, scores.safetensors, results.md and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mer_zoo.reports.files import whole_file
from mer_zoo.reports.groups import Group, choose_metric, conditions_of
from mer_zoo.reports.plots import Series, condition_picture, save_picture
from mer_zoo.reports.record import ConditionResult, RunResults, load_results, save_results
from mer_zoo.reports.tables import (
    Table,
    condition_title,
    format_value,
    is_availability,
    open_console,
    ordered_metrics,
)

if TYPE_CHECKING:
    from mer_zoo.scores import Scores

__all__ = ["GAP_NOTE", "condition_table", "gap_table", "show_results", "write_results"]

GAP_NOTE = (
    "Value with only these modalities minus the value with all; mean and population standard deviation over the sets "
    "(the CausalMER paper's tables give the sample deviation, 1.095 times as large for six sets)."
)


def write_results(
    folder: Path, results: Mapping[str, Any], scores: Mapping[str, Scores], pictures: bool = True
) -> None:
    """Write everything that a test leaves behind; each file appears whole or not at all.

    Args:
        folder: The run folder.
        results: Content of results.json.
        scores: Scores of each condition, for scores.safetensors.
        pictures: Whether to draw conditions.png.

    Raises:
        MERError: Where ``results`` lacks a part.
    """
    run = save_results(folder, results, scores)
    with whole_file(folder / "results.md") as part:
        part.write_text(_markdown(run, pictures), encoding="utf-8")
    if pictures:
        metric = choose_metric([run])
        group, names = Group(run.model, [run]), conditions_of([run])
        series = Series(run.model, [group.value(name, metric)[0] for name in names])
        majority = [group.majority(name, metric) for name in names]
        title = " on ".join(filter(None, [run.model, str(run.data.get("corpus", ""))]))
        save_picture(condition_picture(names, [series], majority, metric, title), folder / "conditions.png")


def show_results(folder: Path) -> None:
    """Print the tables of a run folder.

    Args:
        folder: Holds the results.json that :func:`write_results` wrote.

    Raises:
        MERError: If there is none, or it can't be read.
    """
    run = load_results(folder)
    console = open_console()
    condition_table(run).show(console)
    gaps = gap_table(run)
    if gaps is not None:
        gaps.show(console)


def _markdown(run: RunResults, pictures: bool) -> str:
    facts = {
        "Task": run.task,
        "Metric convention": f"{run.convention} (see mer_zoo.metrics)",
        "Data": _in_words(run.data),
        "Seed": run.seed,
        "Parameters": None if run.parameters is None else f"{run.parameters:,}",
    }
    lines = [f"# {run.model}", "", *(f"- {name}: {fact}" for name, fact in facts.items() if fact not in (None, ""))]
    lines += [f"- Note: {note}" for note in run.notes]
    lines += ["", condition_table(run).markdown()]
    gaps = gap_table(run)
    if gaps is not None:
        lines += ["", gaps.markdown()]
    if pictures:
        lines += ["", "![metric under each condition](conditions.png)"]
    return "\n".join(lines) + "\n"


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_in_words(item)}" for key, item in value.items() if item not in (None, [], ""))
    return " + ".join(map(str, value)) if isinstance(value, list) else str(value)


def condition_table(run: RunResults) -> Table:
    """All metrics of a run: a row per condition, and below each split's conditions what ignoring the input scores."""
    metrics = ordered_metrics(run.metric_names)
    rows = []
    for split in dict.fromkeys(condition.split for condition in run.conditions.values()):
        members = [condition for condition in run.conditions.values() if condition.split == split]
        rows += [_row(condition_title(c.name), c, c.metrics, metrics) for c in members]
        for name, table in (("majority class", members[0].majority), ("best constant", members[0].constant)):
            if table:
                rows.append(_row(f"{name} ({split})", members[0], table, metrics))
    note = "Acc and F1 in percent. Majority class: the most frequent of the classes that each metric tells apart."
    return Table("Metrics under each condition", ["condition", "samples", *metrics], rows, [note])


def _row(name: str, condition: ConditionResult, table: Mapping[str, float], metrics: list[str]) -> list[str]:
    values = [format_value(metric, table.get(metric, float("nan"))) for metric in metrics]
    return [name, str(condition.count), *values]


def gap_table(run: RunResults) -> Table | None:
    """The drop gap of each metric of a run; None where it was not tested with modalities missing."""
    group = Group(run.model, [run])
    columns = [*filter(is_availability, run.conditions), "mean", "std"]
    metrics = [metric for metric in ordered_metrics(run.metric_names) if group.gaps(metric)]
    if not metrics:
        return None
    rows = []
    for metric in metrics:
        values = [(name, group.gap(metric, name)[0]) for name in columns]
        rows.append([metric, *(format_value(metric, value, signed=name != "std") for name, value in values)])
    return Table("Drop gap", ["metric", *columns], rows, [GAP_NOTE])
