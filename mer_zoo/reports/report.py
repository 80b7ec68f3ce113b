"""``mer-zoo report``: finished runs in one table, one picture, with intervals for their differences."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console

from mer_zoo.errors import MERError
from mer_zoo.reports.beside import nothing_printed, published_table
from mer_zoo.reports.certainty import calibration_table, coverage_table
from mer_zoo.reports.clusters import RECORDING, Clusters
from mer_zoo.reports.compare import difference_table, interval_table, ranks
from mer_zoo.reports.effects import effect_table
from mer_zoo.reports.group_tables import group_tables
from mer_zoo.reports.groups import Group, choose_metric, conditions_of, group_runs, named_groups
from mer_zoo.reports.interaction import interaction_table
from mer_zoo.reports.metric_tables import metric_tables, write_numbers
from mer_zoo.reports.mixed import mixture_notes
from mer_zoo.reports.page.document import page
from mer_zoo.reports.pictures.gallery import all_pictures
from mer_zoo.reports.pictures.style import Picture, save_picture
from mer_zoo.reports.record import find_results
from mer_zoo.reports.resampled import Resampler
from mer_zoo.reports.sample_groups import SampleGroups
from mer_zoo.reports.sections import (
    comparison_table,
    complexity_table,
    contribution_table,
    curve_tables,
    diagnostics_table,
    gap_table,
    mark,
)
from mer_zoo.reports.shares import share_table
from mer_zoo.reports.tables import (
    Table,
    open_console,
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
            values and their differences with intervals, worst groups, calibration and coverage, contributions, the
            papers' figures, complexity, what the models report about themselves.
        pictures: The conditions, then what else the runs allow, such as curves over the missing rate.
        groups: The models.
    """

    metric: str
    tables: list[Table]
    pictures: list[Picture]
    groups: list[Group]

    @property
    def figure(self) -> Figure:
        """The picture of all conditions."""
        return self.pictures[0].figure

    def markdown(self) -> str:
        """All tables and pictures in Markdown."""
        parts = [f"# Comparison by {in_markdown(self.metric)}", *(table.markdown() for table in self.tables)]
        shown = [f"![{in_markdown(picture.caption)}]({picture.name}.png)" for picture in self.pictures]
        return "\n\n".join([*parts, *shown]) + "\n"

    def latex(self) -> str:
        """All tables in LaTeX."""
        return "\n\n".join(["% needs \\usepackage{booktabs}", *(table.latex() for table in self.tables)]) + "\n"

    def html(self) -> str:
        """All tables, pictures and configurations as a page that needs nothing beside it."""
        return page(self.metric, self.tables, self.pictures, self.groups)


def report(
    runs: Sequence[Path],
    dest: Path | None = None,
    metric: str | Sequence[str] | None = None,
    with_published: bool = False,
    samples: int = 1000,
    console: Console | None = None,
    names: Sequence[str] | None = None,
    cluster: str = RECORDING,
    latex: Path | None = None,
    by: Sequence[str] = (),
    html: Path | None = None,
) -> Report:
    """Compare finished runs; those that differ in their seed only are averaged.

    Args:
        runs: Run folders, results.json files, or folders that hold runs.
        dest: Where to write report.md, report.csv and the pictures; nothing is written when left out.
        metric: The metric to compare; by default the task's own, or one that all runs have. Several stand side by side
            in a table of each condition, and all else is about the first.
        with_published: Whether to add the papers' figures.
        samples: Resamplings of the intervals; 0 leaves the differences out.
        console: Where to print; by default the standard output.
        names: What to call the runs, one name for each of ``runs``; by default by model and by what tells them apart.
        cluster: Which samples intervals draw together, see :class:`mer_zoo.reports.clusters.Clusters`.
        latex: A file for the tables in LaTeX.
        by: What to look for the worst group by, see :class:`mer_zoo.reports.sample_groups.SampleGroups`.
        html: A file for the page.

    Raises:
        MERError: For missing or odd files, an unknown metric, names that do not go with the runs, or groups that the
            tests do not tell.

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
    resampler = Resampler(metric, samples, Clusters(cluster))
    first = comparison_table(groups, conditions, metric)
    mark(first, *ranks(groups, conditions, resampler))
    first.notes += mixture_notes(groups, conditions, metric)
    several = metric_tables(groups, conditions, metrics) if len(metrics) > 1 else []
    tables: list[Table | None] = [
        *several,
        first,
        *curve_tables(groups, metric),
        gap_table(groups, conditions, metric),
    ]
    if samples:
        tables.append(difference_table(groups, conditions, resampler))
        tables.append(interval_table(groups, conditions, resampler))
    for each in map(SampleGroups, by):
        tables += group_tables(groups, conditions, resampler, each)
    tables += [calibration_table(groups, conditions), coverage_table(groups, conditions, samples, resampler.clusters)]
    tables.append(contribution_table(groups))
    tables.append(share_table(groups, metric))
    tables.append(interaction_table(groups, conditions, resampler))
    tables.append(effect_table(groups, conditions, resampler))
    if with_published:
        tables.append(published_table(groups, metric))
        if tables[-1] is None:
            first.notes.append(nothing_printed(groups, conditions, metric))
    tables += [complexity_table(groups), diagnostics_table(groups)]
    found = [table for table in tables if table is not None]
    made = Report(metric, found, all_pictures(groups, conditions, metric), groups)
    if dest is not None:
        for picture in made.pictures:
            for kind in ("png", "svg", "pdf"):
                save_picture(picture.figure, dest / f"{picture.name}.{kind}")
        write_numbers(dest / "report.csv", groups, conditions, metrics)
        with whole_file(dest / "report.md") as part:
            part.write_text(made.markdown(), encoding="utf-8")
    for path, write in ((latex, made.latex), (html, made.html)):
        if path is not None:
            with whole_file(path) as part:
                part.write_text(write(), encoding="utf-8")
    console = console or open_console()
    for table in made.tables:
        table.show(console)
    return made


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
    parser.add_argument("--out", type=Path, help="folder for report.md, report.csv and pictures (png, svg, pdf)")
    parser.add_argument("--latex", type=Path, metavar="FILE", help="file for the tables in LaTeX (booktabs)")
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="file for a page with everything, configurations included"
    )
    parser.add_argument("--published", action="store_true", help="add the figures that the papers print")
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamplings of the intervals, 0 for none")
    parser.add_argument(
        "--cluster",
        default=RECORDING,
        help="which samples go together: recording, speaker, dialogue, none, or a CSV file of ids and groups",
    )
    parser.add_argument(
        "--groups",
        action="append",
        default=[],
        metavar="WHAT",
        help="worst group by recording, speaker, dialogue, label, words (of the transcript), text_steps and so on, or"
        " the columns of a CSV file with ids: FILE.csv or FILE.csv:COLUMN; may be given again",
    )
    options = parser.parse_args(args)
    if options.bootstrap < 0 or options.bootstrap == 1:
        raise MERError(f"--bootstrap is {options.bootstrap}; give the number of resamplings, 2 or more, or 0 for none")
    if options.groups and not options.bootstrap:
        raise MERError("--groups draws intervals; leave --bootstrap 0 out, or give the number of resamplings")
    metric, names = (None if words is None else words.split(",") for words in (options.metric, options.names))
    report(
        options.runs,
        options.out,
        metric,
        options.published,
        options.bootstrap,
        names=names,
        cluster=options.cluster,
        latex=options.latex,
        by=options.groups,
        html=options.html,
    )
