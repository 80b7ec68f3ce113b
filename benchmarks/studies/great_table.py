"""The great table: every wrapper of the zoo under every condition, on known truth and on real text.

    python -m benchmarks.studies.great_table synthetic --out runs/great
    python -m benchmarks.studies.great_table synthetic --out runs/great --part 2/2   # beside 1/2
    python -m benchmarks.studies.great_table mosi unaligned_50.pkl --out runs/great_mosi
    python -m benchmarks.studies.great_table meld meld.npz --out runs/great_meld
    python -m benchmarks.studies.great_table table runs/great --select accuracy_deconfounded --against accuracy
    python -m benchmarks.studies.great_table table runs/great --csv results/great_cpu.csv --benchmark SyntheticMER
    python -m benchmarks.studies.great_table table runs/more --csv results/great_cpu.csv --benchmark SyntheticMER --add

A wrapper that lands in the zoo has a row here without further ado: by its defaults, or by the options that ``OPTIONS``
gives it. One that a network does not take is named and left out. A record is one training, tested under all conditions:
as in training, out of distribution, in the randomised trial, there with other shares of the labels, without each
modality, and in the group of label and topic that it is worst in. On SyntheticMER topics are known; on CMU-MOSI the
attribute is the class that the biased words of a sample go with, as propensities of the training split say. MELD's
part is benchmarks.studies.speakers with all wrappers, grouped by who speaks.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

import mer_zoo.wrappers
from benchmarks.studies import debias_mosi, debias_scm, speakers
from benchmarks.studies.debias import Comparison, add_method_options, make_jobs
from benchmarks.studies.debias_table import add_table_options
from benchmarks.studies.debias_train import train
from benchmarks.studies.frame import Study, add_run_options, digits
from benchmarks.studies.great_table_shown import SHIFTED, show
from benchmarks.studies.transcripts import CHANCE, SPEAKERS
from mer_zoo.batch import LETTERS
from mer_zoo.confounding import Propensity
from mer_zoo.data.datamodule import MERDataModule, SyntheticMER
from mer_zoo.data.missing.conditions import Condition
from mer_zoo.data.missing.pattern import SMM
from mer_zoo.data.synthetic.generate import latents

OPTIONS: dict[str, tuple[str, ...]] = {
    "CausalMER": ("CausalMER fusion=mask",),
    "GroupDRO": ("GroupDRO step_size=0.1",),
    "PropensityWeighting": ("PropensityWeighting mode=weight", "PropensityWeighting mode=exchange"),
}
"""Rows of wrappers that are not run by their defaults alone."""
BY_SPEAKER: dict[str, tuple[str, ...]] = {
    **{name: (f"{name} groups=speaker",) for name in ("DFR", "GroupDRO", "RWG")},
    "PropensityWeighting": ("PropensityWeighting source=groups groups=speaker", "PropensityWeighting"),
}
"""The same where speakers are known."""
RHOS, SHIFT, SEEDS = "1/3,0.8,0.9", "-0.267", "400,401,402,403,404"
CHOICES = "accuracy,accuracy_deconfounded"
AIMS = {"rct": "test_rct", "ood": "test_ood", "iid": "test"}  # where modalities are missing: the first that there is


def methods(options: dict[str, tuple[str, ...]] = OPTIONS) -> list[str]:
    """A row of every wrapper of the zoo, or several, between the plain network and the one without confounding.

    Args:
        options: By wrapper its rows; others have one, by their defaults.
    """
    rows = [row for name in sorted(mer_zoo.wrappers.__all__) for row in options.get(name, (name,))]
    return ["plain", *rows, "unconfounded"]


def aim_of(data: MERDataModule) -> str:
    """The test split that matters most."""
    return next(split for split in AIMS.values() if split in data.corpus.splits)


def without_each(data: MERDataModule) -> list[Condition]:
    """Conditions that each lack one modality, in the split that matters most."""
    split, names = aim_of(data), data.spec.modalities
    rest = {name: [other for other in names if other != name] for name in names}
    return [Condition(f"without {LETTERS[name]}", split, SMM(others)) for name, others in rest.items() if others]


def with_missing(asked: Comparison) -> Comparison:
    """The comparison, tested without each modality as well; with other labels, where it matters most alone."""

    def load(name: str, seed: int) -> MERDataModule:
        data = asked.load(name, seed)
        if SHIFTED in name:
            data.conditions = [condition for condition in data.conditions if condition.split == aim_of(data)]
        else:
            data.conditions = [*data.conditions, *without_each(data)]
        return data

    return replace(asked, load=load)


def topics(data: MERDataModule, split: str) -> str:
    """The topic behind each sample of SyntheticMER."""
    assert isinstance(data, SyntheticMER)
    return digits(torch.from_numpy(latents(data.scm, split).topic))


def said_by_words(data: MERDataModule, split: str) -> str:
    """The class that the biased words of each sample go with."""
    fitted = Propensity(data.spec, data.task)
    fitted.fit(data.batch_source("train"))
    found = [(fitted.log_p(batch).argmax(-1), batch.index) for batch in data.batch_source(split)]
    said, index = (torch.cat(column) for column in zip(*found, strict=True))
    return digits(said[index.argsort()])


def run_synthetic(options: argparse.Namespace) -> None:
    """Train on SyntheticMER."""
    asked = replace(with_missing(debias_scm.comparison(options)), attributes=topics)
    settings = [debias_scm.setting(rho) for rho in options.rhos.split(",")]
    _run(asked, options, settings)


def run_mosi(options: argparse.Namespace) -> None:
    """Train on a CMU-MOSI file: its official folds, and splits in which words mean other classes."""
    asked = replace(with_missing(debias_mosi.comparison(options)), attributes=said_by_words)
    _run(asked, options, asked.settings)


def _run(asked: Comparison, options: argparse.Namespace, settings: Sequence[str]) -> None:
    jobs = make_jobs(asked, options.methods, options.backbones, settings, options.seeds)
    Study(options.out, asked.options, partial(train, asked)).run(jobs, options.part)


def run_meld(options: argparse.Namespace) -> None:
    """Train on transcripts whose speakers are known."""
    given = {name: getattr(options, name) for name in ("out", "seeds", "epochs", "batch_size", "part", "methods")}
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    speakers.main(["run", str(options.path), *words, "--settings", f"{CHANCE},{SPEAKERS}"])


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("synthetic", "mosi", "meld"):
        runs = commands.add_parser(name)
        if name != "synthetic":
            runs.add_argument("path", type=Path)
        add_run_options(runs, SEEDS, speakers.EPOCHS if name == "meld" else 10, 64)
        if name == "meld":
            rows = [row for row in methods(BY_SPEAKER) if row != "unconfounded"]
            runs.add_argument("--methods", default=",".join(rows))
            continue
        add_method_options(runs)
        runs.set_defaults(methods=",".join(methods()), choices=CHOICES)
        runs.add_argument("--label_shifts", default=SHIFT if name == "synthetic" else "0", help="of the test splits")
        if name == "synthetic":
            runs.add_argument("--rhos", default=RHOS)
            runs.add_argument("--positive_share", type=float, default=0.674, help="see SyntheticConfig")
            runs.add_argument("--samples", default="2000,400,1000", help="of train, valid and each test split")
    add_table_options(commands.add_parser("table"))
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Train wrappers, or show what came of them."""
    options = parser().parse_args(args)
    commands = {"synthetic": run_synthetic, "mosi": run_mosi, "meld": run_meld, "table": show}
    commands[options.command](options)


if __name__ == "__main__":
    main()
