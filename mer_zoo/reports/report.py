"""``mer-zoo report``: finished runs in one table, one picture, with intervals for their differences."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console

from mer_zoo.batch import MODALITIES
from mer_zoo.errors import MERError
from mer_zoo.reports.beside import nothing_printed, published_table
from mer_zoo.reports.clusters import RECORDING, Clusters
from mer_zoo.reports.compare import difference_table, interval_table
from mer_zoo.reports.complexity import COMPLEXITY_NOTE
from mer_zoo.reports.contribution import CONTRIBUTION_NOTE, right_by
from mer_zoo.reports.curve_plots import curve_picture
from mer_zoo.reports.groups import Group, choose_metric, conditions_of, curve_names, group_runs, named_groups
from mer_zoo.reports.metric_tables import metric_tables, write_numbers
from mer_zoo.reports.plots import Series, condition_picture, save_picture
from mer_zoo.reports.record import ConditionResult, find_results
from mer_zoo.reports.run import CURVE_NOTE, GAP_NOTE
from mer_zoo.reports.tables import (
    ABSENT,
    Table,
    condition_title,
    format_value,
    is_fraction,
    open_console,
    with_deviation,
)
from mer_zoo.reports.weights import told_of_weights
from mer_zoo.runs.files import whole_file
from mer_zoo.text import in_markdown

__all__ = ["Report", "main", "report"]


@dataclass
class Report:
    """A comparison of runs.

    Attributes:
        metric: The metric it is about.
        tables: The comparison, then what else the runs allow: AUILC and the value at each missing rate, drop gap,
            values and their differences with intervals, contributions, the papers' figures, complexity, what the models
            report about themselves.
        figure: The picture.
        curves: The picture over the missing rate; None without several rates.
    """

    metric: str
    tables: list[Table]
    figure: Figure
    curves: Figure | None = None

    def markdown(self) -> str:
        """All tables and the picture in Markdown."""
        parts = [f"# Comparison by {in_markdown(self.metric)}", *(table.markdown() for table in self.tables)]
        pictures = ["![comparison](report.png)", *(["![over the missing rate](robustness.png)"] if self.curves else [])]
        return "\n\n".join([*parts, *pictures]) + "\n"


def report(
    runs: Sequence[Path],
    dest: Path | None = None,
    metric: str | Sequence[str] | None = None,
    with_published: bool = False,
    samples: int = 1000,
    console: Console | None = None,
    names: Sequence[str] | None = None,
    cluster: str = RECORDING,
) -> Report:
    """Compare finished runs; those that differ in their seed only are averaged.

    Args:
        runs: Run folders, results.json files, or folders that hold runs.
        dest: Where to write report.md, report.csv and report.png; nothing is written when left out.
        metric: The metric to compare; by default the task's own, or one that all runs have. Several stand side by side
            in a table of each condition, and all else is about the first.
        with_published: Whether to add the papers' figures.
        samples: Resamplings of the intervals; 0 leaves the differences out.
        console: Where to print; by default the standard output.
        names: What to call the runs, one name for each of ``runs``; by default by model and by what tells them apart.
        cluster: Which samples intervals draw together, see :class:`mer_zoo.reports.clusters.Clusters`.

    Raises:
        MERError: For missing or odd files, an unknown metric, or names that do not go with the runs.

    Example:
        >>> import json
        >>> from tempfile import mkdtemp
        >>> folder = Path(mkdtemp())
        >>> for seed, accuracy in enumerate([0.5, 0.75]):
        ...     conditions = {"iid": {"count": 8, "metrics": {"Acc3": accuracy}}}
        ...     result = {"model": "MulT", "seed": seed, "conditions": conditions}
        ...     (folder / str(seed)).mkdir()
        ...     _ = (folder / str(seed) / "results.json").write_text(json.dumps(result))
        >>> made = report([folder], samples=0, console=Console(quiet=True))
        >>> made.metric, made.tables[0].rows[0][0]
        ('Acc3', 'MulT')
    """
    results = find_results(runs)
    asked = [metric] if metric is None or isinstance(metric, str) else list(dict.fromkeys(metric))
    metrics = [choose_metric(results, name) for name in asked or [None]]
    metric = metrics[0]
    groups = told_of_weights(group_runs(results) if names is None else named_groups(runs, names))
    conditions = conditions_of(results)
    first = comparison_table(groups, conditions, metric)
    several = metric_tables(groups, conditions, metrics) if len(metrics) > 1 else []
    tables: list[Table | None] = [
        *several,
        first,
        *_curve_tables(groups, metric),
        _gap_table(groups, conditions, metric),
    ]
    if samples:
        together = Clusters(cluster)
        tables.append(difference_table(groups, conditions, metric, samples, together))
        tables.append(interval_table(groups, conditions, metric, samples, together))
    tables.append(_contribution_table(groups))
    if with_published:
        tables.append(published_table(groups, conditions, metric))
        if tables[-1] is None:
            first.notes.append(nothing_printed(groups, conditions, metric))
    tables += [_complexity_table(groups), _diagnostics_table(groups)]
    title = _title(groups)
    curves = curve_picture(groups, metric, title) if curve_names(results) else None
    made = Report(
        metric, [table for table in tables if table is not None], _picture(groups, conditions, metric, title), curves
    )
    if dest is not None:
        save_picture(made.figure, dest / "report.png")
        if made.curves is not None:
            save_picture(made.curves, dest / "robustness.png")
        write_numbers(dest / "report.csv", groups, conditions, metrics)
        with whole_file(dest / "report.md") as part:
            part.write_text(made.markdown(), encoding="utf-8")
    console = console or open_console()
    for table in made.tables:
        table.show(console)
    return made


def comparison_table(groups: Sequence[Group], conditions: Sequence[ConditionResult], metric: str) -> Table:
    """The metric of each model under each condition, then what the majority class scores there.

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
    for numbers, label in majorities.items():
        of_whom = f" (data of {label})" if len(majorities) > 1 else ""
        rows.append([f"majority class{of_whom}", "", *numbers])
    conventions = ", ".join(sorted({run.convention for group in groups for run in group.runs}))
    unit = " in percent" if is_fraction(metric) else ""
    notes = [f"Convention: {conventions}. Mean ± sample standard deviation over runs."]
    notes += dict.fromkeys(f"{group.label}: {note}" for group in groups for run in group.runs for note in run.notes)
    return Table(f"{metric}{unit}", ["model", "runs", *map(condition_title, names)], rows, notes)


