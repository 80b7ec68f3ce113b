"""Figures of a network or wrapper: those that papers print, and those that results/ has of this library."""

from __future__ import annotations

import re
from collections.abc import Iterator

from prose import escape, table

from mer_zoo.reports.layout import Layout, table_of
from mer_zoo.reports.measured import measured_about
from mer_zoo.reports.published import Published, figures_about

__all__ = ["measured_rows", "printed_rows"]

SHOWN = ("full", "AUILC")


def printed_rows(name: str) -> list[str]:
    """A table of what the papers print of a network or wrapper on complete data, and over all missing rates."""
    about = figures_about(name)
    figures = [figure for figure in about if figure.condition in SHOWN and re.match("Acc|F1|MAE", figure.metric)]
    rows: dict[tuple[str, ...], dict[str, float]] = {}
    for figure in figures:
        rows.setdefault(_place(figure), {})[figure.metric] = figure.value
    metrics = list(dict.fromkeys(figure.metric for figure in figures))
    header = ["model", "source", "data", "missing", *metrics]
    cells = [[*place, *(f"{found[m]:g}" if m in found else "" for m in metrics)] for place, found in rows.items()]
    return table(([escape(cell) for cell in row] for row in cells), map(escape, header)) if rows else []


def _place(figure: Published) -> tuple[str, ...]:
    missing = "nothing" if figure.condition == "full" else f"{figure.pattern}, {figure.condition}"
    data = figure.dataset.replace("->", " to ")
    return figure.model, f"{figure.source}, {figure.table}", f"{data}, {figure.split}, {figure.alignment}", missing


def measured_rows(name: str) -> Iterator[str]:
    """What was measured of a network or wrapper, a table a benchmark of ``results/``."""
    for benchmark, figures in measured_about(name).items():
        made = table_of(figures, Layout())
        header = [escape(cell) for cell in made.header]
        rows = [[escape(cell) for cell in row] for row in made.rows]
        yield from (f"*{escape(benchmark)}*:", "", *table(rows, header), "")
