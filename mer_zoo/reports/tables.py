"""Tables once built are shown in the terminal and written as Markdown."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from mer_zoo.text import in_latex, in_markdown, shown

__all__ = [
    "ABSENT",
    "Table",
    "condition_title",
    "format_value",
    "is_fraction",
    "open_console",
    "ordered_metrics",
    "with_deviation",
]

_ORDER = [f"{name}_{kind}" for kind in ("non0", "has0") for name in ("Acc2", "F1")]
_ORDER += [name.format(k) for k in (2, 3, 5, 7) for name in ("Acc{}", "F1_{}", "F1_{}_macro")]
_ORDER += ["Acc", "F1", "F1_macro", "UAR", "MAE", "Corr"]
ABSENT = "-"


@dataclass
class Table:
    """Rows of text under a header; the first column names the row.

    Args:
        title: What the table shows; empty where the text around it says so.
        header: Column names.
        rows: Cells.
        notes: Sentences below the table.
        best: Places (row, column) of the cells that nothing is better than, shown bold.
        second: Those that only these are better than, shown in italics or underlined.
        names: How many columns name the row; those after them are figures.

    Example:
        >>> print(Table("Accuracy", ["model", "IID"], [["MulT", "83.1"]]).markdown())
        **Accuracy**
        <BLANKLINE>
        | model | IID |
        |---|---:|
        | MulT | 83.1 |
    """

    title: str
    header: Sequence[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    best: frozenset[tuple[int, int]] = frozenset()
    second: frozenset[tuple[int, int]] = frozenset()
    names: int = 1

    def markdown(self) -> str:
        """The table in Markdown."""
        rule = "|" + "---|" * self.names + "---:|" * (len(self.header) - self.names)
        rows = [_line(self._marked(place, row)) for place, row in enumerate(self.rows)]
        title = [f"**{in_markdown(self.title)}**", ""] if self.title else []
        lines = [*title, _line(map(in_markdown, self.header)), rule, *rows]
        return "\n".join([*lines, *(f"\n{in_markdown(note)}" for note in self.notes)])

    def _marked(self, place: int, row: Sequence[str]) -> list[str]:
        cells = [in_markdown(cell) for cell in row]
        marks = [
            "**" if (place, column) in self.best else "*" if (place, column) in self.second else ""
            for column in range(len(row))
        ]
        return [f"{mark}{cell}{mark}" for mark, cell in zip(marks, cells, strict=True)]

    def latex(self) -> str:
        """The table as a float of LaTeX, whose document loads ``booktabs``; the notes stand in its caption."""
        caption = " ".join(map(in_latex, [f"{self.title}.", *self.notes]))
        wrap = {**dict.fromkeys(self.second, r"\underline{%s}"), **dict.fromkeys(self.best, r"\textbf{%s}")}
        rows = [
            " & ".join(wrap.get((place, column), "%s") % in_latex(cell) for column, cell in enumerate(row))
            for place, row in enumerate(self.rows)
        ]
        return "\n".join(
            [
                r"\begin{table}",
                rf"\caption{{{caption}}}",
                rf"\begin{{tabular}}{{{'l' * self.names}{'r' * (len(self.header) - self.names)}}}",
                r"\toprule",
                " & ".join(map(in_latex, self.header)) + r" \\",
                r"\midrule",
                *(rf"{row} \\" for row in rows),
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
            ]
        )

    def transposed(self) -> Table:
        """The same with rows and columns exchanged."""
        first, *others = zip(self.header, *self.rows, strict=True)
        best, second = (frozenset((x - 1, y + 1) for y, x in marks) for marks in (self.best, self.second))
        return Table(self.title, ("", *first[1:]), [list(cells) for cells in others], self.notes, best, second)

    def show(self, console: Console) -> None:
        """Print the table, turned where it would be too wide for the terminal and narrower so."""
        shapes = [self.rich(), self.transposed().rich()]
        # without the limit of the terminal, which would make all too wide tables equally wide
        unlimited = console.options.update(width=10_000)
        widths = [Measurement.get(console, unlimited, shape).maximum for shape in shapes]
        # not as the table's own title, which is broken to the table's width
        console.print(Text(shown(self.title), style="bold"))
        console.print(shapes[1] if console.width < widths[0] > widths[1] else shapes[0])
        for note in self.notes:
            console.print(Text(shown(note), style="dim"))
        console.print()

    def rich(self) -> RichTable:
        """The table without its title and notes, for a terminal."""
        # Text, because rich would read a cell such as [text,audio] as markup
        table = RichTable()
        for place, name in enumerate(self.header):
            table.add_column(Text(shown(name)), justify="right" if place >= self.names else "left")
        style = {**dict.fromkeys(self.second, "underline"), **dict.fromkeys(self.best, "bold")}
        for place, row in enumerate(self.rows):
            table.add_row(*(Text(shown(cell), style.get((place, column), "")) for column, cell in enumerate(row)))
        return table


def open_console() -> Console:
    """A console on the standard output."""
    # a pipe has no width: rather long lines than broken cells
    return Console(width=None if sys.stdout.isatty() else 200)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def is_fraction(metric: str) -> bool:
    """Whether a metric is a fraction, shown in percent.

    Example:
        >>> is_fraction("Acc2_non0"), is_fraction("MAE")
        (True, False)
    """
    return metric.startswith(("Acc", "F1", "UAR", "Precision", "Recall"))


def format_value(metric: str, value: float, signed: bool = False) -> str:
    """Format a metric: one decimal in percent for accuracies and F1, three decimals for the others.

    Example:
        >>> format_value("Acc7", 0.3456), format_value("MAE", 0.91234), format_value("Acc7", -0.01, signed=True)
        ('34.6', '0.912', '-1.0')
    """
    if math.isnan(value):
        return ABSENT
    sign = "+" if signed else ""
    return f"{100 * value:{sign}.1f}" if is_fraction(metric) else f"{value:{sign}.3f}"


def with_deviation(metric: str, mean: float, deviation: float | None, signed: bool = False) -> str:
    """Format mean and deviation over seeds; without deviation the mean alone.

    Example:
        >>> with_deviation("Acc7", 0.345, 0.012)
        '34.5 ±1.2'
    """
    shown = format_value(metric, mean, signed)
    return shown if deviation is None or math.isnan(mean) else f"{shown} ±{format_value(metric, deviation)}"


def ordered_metrics(names: Iterable[str]) -> list[str]:
    """Sort metrics as papers do, those of single emotions last, the loss left out.

    Example:
        >>> ordered_metrics(["Acc_sad", "MAE", "loss", "Acc7", "Acc2_non0"])
        ['Acc2_non0', 'Acc7', 'MAE', 'Acc_sad']
    """
    given = [name for name in names if name != "loss"]
    return [name for name in _ORDER if name in given] + sorted(name for name in given if name not in _ORDER)


def condition_title(condition: str) -> str:
    """Name of a condition in a table's header.

    Example:
        >>> condition_title("ood"), condition_title("{l}")
        ('OOD', '{l}')
    """
    return condition.upper() if condition in ("iid", "ood", "rct") else condition