def _curve_tables(groups: Sequence[Group], metric: str) -> list[Table]:
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


def _gap_table(groups: Sequence[Group], conditions: Sequence[ConditionResult], metric: str) -> Table | None:
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


def _contribution_table(groups: Sequence[Group]) -> Table | None:
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


def _complexity_table(groups: Sequence[Group]) -> Table | None:
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


def _diagnostics_table(groups: Sequence[Group]) -> Table | None:
    """What the models report about themselves; None where they report nothing."""
    columns = list(dict.fromkeys(name for group in groups for run in group.runs for name in run.diagnostics))
    rows = [
        [group.label, *(with_deviation("", *group.diagnostic(name)) for name in columns)]
        for group in groups
        if any(run.diagnostics for run in group.runs)
    ]
    note = "Numbers that the models report about themselves. Mean ± sample standard deviation over runs."
    return Table("Diagnostics", ["model", *columns], rows, [note]) if rows else None


def _title(groups: Sequence[Group]) -> str:
    corpora = sorted({str(run.data["corpus"]) for group in groups for run in group.runs if "corpus" in run.data})
    return f"Test results on {' and '.join(corpora)}" if corpora else "Test results"


def _picture(groups: Sequence[Group], conditions: Sequence[ConditionResult], metric: str, title: str) -> Figure:
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


def main(args: list[str]) -> None:
    """Run ``mer-zoo report``.

    Args:
        args: Command line after the word report.

    Raises:
        MERError: For missing or odd files, or an unknown metric.
    """
    parser = argparse.ArgumentParser(prog="mer-zoo report", description="Compare finished runs.", allow_abbrev=False)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, results.json files, or folders of runs")
    parser.add_argument("--metric", help="what to compare, such as Acc2_non0, or several: Acc2_non0,F1_non0,MAE")
    parser.add_argument("--names", help="what to call the runs, one name for each path: plain,debiased")
    parser.add_argument("--out", type=Path, help="folder for report.md, report.csv and report.png")
    parser.add_argument("--published", action="store_true", help="add the figures that the papers print")
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamplings of the intervals, 0 for none")
    parser.add_argument(
        "--cluster",
        default=RECORDING,
        help="which samples go together: recording, none, or a CSV file of ids and groups such as speakers",
    )
    options = parser.parse_args(args)
    if options.bootstrap < 0 or options.bootstrap == 1:
        raise MERError(f"--bootstrap is {options.bootstrap}; give the number of resamplings, 2 or more, or 0 for none")
    metric, names = (None if words is None else words.split(",") for words in (options.metric, options.names))
    report(
        options.runs, options.out, metric, options.published, options.bootstrap, names=names, cluster=options.cluster
    )
