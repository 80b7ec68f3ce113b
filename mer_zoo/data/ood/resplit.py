"""``mer-zoo split-ood``: the samples of a corpus in new splits, with a test split that is out of distribution."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from mer_zoo.data.corpus.meaning import Meaning
from mer_zoo.data.dataset import check_labels
from mer_zoo.data.files.features import NanPolicy
from mer_zoo.data.label_options import add_label_options, other_options, told_labels
from mer_zoo.data.labelling import build_for, taken_for
from mer_zoo.data.ood.partition import Ints, WordTable, anneal, draw_partition, frequent_words, length_strata
from mer_zoo.data.ood.pool import Pool, WordKind
from mer_zoo.data.ood.regrouped import Regrouped, check_free, write_regrouped
from mer_zoo.data.ood.shares import LABEL_SHIFTS, RARE, SPLITS, label_shift_of, share_out
from mer_zoo.data.ood.shift_report import ShiftReport
from mer_zoo.data.store.store import open_corpus
from mer_zoo.errors import MERError
from mer_zoo.reports.tables import open_console

__all__ = ["main", "split_ood"]

TASKS = ("binary", "five", "seven", "classes")
STEPS_PER_SAMPLE = 100  # on MOSI twice as many gain less than a hundredth


def split_ood(
    source: str | Path,
    dest: str | Path,
    task: str,
    seed: int = 0,
    steps: int | None = None,
    words: WordKind | None = None,
    min_count: int | None = None,
    min_per_class: int | None = None,
    length_bins: int = 5,
    label_shift: float | str = 0.0,
    nan: NanPolicy = "error",
    told: Meaning | None = None,
    progress: bool = False,
) -> ShiftReport:
    """Distribute the labelled samples of a corpus anew so that words mean other classes in testing than in training.

    Args:
        source: A corpus in any format of docs/data.md; nothing in it is changed.
        dest: The store to make, a folder that does not exist or is empty; its splits are train, valid and test_ood,
            each as large as the source's (test_ood as all its test splits together).
        task: ``binary`` (negative, neutral, positive), ``five`` or ``seven`` (rounded scores, or CH-SIMS'
            five), or ``classes`` (of any kind, as emotions).
        seed: Equal seeds give equal splits.
        steps: Swaps to try; 100 a sample when left out.
        words: ``text`` or ``tokens``; the raw text where there is one, else the token ids when left out.
        min_count: Samples that a word has to occur in to be looked at; 0.5 % of all, at least 5, when left out.
        min_per_class: Samples of each class that each split has to have; 0.5 % of it, at least 1, when left out.
        length_bins: Samples change places within a class and one of so many bins of length; with 1 bin lengths may
            shift along with the words.
        label_shift: What the share of positive samples among those not neutral is larger by in test_ood than in train,
            a number or a preset, see :mod:`mer_zoo.data.ood.shares`; with 0 all splits have the same classes. It is of
            sentiment alone.
        nan: Whether NaN and infinity in features are an error or become zero.
        told: What labels mean, as far as the user says it.
        progress: Whether to show progress bars.

    Returns:
        The shift reached.

    Raises:
        MERError: If the source cannot be used, a class has too few samples, it cannot give the label shift, or the
            destination is taken.
    """
    source, dest = Path(source).expanduser(), Path(dest).expanduser()
    if task not in TASKS:
        raise MERError(f"task is {task!r}; choose from {', '.join(TASKS)}")
    numbers = {"steps": steps, "min_count": min_count, "min_per_class": min_per_class, "length_bins": length_bins}
    for name, value, lowest in [("seed", seed, 0), *((name, value, 1) for name, value in numbers.items())]:
        if value is not None and value < lowest:
            raise MERError(f"{name} is {value}; give at least {lowest}")
    shift = label_shift_of(label_shift)
    if shift and task == "classes":
        raise MERError("label_shift is of positive and negative samples, which task classes has not; leave it out")
    check_free(source, dest)
    corpus = open_corpus(source, nan=nan, progress=progress, told=told, task=taken_for(task))
    pool = Pool.of(corpus)
    meant = build_for(corpus, task)
    for part in pool.parts:
        check_labels(part, meant, corpus.source)
    classes, names = meant.encode(torch.from_numpy(pool.labels)).numpy(), meant.class_names
    coarser = "use --task binary, " if task in ("five", "seven") else ""
    shares = share_out(classes, pool.origin, names, min_per_class, shift, corpus.source, coarser)
    frequent = min_count or max(5, math.ceil(RARE * len(classes)))
    words = words or ("text" if pool.has_text() else "tokens")
    table = frequent_words(pool.words(words, corpus.source), frequent)
    if not table.words:
        raise MERError(f"no word occurs in {frequent} of the {len(classes)} samples of {source}; lower --min-count")
    steps = steps or STEPS_PER_SAMPLE * len(classes)
    with Console(stderr=True, quiet=not progress).status(f"trying {steps:,} swaps"):
        chance, splits = _partition(table, classes, shares, length_bins, steps, seed)
    report = ShiftReport.of(table, classes, names, {"source": pool.origin, "random": chance, "ood": splits}, pool.ids)
    settings = {
        "source": str(source),
        "task": task,
        "seed": seed,
        "steps": steps,
        "words": words,
        "min_count": frequent,
        "length_bins": length_bins,
    }
    report.settings.update(settings | ({"label_shift": round(shift, 4)} if shift else {}))
    write_regrouped(Regrouped(corpus, pool, splits, SPLITS), source, dest, report.note(), report.save, progress)
    return report


def _partition(table: WordTable, classes: Ints, shares: Ints, bins: int, steps: int, seed: int) -> tuple[Ints, Ints]:
    """Splits by chance, and out of distribution."""
    rng, test = np.random.default_rng(seed), len(SPLITS) - 1
    strata = length_strata(classes, np.array([len(words) for words in table.samples]), bins)
    chance = draw_partition(strata, bins, shares, rng)
    in_test = anneal(table, classes, strata, chance == test, steps, rng)
    splits = np.full_like(chance, test)
    splits[~in_test] = draw_partition(strata[~in_test], bins, shares[:, :test], rng)
    return chance, splits


def main(args: list[str]) -> None:
    """Make out-of-distribution splits as the command line asks.

    Args:
        args: Arguments of ``mer-zoo split-ood``.

    Raises:
        MERError: If it cannot be done.
    """
    parser = argparse.ArgumentParser(
        "mer-zoo split-ood",
        description="Distribute a corpus anew: in the test split words go along with other classes.",
        allow_abbrev=False,
    )
    parser.add_argument("source", help="a corpus file or folder, see docs/data.md")
    parser.add_argument("dest", help="the folder to make, with the splits train, valid and test_ood and a report")
    parser.add_argument(
        "--task", choices=TASKS, required=True, help="sentiment in three, five or seven classes, or classes of any kind"
    )
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal splits")
    parser.add_argument("--steps", type=int, help="swaps to try (default: 100 a sample)")
    parser.add_argument(
        "--words", choices=["text", "tokens"], help="words of the raw text, or token ids (default: text)"
    )
    parser.add_argument(
        "--min-count", type=int, help="samples with a word that make it count (default: 0.5 %%, at least 5)"
    )
    parser.add_argument(
        "--min-per-class", type=int, help="samples of a class in each split (default: 0.5 %% of the split)"
    )
    parser.add_argument(
        "--length-bins", type=int, default=5, help="bins of length that samples stay in; 1: lengths are free"
    )
    parser.add_argument(
        "--label-shift",
        default="0",
        help="positive share, without neutral samples, in test_ood less that in train: a number, or one of"
        f" {', '.join(LABEL_SHIFTS)} (default: 0)",
    )
    parser.add_argument("--nan", choices=["error", "zero"], default="error", help="refuse NaN, or put 0 in its place")
    add_label_options(parser)
    parsed = parser.parse_args(args)
    report = split_ood(**other_options(parsed), told=told_labels(parsed), progress=True)
    console = open_console()
    for table in report.tables(shown=12):
        table.show(console)
    console.print(f"written to {parsed.dest}", markup=False, highlight=False, soft_wrap=True)
