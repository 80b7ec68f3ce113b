"""Asks whether GCNet on CMU-MOSI tells sentences apart or the videos that they are of.

    python -m benchmarks.studies.which_video run clean_unaligned_50.pkl --out runs/which_video
    python -m benchmarks.studies.which_video table runs/which_video --csv results/mosi_cpu.csv

GCNet reads a clip among those of its video. A network that knows which video it reads can say the mean of its labels
to every clip, and has nothing to say about other videos. What tells it: the share of the variance of what a network
says that lies between videos, beside that of the labels. The network is trained as it is, on complete clips, and on
complete clips in batches drawn at random, where a clip rarely meets another one of its video. No test split is read.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import seed_everything
from torch import Tensor

from benchmarks.options import add_csv_option
from benchmarks.studies.frame import Job, Plan, Results, Study, add_run_options, by_name, commits_of, fit, simple_jobs
from benchmarks.studies.zoo_mosi import SIZES
from mer_zoo.backbones import GCNet
from mer_zoo.data import MOSI
from mer_zoo.data.corpus.conversation import recordings
from mer_zoo.data.datamodule import MERDataModule
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.reports.measured import Measured, write_measured
from mer_zoo.reports.tables import Table, open_console
from mer_zoo.training import score

BENCHMARK = "CMU-MOSI, clean re-split: does GCNet know the video"
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # options of the network, and of the data
    "GCNet": ({}, {"batches": "dialogues"}),
    "GCNet, nothing missing in training": ({"rate": 0.0}, {"batches": "dialogues"}),
    "GCNet, nothing missing, clips at random": ({"rate": 0.0, "partial": True}, {}),
}
FIGURES = ("share between videos", "share of the labels'", "Corr")
SPLITS = {"train": "training", "valid": "validation"}


def share_between(values: Tensor, group: Sequence[str]) -> float:
    """Share of the variance of values (N,) that lies between the means of groups.

    Example:
        >>> round(share_between(torch.tensor([0.0, 2.0, 4.0, 6.0]), ["a", "a", "b", "b"]), 2)
        0.8
    """
    members: dict[str, list[int]] = {}
    for place, name in enumerate(group):
        members.setdefault(name, []).append(place)
    means = torch.empty_like(values)
    for places in members.values():
        means[places] = values[places].mean()
    return float(means.var(correction=0) / values.var(correction=0))


def train(options: argparse.Namespace, job: Job) -> Results:
    """Train the network in one way, and measure what it says of either split."""
    (name,) = job.what
    network, batches = WAYS[name]
    seed_everything(job.seed, verbose=False)
    data = MOSI(options.path, task="seven", batch_size=options.batch_size, **batches)
    model = GCNet(data.spec, data.task, **SIZES["GCNet"], **network)
    trained = fit(model, data, Plan(options.lr, options.epochs, {"MAE": ("val/MAE", -1)}))
    found = {split: told(trained.restore("MAE"), data, split) for split in SPLITS}
    return {job.places[0]: {"found": found}}


def told(model: Model, data: MERDataModule, split: str) -> list[float]:
    """The figures of a split, in their order: shares in percent, the correlation of scores and labels as it is."""
    scores = score(model, data.batch_source(split), calibrating=False)
    videos = recordings(scores.ids or [])
    if videos is None:
        raise MERError("the ids of this file tell no recordings; give a file of CMU-MOSI, whose ids are VIDEO$_$CLIP")
    said, truth = data.task.score(scores.logits), scores.target.flatten().float()
    shares = [100 * share_between(values, videos) for values in (said, truth)]
    return [*shares, float(torch.corrcoef(torch.stack([said, truth]))[0, 1])]


def figures(folder: Path, command: str) -> list[Measured]:
    """Means over the seeds."""
    made = []
    for name, records in by_name(folder).items():
        for split, condition in SPLITS.items():
            columns = zip(*(record["found"][split] for record in records), strict=True)
            for metric, values in zip(FIGURES, columns, strict=True):
                digits = 2 if metric == "Corr" else 0
                deviation = f"{statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
                at = {"seeds": str(len(values)), "device": "CPU", "commit": commits_of(folder), "command": command}
                value = f"{statistics.fmean(values):.{digits}f}"
                made.append(Measured(BENCHMARK, name, condition, metric, value, deviation, **at))
    return made


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run")
    runs.add_argument("path", type=Path)
    add_run_options(runs, seeds="0,1,2", epochs=15, batch_size=24)
    runs.add_argument("--lr", type=float, default=1e-3)
    shown = commands.add_parser("table")
    shown.add_argument("folder", type=Path)
    add_csv_option(shown)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Train, or show what was recorded."""
    options = parser().parse_args(args)
    if options.command == "run":
        kept = {"file": options.path.name, "epochs": options.epochs, "lr": options.lr, "batch_size": options.batch_size}
        Study(options.out, kept, partial(train, options)).run(simple_jobs(list(WAYS), options.seeds), options.part)
        return
    made = figures(options.folder, f"python -m benchmarks.studies.which_video table {options.folder}")
    rows: dict[str, list[str]] = {}
    for figure in made:
        rows.setdefault(figure.model, [figure.model]).append(figure.text())
    header = ["", *(f"{metric}, {split}" for split in SPLITS.values() for metric in FIGURES)]
    Table(BENCHMARK, header, list(rows.values())).show(open_console())
    if options.csv is not None:
        write_measured(options.csv, made)


if __name__ == "__main__":
    main()
