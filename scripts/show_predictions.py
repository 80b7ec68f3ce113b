"""Print a table of predictions: what is predicted of each sample, with its probabilities."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mer_zoo.text import shown

PROBABILITY = "p_"


def main(path: Path) -> None:
    """Print the table of a file.

    Args:
        path: predictions.csv of a run.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    shares = [name for name in rows[0] if name.startswith(PROBABILITY)]
    table = Table("id", "predicted", *(name.removeprefix(PROBABILITY) for name in shares), "likely")
    for row in rows:
        told = [row["id"], row["class"], *(f"{100 * float(row[name]):.0f} %" for name in shares), row.get("set", "")]
        table.add_row(*map(shown, told))
    Console().print(table)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
