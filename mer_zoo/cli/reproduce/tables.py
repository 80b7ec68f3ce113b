"""Printed figures beside those of our runs, and what of the papers' tables can be run at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mer_zoo.cli.reproduce.commands import run_folder
from mer_zoo.cli.reproduce.plan import Experiment
from mer_zoo.cli.reproduce.protocol import differences
from mer_zoo.cli.reproduce.rows import Row, all_rows
from mer_zoo.reports.published import Published
from mer_zoo.reports.tables import ABSENT, Table

__all__ = ["coverage", "results_table", "skipped"]


def coverage() -> Table:
    """Which rows of which tables run, and why the others do not."""
    lines = []
    for source, table in dict.fromkeys((row.source, row.table) for row in all_rows()):
        rows = [row for row in all_rows() if (row.source, row.table) == (source, table)]
        run = [row for row in rows if not row.reason]
        figures = sum(len(row.figures) for row in run), sum(len(row.figures) for row in rows)
        counts = [f"{len(run)} of {len(rows)}", f"{figures[0]} of {figures[1]}"]
        lines.append([f"{source}:{table}", *counts, "; ".join(skipped(rows)) or ABSENT])
    rows = list(all_rows())
    run = [row for row in rows if not row.reason]
    total = sum(len(row.figures) for row in run), sum(len(row.figures) for row in rows)
    lines.append(["all", f"{len(run)} of {len(rows)}", f"{total[0]} of {total[1]}", ABSENT])
    return Table("Rows that run", ["table", "rows", "figures", "rows that do not, and why"], lines)


def skipped(rows: Sequence[Row]) -> list[str]:
    """The rows that can't be run, gathered by their reason.

    Args:
        rows: The rows.

    Example:
        >>> skipped([row for row in all_rows() if (row.source, row.table) == ("CIDer", "VI")])
        ['MACI: parameters of the wrapper alone, ...
    """
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.reason:
            reasons.setdefault(row.reason, []).append(row.figures[0].model)
    return [f"{', '.join(dict.fromkeys(names))}: {reason}" for reason, names in reasons.items()]


def results_table(row: Row, experiments: Sequence[Experiment], seeds: Sequence[int], out: Path) -> Table:
    """Each figure of a row beside ours, and what was done otherwise.

    Args:
        row: The row.
        experiments: All that was run.
        seeds: The seeds.
        out: Folder of the runs.
    """
    from mer_zoo.reports.beside import printed
    from mer_zoo.reports.groups import Group
    from mer_zoo.reports.record import RESULTS, load_results

    own = [one for one in experiments if set(one.figures) & set(row.figures)]
    groups = {}
    for one in own:
        folders = [run_folder(one.training, out, seed) for seed in seeds]
        runs = [load_results(folder) for folder in folders if (folder / RESULTS).is_file()]
        if runs:
            groups[one.training] = Group(row.name, runs)
    lines = []
    for figure in row.figures:
        known = [groups[one.training] for one in own if figure in one.figures and one.training in groups]
        lines.append([*_of(figure), printed(figure), _ours(figure, known)])
    notes = [row.identity.note, *(differences(own, len(seeds)) if own else [])]
    notes.append("Accuracies and F1 in per cent; ours: mean ± sample standard deviation over the seeds.")
    header = ["corpus", "split", "what", "metric", "paper", "ours"]
    return Table(row.name, header, lines, [note for note in notes if note])


def _of(figure: Published) -> list[str]:
    """Corpus, split, what is missing and metric."""
    which = figure.condition if figure.pattern in ("complete", "SMM") else f"{figure.pattern} {figure.condition}"
    return [figure.dataset, f"{figure.split} {figure.alignment}", which, figure.metric]


def _ours(figure: Published, groups: Sequence[object]) -> str:
    """What our runs have for a figure; where two networks do, both."""
    from mer_zoo.reports.beside import beside, metric_of
    from mer_zoo.reports.groups import Group

    found = [
        ours
        for group in groups
        if isinstance(group, Group) and (ours := beside(group, figure, metric_of(group, figure))) is not None
    ]
    return " / ".join(found) or ABSENT
