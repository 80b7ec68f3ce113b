"""Where the confounder is known: who speaks. Emotions of MELD and sarcasm of MUStARD, from their transcripts.

    python -m benchmarks.studies.speakers run meld.npz --out runs/meld
    python -m benchmarks.studies.speakers table runs/meld

The file is one of benchmarks.studies.transcripts. Each method is trained on a split by chance and on one by speaker,
drawn anew for each seed, or on the published folds, and tested on their test lines; the epoch is chosen by validation
F1. The same lines stand in several splits, so intervals resample speakers over all seeds.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import seed_everything
from torch import Tensor

from benchmarks.studies.debias import build, split_names
from benchmarks.studies.debias_table import add_csv_options
from benchmarks.studies.frame import (
    Job,
    Place,
    Plan,
    Record,
    Results,
    Study,
    about,
    add_run_options,
    commits_of,
    fit,
    read_records,
    result_of,
    score_conditions,
    tested,
)
from benchmarks.studies.table import DRAWS, interval, spread, write_tables
from benchmarks.studies.transcripts import CHANCE, OFFICIAL, SPEAKERS, Transcripts
from mer_zoo.backbones import LFLSTM
from mer_zoo.metrics.collections import class_metrics
from mer_zoo.metrics.resampling import resamplings, values_of
from mer_zoo.metrics.significance import interval_of
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.reports.layout import figures_of
from mer_zoo.reports.measured import write_measured
from mer_zoo.reports.tables import Table
from mer_zoo.wrappers import PropensityWeighting

PLAIN, WEIGHTED = "plain", "PropensityWeighting source=groups"
METHODS = (PLAIN, WEIGHTED, "PropensityWeighting", "MSSD")
METRICS = ("Acc", "F1", "UAR")
DIM, RATE, EPOCHS = 64, 1e-3, 8
CHOICE, TEST, LEAST = "F1", "iid", 20  # how the epoch is chosen; the condition; lines of a speaker whom a table ranks


def train(path: Path, epochs: int, batch_size: int, job: Job) -> Results:
    """Train once, and test the chosen epoch."""
    setting, method = job.what
    seed_everything(job.seed, verbose=False)
    data = Transcripts(path, setting, job.seed, batch_size)
    network = LFLSTM(data.spec, data.task, dim=DIM)
    model = around_known_groups(network) if method == WEIGHTED else build(method, network)
    found = fit(model, data, Plan(RATE, epochs, {CHOICE: ("val/F1", 1)}))
    return tested(found, partial(_test, data, (setting, method)))


def around_known_groups(network: Model) -> Model:
    """Weigh training lines so that the class is independent of who speaks."""
    return PropensityWeighting(network, source="groups", groups="speaker")


def _test(data: Transcripts, place: Place, module: MERModule) -> Results:
    scores = score_conditions(module.model, data)
    splits = {name: result_of(data.task, each) for name, each in scores.items()}
    of = data.speakers
    who = {c.name: [of[name] for name in data.corpus.split(c.split).ids] for c in data.conditions}
    told = {**about(module.model, scores), "ids": who, "names": list(data.task.class_names)}
    return {place: {**told, "result": {"splits": splits, "diagnostics": module.model.diagnostics()}}}


class Answers(NamedTuple):
    """What a method says in a setting.

    Args:
        said: (N,) predicted classes of each seed.
        truth: (N,) true classes of each seed.
        speakers: Who says each line, for each seed.
        names: Names of the classes.
    """

    said: list[Tensor]
    truth: list[Tensor]
    speakers: list[list[str]]
    names: list[str]

    @classmethod
    def of(cls, records: Sequence[Record]) -> Answers:
        """Read the records of a row, one a seed."""
        names = records[0]["names"]
        rows = [(r["choices"][CHOICE]["splits"][TEST]["classes"], r["truth"][TEST]) for r in records]
        said, truth = ([torch.tensor([int(digit) for digit in row[i]]) for row in rows] for i in (0, 1))
        return cls(said, truth, [r["ids"][TEST] for r in records], names)

    def values(self, metric: str, draws: int = DRAWS) -> tuple[Tensor, int]:
        """(draws + 1, seeds) values of a metric where speakers are drawn, in percent, and the number of speakers."""
        known = list(dict.fromkeys(name for names in self.speakers for name in names))
        counts = resamplings(len(known), draws, seed=0)
        place = {name: number for number, name in enumerate(known)}
        measure, columns = class_metrics(self.names)[metric], []
        for said, truth, names in zip(self.said, self.truth, self.speakers, strict=True):
            times = counts[:, [place[name] for name in names]]
            columns.append(values_of(measure, F.one_hot(said, len(self.names)).float(), truth, times))
        return 100 * torch.stack(columns, 1), len(known)

    def worst(self) -> float:
        """Mean over the seeds of the accuracy for the speaker for whom it is lowest, of those with enough lines."""
        return statistics.fmean(min(self.by_speaker(seed).values()) for seed in range(len(self.said)))

    def by_speaker(self, seed: int) -> dict[str, float]:
        """Accuracy in percent for each speaker with enough lines; for all together where nobody has."""
        right, names = 100 * (self.said[seed] == self.truth[seed]).double(), np.array(self.speakers[seed])
        found = {name: right[names == name] for name in dict.fromkeys(names.tolist())}
        kept = {name: float(each.mean()) for name, each in found.items() if len(each) >= LEAST}
        return kept or {"all": float(right.mean())}


def cell(answers: Answers, base: Answers | None, metric: str) -> str:
    """Mean and deviation of a metric, and the difference to another method."""
    values, count = answers.values(metric)
    text = spread(values[-1].tolist())
    if base is None:
        return text
    found = interval_of([values, base.values(metric)[0]], count)
    return f"{text} ({interval((found.difference, found.low, found.high))})"


def setting_table(setting: str, methods: Mapping[str, Answers]) -> Table:
    """The methods of a setting."""
    base = methods[PLAIN]
    rows = []
    for method, answers in methods.items():
        cells = [cell(answers, None if method == PLAIN else base, metric) for metric in METRICS]
        rows.append([method, str(len(answers.said)), *cells, f"{answers.worst():.1f}"])
    first = base.speakers[0]
    note = (
        f"{len(set(first))} speakers say the {len(first)} test lines of the first seed. In parentheses the difference"
        f" to {PLAIN} and its 95 % interval over speakers and seeds. Worst speaker: accuracy, of those with {LEAST}"
        " test lines or more."
    )
    return Table(setting, ["method", "seeds", "accuracy", "weighted F1", "UAR", "worst speaker"], rows, [note])


def class_table(setting: str, methods: Mapping[str, Answers]) -> Table:
    """Recall and precision of each class."""
    rows = []
    for method, answers in methods.items():
        for kind in ("Recall", "Precision"):
            found = [answers.values(f"{kind}_{name}", draws=1)[0][-1].mean() for name in answers.names]
            rows.append([method, kind.lower(), *(f"{float(value):.1f}" for value in found)])
    return Table(f"each class, {setting}", ["method", "", *next(iter(methods.values())).names], rows, names=2)


def tables_of(folder: Path) -> list[Table]:
    """The tables of a folder of records."""
    found: dict[str, dict[str, list[Record]]] = {}
    for record in read_records(folder):
        setting, method = record["place"]
        found.setdefault(setting, {}).setdefault(method, []).append(record)
    tables = []
    for setting in (OFFICIAL, CHANCE, SPEAKERS):
        rows = found.get(setting, {})
        methods = {name: Answers.of(rows[name]) for name in sorted(rows, key=lambda name: (name != PLAIN, name))}
        if PLAIN in methods:
            tables += [setting_table(setting, methods), class_table(setting, methods)]
    return tables


def keep_figures(tables: Sequence[Table], options: argparse.Namespace) -> None:
    """Write tables to the file of results that ``--csv`` names."""
    command = f"python -m benchmarks.studies.speakers table {options.folder}"
    about = {"device": options.device, "commit": commits_of(options.folder), "command": command}
    figures = [
        replace(figure, condition=table.title)
        for table in tables
        for figure in figures_of(table, options.benchmark, against=PLAIN, **about)
    ]
    write_measured(options.csv, figures)


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run")
    runs.add_argument("path", type=Path)
    add_run_options(runs, seeds="0,1,2,3,4", epochs=EPOCHS, batch_size=64)
    runs.add_argument("--methods", default=",".join(METHODS))
    runs.add_argument("--settings", default=f"{CHANCE},{SPEAKERS}", help=f"{OFFICIAL}, too, where a corpus has some")
    shown = commands.add_parser("table")
    shown.add_argument("folder", type=Path)
    add_csv_options(shown)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Train methods, or show what came of them."""
    options = parser().parse_args(args)
    if options.command == "table":
        tables = tables_of(options.folder)
        write_tables(options.folder, tables)
        if options.csv is not None:
            keep_figures(tables, options)
        return
    jobs = [
        Job((setting, method), ((setting, method),), int(seed))
        for seed in options.seeds.split(",")
        for setting in options.settings.split(",")
        for method in split_names(options.methods)
    ]
    kept = {"file": options.path.name, "epochs": options.epochs, "batch_size": options.batch_size, "rate": RATE}
    study = Study(options.out, kept, partial(train, options.path, options.epochs, options.batch_size))
    study.run(jobs, options.part)


if __name__ == "__main__":
    main()
