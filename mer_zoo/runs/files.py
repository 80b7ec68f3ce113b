"""Files that appear whole or not at all."""

from __future__ import annotations

import csv
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["whole_file", "write_csv", "write_json"]


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
    """Write rows to a CSV file, all or nothing.

    Args:
        path: The file; its folder is made.
        rows: Dictionaries with equal keys.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["id"])
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, content: Any) -> None:
    """Write plain values to a JSON file, all or nothing.

    Args:
        path: The file; its folder is made.
        content: Plain values.
    """
    with whole_file(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
