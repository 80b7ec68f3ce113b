"""Rows of the papers' tables: which there are, which a target names, and whose model is in the zoo."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

from mer_zoo.errors import MERError
from mer_zoo.reports.identities import Identity, identity_of
from mer_zoo.reports.published import DATASETS, Published, published

__all__ = ["SOURCES", "Row", "all_rows", "chosen_rows", "corpora_of"]

SOURCES = ("CIDer", "CausalMER", "CUMDF")
NAMES = {paper: ours for ours, paper in DATASETS.items()}  # of corpora, in the papers and here


@dataclass(frozen=True)
class Row:
    """All that one table prints of one model.

    Attributes:
        source: The paper.
        table: The table.
        identity: What the model is here.
        figures: What is printed.
    """

    source: str
    table: str
    identity: Identity
    figures: tuple[Published, ...]

    @property
    def name(self) -> str:
        """What the command line calls it."""
        return f"{self.source}:{self.table}:{self.figures[0].model}"

    @property
    def reason(self) -> str:
        """Why it can't be run; empty where it can."""
        return "" if self.identity.nest else self.identity.note


@cache
def all_rows() -> tuple[Row, ...]:
    """Every row of every table, in the order of the papers.

    Example:
        >>> [row.name for row in all_rows() if row.table == "7"]
        ['CausalMER:7:MASK', 'CausalMER:7:SUM', 'CausalMER:7:HM', 'CausalMER:7:SUM-tanh']
    """
    gathered: dict[tuple[str, str, str], list[Published]] = {}
    for figure in published():
        gathered.setdefault((figure.source, figure.table, figure.model), []).append(figure)
    rows = []
    for (source, table, model), figures in gathered.items():
        identity = identity_of(source, table, model)
        if identity is None:
            raise MERError(
                f"nobody has said what {source}:{table}:{model} is; add it to mer_zoo/reports/identities.csv"
            )
        rows.append(Row(source, table, identity, tuple(figures)))
    return tuple(sorted(rows, key=lambda row: (SOURCES.index(row.source), _number(row.table))))


def corpora_of(figure: Published) -> tuple[str, str]:
    """The corpus that is trained on and the one that is tested on, by their names here.

    Args:
        figure: A printed figure.

    Example:
        >>> row = next(row for row in all_rows() if row.name == "CIDer:VII:CIDer")
        >>> corpora_of(row.figures[0])
        ('MOSI', 'MOSEI')
    """
    trained, _, tested = figure.dataset.partition("->")
    return NAMES[trained], NAMES[tested or trained]


def chosen_rows(target: str, corpus: str | None = None) -> list[Row]:
    """The rows that a target names.

    Args:
        target: ``SOURCE``, ``SOURCE:TABLE`` or ``SOURCE:TABLE:ROW``.
        corpus: Only what is trained on this corpus; None for all.

    Raises:
        MERError: For a paper, table, row or corpus that is not there, and for a single row that can't be run.

    Example:
        >>> [len(row.figures) for row in chosen_rows("CIDer:IV:DLF+MACI", "MOSI")]
        [9]
        >>> chosen_rows("CIDer:IV:DLF+MACY")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: CIDer:IV has no row 'DLF+MACY', did you mean DLF+MACI; choose from DMD, ...
    """
    source, _, rest = target.partition(":")
    table, _, name = rest.partition(":")
    source = _known(source, SOURCES, "there is no paper {}")
    rows = [row for row in all_rows() if row.source == source]
    if table:
        table = _known(table, (row.table for row in rows), f"{source} has no table {{}} with results")
        rows = [row for row in rows if row.table == table]
    if name:
        names = [row.figures[0].model for row in rows]
        name = _known(name, names, f"{source}:{table} has no row {{}}")
        rows = [row for row in rows if row.figures[0].model == name]
        if rows[0].reason:
            raise MERError(f"{rows[0].name} can't be run: {rows[0].reason}; choose another row of {source}:{table}")
    return rows if corpus is None else _of_corpus(rows, corpus, ":".join(filter(None, (source, table, name))))


def _of_corpus(rows: Sequence[Row], corpus: str, target: str) -> list[Row]:
    corpus = _known(corpus, DATASETS, "there is no corpus {}")
    trained = sorted({corpora_of(figure)[0] for row in rows for figure in row.figures})
    if corpus not in trained:
        raise MERError(f"{target} has nothing that is trained on {corpus}; choose from {', '.join(trained)}")
    kept = [(row, tuple(f for f in row.figures if corpora_of(f)[0] == corpus)) for row in rows]
    return [Row(row.source, row.table, row.identity, figures) for row, figures in kept if figures]


def _known(given: str, names: Iterable[str], complaint: str) -> str:
    """A name as it is spelled, whatever its case; otherwise the sentence that says which there are."""
    listed = list(dict.fromkeys(names))
    folded = {name.lower(): name for name in listed}
    if given.lower() in folded:
        return folded[given.lower()]
    close = get_close_matches(given.lower(), folded, 1)
    guess = f", did you mean {folded[close[0]]}" if close else ""
    raise MERError(f"{complaint.format(repr(given))}{guess}; choose from {', '.join(listed)}")


def _number(table: str) -> int:
    """A table's number, written as the paper writes it."""
    if table.isdigit():
        return int(table)
    values = [{"I": 1, "V": 5, "X": 10}[letter] for letter in table]
    return sum(-v if any(v < later for later in values[place:]) else v for place, v in enumerate(values))
