"""Debiasers against known truth: SyntheticMER from no confounding to strong, two backbones, a table and a picture.

    python -m benchmarks.studies.debias_scm run --out runs/debias
    python -m benchmarks.studies.debias_scm run --out runs/debias --part 2/2   # every second training, beside 1/2
    python -m benchmarks.studies.debias_scm run --out runs/debias --methods "PropensityWeighting strength=0.5"
    python -m benchmarks.studies.debias_scm run --out runs/debias --label_shifts=-0.267,0.267
    python -m benchmarks.studies.debias_scm table runs/debias
    python -m benchmarks.studies.debias_scm table runs/debias --csv results/debias_scm_cpu.csv --benchmark SyntheticMER
    python -m benchmarks.studies.debias_scm recalls runs/debias
    python -m benchmarks.studies.debias_scm picture runs/debias debias.png

Every seed has a corpus of its own. The randomised trial (rct) is the truth that debiasing aims at, and the gap is what
a method lacks to the plain network that was trained where topic and emotion are independent (rho 1/3), tested on the
same samples. With label shifts every training is tested once more on test splits whose P(Y) is another one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from typing import Any

from benchmarks.studies.debias import RATES, SIZES, Comparison, add_method_options, chosen, make_jobs
from benchmarks.studies.debias_picture import add_picture_options, write_picture
from benchmarks.studies.debias_table import (
    add_csv_options,
    add_shown_options,
    add_table_options,
    keep_figures,
    show_recalls,
    show_tables,
)
from benchmarks.studies.debias_train import train
from benchmarks.studies.frame import Study, add_run_options
from mer_zoo.data.datamodule import MERDataModule, SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig

RHOS = ("0.8", "0.9", "1/3", "0.6")


def setting(rho: str, label_shift: str = "0") -> str:
    """Name of the setting with a strength of confounding and a shift of the labels in testing."""
    shift = float(label_shift)
    return f"rho {float(Fraction(rho)):.3g}" + (f", labels {shift:+.3g}" if shift else "")


def comparison(options: argparse.Namespace) -> Comparison:
    """The comparison that the options of ``run`` describe."""
    train, valid, test = map(int, options.samples.split(","))
    rhos, shifts = dict.fromkeys((*RHOS, *options.rhos.split(","))), options.label_shifts.split(",")
    worlds = {setting(rho, shift): (float(Fraction(rho)), float(shift)) for rho in rhos for shift in ("0", *shifts)}
    tested = {setting(rho): [setting(rho, shift) for shift in shifts if float(shift)] for rho in rhos}

    def load(name: str, seed: int) -> MERDataModule:
        rho, shift = worlds[name]
        labels: dict[str, Any] = {"positive_share": options.positive_share, "label_shift": shift}
        scm = SyntheticConfig(train=train, valid=valid, test=test, rho=rho, seed=seed, **labels)
        return SyntheticMER(scm, batch_size=options.batch_size)

    kept = {"epochs": options.epochs, "batch_size": options.batch_size, "rates": RATES, "sizes": SIZES}
    kept["samples"] = [train, valid, test]
    if options.positive_share is not None:
        kept["positive_share"] = options.positive_share
    choices = chosen(options)
    return Comparison(load, kept, list(worlds), reference=setting("1/3"), choices=choices, tested=tested)


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run")
    add_run_options(runs, seeds="0,1,2,3,4", epochs=10, batch_size=64)
    add_method_options(runs)
    runs.add_argument("--rhos", default=",".join(RHOS))
    runs.add_argument("--label_shifts", default="0", help="of the test splits; 0 is always among them")
    runs.add_argument("--positive_share", type=float, help="of the training split, see SyntheticConfig")
    runs.add_argument("--samples", default="2000,400,1000", help="of train, valid and each test split")
    add_table_options(commands.add_parser("table"))
    recalled = commands.add_parser("recalls")
    add_shown_options(recalled)
    add_csv_options(recalled)
    drawn = commands.add_parser("picture")
    add_shown_options(drawn)
    add_picture_options(drawn)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run methods, or show what came of them."""
    options = parser().parse_args(args)
    if options.command == "table":
        shown = show_tables(options.folder, options.choice, options.methods, options.against, options.base)
        keep_figures(shown, options, "benchmarks.studies.debias_scm")
    elif options.command == "recalls":
        shown = show_recalls(options.folder, options.choice, options.methods, options.against)
        keep_figures(shown, options, "benchmarks.studies.debias_scm")
    elif options.command == "picture":
        write_picture(options.folder, options.file, options.choice, options.methods, options.against, options.least)
    else:
        asked = comparison(options)
        settings = [setting(rho) for rho in options.rhos.split(",")]
        jobs = make_jobs(asked, options.methods, options.backbones, settings, options.seeds)
        Study(options.out, asked.options, partial(train, asked)).run(jobs, options.part)


if __name__ == "__main__":
    main()
