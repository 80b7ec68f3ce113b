"""Figures of a network or wrapper: those that papers print, and those that docs/results.md has of this library."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from prose import escape, table

from mer_zoo.reports.published import Published, figures_about

__all__ = ["measured_rows", "printed_rows"]

RESULTS = Path(__file__).parents[1] / "results.md"
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
    """Tables of docs/results.md, of each the rows about a network or wrapper."""
    for section, header, rows in _tables():
        about = [row for row in rows if any(name in re.findall(r"\w+", cell) for cell in row[:2])]
        if about:
            yield from (f"From *{section}* of :doc:`/results`:", "", *table(about, header), "")


@cache
def _tables() -> list[tuple[str, list[str], list[list[str]]]]:
    """Heading, header and rows of each table of the page; an empty first cell repeats the one above it."""
    found: list[tuple[str, list[str], list[list[str]]]] = []
    section, fresh = "", True
    for line in RESULTS.read_text(encoding="utf-8").splitlines():
        cells = [escape(cell.strip().replace("`", "``")) for cell in line.strip("|").split("|")]
        if line.startswith("## "):
            section = line.removeprefix("## ")
        if not line.startswith("|"):
            fresh = True
        elif fresh:
            found.append((section, cells, []))
            fresh = False
        elif not set(line) <= set("|-: "):
            rows = found[-1][2]
            rows.append([cells[0] or (rows[-1][0] if rows else ""), *cells[1:]])
    return found
