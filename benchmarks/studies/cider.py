"""CIDer and its parts on SyntheticMER or a CMU-MOSI file: several seeds, one resumable command, tables.

    python -m benchmarks.studies.cider run --out runs/cider_synthetic
    python -m benchmarks.studies.cider run --path clean_unaligned_50.pkl --out runs/cider_mosi
    python -m benchmarks.studies.cider table runs/cider_synthetic
    python -m benchmarks.studies.cider table runs/cider_synthetic --against "CIDerNet+MSSD+MACI paper, tau 0"

Every network is trained once a seed and the epoch of the smallest validation loss is kept, which no choice of tau
changes. A model with MACI is then tested under each choice of tau, from the same weights and the same scores: with the
paper's counterfactual, and with that of the text alone. An oracle chooses tau by the accuracy without neutral of the
very condition.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import seed_everything

from benchmarks.studies.frame import (
    Job,
    Plan,
    Record,
    Results,
    Study,
    about,
    add_run_options,
    by_name,
    fit,
    result_of,
    same_samples,
    score_conditions,
    tested,
)
from benchmarks.studies.table import Answers, Column, accuracy_table, write_tables
from mer_zoo.backbones import CIDerNet, MulT
from mer_zoo.confounding.strength import Selection
from mer_zoo.data.datamodule import MOSI, MERDataModule, SyntheticMER
from mer_zoo.data.missing.conditions import Condition
from mer_zoo.data.missing.frames import RMFM
from mer_zoo.model import Backbone, Model
from mer_zoo.module import MERModule
from mer_zoo.reports.tables import Table
from mer_zoo.scores import Scores
from mer_zoo.training import score
from mer_zoo.wrappers import MACI, MSSD

RATES = [step / 10 for step in range(1, 11)]
CURVE = ("iid", *(f"RMFM {rate}" for rate in RATES))
TAUS: dict[str, tuple[Selection, float]] = {
    "deconfounded": ("deconfounded", 0.0),
    "validation": ("validation", 0.0),
    "tau 0": ("fixed", 0.0),
    "tau 1": ("fixed", 1.0),
    "oracle": ("oracle", 0.0),
}
KINDS = {"paper": "counterfactual", "text alone": "bias"}  # the effect that is subtracted


def mult(data: MERDataModule) -> Backbone:
    """MulT of the quickstart."""
    return MulT(data.spec, data.task, dim=16, heads=4, depth=1)


def cider(data: MERDataModule) -> Backbone:
    """CIDerNet with its default sizes."""
    return CIDerNet(data.spec, data.task)


MODELS: dict[str, Callable[[MERDataModule], Model]] = {
    "MulT": mult,
    "MulT+MACI": lambda data: MACI(mult(data)),
    "CIDerNet": cider,
    "CIDerNet+MACI": lambda data: MACI(cider(data)),
    "CIDerNet+views": lambda data: MSSD(cider(data), alpha=0, beta=0, gamma=0),
    "CIDerNet+MSSD": lambda data: MSSD(cider(data)),
    "CIDerNet+MSSD+MACI": lambda data: MSSD(MACI(cider(data))),
}


def labels(name: str) -> list[str]:
    """Names of the results of one training."""
    return [f"{name} {kind}, {tau}" for kind in KINDS for tau in TAUS] if "MACI" in name else [name]


def corpus(options: argparse.Namespace, seed: int) -> MERDataModule:
    """The data with complete test splits and every rate of random frames missing."""
    first = "test_iid" if options.path is None else "test"
    missing = [] if options.ood else [Condition(f"RMFM {rate}", first, RMFM(rate)) for rate in RATES]
    common: dict[str, Any] = {"task": "binary", "batch_size": options.batch_size, "conditions": ["default", *missing]}
    if options.path is None:
        return SyntheticMER(**common)
    return MOSI(options.path, **common, seed=seed)


def train(options: argparse.Namespace, job: Job) -> Results:
    """Train one model with one seed and test it."""
    seed_everything(job.seed, verbose=False)
    data, (name,) = corpus(options, job.seed), job.what
    found = fit(MODELS[name](data), data, Plan(options.lr, options.epochs, patience=options.patience))
    return tested(found, lambda module: _test(name, module, data))


def _test(name: str, module: MERModule, data: MERDataModule) -> Results:
    """Results under every choice of tau where there is MACI."""
    model, scores = module.model, score_conditions(module.model, data, calibrating=True)
    told = {**about(model, scores), "ids": same_samples(scores)}
    maci = next((each for each in model.nest if isinstance(each, MACI)), None)
    if maci is None:
        splits = {condition: result_of(data.task, each) for condition, each in scores.items()}
        return {(name,): {**told, "result": {"splits": splits, "diagnostics": model.diagnostics()}}}
    scores["valid"] = score(model, data.batch_source("valid"))
    results = dict(zip(labels(name), _choices(model, maci, scores), strict=True))
    return {(label,): {**told, "result": result} for label, result in results.items()}


def _choices(model: Model, maci: MACI, scores: Mapping[str, Scores]) -> Iterator[Record]:
    for effect in KINDS.values():
        subtracted = {
            name: replace(each, effects={**each.effects, "counterfactual": each.effects[effect]})
            for name, each in scores.items()
        }
        for selection, tau in TAUS.values():
            with maci.language_bias.selecting(selection, tau):
                model.calibrate(subtracted["valid"])
                splits = {
                    name: result_of(model.task, each, model.oracle(each) or [model.rescore(each)], "Acc2_non0")
                    for name, each in subtracted.items()
                    if name != "valid"
                }
                yield {"splits": splits, "diagnostics": model.diagnostics()}


def show(folder: Path, against: str | None) -> None:
    """Accuracies with their differences, the taus chosen, and which classes were taken for which."""
    found = answers(folder)
    known = next(iter(found.values()))
    complete = [name for name in next(iter(known.records.values()))["truth"] if not name.startswith("RMFM")]
    tables = []
    for title, left_out in (("without neutral", 1), ("of three classes", None)):
        columns = [Column("AUILC", CURVE, left_out, is_curve=True)] if known.has(Column("", CURVE)) else []
        columns += [Column(name.upper(), (name,), left_out) for name in complete]
        tables.append(accuracy_table(f"accuracy {title}, %", found, columns, against or next(iter(found))))
    rows = [
        [name, *(confusion(each, Column("", (condition,))) for condition in complete)] for name, each in found.items()
    ]
    title = "percent of samples, rows true negative / neutral / positive, columns predicted"
    tables.append(Table(title, ["model", *complete], rows))
    taus = [
        [name, f"{each.diagnostics()['maci/tau']:.2f}"]
        for name, each in found.items()
        if "maci/tau" in each.diagnostics()
    ]
    tables.append(Table("tau, mean over seeds", ["model", "tau"], taus))
    write_tables(folder, tables)


def answers(folder: Path) -> dict[str, Answers]:
    """What every model and choice of tau says, in the order of their names in this file."""
    found = by_name(folder)
    order = [label for name in MODELS for label in labels(name)]
    return {label: Answers(found[label]) for label in order if label in found}


def confusion(model: Answers, column: Column) -> str:
    """Percent of samples, rows true negative / neutral / positive, columns predicted."""
    counts = sum((model.confusion(seed, column, 3) for seed in model.records), torch.zeros(3, 3))
    return " | ".join(" ".join(f"{100 * n / counts.sum():.1f}" for n in row) for row in counts.tolist())


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run")
    add_run_options(runs, seeds="0,1,2,3,4", epochs=15, batch_size=64)
    runs.add_argument("--path", help="a CMU-MOSI file; SyntheticMER when left out")
    runs.add_argument("--ood", action="store_true", help="the file is an OOD split: without missing data")
    runs.add_argument("--models", default=",".join(MODELS))
    runs.add_argument("--patience", type=int, default=4)
    runs.add_argument("--lr", type=float, default=2e-3)
    shown = commands.add_parser("table")
    shown.add_argument("folder", type=Path)
    shown.add_argument("--against", help="the model to compare with; the first when left out")
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run every model with every seed, or show what came of it."""
    options = parser().parse_args(args)
    if options.command == "table":
        show(options.folder, options.against)
        return
    kept = {name: getattr(options, name) for name in ("path", "ood", "epochs", "patience", "lr", "batch_size")}
    models = options.models.split(",")
    jobs = [
        Job((name,), tuple((label,) for label in labels(name)), int(seed))
        for seed in options.seeds.split(",")
        for name in models
    ]
    Study(options.out, kept, partial(train, options)).run(jobs, options.part)


if __name__ == "__main__":
    main()
