"""``mer-zoo explain``: what a trained model answers to single samples, and what its answer comes of."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mer_zoo.cli.opening import open_run
from mer_zoo.errors import MERError
from mer_zoo.explain.explanation import explain
from mer_zoo.explain.gradients import STEPS
from mer_zoo.explain.page import markdown, write_explanations
from mer_zoo.explain.samples import complete_condition, find_condition, find_samples
from mer_zoo.explain.words import token_names
from mer_zoo.text import shown

__all__ = ["main"]


def main(args: list[str]) -> None:
    """Run ``mer-zoo explain``.

    Args:
        args: Command line after the word explain.

    Raises:
        MERError: If the run can't be opened, or has no such sample or condition.
    """
    options, others = _parser().parse_known_args(args)
    odd = next((word for word in others if word.startswith("-") and not word.startswith("--data")), None)
    if odd is not None:
        raise MERError(
            f"explain has no option {odd}; mer-zoo explain --help names all, and options of --data are taken"
        )
    opened = open_run(options.run, others, options.module)
    data, model = opened.data, opened.model
    named = None if options.condition is None else find_condition(data, options.condition)
    if named is not None and named.source is not None:
        raise MERError(f"condition {named.name!r} is of another corpus; give its file as --data.path")
    split, places = find_samples(data, options.sample, None if named is None else named.split)
    condition = named or complete_condition(data, split)
    batch = data.samples(condition, places)
    found = explain(model, batch, condition.name, token_names(data, split), options.words, options.steps)
    sys.stdout.write(markdown(found, model.label))
    if options.out is not None:
        write_explanations(options.out, found, model.label)
        sys.stdout.write(f"\nwritten: {shown(str(options.out))} (explain.md, effects.csv, the bars as png and svg)\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "mer-zoo explain",
        description="What a trained model answers to samples, and what its answer comes of: without each modality, by"
        " the effects of its wrappers, by its words.",
        epilog="Options of the data, such as --data.path new.pkl, are taken as mer-zoo test takes them.",
        usage="mer-zoo explain RUN --sample ID [ID ...] [options]",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, or a checkpoint in it")
    parser.add_argument("--sample", nargs="+", required=True, metavar="ID", help="ids of samples, of one split")
    parser.add_argument("--condition", help="a test condition under which they are seen, such as {l,a} or 'RMFM 0.3'")
    parser.add_argument("--words", action="store_true", help="integrated gradients of each word too, by captum")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"points of their integral (default: {STEPS})")
    parser.add_argument("--out", type=Path, help="folder for explain.md, effects.csv and the bars")
    parser.add_argument(
        "--module", action="append", default=[], help="a module of yours that defines a part of the model"
    )
    return parser
