"""Debiasers on real text and audio: the official folds of a CMU-MOSI file, and splits of it in which words mean other classes in testing.

    python benchmarks/debias_mosi.py run unaligned_50.pkl --out runs/debias_mosi
    python benchmarks/debias_mosi.py table runs/debias_mosi
    python benchmarks/debias_mosi.py words runs/debias_mosi

Every seed has an OOD split of its own, made as by ``mer-zoo split-ood --task binary --seed SEED`` under OUT/splits. The same clips stand
in several of these, so intervals resample recordings over all seeds. There is no truth here: that a method gains on a split made to
shift its words says that it heeds them less, not that it knows the sentiment better, and no network without confounding is at hand.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from debias import RATES, SIZES, Study, add_run_options, make_jobs, part_of
from debias_table import add_table_options, write_tables
from debias_train import run
from rich.console import Console

from mer_zoo.data.cache import lock
from mer_zoo.data.corpus import SplitData
from mer_zoo.data.datamodule import MOSI, MERDataModule
from mer_zoo.data.resplit import split_ood
from mer_zoo.data.store import open_corpus
from mer_zoo.functional.language_bias import bias_words, split_words
from mer_zoo.functional.sentiment import to_classes
from mer_zoo.reports.tables import Table

OFFICIAL, OOD = "official folds", "OOD splits"
MODALITIES = ("text", "audio")  # the public vision features give test labels away


def ood_split(path: Path, out: Path, seed: int) -> Path:
    """The OOD split of a seed, made where it is not there yet."""
    store = out / "splits" / f"seed{seed}"
    with lock(out / "splits" / f".making{seed}"):
        if not (store / "corpus.json").exists():
            split_ood(path, store, "binary", seed=seed)
    return store


def study(options: argparse.Namespace) -> Study:
    """The study that the options of ``run`` describe."""

    def load(name: str, seed: int) -> MERDataModule:
        path = options.path if name == OFFICIAL else ood_split(options.path, options.out, seed)
        return MOSI(str(path), options.batch_size, "binary", modalities=MODALITIES)

    kept = {"epochs": options.epochs, "batch_size": options.batch_size, "rates": RATES, "sizes": SIZES}
    return Study(options.out, load, {**kept, "file": options.path.name}, [OFFICIAL, OOD], fresh=False)


def list_words(out: Path, shown: int) -> None:
    """Print the words called biased in the training split of each OOD split, and what they go along with in it and in testing."""
    for store in sorted((out / "splits").glob("seed*")):
        splits = open_corpus(store).splits
        train, test = (_count(splits[name]) for name in ("train", "test_ood"))
        vocabulary = list(train)
        ids = np.repeat(np.arange(len(train)), [int(counts.sum()) for counts in train.values()])
        classes = np.concatenate([np.repeat(np.arange(3), counts) for counts in train.values()])
        found = bias_words(torch.from_numpy(ids), torch.from_numpy(classes), 3)
        names = [vocabulary[i] for i in found.ids.tolist()]
        rows = [[name, _triple(train[name]), _triple(test.get(name, np.zeros(3, int)))] for name in names[:shown]]
        title = f"{store.name}: {len(names)} biased words, the most frequent first"
        table = Table(title, ["word", "negative / neutral / positive in train", "in test_ood"], rows)
        table.show(Console(width=120))


def _count(split: SplitData) -> dict[str, np.ndarray]:
    """Tokens of each word by class."""
    assert split.labels is not None
    assert split.raw_text is not None
    found: dict[str, np.ndarray] = {}
    for text, label in zip(
        split.raw_text, to_classes(torch.as_tensor(np.asarray(split.labels)), 3).tolist(), strict=True
    ):
        for word in split_words(text):
            found.setdefault(word, np.zeros(3, dtype=int))[label] += 1
    return found


def _triple(counts: np.ndarray) -> str:
    return " / ".join(map(str, counts))


def main(args: Sequence[str] | None = None) -> None:
    """Run methods, or show what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run")
    runs.add_argument("path", type=Path)
    add_run_options(runs, seeds="0,1,2,3,4", epochs=8)
    add_table_options(commands.add_parser("table"))
    listed = commands.add_parser("words")
    listed.add_argument("folder", type=Path)
    listed.add_argument("--shown", type=int, default=30)
    options = parser.parse_args(args)
    if options.command == "table":
        write_tables(options.folder, options.choice, options.methods, options.against)
    elif options.command == "words":
        list_words(options.folder, options.shown)
    else:
        asked = study(options)
        run(
            asked,
            part_of(make_jobs(asked, options.methods, options.backbones, asked.settings, options.seeds), options.part),
        )


if __name__ == "__main__":
    main()
