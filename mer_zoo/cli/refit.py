"""``mer-zoo refit``: the last layer of a trained model, fitted again to validation groups of equal size."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any, get_args

from mer_zoo.cli.derived import check_options, check_out, metrics_row, parser_of, show, write_derived
from mer_zoo.cli.opening import open_run
from mer_zoo.confounding import WorstGroup
from mer_zoo.errors import MERError
from mer_zoo.text import shown
from mer_zoo.training.kept import calibrate
from mer_zoo.training.preparing import prepare
from mer_zoo.training.scoring import score
from mer_zoo.wrappers.dfr import DFR, Penalty

__all__ = ["main"]


def main(args: list[str]) -> None:
    """Run ``mer-zoo refit``.

    Args:
        args: Command line after the word refit.

    Raises:
        MERError: If the run can't be opened, its scores are not made of features, or no layer can be fitted.
    """
    options, others = _parser().parse_known_args(args)
    check_options("refit", others)
    check_out(options.out, options.run, options.overwrite)
    opened = open_run(options.run, others, options.module)
    names = ("groups", "retrains", "penalty", "min_group")
    given: dict[str, Any] = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    model = DFR(opened.model, **given).eval()
    prepare(model, lambda: opened.data.batch_source("train"))
    worst = WorstGroup(model)
    valid = score(model, opened.data.batch_source("valid"), keep=worst.effects)
    own = replace(valid, logits=valid.effects["base"], effects=dict(valid.effects))
    calibrate(model, valid)
    if not model.fitted.any():
        raise MERError(f"{shown(model.notes()[0])}; give groups of which both halves have two, or more samples")
    rows = [
        metrics_row(name, model.task, replace(scores, effects={}), worst.measure(scores, quiet=True))
        for name, scores in (("the network's own layer", own), ("fitted to the other half", valid))
    ]
    show("Validation split", rows, model.notes())
    sys.stdout.write(write_derived(opened, options.out, model, given, others, options.overwrite))


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(
        "refit",
        "folder of the run with the new layer",
        "Fit the last layer of a trained model again, to validation samples whose groups of label and"
        " attribute are of equal size (DFR).",
        usage="mer-zoo refit RUN --out FOLDER [options]",
    )
    parser.add_argument(
        "--groups", help="words (default), recording, speaker, dialogue, or a CSV file with the columns id and group"
    )
    parser.add_argument("--retrains", type=int, help="balanced subsets whose fits are averaged (default: 20)")
    parser.add_argument("--penalty", choices=get_args(Penalty), help="default: l1, of a single score l2")
    parser.add_argument("--min-group", type=int, help="fewest training samples of a group (default: 10)")
    return parser
