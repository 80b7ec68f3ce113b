"""Synthetic recordings, from files to accuracy: do the voice and the face of a clip help beside its words?

    python -m benchmarks.studies.recordings make runs/recordings
    python -m benchmarks.studies.recordings run runs/recordings/features.pkl --out runs/recordings/trained
    python -m benchmarks.studies.recordings table runs/recordings/trained --csv results/recordings_cpu.csv

``make`` writes the recordings of ``mer-zoo synthesise`` and makes their features by encoders without weights. Networks
are trained on all modalities, on words alone, and on voice and face alone, with nothing missing, and are tested with
what they were trained on and, where that is all, with modalities taken away. Negative, neutral or positive; the epoch
of the smallest validation loss counts. Seeds are those of the training: all have the same clips.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import seed_everything

import mer_zoo.backbones
from benchmarks.options import add_csv_option
from benchmarks.studies.frame import (
    Job,
    Plan,
    Record,
    Results,
    Study,
    add_run_options,
    by_name,
    commits_of,
    fit,
    simple_jobs,
    simple_test,
    tested,
)
from benchmarks.studies.table import Answers, Column, cell, difference, interval, is_shared, spread, write_tables
from benchmarks.studies.zoo_mosi import SIZES
from mer_zoo.batch import MODALITIES
from mer_zoo.clips.extract import extract
from mer_zoo.clips.synthesise import TABLE, sizes_of, synthesise
from mer_zoo.data.datamodule import MERDataModule
from mer_zoo.data.missing import SMM, Condition
from mer_zoo.data.synthetic.scm import SyntheticConfig
from mer_zoo.model import Model
from mer_zoo.reports.layout import figures_of
from mer_zoo.reports.measured import write_measured
from mer_zoo.reports.tables import Table

NETWORKS = ("LFLSTM", "LFDNN")
ALL, WORDS, OTHERS = "all", "words", "voice and face"
TRAINED: Mapping[str, tuple[str, ...]] = {ALL: MODALITIES, WORDS: ("text",), OTHERS: ("audio", "vision")}
LEFT: Mapping[str, tuple[str, ...]] = {  # of all
    "without text": ("audio", "vision"),
    "without audio": ("text", "vision"),
    "without vision": ("text", "audio"),
    "text alone": ("text",),
}
COLUMNS = {name: Column(name, (name,), left_out=None) for name in ("iid", "ood", "rct")}
BENCHMARK, CONSTANT = "synthetic recordings", "the most frequent class"


def make(options: argparse.Namespace) -> None:
    """Write recordings and their features; those that are there are kept."""
    clips, features = options.folder / "clips", options.folder / "features.pkl"
    if not (clips / TABLE).exists():
        synthesise(clips, sizes_of(options.clips, SyntheticConfig(seed=options.seed)))
    if not features.exists():
        extract(clips / TABLE, features, processes=options.processes, progress=True)


def corpus(options: argparse.Namespace, modalities: Sequence[str]) -> MERDataModule:
    """The clips with some modalities, and where these are all also tested without some of them."""
    conditions: list[str | Condition] = ["default"]
    if len(modalities) == len(MODALITIES):
        conditions += [
            Condition(f"{test} {name}", f"test_{test}", SMM(left)) for name, left in LEFT.items() for test in COLUMNS
        ]
    return MERDataModule(
        str(options.path),
        batch_size=options.batch_size,
        task="binary",
        modalities=modalities,
        conditions=conditions,
    )


def train(options: argparse.Namespace, job: Job) -> Results:
    """Train one network on some modalities with one seed and test it."""
    seed_everything(job.seed, verbose=False)
    (name,) = job.what
    network, trained = name.split(": ")
    data = corpus(options, TRAINED[trained])
    model: Model = getattr(mer_zoo.backbones, network)(data.spec, data.task, **SIZES[network])
    found = fit(model, data, Plan(options.lr, options.epochs))
    return tested(found, lambda module: simple_test(module, data, (name,)))


def under(records: Sequence[Record], left: str = "") -> Answers:
    """Answers with some modalities taken away, as those of the test splits, so that others can be compared.

    Args:
        records: One a seed.
        left: One of :data:`LEFT`; nothing is taken away when left out.
    """

    def only(parts: Mapping[str, Any]) -> dict[str, Any]:
        return {name: parts[f"{name} {left}".strip()] for name in COLUMNS}

    shown = []
    for record in records:
        choices = {name: {**each, "splits": only(each["splits"])} for name, each in record["choices"].items()}
        shown.append({**record, "truth": only(record["truth"]), "ids": only(record["ids"]), "choices": choices})
    return Answers(shown)


def always_the_same(answers: Answers) -> Answers:
    """What says the most frequent class of each test split of every sample."""
    records = []
    for record in answers.records.values():
        said = {name: Counter(truth).most_common(1)[0][0] * len(truth) for name, truth in record["truth"].items()}
        choices = {"loss": {"splits": {name: {"classes": classes} for name, classes in said.items()}}}
        records.append({**record, "choices": choices})
    return Answers(records)


def variants(found: Mapping[str, Sequence[Record]]) -> dict[str, dict[str, Answers]]:
    """By network and by what it was trained and tested on, its answers."""
    result: dict[str, dict[str, Answers]] = {}
    for network in dict.fromkeys(name.split(": ")[0] for name in found):
        own = result.setdefault(network, {})
        for trained in TRAINED:
            records = found.get(f"{network}: {trained}")
            if records:
                own[trained] = under(records)
                own |= {f"{ALL}, {left}": under(records, left) for left in LEFT} if trained == ALL else {}
    return result


def accuracy_table(found: Mapping[str, Mapping[str, Answers]]) -> Table:
    """Accuracies, each against the most frequent class."""
    rows = []
    for network, own in found.items():
        for name, answers in own.items():
            base = always_the_same(answers)
            cells = [cell(answers, base, column) for column in COLUMNS.values()]
            rows.append([network, name, str(len(answers.records)), *cells])
    if rows:
        constant = [spread(base.accuracy(column)[:1]) for column in COLUMNS.values()]
        rows.append([CONSTANT, "", "", *constant])
    note = "In brackets: against the most frequent class, with 95 % intervals that count samples and seeds."
    header = ["network", "trained on, tested", "seeds", *COLUMNS]
    return Table("accuracy of three classes in percent", header, rows, [note], names=2)


def gains_table(found: Mapping[str, Mapping[str, Answers]]) -> Table:
    """What a network on all modalities says right beyond others, and beyond itself without some of them."""
    rows = []
    for network, own in found.items():
        for name, answers in own.items():
            if name != ALL and ALL in own and is_shared(own[ALL], answers):
                cells = [interval(difference(own[ALL], answers, column)) for column in COLUMNS.values()]
                rows.append([network, f"{ALL} - {name.removeprefix(f'{ALL}, ')}", str(len(answers.records)), *cells])
    return Table("differences of accuracies", ["network", "difference", "seeds", *COLUMNS], rows, names=2)


def table(options: argparse.Namespace) -> None:
    """Accuracies and what modalities add, printed and kept."""
    found = variants(by_name(options.folder))
    tables = {"accuracy": accuracy_table(found), "what is added": gains_table(found)}
    write_tables(options.folder, list(tables.values()))
    if options.csv is not None:
        about = {"device": options.device, "commit": commits_of(options.folder)}
        about["command"] = f"python -m benchmarks.studies.recordings table {options.folder}"
        accuracies, added = (
            figures_of(each, f"{BENCHMARK}: {name}", "Acc3", CONSTANT, **about) for name, each in tables.items()
        )
        compared = [replace(figure, against=figure.model.partition(" - ")[2]) for figure in added]
        write_measured(options.csv, [*accuracies, *compared])


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("make")
    made.add_argument("folder", type=Path)
    made.add_argument("--clips", type=int, default=600, help="how many in all")
    made.add_argument("--seed", type=int, default=0, help="of the clips")
    made.add_argument("--processes", type=int, default=1, help="that extract at a time")
    runs = commands.add_parser("run")
    runs.add_argument("path", type=Path, help="the features that make has written")
    add_run_options(runs, seeds="0,1,2,3,4", epochs=20, batch_size=16)
    runs.add_argument("--networks", default=",".join(NETWORKS))
    runs.add_argument("--trained", default=",".join(TRAINED), help="on what: " + ", ".join(TRAINED))
    runs.add_argument("--lr", type=float, default=1e-3)
    shown = commands.add_parser("table")
    shown.add_argument("folder", type=Path)
    add_csv_option(shown)
    shown.add_argument("--device", default="CPU", help="what they were measured on")
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Make the clips, train on them, or print the tables."""
    options = parser().parse_args(args)
    if options.command == "make":
        make(options)
    elif options.command == "table":
        table(options)
    else:
        kept = {name: getattr(options, name) for name in ("epochs", "lr", "batch_size")}
        names = [f"{net}: {on}" for net in options.networks.split(",") for on in options.trained.split(",")]
        Study(options.out, kept, partial(train, options)).run(simple_jobs(names, options.seeds), options.part)


if __name__ == "__main__":
    main()
