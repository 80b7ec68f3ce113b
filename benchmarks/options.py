"""Options that the scripts share."""

from __future__ import annotations

import argparse
from pathlib import Path

from mer_zoo.runs.provenance import code_state

__all__ = ["add_csv_option", "add_results_options", "this_commit"]


def add_csv_option(parser: argparse.ArgumentParser) -> None:
    """The option of what writes figures of records, which tell their commit, to ``results/``."""
    parser.add_argument("--csv", type=Path, help="a file of results/ that gets the figures")


def add_results_options(parser: argparse.ArgumentParser) -> None:
    """Options of what measures, and writes figures to ``results/``."""
    add_csv_option(parser)
    parser.add_argument("--commit", default=this_commit(), help="with which they came; this tree's when left out")


def this_commit() -> str:
    """The commit of this tree, with a + where files differ from it; empty where there is none."""
    state = code_state()
    return "" if state is None else f"{state['commit'][:7]}{'+' * state['dirty']}"
