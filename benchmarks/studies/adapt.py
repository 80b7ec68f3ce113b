"""Compares what adapting to a target's inputs does, on SyntheticMER: words that mean other classes, other recordings.

    python -m benchmarks.studies.adapt run --out runs/adapt
    python -m benchmarks.studies.adapt table runs/adapt --csv results/adapt_cpu.csv

Each network is trained on a corpus whose words and labels are associated. Targets are drawn anew: with
the association turned round (`words`), and like training but with audio and vision doubled and moved by a half
(`recordings`). What is compared is tested on the target's test split, of which nothing is seen before, and never
reads a label of its training split.
"""

from __future__ import annotations

import argparse
import copy
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import seed_everything

import mer_zoo.backbones
from benchmarks.options import add_csv_option
from benchmarks.studies.frame import Job, Plan, Record, Results, Study, by_name, commits_of, fit, simple_jobs
from benchmarks.studies.zoo_mosi import SIZES
from mer_zoo.batch import Batch, BatchSource
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.source import MappedSource
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.explain.samples import complete_condition
from mer_zoo.model import Model
from mer_zoo.reports.measured import Measured, write_measured
from mer_zoo.reports.tables import Table, open_console
from mer_zoo.scores import measure
from mer_zoo.training import score
from mer_zoo.wrappers import CASP
from mer_zoo.wrappers.casp.layer_norms import match_statistics

TARGETS = ("words", "recordings")
AS_IT_IS, STATISTICS = "as it is", "LayerNorm statistics alone"
ADAPTED: Mapping[str, Mapping[str, Any]] = {
    "CASP": {},
    "CASP, stable=above": {"stable": "above"},
}
METRIC, RHO, TURNED = "Acc2_non0", 0.8, 0.1
BENCHMARK = "SyntheticMER: adapting without labels"


def moved(batch: Batch) -> Batch:
    """The batch with audio and vision on another scale."""
    other = {}
    for name in ("audio", "vision"):
        modality = batch.modality(name)
        other[name] = modality.replace(x=(2 * modality.x + 0.5) * modality.observed[..., None])
    return batch.replace(**other)


def target_of(name: str, data: SyntheticMER, source: SyntheticConfig, samples: int) -> Callable[[str], BatchSource]:
    """Opens a split of a target, which is drawn anew."""
    rho = TURNED if name == "words" else source.rho
    scm = replace(source, seed=source.seed + 1000, rho=rho, train=samples)
    other = SyntheticMER(scm, task="binary", batch_size=data.batch_size)

    def split(which: str) -> BatchSource:
        batches = other.condition_source(complete_condition(other, which))
        return MappedSource(batches, moved) if name == "recordings" else batches

    return split


def train(job: Job, options: argparse.Namespace) -> Results:
    """Train a network, and adapt it to each target in every way."""
    (name,) = job.what
    scm = SyntheticConfig(train=options.samples, valid=200, test=1000, rho=RHO, seed=job.seed)
    data = SyntheticMER(scm, task="binary", batch_size=options.batch_size)
    seed_everything(job.seed, verbose=False)
    model: Model = getattr(mer_zoo.backbones, name)(data.spec, data.task, **SIZES[name])
    model = fit(model, data, Plan(1e-3, options.epochs)).restore()
    found = {target: ways(model, data, target_of(target, data, scm, options.target_samples)) for target in TARGETS}
    return {job.places[0]: {"found": found}}


def ways(model: Model, data: SyntheticMER, target: Callable[[str], BatchSource]) -> dict[str, float]:
    """The metric of each way on the target's test split, in percent."""

    def tested(each: Model) -> float:
        return 100 * measure(data.task, score(each, target("test_iid"), calibrating=False))[METRIC]

    found = {AS_IT_IS: tested(model)}
    matched = copy.deepcopy(model)
    match_statistics(matched, data.batch_source("train"), target("train"))
    found[STATISTICS] = tested(matched)
    for way, options in ADAPTED.items():
        adapted = CASP(copy.deepcopy(model), **options)
        adapted.adapt(target("train"))
        found[way] = tested(adapted)
    return found


def figures(records: Mapping[str, Sequence[Record]], command: str, commit: str) -> list[Measured]:
    """Means over the seeds, and mean differences to the network as it is with Student's intervals."""
    made = []
    for network, of in records.items():
        for way in (AS_IT_IS, STATISTICS, *ADAPTED):
            for target in TARGETS:
                values = [record["found"][target][way] for record in of]
                gains = [value - record["found"][target][AS_IT_IS] for value, record in zip(values, of, strict=True)]
                made.append(
                    Measured(
                        BENCHMARK,
                        f"{network}; {way}",
                        target,
                        METRIC,
                        f"{statistics.fmean(values):.1f}",
                        f"{statistics.stdev(values):.1f}" if len(values) > 1 else "",
                        **({} if way == AS_IT_IS else _difference(gains, f"{network}; {AS_IT_IS}")),
                        seeds=str(len(of)),
                        device="CPU",
                        commit=commit,
                        command=command,
                    )
                )
    return made


def _difference(gains: Sequence[float], against: str) -> dict[str, str]:
    mean = statistics.fmean(gains)
    half = STUDENT[len(gains)] * statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) in STUDENT else float("nan")
    ends = {"difference": f"{mean:.1f}", "low": f"{mean - half:.1f}", "high": f"{mean + half:.1f}"}
    return {"against": against, **ends} if half == half else {}


STUDENT = {3: 4.303, 5: 2.776}  # two-sided, 95 %, by the number of seeds


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description="Compare ways of adapting to a target's inputs.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("--out", type=Path, required=True)
    run.add_argument("--networks", default="EFLSTM,CIDerNet", help="with commas")
    run.add_argument("--seeds", default="310,311,312")
    run.add_argument("--samples", type=int, default=600, help="training samples of the source")
    run.add_argument("--target_samples", type=int, default=300, help="training samples of a target, without labels")
    run.add_argument("--epochs", type=int, default=8)
    run.add_argument("--batch_size", type=int, default=64)
    table = commands.add_parser("table")
    table.add_argument("folder", type=Path)
    add_csv_option(table)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Train and adapt, or show what was recorded."""
    options = parser().parse_args(args)
    if options.command == "run":
        kept = {name: getattr(options, name) for name in ("samples", "target_samples", "epochs", "batch_size")}
        study = Study(options.out, kept, partial(train, options=options))
        study.run(simple_jobs(options.networks.split(","), options.seeds))
        return
    command = f"python -m benchmarks.studies.adapt table {options.folder}"
    made = figures(by_name(options.folder), command, commits_of(options.folder))
    rows: dict[str, list[str]] = {}
    for figure in made:
        rows.setdefault(figure.model, [figure.model]).append(figure.text())
    Table(BENCHMARK, [METRIC, *TARGETS], list(rows.values())).show(open_console())
    if options.csv is not None:
        write_measured(options.csv, made)


if __name__ == "__main__":
    main()
