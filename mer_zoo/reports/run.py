"""The record of one test: results.json, scores.safetensors, results.md and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mer_zoo.reports.certainty import calibration_table, coverage_table
from mer_zoo.reports.clusters import Clusters
from mer_zoo.reports.contribution import contribution_table, contributions_from
from mer_zoo.reports.groups import Group, choose_metric, conditions_of
from mer_zoo.reports.interaction import interaction_table
from mer_zoo.reports.kept_scores import KeptScores, read_scores
from mer_zoo.reports.pictures.conditions import Series, condition_picture
from mer_zoo.reports.pictures.curves import curve_picture
from mer_zoo.reports.pictures.style import save_picture
from mer_zoo.reports.record import ConditionResult, RunResults, load_results, parse_results, save_results
from mer_zoo.reports.resampled import Resampler
from mer_zoo.reports.robustness import curves_of, gap_places, summarize
from mer_zoo.reports.shares import share_table, summarize_shares
from mer_zoo.reports.tables import (
    Table,
    condition_title,
    format_value,
    open_console,
    ordered_metrics,
)
from mer_zoo.runs.files import whole_file
from mer_zoo.text import in_markdown

if TYPE_CHECKING:
    from mer_zoo.scores import Scores

__all__ = [
    "CURVE_NOTE",
    "GAP_NOTE",
    "class_tables",
    "condition_table",
    "curve_tables",
    "diagnostics_table",
    "gap_table",
    "show_results",
    "write_results",
]

RESAMPLINGS = 1000
CURVE_NOTE = "AUILC: area under the curve over the missing rates from 0 to 1 (trapezoid rule, CIDer Eq. 31)."

GAP_NOTE = (
    "Value with only these modalities minus the value with all; mean and sample standard deviation (n - 1) over the "
    "sets, as in the CausalMER paper's tables."
)

_OF_CLASS = ("Precision", "Recall", "F1")


def write_results(
    folder: Path, results: Mapping[str, Any], scores: Mapping[str, Scores], pictures: bool = True
) -> None:
    """Write everything that a test leaves behind; each file appears whole or not at all.

    Args:
        folder: The run folder.
        results: Content of results.json.
        scores: Scores of each condition, for scores.safetensors.
        pictures: Whether to draw conditions.png, and robustness.png where a pattern was tested at several rates.

    Raises:
        MERError: Where ``results`` lacks a part.
    """
    tested = parse_results(results, folder / "results.json")

    def read(name: str, shape: tuple[int, ...]) -> KeptScores | None:
        found = scores.get(name)  # those of conditions that an earlier test has left are in its file
        if found is None:
            return read_scores(folder, name, shape)
        return KeptScores(found.logits, found.target, found.index)

    shares = contributions_from(tested, read)
    summary = {**summarize(tested), "contribution": shares, "shares": summarize_shares(tested)}
    run = save_results(folder, {**results, "summary": summary}, scores)
    with whole_file(folder / "results.md") as part:
        part.write_text(_markdown(run, pictures), encoding="utf-8")
    if pictures:
        metric = choose_metric([run])
        group, conditions = Group(run.model, [run]), conditions_of([run])
        series = Series(run.model, [group.value(condition.name, metric)[0] for condition in conditions])
        majority = [group.majority(condition.name, metric) for condition in conditions]
        title = " on ".join(filter(None, [run.model, str(run.data.get("corpus", ""))]))
        save_picture(condition_picture(conditions, [series], majority, metric, title), folder / "conditions.png")
        if curves_of(run):
            save_picture(curve_picture([group], metric, title), folder / "robustness.png")


def show_results(folder: Path) -> None:
    """Print the tables of a run folder.

    Args:
        folder: Holds the results.json that :func:`write_results` wrote.

    Raises:
        MERError: If there is none, or it can't be read.
    """
    run = load_results(folder)
    console = open_console()
    tables = tables_of(run)
    tables[0].notes += [f"Note: {note}" for note in run.notes]
    for table in tables:
        table.show(console)


def _markdown(run: RunResults, pictures: bool) -> str:
    facts = {
        "Task": run.task,
        "Metric convention": f"{run.convention} (see mer_zoo.metrics)",
        "Data": _in_words(run.data),
        "Seed": run.seed,
        "Parameters": None if run.parameters is None else f"{run.parameters:,}",
    }
    told = [(name, str(fact)) for name, fact in facts.items() if fact not in (None, "")]
    told += [("Note", note) for note in run.notes]
    lines = [f"# {in_markdown(run.model)}", "", *(f"- {name}: {in_markdown(fact)}" for name, fact in told)]
    for table in tables_of(run):
        lines += ["", table.markdown()]
    if pictures:
        lines += ["", "![metric under each condition](conditions.png)"]
    if pictures and curves_of(run):
        lines += ["", "![metric over the missing rate](robustness.png)"]
    return "\n".join(lines) + "\n"


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_in_words(item)}" for key, item in value.items() if item not in (None, [], ""))
    return " + ".join(map(str, value)) if isinstance(value, list) else str(value)


def condition_table(run: RunResults) -> Table:
    """All metrics of a run: a row per condition, and below each split's conditions what ignoring the input scores.

    Conditions that are points of a curve stand in :func:`curve_tables`.
    """
    metrics, names = _of_all_classes(run), {condition.name for condition in conditions_of([run])}
    rows = []
    for split in dict.fromkeys(condition.split for condition in run.conditions.values()):
        members = [condition for condition in run.conditions.values() if condition.split == split]
        rows += [_row(condition_title(c.name), c, c.metrics, metrics) for c in members if c.name in names]
        for name, table in (("majority class", members[0].majority), ("best constant", members[0].constant)):
            if table:
                rows.append(_row(f"{name} ({split})", members[0], table, metrics))
    note = "Acc and F1 in percent. Majority class: the most frequent of the classes that each metric tells apart."
    return Table(f"{run.model} under each condition", ["condition", "samples", *metrics], rows, [note])


def _of_all_classes(run: RunResults) -> list[str]:
    """The metrics of a run, in order, without those of single classes, for which there is :func:`class_tables`."""
    single = {f"{kind}_{name}" for kind in _OF_CLASS for name in run.names} if run.task == "classes" else set()
    return [name for name in ordered_metrics(run.metric_names) if name not in single]


def class_tables(run: RunResults) -> list[Table]:
    """Precision, recall and F1 of each class of a task of classes, under each condition with complete data."""
    if run.task != "classes":
        return []
    tables = []
    for condition in run.conditions.values():
        rows = [
            [name, *(format_value(kind, condition.metrics.get(f"{kind}_{name}", float("nan"))) for kind in _OF_CLASS)]
            for name in run.names
        ]
        if condition.complete:
            title = f"Classes of {run.model} under {condition_title(condition.name)}"
            tables.append(Table(title, ["class", *_OF_CLASS], rows, ["In percent."]))
    return tables


def _row(name: str, condition: ConditionResult, table: Mapping[str, float], metrics: list[str]) -> list[str]:
    values = [format_value(metric, table.get(metric, float("nan"))) for metric in metrics]
    return [name, str(condition.count), *values]


def gap_table(run: RunResults) -> Table | None:
    """The drop gap of each metric of a run; None where it was not tested with modalities missing."""
    group = Group(run.model, [run])
    sets = list(dict.fromkeys(condition.set_name for condition in run.conditions.values() if condition.available))
    columns, rows = [*sets, "mean", "std"], []
    for place in gap_places(run):
        for metric in _of_all_classes(run):
            if group.gaps(metric, place):
                values = [(name, group.gap(metric, name, place)[0]) for name in columns]
                cells = [format_value(metric, value, signed=name != "std") for name, value in values]
                rows.append([" on ".join(filter(None, [metric, place])), *cells])
    return Table(f"Drop gap of {run.model}", ["metric", *columns], rows, [GAP_NOTE]) if rows else None


def curve_tables(run: RunResults) -> list[Table]:
    """A table for each pattern that was tested at several missing rates: AUILC, and the metrics at each rate."""
    metrics = _of_all_classes(run)
    tables = []
    for name, curve in curves_of(run).items():
        header = ["metric", "AUILC", *map(str, curve.rates)]
        rows = [[m, *(format_value(m, value) for value in (curve.area(m), *curve.values(m)))] for m in metrics]
        tables.append(Table(f"{run.model} at each missing rate, {name}", header, rows, [CURVE_NOTE]))
    return tables


def diagnostics_table(run: RunResults) -> Table | None:
    """What the model reports about itself, such as a chosen tau; None where it reports nothing."""
    rows = [[name, format_value("", value)] for name, value in run.diagnostics.items()]
    return Table(f"Diagnostics of {run.model}", ["name", "value"], rows) if rows else None


def _named(run: RunResults, table: Table | None) -> Table | None:
    """A table of comparisons as that of one run, whose model its title names."""
    return None if table is None else replace(table, title=f"{table.title}: {run.model}")


def tables_of(run: RunResults) -> list[Table]:
    """All tables of a run."""
    resampler = Resampler(choose_metric([run]), RESAMPLINGS, Clusters())
    tables = [
        condition_table(run),
        *class_tables(run),
        *curve_tables(run),
        gap_table(run),
        *_certainty(run),
        contribution_table(run),
        _named(run, share_table([Group(run.model, [run])], resampler.metric)),
        _named(run, interaction_table([Group(run.model, [run])], conditions_of([run]), resampler)),
        diagnostics_table(run),
    ]
    return [table for table in tables if table is not None]


def _certainty(run: RunResults) -> list[Table | None]:
    """How sure the model is, under all conditions that stand in no curve."""
    group, conditions = Group(run.model, [run]), conditions_of([run])
    return [calibration_table([group], conditions), coverage_table([group], conditions, 0, Clusters())]
