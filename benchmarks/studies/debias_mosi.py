"""Debiasers on a CMU-MOSI file: its official folds, and splits in which words mean other classes in testing.

    python -m benchmarks.studies.debias_mosi run unaligned_50.pkl --out runs/debias_mosi
    python -m benchmarks.studies.debias_mosi run unaligned_50.pkl --out runs/debias_mosi --label_shifts cider-mosei
    python -m benchmarks.studies.debias_mosi table runs/debias_mosi
    python -m benchmarks.studies.debias_mosi words unaligned_50.pkl --out runs/debias_mosi

Every seed has an OOD split of its own, made as by ``mer-zoo split-ood --task binary --seed SEED`` under OUT/splits, and
one for each label shift asked for; these differ in training, too. The same clips stand in several of them, so intervals
resample recordings over all seeds. There is no truth here: that a method gains on a split made to shift its words says
that it heeds them less, not that it knows the sentiment better, and no network without confounding is at hand.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import get_args

import torch
from rich.console import Console
from torch import Tensor

from benchmarks.studies.debias import RATES, SIZES, Comparison, add_method_options, chosen, make_jobs
from benchmarks.studies.debias_table import add_table_options, keep_figures, show_tables
from benchmarks.studies.debias_train import train
from benchmarks.studies.frame import Study, add_run_options
from mer_zoo.confounding.propensity import Propensity
from mer_zoo.confounding.report import class_shares
from mer_zoo.confounding.trace import WordRule, Words, WordTrace
from mer_zoo.data.datamodule import MOSI, MERDataModule
from mer_zoo.data.ood.resplit import split_ood
from mer_zoo.data.store.cache import lock
from mer_zoo.reports.tables import Table

OFFICIAL, OOD = "official folds", "OOD splits"
MODALITIES = ("text", "audio")  # the public vision features give test labels away


def ood_split(path: Path, out: Path, seed: int, label_shift: str = "0") -> Path:
    """The OOD split of a seed, made where it is not there yet."""
    folder = out / "splits" if label_shift == "0" else out / "splits" / f"labels {label_shift}"
    store = folder / f"seed{seed}"
    with lock(folder / f".making{seed}"):
        if not (store / "corpus.json").exists():
            split_ood(path, store, "binary", seed=seed, label_shift=label_shift)
    return store


def comparison(options: argparse.Namespace) -> Comparison:
    """The comparison that the options of ``run`` describe."""
    shifts = {OOD if shift == "0" else f"{OOD}, labels {shift}": shift for shift in options.label_shifts.split(",")}

    def load(name: str, seed: int) -> MERDataModule:
        path = options.path if name == OFFICIAL else ood_split(options.path, options.out, seed, shifts[name])
        return MOSI(str(path), options.batch_size, "binary", modalities=MODALITIES)

    kept = {"epochs": options.epochs, "batch_size": options.batch_size, "rates": RATES, "sizes": SIZES}
    kept["file"] = options.path.name
    return Comparison(load, kept, [OFFICIAL, *shifts], fresh=False, choices=chosen(options))


def list_words(path: Path, out: Path, rule: WordRule, shown: int) -> None:
    """Print the words that PropensityWeighting calls biased in a training split, with their classes in both splits."""
    console = Console(width=140)
    word_table(OFFICIAL, path, "test", rule, shown).show(console)
    for store in sorted((out / "splits").glob("seed*")):
        word_table(store.name, store, "test_ood", rule, shown).show(console)


def word_table(title: str, path: Path, test: str, rule: WordRule, shown: int) -> Table:
    """The biased words of one corpus, the most frequent first."""
    data = MOSI(str(path), 64, "binary", modalities=MODALITIES)
    fitted = Propensity(data.spec, data.task, rule)
    fitted.fit(data.batch_source("train"))
    (found,) = fitted.report["problems"]
    tested = fitted.reader.read(data.batch_source(test), lambda batch: fitted.classes(batch.target))
    later = _shares(WordTrace(tested.words, tested.classes[:, 0], fitted.shape[-1], rule), fitted.words)
    rows = [
        [
            ", ".join([word["word"], *word.get("piece_of", [])]),
            str(word["count"]),
            *map(_percent, (word["shares"], word["weighted_shares"], then)),
        ]
        for word, then in zip(found["words"], later, strict=False)  # later goes on with absent words
    ]
    header = ["word", "count", "in training", "weighted", f"in {test}"]
    title = f"{title}: {len(rows)} biased words; share of negative / neutral / positive, %"
    note = (
        f"Gain over the class shares on samples not seen {found['gain']:.4f} nats, standard error"
        f" {float(fitted.error):.4f}; the gate is"
        f" {'open' if found['open'] else 'closed'}. Effective sample size {float(fitted.ess):.0f} of"
        f" {len(fitted.target)}."
    )
    return Table(title, header, rows[:shown], [note])


def _shares(trace: WordTrace, words: Tensor) -> list[list[float]]:
    """P(class | word) of words in another split."""
    return class_shares(trace.count(words), trace.y, trace.num_classes, torch.ones(len(trace.y))).tolist()


def _percent(shares: Sequence[float]) -> str:
    return " / ".join(f"{100 * share:.0f}" for share in shares) if any(shares) else "-"


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run")
    runs.add_argument("path", type=Path)
    add_run_options(runs, seeds="0,1,2,3,4", epochs=10, batch_size=64)
    add_method_options(runs)
    runs.add_argument("--label_shifts", default="0", help="of the OOD splits: numbers or presets of mer-zoo split-ood")
    runs.add_argument("--official", choices=["yes", "no"], default="yes", help="whether to train on the official folds")
    add_table_options(commands.add_parser("table"))
    listed = commands.add_parser("words")
    listed.add_argument("path", type=Path)
    listed.add_argument("--out", type=Path, required=True)
    listed.add_argument(
        "--words", default="frequent", choices=get_args(Words), help="the rule by which words are chosen"
    )
    listed.add_argument("--keep", nargs="*", default=[], metavar="WORD", help="words that are meant, as keep_words")
    listed.add_argument("--shown", type=int, default=30)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run methods, or show what came of them."""
    options = parser().parse_args(args)
    if options.command == "table":
        shown = show_tables(options.folder, options.choice, options.methods, options.against, options.base)
        keep_figures(shown, options, "benchmarks.studies.debias_mosi")
    elif options.command == "words":
        list_words(options.path, options.out, WordRule(options.words, keep_words=tuple(options.keep)), options.shown)
    else:
        asked = comparison(options)
        settings = asked.settings[options.official == "no" :]
        jobs = make_jobs(asked, options.methods, options.backbones, settings, options.seeds)
        Study(options.out, asked.options, partial(train, asked)).run(jobs, options.part)


if __name__ == "__main__":
    main()
