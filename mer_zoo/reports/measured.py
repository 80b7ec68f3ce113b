"""What benchmarks of this library measured: the files in ``results/``, from which the tables of the pages are made.

A file is a long table, a line a figure, and a table of a page is a benchmark of it: models are rows, conditions and
metrics columns (:mod:`mer_zoo.reports.layout`). What stands in a cell is taken apart by :func:`parse_figure` and put
together by :meth:`Measured.text`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from mer_zoo.errors import MERError
from mer_zoo.reports.tables import ABSENT
from mer_zoo.runs.files import whole_file
from mer_zoo.text import told

__all__ = ["FOLDER", "Measured", "measured_about", "parse_figure", "read_measured", "write_measured"]

FOLDER = Path(__file__).parents[2] / "results"  # of the repository
_NUMBER = r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_ENDS = rf"\[(?P<low>{_NUMBER}), (?P<high>{_NUMBER})\]"
_GIVEN = re.compile(rf"(?P<value>{_NUMBER})(?: ?± ?(?P<deviation>{_NUMBER}))?(?: {_ENDS})?")
_SHAPES = (
    re.compile(rf"(?P<value>{_NUMBER})(?: ?± ?(?P<deviation>{_NUMBER}))? \((?P<difference>{_NUMBER}) {_ENDS}\)"),
    re.compile(rf"(?P<difference>[-+]{_NUMBER}) {_ENDS}"),
    re.compile(rf"(?P<low>{_NUMBER}) to (?P<high>{_NUMBER})"),
    _GIVEN,
)
_NUMBERS = ("value", "deviation", "difference", "low", "high")


@dataclass(frozen=True)
class Measured:
    """One measured figure, written as it is shown.

    Attributes:
        benchmark: What is measured, in words; a table is a benchmark.
        model: Whose figure it is; semicolons separate the names of a row of several columns.
        condition: Under what; empty for complete test data.
        metric: Of what, with the unit where it has one; accuracies, F1 and shares are in percent.
        value: The figure, the mean where there are several seeds; empty where only a range is known.
        deviation: Sample deviation over the seeds.
        against: The model that ``difference`` is to, where there is one.
        difference: Mean difference.
        low: Lower end of the 95 % interval of the difference, or of the value where there is none; without a value
            the smallest of several.
        high: The upper or largest one.
        seeds: Number of seeds.
        clusters: Number of the groups of samples that the interval draws together, such as recordings; empty where
            samples are drawn one by one.
        device: What it was measured on.
        commit: The commit that the figure came with.
        command: What shows it again.
    """

    benchmark: str
    model: str
    condition: str
    metric: str
    value: str = ""
    deviation: str = ""
    against: str = ""
    difference: str = ""
    low: str = ""
    high: str = ""
    seeds: str = ""
    clusters: str = ""
    device: str = ""
    commit: str = ""
    command: str = ""

    def text(self, digits: int | None = None) -> str:
        """The figure in a cell of a table.

        Args:
            digits: Places behind the point where there are more of them; all when left out.

        Example:
            >>> Measured("a", "MulT", "IID", "Acc3", "77.24", "1.4", "plain", "-0.3", "-1.2", "0.5").text(1)
            '77.2 ± 1.4 (-0.3 [-1.2, 0.5])'
        """
        value, deviation, difference, low, high = (_rounded(getattr(self, name), digits) for name in _NUMBERS)
        if not value and not difference:
            return f"{low} to {high}" if low else ABSENT
        shown = f"{_grouped(value)} ± {deviation}" if deviation else _grouped(value)
        if difference:
            signed = difference if difference.startswith("-") else f"+{difference}"
            between = f"{signed} [{low}, {high}]" if low else signed
            return f"{shown} ({between})" if shown else between
        return f"{shown} [{low}, {high}]" if low else shown


def parse_figure(text: str) -> dict[str, str] | None:
    """Take a cell of a table apart, as :meth:`Measured.text` puts it together.

    Args:
        text: The cell.

    Returns:
        The numbers by their names in :class:`Measured`; None for a cell that is empty or no figure.

    Example:
        >>> parse_figure("77.2 ±1.4 (+0.3 [-1.2, 0.5])")
        {'value': '77.2', 'deviation': '1.4', 'difference': '0.3', 'low': '-1.2', 'high': '0.5'}
        >>> parse_figure("1,234 [1.9, 2.1]"), parse_figure("-")
        ({'value': '1234', 'low': '1.9', 'high': '2.1'}, None)
    """
    found = next((match for shape in _SHAPES if (match := shape.fullmatch(text.strip()))), None)
    if found is None:
        return None
    return {name: _plain(number) for name, number in found.groupdict().items() if number is not None}


def read_measured(path: Path) -> list[Measured]:
    """Read a file of ``results/``.

    Args:
        path: The file.

    Raises:
        MERError: For other columns, and for a figure that is no number, with the line.
    """
    names = [field.name for field in fields(Measured)]
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if list(rows.fieldnames or []) != names:
            raise MERError(f"{path} has other columns than {', '.join(names)}; name them so, in this order")
        figures = []
        for row in rows:
            if None in row or None in row.values():
                raise MERError(f"{path}, line {rows.line_num}: has another number of cells than there are columns")
            for name in _NUMBERS:
                if row[name] and not re.fullmatch(_NUMBER.replace(",", ""), row[name]):
                    raise MERError(
                        f"{path}, line {rows.line_num}: {name} is {told(row[name])}; give a number or nothing"
                    )
            figures.append(Measured(**row))
    return figures


def write_measured(path: Path, figures: Iterable[Measured]) -> None:
    """Write figures to a file: they replace those of the same benchmark and metric, and the others stay as they are.

    Args:
        path: The file.
        figures: All figures of each metric of a benchmark or of several.

    Raises:
        MERError: If the file is there and is no file of figures.

    Example:
        >>> from tempfile import mkdtemp
        >>> file = Path(mkdtemp()) / "mosi_cpu.csv"
        >>> write_measured(file, [Measured("zoo", "MulT", "", "Acc7", "37.3"), Measured("old", "TFN", "", "Acc7", "1")])
        >>> write_measured(file, [Measured("zoo", "MulT", "", "Acc7", "38.0")])
        >>> [(figure.benchmark, figure.value) for figure in read_measured(file)]
        [('zoo', '38.0'), ('old', '1')]
    """
    new = list(figures)
    replaced = {(figure.benchmark, figure.metric) for figure in new}
    benchmarks: dict[str, list[Measured]] = {}
    for figure in read_measured(path) if path.exists() else []:
        kept = benchmarks.setdefault(figure.benchmark, [])
        if (figure.benchmark, figure.metric) not in replaced:
            kept.append(figure)
    for figure in new:
        benchmarks.setdefault(figure.benchmark, []).append(figure)
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Measured)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(figure) for some in benchmarks.values() for figure in some)


def measured_about(name: str, folder: Path | None = None) -> dict[str, list[Measured]]:
    """What was measured of a network or wrapper, by itself and in nests.

    Args:
        name: Its name.
        folder: Holds the files, by default those of the repository; an installed package has none, and tells nothing.

    Returns:
        Benchmark -> figures.

    Example:
        >>> measured_about("MulT", Path("nowhere"))
        {}
    """
    found: dict[str, list[Measured]] = {}
    for path in sorted((FOLDER if folder is None else folder).glob("*.csv")):
        for figure in read_measured(path):
            if name in re.findall(r"\w+", figure.model):
                found.setdefault(figure.benchmark, []).append(figure)
    return found


def _plain(number: str) -> str:
    """A number as files have it: no separators, no plus, a digit before the point."""
    return re.sub(r"^(-?)\.", r"\g<1>0.", number.replace(",", "").removeprefix("+"))


def _rounded(number: str, digits: int | None) -> str:
    _, point, places = number.partition(".")
    if digits is None or not point or "e" in number or len(places) <= digits:
        return number
    return f"{float(number):.{digits}f}"


def _grouped(number: str) -> str:
    """Large whole numbers with separators."""
    return f"{int(number):,}" if re.fullmatch(r"\d{5,}", number) else number
