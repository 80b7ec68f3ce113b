"""``mer-zoo describe``: the statistics of a corpus as papers print them, in tables and pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

from mer_zoo.data.label_options import add_label_options, told_labels
from mer_zoo.data.roles import add_split_option, chosen_splits

__all__ = ["main"]

KINDS = ("png", "svg", "pdf")


def main(args: list[str]) -> None:
    """Run ``mer-zoo describe``.

    Args:
        args: Command line after the word describe.

    Raises:
        MERError: If the corpus cannot be read, or has faults.
    """
    parser = argparse.ArgumentParser(
        "mer-zoo describe",
        description="Statistics of a corpus as papers print them: samples, recordings, speakers and classes by split,"
        " lengths, features, words.",
        epilog="Example: mer-zoo describe unaligned_50.pkl --out statistics --latex table1.tex",
        allow_abbrev=False,
    )
    parser.add_argument("path", type=Path, help="a corpus file or folder, see docs/data.md, or SyntheticMER")
    parser.add_argument("--out", type=Path, help="folder for describe.md, describe.csv and pictures (png, svg, pdf)")
    for option, what in {
        "--markdown": "the tables in Markdown",
        "--latex": "the tables in LaTeX (booktabs)",
        "--csv": "every cell of the tables, a line each",
        "--html": "a page with tables and pictures",
    }.items():
        parser.add_argument(option, type=Path, metavar="FILE", help=f"file for {what}")
    parser.add_argument("--nan", choices=["error", "zero"], default="zero", help="whether NaN is refused or read as 0")
    add_label_options(parser)
    add_split_option(parser)
    options = parser.parse_args(args)
    told = told_labels(options)
    from mer_zoo.data.portrait.description import describe
    from mer_zoo.reports.tables import open_console
    from mer_zoo.runs.files import whole_file, write_csv

    found = describe(options.path, told, options.nan, chosen_splits(options))
    folder = None if options.out is None else options.out.expanduser()
    texts = {
        None if folder is None else folder / "describe.md": lambda: found.markdown(shown=True),
        options.markdown: found.markdown,
        options.latex: found.latex,
        options.html: found.html,
    }
    for path, write in texts.items():
        if path is not None:
            with whole_file(path.expanduser()) as part:
                part.write_text(write(), encoding="utf-8")
    for path in (None if folder is None else folder / "describe.csv", options.csv):
        if path is not None:
            write_csv(path.expanduser(), found.rows())
    if folder is not None:
        from mer_zoo.reports.pictures.style import save_picture

        for picture in found.pictures():
            for kind in KINDS:
                save_picture(picture.figure, folder / f"{picture.name}.{kind}")
    console = open_console()
    for table in found.tables:
        table.show(console)
