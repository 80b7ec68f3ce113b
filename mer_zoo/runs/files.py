"""Files that appear whole or not at all."""

from __future__ import annotations

import csv
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["whole_file", "write_csv", "write_json", "write_rows"]

_CALLS = "|!("  # what a formula has that begins with a minus sign and does something; ids of videos begin with one too


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Hand out a temporary file that takes the place of ``path`` when the block ends without an error.

    What was written lies on the disk before it does, so that a power cut leaves the old file or the new one. The
    temporary file is new, so that writing it follows no link and empties nothing.

    Args:
        path: The file to write; its folder is made.

    Yields:
        Where to write, an empty file.

    Example:
        >>> from tempfile import mkdtemp
        >>> target = Path(mkdtemp()) / "note.txt"
        >>> with whole_file(target) as part:
        ...     _ = part.write_text("done")
        >>> target.read_text()
        'done'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.{path.name}")
    _make(part, path)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # that of a write knows no name
            error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def _make(part: Path, path: Path) -> None:
    try:
        part.touch(exist_ok=False)
    except OSError as error:
        error.filename = str(path)
        raise


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows to a CSV file, all or nothing; see :func:`write_rows`.

    Args:
        path: The file; its folder is made.
        rows: Dictionaries with equal keys.
    """
    write_rows(path, list(rows[0]) if rows else ["id"], rows)


def write_rows(path: Path, names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows to a CSV file, all or nothing; what a spreadsheet would run as a formula has an apostrophe in front.

    Only ids stay as they are, whatever they are: other tables are joined by them.

    Args:
        path: The file; its folder is made.
        names: Names of the columns.
        rows: Values by these names.

    Example:
        >>> from tempfile import mkdtemp
        >>> file = Path(mkdtemp()) / "a.csv"
        >>> write_rows(file, ["id", "model", "score"], [{"id": "=1", "model": "=1+1", "score": -1.5}])
        >>> file.read_text().split()
        ['id,model,score', "=1,'=1+1,-1.5"]
    """
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(map(_no_formula, names))
        for row in rows:
            values = ((name, row.get(name, "")) for name in names)
            writer.writerow(value if name == "id" else _no_formula(value) for name, value in values)


def _no_formula(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    start = value.lstrip()[:1]
    is_formula = start in ("=", "+", "@") or (start == "-" and any(call in value for call in _CALLS))
    return f"'{value}" if is_formula else value


def write_json(path: Path, content: Any) -> None:
    """Write plain values to a JSON file, all or nothing.

    Args:
        path: The file; its folder is made.
        content: Plain values.
    """
    with whole_file(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
