"""Prints the best possible accuracies on SyntheticMER (the tables of docs/synthetic.md).

python -m benchmarks.studies.bayes_synthetic
python -m benchmarks.studies.bayes_synthetic --samples 200000 --rho 0.9
python -m benchmarks.studies.bayes_synthetic --samples 50000 --positive_share 0.674 --label_shift=-0.267
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import get_args

from mer_zoo.batch import MODALITIES, availability_name
from mer_zoo.data.missing.pattern import AVAILABILITY
from mer_zoo.data.synthetic.bayes import Accuracy, Predictor, Prior, bayes_accuracy
from mer_zoo.data.synthetic.scm import SyntheticConfig, emotion_prior

TESTS = ("test_iid", "test_ood", "test_rct")


def cell(accuracy: Accuracy) -> str:
    """Three classes and, behind the stroke, without neutral, in percent."""
    return f"{100 * accuracy.three:.1f} / {100 * accuracy.non_neutral:.1f}"


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--rho", type=float, default=0.8)
    parser.add_argument("--positive_share", type=float, help="see SyntheticConfig")
    parser.add_argument("--label_shift", type=float, default=0.0, help="see SyntheticConfig")
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Print the table of all sets of modalities, or where P(Y) isn't the default that of both priors."""
    options = parser().parse_args(args)
    labels = {"positive_share": options.positive_share, "label_shift": options.label_shift}
    config = SyntheticConfig(rho=options.rho, **labels)
    table = by_modalities if config == SyntheticConfig(rho=options.rho) else by_prior
    worst = table(config, options.samples)
    print(f"\nLargest standard error: {100 * worst:.2f} points.")


def by_modalities(config: SyntheticConfig, samples: int) -> float:
    """A row a set of modalities and predictor; the largest standard error."""
    worst = 0.0
    print("| predictor | topic | seen | IID | OOD | randomised trial |\n|---|---|---|---|---|---|")
    for available in reversed(AVAILABILITY):
        for predictor in get_args(Predictor):
            # Without text the topic shows nowhere; with a modality missing only the words' topic is of interest.
            for known in (False, True) if available == MODALITIES else (False,):
                row = [bayes_accuracy(config, split, predictor, samples, available, known) for split in TESTS]
                worst = max(worst, *(accuracy.non_neutral_error for accuracy in row))
                topic = "known" if known else "from words"
                print(f"| {predictor} | {topic} | {availability_name(available)} | {' | '.join(map(cell, row))} |")
    return worst


def by_prior(config: SyntheticConfig, samples: int) -> float:
    """A row a prior and predictor, with all modalities; the largest standard error."""
    worst = 0.0
    trained, tested = (emotion_prior(config, split) for split in ("train", "test_iid"))
    shares = " to ".join(f"{100 * prior[2] / (prior[0] + prior[2]):.1f}" for prior in (trained, tested))
    print("| positive, % | P(Y) of | predictor | IID | OOD | randomised trial |\n|---|---|---|---|---|---|")
    for prior in get_args(Prior) if config.label_shift else get_args(Prior)[:1]:
        for predictor in get_args(Predictor):
            row = [bayes_accuracy(config, split, predictor, samples, prior=prior) for split in TESTS]
            worst = max(worst, *(accuracy.non_neutral_error for accuracy in row))
            print(f"| {shares} | {prior} | {predictor} | {' | '.join(map(cell, row))} |", flush=True)
    return worst


if __name__ == "__main__":
    main()
