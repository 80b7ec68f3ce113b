"""Files that say which group, such as a speaker or a film, each sample is of."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from mer_zoo.errors import MERError
from mer_zoo.foreign import read_regular

__all__ = ["csv_rows", "read_columns", "read_groups", "read_ids"]

LARGEST = 64 * 2**20  # bytes of the file


def read_groups(path: str | Path, what: str = "groups") -> dict[str, str]:
    r"""Read the group of each sample.

    Args:
        path: A CSV file with the columns ``id`` and, of whatever name, the group; ``FILE.csv:COLUMN`` of one with
            several.
        what: The option that names it, for the message.

    Raises:
        MERError: Naming the file and what is wrong.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "speakers.csv"
        >>> _ = path.write_text("id,speaker,age\n1,Ann,31\n2,Bob,57\n")
        >>> read_groups(f"{path}:speaker")
        {'1': 'Ann', '2': 'Bob'}
    """
    columns = read_columns(path, what)
    if len(columns) != 1:
        raise MERError(f"{what}: {path} has the columns {', '.join(columns)}; name one: {path}:{next(iter(columns))}")
    return next(iter(columns.values()))


def read_columns(path: str | Path, what: str = "groups") -> dict[str, dict[str, str]]:
    r"""Read all that a file says of each sample.

    Args:
        path: A CSV file with a column ``id`` and others; ``FILE.csv:COLUMN`` for one of them.
        what: The option that names it, for the message.

    Returns:
        Column -> id -> value.

    Raises:
        MERError: Naming the file and what is wrong.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "speakers.csv"
        >>> _ = path.write_text("id,speaker,age\n1,Ann,31\n2,Bob,57\n")
        >>> read_columns(path)["age"]
        {'1': '31', '2': '57'}
    """
    file, wanted = _file_and_column(str(path))
    header, *rows = csv_rows(file, what)
    if header.count("id") != 1 or len(header) < 2 or len(set(header)) < len(header) or "" in header:
        raise MERError(
            f"{what}: {file} does not begin with a line of two columns, id and group, or of more with a name each; name"
            " them so"
        )
    if wanted is not None and (wanted not in header or wanted == "id"):
        others = ", ".join(name for name in header if name != "id")
        raise MERError(f"{what}: {file} has no column {wanted!r} beside id; it has {others}")
    names = [name for name in header if name != "id" and wanted in (None, name)]
    found: dict[str, dict[str, str]] = {name: {} for name in names}
    seen: set[str] = set()
    for line, row in enumerate(rows, 2):
        if not row:
            continue
        cells = dict(zip(header, row, strict=False))
        if len(row) != len(header) or cells["id"] in {"", *seen} or not all(cells[name] for name in names):
            raise MERError(f"{what}: line {line} of {file} is not an id of its own and a group; mend that line")
        seen.add(cells["id"])
        for name in names:
            found[name][cells["id"]] = cells[name]
    return found


def read_ids(path: str | Path, what: str) -> frozenset[str]:
    r"""Read the ids of samples.

    Args:
        path: A CSV file with a column ``id``; others are not read.
        what: The option that names it, for the message.

    Raises:
        MERError: Naming the file and what is wrong.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "errors.csv"
        >>> _ = path.write_text("id\na$_$1\nb$_$2\n")
        >>> sorted(read_ids(path, "errors"))
        ['a$_$1', 'b$_$2']
    """
    header, *rows = csv_rows(Path(path), what)
    if header.count("id") != 1:
        raise MERError(f"{what}: {path} does not begin with a line that names a column id; name it so")
    at = header.index("id")
    return frozenset(row[at] for row in rows if len(row) > at and row[at])


def _file_and_column(text: str) -> tuple[Path, str | None]:
    """The parts of FILE or FILE:COLUMN; a colon may also be in the name of the file."""
    before, colon, after = text.rpartition(":")
    if colon and not Path(text).exists() and (Path(before).exists() or before.endswith(".csv")):
        return Path(before), after
    return Path(text), None


def csv_rows(file: Path, what: str = "groups") -> list[list[str]]:
    r"""Cells of a CSV file, its lines in order; one empty line where it has none.

    Args:
        file: The file.
        what: The option that names it, for the message.

    Raises:
        MERError: If it can't be read as such.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "a.csv"
        >>> _ = path.write_text("id,group\n1,Ann\n")
        >>> csv_rows(path)
        [['id', 'group'], ['1', 'Ann']]
    """
    try:
        text = read_regular(file, LARGEST).decode("utf-8-sig")
        return list(csv.reader(io.StringIO(text, newline=""))) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MERError(
            f"{what}: {file} cannot be read as a CSV file ({type(error).__name__}); give one in UTF-8"
        ) from error
