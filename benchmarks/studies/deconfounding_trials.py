"""What was tried to come nearer to the unconfounded network than PropensityWeighting does, on development seeds.

    python -m benchmarks.studies.deconfounding_trials run --out runs/trials
    python -m benchmarks.studies.deconfounding_trials run --out runs/trials --part 2/2   # beside 1/2
    python -m benchmarks.studies.deconfounding_trials run --out runs/trials --seeds 300 --methods "Masked"
    python -m benchmarks.studies.deconfounding_trials table runs/trials --select accuracy_deconfounded
    python -m benchmarks.studies.deconfounding_trials table runs/trials --csv results/deconfounding_trials_cpu.csv

Combinations of wrappers of the zoo, and the prototypes of deconfounding_prototypes, around a small network. Rows are
written as in benchmarks.studies.debias. What looks well here has yet to hold on seeds that
nothing was chosen on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.studies import debias_scm
from benchmarks.studies.debias import Comparison, add_method_options, make_jobs
from benchmarks.studies.debias_table import add_table_options, keep_figures, show_tables
from benchmarks.studies.debias_train import train
from benchmarks.studies.deconfounding_prototypes import PROTOTYPES
from benchmarks.studies.frame import Study, add_run_options

WEIGHT, EXCHANGE = (f"PropensityWeighting mode={mode}" for mode in ("weight", "exchange"))
VIEWS = "MSSD alpha=0 gamma=0"  # training on incomplete views alone
DRO = "GroupDRO step_size=0.1"
METHODS = (
    *("plain", "unconfounded", WEIGHT, EXCHANGE),
    *("Masked", "Masked at_test=false"),
    *(f"MSSD + {WEIGHT}", f"MSSD + {EXCHANGE}", f"{VIEWS} + {EXCHANGE}", "MSSD + Exchange mixed=true"),
    *("Exchange share=0.5", "Exchange share=0.5 rest=weight", "Exchange others=true", "Exchange share=0.6 others=true"),
    *("Exchange mixed=true", "Exchange views=2", "Exchange views=2 agree=1", "SelfTaught"),
    *("JTT", "JTT + Exchange", "RWG", DRO, f"{DRO} + Exchange", "OnlineWeights", "DoublyRobust"),
    *("Penalised", f"Penalised + {EXCHANGE}", "Penalised weight=10", f"Penalised weight=10 + {EXCHANGE}"),
    *("Penalised kind=adversary", f"Penalised kind=adversary + {EXCHANGE}"),
    *("DFR", f"DFR + {WEIGHT}", f"DFR + {EXCHANGE}", "MSSD"),
)
SIZES: dict[str, dict[str, Any]] = {"LFLSTM": {"dim": 32}}
RATES = {"LFLSTM": 2e-3}
RHOS, SEEDS = "0.9,0.8,1/3", "300,301,302,303"
CHOICES = "accuracy,accuracy_deconfounded"


def comparison(options: argparse.Namespace) -> Comparison:
    """The comparison that the options of ``run`` describe, with the prototypes and a network of its own."""
    asked = debias_scm.comparison(options)
    kept = {**asked.options, "sizes": SIZES, "rates": RATES}
    return replace(asked, options=kept, sizes=SIZES, rates=RATES, prototypes=PROTOTYPES)


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run")
    add_run_options(runs, SEEDS, epochs=10, batch_size=64)
    add_method_options(runs)
    runs.set_defaults(methods=",".join(METHODS), backbones="LFLSTM", choices=CHOICES, label_shifts="0")
    runs.add_argument("--rhos", default=RHOS)
    runs.add_argument("--positive_share", type=float, help="of the training split, see SyntheticConfig")
    runs.add_argument("--samples", default="2000,400,1000", help="of train, valid and each test split")
    add_table_options(commands.add_parser("table"))
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run trials, or show what came of them."""
    options = parser().parse_args(args)
    if options.command == "table":
        shown = show_tables(options.folder, options.choice, options.methods, options.against, options.base)
        keep_figures(shown, options, "benchmarks.studies.deconfounding_trials")
        return
    asked = comparison(options)
    settings = [debias_scm.setting(rho) for rho in options.rhos.split(",")]
    jobs = make_jobs(asked, options.methods, options.backbones, settings, options.seeds)
    Study(options.out, asked.options, partial(train, asked)).run(jobs, options.part)


if __name__ == "__main__":
    main()
