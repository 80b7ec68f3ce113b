"""What the Trainer costs beside a bare loop over the same network, batches and optimiser.

    python -m benchmarks.speed.overhead unaligned_50.pkl --csv results/speed_cpu.csv
    python -m benchmarks.speed.overhead unaligned_50.pkl --only LFLSTM --rounds 2

A file of CMU-MOSI (MMSA's ``unaligned_50.pkl``), batches of 32. Seconds of processor in one thread. Both loops read the
same loader, cut padding, and train by Adam; the Trainer also watches and logs losses. An epoch of each in turn, the
first not counted; medians over the rounds of the ratios.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything

import mer_zoo.backbones
from benchmarks.speed.rows import add_rows
from mer_zoo.data import MOSI
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.reports.layout import figures_of
from mer_zoo.reports.tables import Table
from mer_zoo.training.param_groups import build_optimizer

MODULE, TITLE, FILE = "benchmarks.speed.overhead", "the Trainer beside a bare loop", "unaligned_50.pkl"
NETWORKS = ("LFLSTM", "LFDNN", "LMF")
QUIET: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}


def bare_epoch(model: Model, data: MOSI, optimizer: torch.optim.Optimizer) -> None:
    """An epoch without a Trainer."""
    model.train()
    for batch in data.train_dataloader():
        (step,) = model.steps(batch if model.fixed_length else batch.trim())
        loss = model.task.weighted(step.output.logits, step.batch.target, step.task_weight).mean()
        loss = loss + sum(step.losses.values())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()


def timed(work: Callable[[], object]) -> float:
    """Seconds of processor that a piece of work takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(name: str, path: Path, epochs: int, rounds: int) -> tuple[float, float]:
    """Median ratio of the Trainer's time an epoch to the bare loop's, and milliseconds a step of the latter."""
    seed_everything(0, verbose=False)
    data = MOSI(str(path), batch_size=32)
    data.setup("fit")
    model: Model = getattr(mer_zoo.backbones, name)(data.spec, data.task)
    optimizer = build_optimizer(torch.optim.Adam, model.named_parameters(), {})
    count, ratios, bare = len(data.train_dataloader()), [], []

    def trained(length: int) -> float:
        # of several epochs the time of one is taken off, and with it what a fit does once
        trainer = Trainer(accelerator="cpu", logger=False, max_epochs=length, limit_val_batches=0, **QUIET)
        return timed(lambda: trainer.fit(MERModule(model), data))

    for _ in range(rounds + 1):
        bare.append(timed(lambda: bare_epoch(model, data, optimizer)))
        ratios.append((trained(1 + epochs) - trained(1)) / epochs / bare[-1])
    return statistics.median(ratios[1:]), 1000 * statistics.median(bare[1:]) / count


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--only", action="append", choices=NETWORKS, help="only this one; may be repeated")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", type=Path, help="a file of results/ that the figures go to")
    parser.add_argument("--commit", default="", help="with which they came")
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Measure, print, and write figures."""
    options = parser().parse_args(args)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    rows = []
    for name in options.only or NETWORKS:
        ratio, step = measure(name, options.path, options.epochs, options.rounds)
        rows.append([name, f"{ratio:.3f}", f"{step:.1f}"])
        sys.stdout.write(f"{rows[-1]}\n")
    header = ["network", "times a bare loop", "milliseconds of processor a step, bare"]
    table = Table("an epoch, batches of 32", header, rows)
    sys.stdout.write(f"{table.markdown()}\n")
    about = {"device": "CPU, one thread", "commit": options.commit, "command": f"python -m {MODULE} {FILE}"}
    add_rows(options.csv, figures_of(table, TITLE, **about))


if __name__ == "__main__":
    main()
