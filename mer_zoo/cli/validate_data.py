"""``mer-zoo validate-data``: every fault of a corpus, what makes figures on it doubtful, and what is in it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mer_zoo.cli.loading import imports_kept
from mer_zoo.data.label_options import add_label_options, told_labels
from mer_zoo.data.roles import add_split_option, chosen_splits
from mer_zoo.text import shown

if TYPE_CHECKING:
    from rich.console import Console

    from mer_zoo.data.validate import Report

__all__ = ["main"]


def main(args: list[str]) -> int:
    """Print what is in a corpus, every fault and every warning.

    Args:
        args: Arguments of ``mer-zoo validate-data``.

    Returns:
        0 where there are neither faults nor warnings, else 1.

    Raises:
        MERError: If the options do not go together.
    """
    parser = argparse.ArgumentParser(
        "mer-zoo validate-data",
        description="List what is in a corpus, every fault, and what makes figures on it doubtful. The exit code is 0"
        " where there are neither faults nor warnings.",
        allow_abbrev=False,
    )
    parser.add_argument("path", type=Path, help="a corpus file or folder, see docs/data.md")
    parser.add_argument("--nan", choices=["error", "zero"], default="error", help="whether NaN is a fault or read as 0")
    add_label_options(parser)
    add_split_option(parser)
    options = parser.parse_args(args)
    told = told_labels(options)
    with imports_kept():
        from rich.console import Console

        from mer_zoo.data.validate import examine

    report = examine(options.path.expanduser(), options.nan, told, chosen_splits(options))
    console = Console()
    _show_tables(console, str(options.path), report)
    for line in _lines(report):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return report.exit_code


def _show_tables(console: Console, path: str, report: Report) -> None:
    from rich.markup import escape
    from rich.table import Table

    from mer_zoo.batch import MODALITIES

    def show(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        table = Table(*header, title=escape(shown(title)))
        for row in rows:
            table.add_row(*(escape(shown(cell)) for cell in row))
        console.print(table)

    if report.splits:
        show(path, ["split", "samples", "labels", *MODALITIES, "tokens"], report.splits)
        show("steps: fewest / median / most", ["split", *MODALITIES, "words"], report.lengths)
    fitting = [one for one in report.outcomes if not one.refusal]
    if fitting:
        names = [row[0] for row in report.splits]
        rows = [[one.task, *(one.told(name) or "-" for name in names)] for one in fitting]
        show("what each task makes of the labels", ["data.task", *names], rows)


def _lines(report: Report) -> Iterator[str]:
    if report.labels:
        yield f"labels: {shown(report.labels)}"
    yield from _refused(report)
    not_checked = [f"not checked: {shown(str(one))}" for one in report.not_checked]
    if not report.faults:
        yield from not_checked
    yield from (f"note: {shown(note)}" for note in report.notes)
    for warning in report.warnings:
        yield f"warning: {shown(warning.message)}"
        yield f"  remedy: {shown(warning.remedy)}"
    for fault in report.faults:
        yield f"fault: {shown(str(fault))}"
        if len(fault.ids) > 3:
            yield f"  all {len(fault.ids)}: {' '.join(map(ascii, fault.ids))}"
    for remedy in dict.fromkeys(fault.remedy for fault in report.faults if fault.remedy):
        yield f"  remedy: {shown(remedy)}"
    if report.faults:  # which are what was asked for
        yield from not_checked
    yield report.closing


def _refused(report: Report) -> Iterator[str]:
    """Why tasks cannot be had, those together that have one reason."""
    reasons: dict[str, list[str]] = {}
    for one in report.outcomes:
        if one.refusal:
            reasons.setdefault(one.reason, []).append(one.task)
    for reason, tasks in reasons.items():
        yield f"not for data.task {', '.join(tasks)}: {shown(reason)}"
