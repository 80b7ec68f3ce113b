"""Tables of measured figures: taken apart into lines of ``results/``, and put together for a page."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mer_zoo.errors import MERError
from mer_zoo.reports.measured import Measured, parse_figure
from mer_zoo.reports.tables import Table

__all__ = ["Layout", "figures_of", "table_of"]

_SEEDS = ("seeds", "runs")


def figures_of(table: Table, benchmark: str, metric: str = "", against: str = "", **about: str) -> list[Measured]:
    """Take a table apart.

    Args:
        table: Rows of models; a column of seeds or runs tells of the others.
        benchmark: Name of the benchmark.
        metric: What all columns are of, whose names are conditions then; without it they are names of metrics.
        against: The model that differences are to.
        **about: ``device``, ``commit``, ``command`` and ``clusters``.

    Example:
        >>> table = Table("", ["model", "seeds", "IID", "OOD"], [["MulT", "5", "84.2 ± 0.4", "-"]])
        >>> [(one.condition, one.value, one.deviation, one.seeds) for one in figures_of(table, "toy", "Acc3")]
        [('IID', '84.2', '0.4', '5')]
    """
    figures = []
    for row in table.rows:
        cells = dict(zip(table.header[table.names :], row[table.names :], strict=True))
        seeds = next((cells.pop(name) for name in _SEEDS if name in cells), "")
        for name, cell in cells.items():
            numbers = parse_figure(cell)
            if numbers is not None:
                condition, of = (name, metric) if metric else ("", name)
                other = against if "difference" in numbers else ""
                figure = Measured(benchmark, "; ".join(row[: table.names]), condition, of, against=other, seeds=seeds)
                figures.append(replace(figure, **numbers, **about))
    return figures


@dataclass(frozen=True)
class Layout:
    """How figures stand in a table.

    Args:
        head: Title of the column of models, or titles separated by semicolons.
        models: Pattern of the models, in which ``*`` stands for anything; where there is one, what it stands for is
            what the table says. ``conditions`` and ``metrics`` likewise.
        conditions: Pattern of the conditions.
        metrics: Pattern of the metrics.
        columns: The columns, as ``METRIC @ CONDITION`` and separated by semicolons, in place of those patterns.
        by: What a column is: ``condition`` or ``metric``, whose figures stand in one cell then, or both when empty.
        join: What stands between the figures of a cell.
        titles: Titles of the columns in place of their names, separated by semicolons.
        seeds: Whether a column says the number of seeds.
        digits: Places behind the point at most; empty for all.
    """

    head: str = "model"
    models: str = "*"
    conditions: str = "*"
    metrics: str = "*"
    columns: str = ""
    by: str = ""
    join: str = " / "
    titles: str = ""
    seeds: str = ""
    digits: str = ""


def table_of(figures: Sequence[Measured], layout: Layout) -> Table:
    """Put a table together: rows, columns and the figures of a cell come in the order of the figures.

    Args:
        figures: Those of a benchmark.
        layout: How they stand.

    Raises:
        MERError: If no figure is meant, or the titles are not as many as the columns.

    Example:
        >>> figures = [Measured("toy", "MulT", f"rho 0.{n}, RCT", "Acc3", str(75 - n)) for n in (6, 8)]
        >>> print(table_of(figures, Layout(conditions="*, RCT")).markdown())
        | model | rho 0.6 | rho 0.8 |
        |---|---:|---:|
        | MulT | 69 | 67 |
    """
    wanted = [figure for figure in map(_chosen(layout), figures) if figure is not None]
    if not wanted:
        raise MERError(f"no figure has model {layout.models}, condition {layout.conditions}, metric {layout.metrics}")
    key = _column_key(wanted, layout)
    columns = layout.columns.split("; ") if layout.columns else list(dict.fromkeys(map(key, wanted)))
    wanted = [figure for figure in wanted if key(figure) in columns]
    cells: dict[str, dict[str, list[str]]] = {}
    for figure in wanted:
        text = figure.text(int(layout.digits) if layout.digits else None)
        cells.setdefault(figure.model, {}).setdefault(key(figure), []).append(text)
    seeds = {figure.model: figure.seeds for figure in wanted if figure.seeds}
    titles = layout.titles.split("; ") if layout.titles else columns
    if len(titles) != len(columns):
        raise MERError(f"there are {len(columns)} columns, {'; '.join(columns)}, and {len(titles)} titles for them")
    head = layout.head.split("; ")
    rows = []
    for model, found in cells.items():
        names = model.split("; ") if len(head) > 1 else [model]
        if len(names) > len(head):
            raise MERError(f"{model} has more names than head, {layout.head}; name a column for each")
        names += [""] * (len(head) - len(names))
        counted = [seeds.get(model, "")] if layout.seeds else []
        rows.append([*names, *counted, *(layout.join.join(found.get(column, [""])) for column in columns)])
    return Table("", [*head, *(["seeds"] if layout.seeds else []), *titles], rows, names=len(head))


def _chosen(layout: Layout) -> Callable[[Measured], Measured | None]:
    """A function that gives a figure under the names that its table says; None for one that is not meant."""
    asked = {"model": layout.models, "condition": layout.conditions, "metric": layout.metrics}
    patterns = {
        name: (re.compile("(.*)".join(map(re.escape, pattern.split("*")))), pattern.count("*") == 1)
        for name, pattern in asked.items()
    }

    def choose(figure: Measured) -> Measured | None:
        said = {}
        for name, (pattern, is_part) in patterns.items():
            found = pattern.fullmatch(getattr(figure, name))
            if found is None:
                return None
            said[name] = found[1] if is_part else found[0]
        return replace(figure, **said)

    return choose


def _column_key(figures: Sequence[Measured], layout: Layout) -> Callable[[Measured], str]:
    """What a figure's column is called: by the condition alone where all are of one metric."""
    if layout.columns:
        return lambda figure: f"{figure.metric} @ {figure.condition}"
    if layout.by:
        return lambda figure: str(getattr(figure, layout.by))
    if len({figure.metric for figure in figures}) == 1 and any(figure.condition for figure in figures):
        return lambda figure: figure.condition
    return lambda figure: " ".join(filter(None, [figure.metric, figure.condition]))
