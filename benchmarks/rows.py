"""Rows of figures that a script writes as they are measured, beside those of other models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mer_zoo.reports.measured import Measured, read_measured, write_measured

__all__ = ["add_rows"]


def add_rows(path: Path | None, figures: Sequence[Measured], order: Callable[[str], Any] = str.lower) -> None:
    """Put figures into a file of ``results/`` in the place of those of the same models and conditions.

    Args:
        path: The file; None where nothing is to be written.
        figures: Of one benchmark or of several.
        order: Of the models in a benchmark, from the least on.
    """
    if path is None or not figures:
        return
    new = {(figure.benchmark, figure.model, figure.condition, figure.metric) for figure in figures}
    metrics = {(figure.benchmark, figure.metric) for figure in figures}
    before = read_measured(path) if path.exists() else []
    kept = [
        figure
        for figure in before
        if (figure.benchmark, figure.metric) in metrics
        and (figure.benchmark, figure.model, figure.condition, figure.metric) not in new
    ]
    write_measured(path, sorted([*kept, *figures], key=lambda figure: (figure.benchmark, order(figure.model))))
