"""``mer-zoo words``: words of a training split that go along with the label, to keep or to debias by."""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mer_zoo.data.label_options import add_label_options, told_labels
from mer_zoo.errors import MERError

if TYPE_CHECKING:
    from mer_zoo.confounding import Propensity
    from mer_zoo.confounding.candidates import Candidate
    from mer_zoo.confounding.refutation import Refutation
    from mer_zoo.data import MERDataModule
    from mer_zoo.reports.tables import Table

__all__ = ["main"]

CONFIGURATIONS = (".yaml", ".yml")
ABSENT = "-"


def main(args: list[str]) -> None:
    """Run ``mer-zoo words``.

    Args:
        args: Command line after the word words.

    Raises:
        MERError: If the data can't be read, or have no words.
    """
    options = _parser().parse_args(args)
    for name, least in (("examples", 0), ("draws", 0), ("shown", 1), ("seed", 0), ("max_words", 1)):
        if getattr(options, name) < least:
            raise MERError(f"--{name} is {getattr(options, name)}; give at least {least}")
    from mer_zoo.confounding import Propensity
    from mer_zoo.confounding.candidates import candidates
    from mer_zoo.confounding.refutation import refute
    from mer_zoo.confounding.word_rule import word_rule
    from mer_zoo.reports.tables import open_console
    from mer_zoo.runs.files import write_csv

    data = _data(options)
    fitted = Propensity(data.spec, data.task, word_rule("mer-zoo words", options.words, options.max_words))
    split = fitted.read(data.batch_source("train"))
    fitted.fit_split(split)
    found = candidates(fitted, split, options.examples)
    console = open_console()
    for table in (*_word_tables(fitted, found, options.shown), _curve(fitted)):
        table.show(console)
    if options.draws:
        _refuted(fitted, refute(fitted, split, options.draws, options.seed)).show(console)
    if options.out is not None:
        write_csv(options.out.expanduser(), [each.row(data.task.problems) for each in found])
        console.print(
            f"written: {options.out}; put yes under keep for words that carry the label rightly", markup=False
        )


def _data(options: argparse.Namespace) -> MERDataModule:
    from mer_zoo.cli.opening import open_data
    from mer_zoo.data import MERDataModule, SyntheticMER

    path = options.data.expanduser()
    if path.suffix in CONFIGURATIONS:
        return open_data(path)
    if str(path) == SyntheticMER.__name__:
        return SyntheticMER(task=options.task)
    meant = told_labels(options)
    labels: dict[str, Any] = {}
    if meant is not None:
        labels = {"labels": meant.kind, "label_range": meant.range, "label_names": list(meant.names) or None}
    names = options.modalities.split(",")
    return MERDataModule(str(path), task=options.task, modalities=names, conditions=[], nan="zero", **labels)


def _word_tables(fitted: Propensity, found: Sequence[Candidate], shown: int) -> Iterator[Table]:
    """The words of each problem, and how surely they tell the label."""
    from mer_zoo.reports.tables import Table

    for problem in fitted.report["problems"]:
        name = problem["name"]
        own = [each for each in found if name in each.shares]
        rows = [
            [
                ", ".join([each.word, *each.holders]),
                str(each.count),
                *map(_percent, each.shares[name]),
                *(each.examples[:1] or [""]),
            ]
            for each in own[:shown]
        ]
        titles = " / ".join(own[0].titles) if own else "class"
        gate = "open" if problem["open"] else "closed"
        notes = [
            f"Gain over the class shares on samples not seen: {problem['gain']:.4f} nats, standard error"
            f" {problem['error']:.4f}; the gate is {gate}.",
            *([f"{len(own) - shown} more are not shown."] if len(own) > shown else []),
        ]
        header = ["word", "count", f"{titles}, %", "weighted", "example"]
        yield Table(f"{len(own)} words that go along with the label{f' {name}' if name else ''}", header, rows, notes)


def _percent(shares: Sequence[float]) -> str:
    return " / ".join(f"{100 * share:.0f}" for share in shares)


def _curve(fitted: Propensity) -> Table:
    """What weighting by these words would cost in samples, and what it takes away."""
    from mer_zoo.reports.tables import Table

    rows = [
        [
            " ".join(filter(None, (problem["name"], f"strength {point['strength']:g}"))),
            f"{point['ess']:.0f}",
            f"{point['largest_weight']:.2f}",
            f"{point['imbalance']:.4f}",
        ]
        for problem in fitted.report["problems"]
        for point in problem["curve"]
    ]
    note = f"Of {len(fitted.target)} training samples; imbalance is what words still tell of the class."
    header = ["PropensityWeighting", "effective samples", "largest weight", "imbalance"]
    return Table("What weighting would cost", header, rows, [note])


def _refuted(fitted: Propensity, found: Sequence[Refutation]) -> Table:
    """A line a refutation."""
    from mer_zoo.reports.tables import Table

    numbers = {problem["name"]: (problem["gain"], problem["open"]) for problem in fitted.report["problems"]}
    rows = []
    for each in found:
        correlations = [value for value in each.correlation if not math.isnan(value)]
        rows.append(
            [
                f"{each.kind} {each.problem}".strip(),
                f"{statistics.fmean(each.gain):.4f}",
                f"{sum(each.is_open)} of {len(each.is_open)}",
                f"{statistics.fmean(each.words):.1f}",
                f"{statistics.fmean(correlations):.3f}" if correlations else ABSENT,
                "holds" if each.holds(*numbers[each.problem]) else "DOES NOT HOLD",
            ]
        )
    header = ["refutation", "gain, nats", "gate open", "words", "weights' correlation", ""]
    notes = [
        "A placebo gives each sample another one's words, and must tell nothing; a random word, and a subset of 80 % of"
        " the recordings, must change neither gain nor weights. None of them tells whether a word is a cause of the"
        " label: that is yours to say.",
    ]
    return Table("Refutation", header, rows, notes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "mer-zoo words",
        description="Words of the training split that go along with the label, which PropensityWeighting and others"
        " would debias by, with class shares, examples and refutations. Which of them carry the label rightly is yours"
        " to say: in the file of --out, which these wrappers take as words.",
        epilog="Example: mer-zoo words unaligned_50.pkl --task binary --out words.csv",
        allow_abbrev=False,
    )
    parser.add_argument("data", type=Path, help="a corpus file or folder, a store, SyntheticMER, or a config.yaml")
    parser.add_argument("--task", default="binary", help="as data.task of a run (default: binary)")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="CSV file for the words, with a column keep to fill in"
    )
    parser.add_argument("--words", default="frequent", help="frequent, maci, or a file of words (default: frequent)")
    parser.add_argument("--max_words", type=int, default=100, help="most words (default: 100)")
    parser.add_argument("--modalities", default="text", help="what has to be in the file (default: text)")
    parser.add_argument("--shown", type=int, default=40, help="words shown (default: 40)")
    parser.add_argument("--examples", type=int, default=1, help="texts read for each word, 0 for none (default: 1)")
    parser.add_argument("--draws", type=int, default=5, help="fits of each refutation, 0 for none (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="of the refutations (default: 0)")
    add_label_options(parser)
    return parser
