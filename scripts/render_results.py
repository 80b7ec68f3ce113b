"""Writes the tables of measured figures into README.md and docs/ from the files in results/.

A table stands between two comments, of which the first says what it is made of: a file, a benchmark of it, and how its
figures stand, with the options of :class:`mer_zoo.reports.layout.Layout`.

    <!-- table results/mosi_cpu.csv "CMU-MOSI: MulT and CausalMER" by="metric" digits="1" -->
    <!-- end of table -->

    python scripts/render_results.py            # writes them; --check says which pages differ, and writes nothing
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from mer_zoo.errors import MERError
from mer_zoo.reports.layout import Layout, table_of
from mer_zoo.reports.measured import read_measured

ROOT = Path(__file__).parents[1]
REGION = re.compile(r"^<!-- table (?P<what>.*) -->\n(?P<table>(?:(?!<!-- ).*\n)*)<!-- end of table -->$", re.MULTILINE)


def pages(root: Path = ROOT) -> list[Path]:
    """All pages that may have tables.

    Args:
        root: The repository.
    """
    docs = (page for page in sorted((root / "docs").rglob("*.md")) if "generated" not in page.parts)
    return [root / "README.md", *docs]


def rendered(text: str, root: Path = ROOT) -> str:
    """A page with its tables made anew.

    Args:
        text: The page.
        root: The repository.

    Raises:
        MERError: For a comment that says something else, and for figures that there are not.
    """
    return REGION.sub(lambda region: _region(region["what"], root), text)


def _region(what: str, root: Path) -> str:
    try:
        file, benchmark, *options = shlex.split(what)
        layout = Layout(**dict(option.split("=", 1) for option in options))
    except (ValueError, TypeError) as error:
        raise MERError(f"<!-- table {what} --> can't be read ({error}); write FILE BENCHMARK NAME=VALUE ...") from error
    if not (root / file).is_file():
        raise MERError(f"<!-- table {what} -->: there is no file {file}")
    every = read_measured(root / file)
    figures = [figure for figure in every if figure.benchmark == benchmark]
    if not figures:
        known = ", ".join(dict.fromkeys(figure.benchmark for figure in every))
        raise MERError(f"<!-- table {what} -->: {file} has no benchmark {benchmark}; it has {known}")
    return f"<!-- table {what} -->\n{table_of(figures, layout).markdown()}\n<!-- end of table -->"


def main(args: Sequence[str] | None = None) -> int:
    """Write the tables, or say which pages are not made from the files.

    Args:
        args: The command line.

    Returns:
        1 where ``--check`` finds a page that differs.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where a page differs")
    check, differ = parser.parse_args(args).check, []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        new = rendered(text)
        if new != text:
            differ.append(page.relative_to(ROOT).as_posix())
            if not check:
                page.write_text(new, encoding="utf-8")
    if differ:
        sys.stdout.write(f"{'differ from results/' if check else 'written'}: {', '.join(differ)}\n")
    return int(check and bool(differ))


if __name__ == "__main__":
    sys.exit(main())
