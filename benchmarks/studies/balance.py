"""What the balancing methods have to act on: whose the parameters of every network are.

    python -m benchmarks.studies.balance --csv results/balance_cpu.csv

Each network at its default sizes with text features of a few steps and three classes; what its scores depend on is told
by the autograd graph of one forward pass (`mer_zoo.training.owners`), a second or less each.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from rich.console import Console

import mer_zoo.backbones
from benchmarks.options import add_results_options
from mer_zoo.batch import DataSpec
from mer_zoo.reports.measured import Measured, write_measured
from mer_zoo.task import SentimentClassification
from mer_zoo.training.owners import owners, shares_of

CONSOLE = Console()
BENCHMARK = "whose parameters"


def rows() -> Iterator[tuple[str, dict[str, float]]]:
    """Shares of every network, the largest share of single modalities first."""
    found = {}
    for name in mer_zoo.backbones.__all__:
        model = getattr(mer_zoo.backbones, name)(DataSpec(), SentimentClassification(3))
        found[name] = shares_of(model, owners(model))
    own = {name: sum(shares[modality] for modality in DataSpec().modalities) for name, shares in found.items()}
    yield from sorted(found.items(), key=lambda item: (-round(own[item[0]], 4), item[0]))


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_results_options(parser)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Print the shares in percent, and write them where a file is named."""
    options, figures = parser().parse_args(args), []
    for name, shares in rows():
        percent = {owner: f"{100 * share:.1f}" for owner, share in shares.items()}
        CONSOLE.print(name, ", ".join(f"{owner} {value}" for owner, value in percent.items()))
        figures += [
            Measured(BENCHMARK, name, "", owner, value, device="CPU", commit=options.commit, command=COMMAND)
            for owner, value in percent.items()
        ]
    if options.csv is not None:
        write_measured(options.csv, figures)


COMMAND = "python -m benchmarks.studies.balance --csv results/balance_cpu.csv"

if __name__ == "__main__":
    main()
