"""Prints the best possible accuracies on SyntheticMER (the tables of docs/synthetic.md).

python -m benchmarks.studies.bayes_synthetic
python -m benchmarks.studies.bayes_synthetic --samples 200000 --rho 0.9
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import get_args

from mer_zoo.batch import MODALITIES, availability_name
from mer_zoo.data.missing.pattern import AVAILABILITY
from mer_zoo.data.synthetic.bayes import Accuracy, Predictor, bayes_accuracy
from mer_zoo.data.synthetic.scm import SyntheticConfig

TESTS = ("test_iid", "test_ood", "test_rct")


def cell(accuracy: Accuracy) -> str:
    """Three classes and, behind the stroke, without neutral, in percent."""
    return f"{100 * accuracy.three:.1f} / {100 * accuracy.non_neutral:.1f}"


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--rho", type=float, default=0.8)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Print the two tables."""
    options = parser().parse_args(args)
    config = SyntheticConfig(rho=options.rho)
    worst = 0.0
    print("| predictor | topic | seen | IID | OOD | randomised trial |\n|---|---|---|---|---|---|")
    for available in reversed(AVAILABILITY):
        for predictor in get_args(Predictor):
            # Without text the topic shows nowhere; with a modality missing only the words' topic is of interest.
            for known in (False, True) if available == MODALITIES else (False,):
                row = [bayes_accuracy(config, split, predictor, options.samples, available, known) for split in TESTS]
                worst = max(worst, *(accuracy.non_neutral_error for accuracy in row))
                topic = "known" if known else "from words"
                print(f"| {predictor} | {topic} | {availability_name(available)} | {' | '.join(map(cell, row))} |")
    print(f"\nLargest standard error: {100 * worst:.2f} points.")


if __name__ == "__main__":
    main()
