"""Which group a sample is of, as a source of bias: its recording, or what a file says of it, such as the speaker."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mer_zoo.data.corpus.checks import plural
from mer_zoo.data.corpus.overlap import recordings
from mer_zoo.errors import MERError
from mer_zoo.foreign import read_regular

__all__ = ["Groups", "read_groups"]

LARGEST = 64 * 2**20  # bytes of the file


class Groups:
    """Names of the groups of samples by their ids.

    Args:
        of: A CSV file with a column ``id`` and another one, or a mapping from id to group; None for the recording that
            an id tells.

    Raises:
        MERError: If the file cannot be read as such.

    Example:
        >>> Groups().names(["a$_$1", "b$_$1"]), Groups({"x": 0}).names(["x", "y"])
        (['a', 'b'], ['0', ''])
    """

    def __init__(self, of: str | Path | Mapping[Any, Any] | None = None) -> None:
        if isinstance(of, Mapping):
            self.of: Mapping[str, str] | None = {str(name): str(group) for name, group in of.items()}
        else:
            self.of = None if of is None else read_groups(Path(of))

    def names(self, ids: Sequence[str]) -> list[str]:
        """The group of each sample, empty where it is not known."""
        if self.of is None:
            return recordings(ids) or [""] * len(ids)
        return [self.of.get(name, "") for name in ids]

    def check(self, ids: Sequence[str]) -> list[str]:
        """The groups of samples that must have one.

        Raises:
            MERError: If one has none.
        """
        names = self.names(ids)
        lacking = [name for name, group in zip(ids, names, strict=True) if not group]
        if lacking and self.of is None:
            raise MERError(
                f"ids such as {lacking[0]!r} do not tell the recording; set source: groups, and groups to a CSV file"
                f" with the columns id"
                " and group"
            )
        if lacking:
            raise MERError(
                f"{plural(len(lacking), 'training sample')} have no group, {lacking[0]!r} for one; give groups a line"
                f" for each id"
            )
        return names


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
