"""Files that say which group, such as a speaker or a film, each sample is of."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from mer_zoo.errors import MERError
from mer_zoo.foreign import read_regular

__all__ = ["read_groups"]

LARGEST = 64 * 2**20  # bytes of the file


def read_groups(path: Path) -> dict[str, str]:
    r"""Read the group of each sample.

    Args:
        path: A CSV file with the columns ``id`` and, of whatever name, the group.

    Raises:
        MERError: Naming the file and what is wrong.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "speakers.csv"
        >>> _ = path.write_text("id,speaker\n1,Ann\n2,Bob\n")
        >>> read_groups(path)
        {'1': 'Ann', '2': 'Bob'}
    """
    try:
        rows = list(csv.reader(io.StringIO(read_regular(path, LARGEST).decode("utf-8-sig"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MERError(
            f"groups: {path} cannot be read as a CSV file ({type(error).__name__}); give one in UTF-8"
        ) from error
    if not rows or len(rows[0]) != 2 or rows[0][0] != "id":
        raise MERError(f"groups: {path} does not begin with a line of two columns, id and group; name them so")
    found: dict[str, str] = {}
    for line, row in enumerate(rows[1:], 2):
        if not row:
            continue
        if len(row) != 2 or not all(row) or row[0] in found:
            raise MERError(f"groups: line {line} of {path} is not an id of its own and a group; mend that line")
        found[row[0]] = row[1]
    return found
