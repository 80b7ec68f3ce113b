"""What the Trainer costs beside a bare loop over the same network, batches and optimiser; what of it is Lightning's.

    python -m benchmarks.speed.overhead unaligned_50.pkl --csv results/speed_cpu.csv
    python -m benchmarks.speed.overhead unaligned_50.pkl --only LFLSTM --rounds 2

A file of CMU-MOSI (MMSA's ``unaligned_50.pkl``), batches of 32. Seconds of processor in one thread. All loops read the
same batches in the same order, cut padding, and train by the same Adam. Lightning alone is a LightningModule that
returns the loss of the bare loop from ``training_step`` and does nothing else; MERModule with its datamodule also
watches and logs losses. Epochs of each in turn, from the end of one to the end of the next, so with what is done once
an epoch and without what is done once a fit; medians over the rounds of the ratios, the first round not counted.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import override

import mer_zoo.backbones
from benchmarks.options import add_results_options
from benchmarks.rows import add_rows
from mer_zoo.batch import Batch
from mer_zoo.data import MOSI
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.reports.layout import figures_of
from mer_zoo.reports.tables import Table
from mer_zoo.training.param_groups import build_optimizer

MODULE, TITLE, FILE = "benchmarks.speed.overhead", "the Trainer beside a bare loop", "unaligned_50.pkl"
NETWORKS = ("LFLSTM", "LFDNN", "LMF")
QUIET: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}


def loss_of(model: Model, batch: Batch) -> Tensor:
    """Loss of a batch, a scalar."""
    (step,) = model.steps(batch if model.fixed_length else batch.trim())
    loss = model.task.weighted(step.output.logits, step.batch.target, step.task_weight).mean()
    return loss + sum(step.losses.values())


def bare_epoch(model: Model, loader: DataLoader[Batch], optimizer: torch.optim.Optimizer) -> None:
    """An epoch without a Trainer."""
    model.train()
    for batch in loader:
        loss = loss_of(model, batch)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()


class Alone(LightningModule):
    """No more than what Lightning asks for."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.ends: list[float] = []

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return loss_of(self.model, batch)

    @override
    def configure_optimizers(self) -> torch.optim.Optimizer:
        return build_optimizer(torch.optim.Adam, self.model.named_parameters(), {})

    @override
    def on_train_epoch_end(self) -> None:
        self.ends.append(time.process_time())


class Ours(MERModule):
    """As users have it."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.ends: list[float] = []

    @override
    def on_train_epoch_end(self) -> None:
        super().on_train_epoch_end()
        self.ends.append(time.process_time())


def measure(name: str, path: Path, epochs: int, rounds: int) -> tuple[float, float, float]:
    """Milliseconds of a step of the bare loop, median ratios of Lightning's and of MERModule's to it."""
    seed_everything(0, verbose=False)
    data = MOSI(str(path), batch_size=32)
    data.setup("fit")
    model: Model = getattr(mer_zoo.backbones, name)(data.spec, data.task)
    optimizer = build_optimizer(torch.optim.Adam, model.named_parameters(), {})

    def bare() -> float:
        loader, ends = data.train_dataloader(), []
        for epoch in range(1 + epochs):
            loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]  # as Lightning does
            bare_epoch(model, loader, optimizer)
            ends.append(time.process_time())
        return between(ends)

    def trained(module: Alone | Ours) -> float:
        trainer = Trainer(accelerator="cpu", logger=False, max_epochs=1 + epochs, limit_val_batches=0, **QUIET)
        trainer.fit(module, data if isinstance(module, Ours) else data.train_dataloader())
        return between(module.ends)

    times = []
    for place in range(rounds + 1):
        kinds = (bare, lambda: trained(Alone(model)), lambda: trained(Ours(model)))
        times.append([timed(kind, seed=place) for kind in kinds])
    times = times[1:]
    step = 1000 * statistics.median(first for first, _, _ in times) / len(data.train_dataloader())
    alone = statistics.median(second / first for first, second, _ in times)
    return step, alone, statistics.median(third / first for first, _, third in times)


def timed(kind: Callable[[], float], seed: int) -> float:
    """Seconds of an epoch of a kind; equal seeds have equal orders of samples."""
    torch.manual_seed(seed)
    return kind()


def between(ends: Sequence[float]) -> float:
    """Median seconds from one end of an epoch to the next."""
    return statistics.median(later - sooner for sooner, later in itertools.pairwise(ends))


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--only", action="append", choices=NETWORKS, help="only this one; may be repeated")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    add_results_options(parser)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Measure, print, and write figures."""
    options = parser().parse_args(args)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    rows = []
    for name in options.only or NETWORKS:
        step, alone, ours = measure(name, options.path, options.epochs, options.rounds)
        rows.append([name, f"{step:.1f}", f"{alone:.3f}", f"{ours:.3f}"])
        sys.stdout.write(f"{rows[-1]}\n")
    header = [
        "network",
        "milliseconds of processor a step, bare",
        "times that, Lightning alone",
        "times that, MERModule",
    ]
    table = Table("an epoch, batches of 32", header, rows)
    sys.stdout.write(f"{table.markdown()}\n")
    asked = f"--epochs {options.epochs} --rounds {options.rounds}"
    about = {"device": "CPU, one thread", "commit": options.commit, "command": f"python -m {MODULE} {FILE} {asked}"}
    add_rows(options.csv, figures_of(table, TITLE, **about))


if __name__ == "__main__":
    main()
