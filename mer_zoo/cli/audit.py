"""``mer-zoo audit``: is this number possible? One page of findings on a corpus, and on runs on it."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from mer_zoo.errors import MERError

__all__ = ["main"]


def main(args: list[str]) -> int:
    """Run ``mer-zoo audit``.

    Args:
        args: Command line after the word audit.

    Returns:
        1 where a leak was found, else 0.

    Raises:
        MERError: If the data or a run cannot be read, or a run is of other data.
    """
    options = _parser().parse_args(args)
    ceilings = _ceilings(options.ceiling)
    if options.seed < 0:
        raise MERError(f"--seed is {options.seed}; give a number from 0 on")
    from mer_zoo.audit import audit
    from mer_zoo.runs.files import whole_file, write_json

    modalities = options.modalities.split(",")
    page = audit(options.data, options.runs, modalities, options.groups, ceilings, options.module, options.seed)
    sys.stdout.write("\n".join(page.lines()) + "\n")
    if options.json is not None:
        write_json(options.json.expanduser(), page.plain())
    if options.out is not None:
        with whole_file(options.out.expanduser()) as part:
            part.write_text(page.markdown(), encoding="utf-8")
    return page.exit_code


def _ceilings(given: Sequence[str]) -> dict[str, float]:
    found = {}
    for word in given:
        name, _, value = word.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = math.nan
        if not name or not math.isfinite(found[name]):
            raise MERError(f"--ceiling {word} is no metric and figure; write it as in --ceiling Acc2_non0=0.857")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "mer-zoo audit",
        description="Look for reasons not to believe figures: overlapping splits, copies, features that hold the label,"
        " scalers fitted on test, labels read at prediction, constant answers, a text-only head that wins. The exit"
        " code is 1 where there is a leak.",
        epilog="Example: mer-zoo audit unaligned_50.pkl runs/mosi/mult/version_0 --json audit.json",
        allow_abbrev=False,
    )
    parser.add_argument("data", type=Path, help="a corpus file or folder, a store, or the config.yaml of a run")
    parser.add_argument("runs", nargs="*", type=Path, help="folders of runs on it")
    parser.add_argument(
        "--modalities", default="text,audio,vision", help="what is looked at, such as text,audio (default: all)"
    )
    parser.add_argument("--groups", type=Path, metavar="FILE", help="CSV file with id and who speaks")
    parser.add_argument(
        "--ceiling",
        action="append",
        default=[],
        metavar="METRIC=VALUE",
        help="what annotators agree on, such as Acc2_non0=0.857; what is beyond it is told",
    )
    parser.add_argument(
        "--module",
        action="append",
        default=[],
        help="a module of yours that defines a part of the model; it is imported",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the findings as JSON")
    parser.add_argument("--out", type=Path, metavar="FILE", help="file for the page in Markdown")
    parser.add_argument("--seed", type=int, default=0, help="chooses samples where there are too many (default: 0)")
    return parser
