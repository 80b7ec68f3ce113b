"""Speed and memory of CUMDF's training step at the manuscript's sizes for CMU-MOSI: 50 steps, width 300, batch 35.

    python -m benchmarks.speed.cumdf_step            # a minute on an idle machine

A step is what one batch costs in training on one CPU thread: an incomplete view is drawn, then forward, backward and
Adam with all losses. Time: median of steps that alternate between the models in one process, so that a busy machine
slows all.
Memory: a process for each; the highest resident size during three steps less the resident size before the model is
built. The teacher overhead is that of the student's step over the same step without teacher, attribution and penalty.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from rich.console import Console
from rich.table import Table

from benchmarks.speed.timing import in_fresh_process, resident
from mer_zoo.backbones import CUMDFNet
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.task import SentimentClassification
from mer_zoo.wrappers import CUMDF

SIZE = 35
SPEEDS: dict[str, Callable[[CUMDFNet, str], Model]] = {
    "CUMDFNet": lambda net, _: net,
    "views, no teacher": lambda net, _: CUMDF(
        net, teacher=None, srd_weight=0.0, attribution_weight=0.0, penalty_weight=0.0
    ),
    "student, frozen teacher": lambda net, teacher: CUMDF(net, teacher=teacher),
    "student, frozen teacher, SRD alone": lambda net, teacher: CUMDF(
        net, teacher=teacher, attribution_weight=0.0, penalty_weight=0.0
    ),
    "student and teacher": lambda net, _: CUMDF(net),
}


def save_teacher(network: CUMDFNet, file: str) -> None:
    """Write the checkpoint of a teacher that has not been trained, which takes as long as any."""
    module = MERModule(CUMDF(network, role="teacher"))
    module.trainer = Trainer(logger=False, enable_progress_bar=False)
    module.trainer.strategy.connect(module)
    module.trainer.save_checkpoint(file)


def step_of(kind: str, width: int = 300) -> Callable[[], None]:
    """A training step at the manuscript's sizes: 50 steps, width 300, batch 35."""
    torch.manual_seed(0)
    spec = DataSpec(300, 74, 35, 50, 50, 50, aligned=True)
    task, batch = SentimentClassification(7), Batch.random(spec, SentimentClassification(7), size=SIZE)
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "teacher.ckpt")
        if "frozen" in kind:
            save_teacher(CUMDFNet(spec, task, dim=width), file)
        model = SPEEDS[kind](CUMDFNet(spec, task, dim=width), file)
        model.prepare([batch])
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        for each in model.steps(batch):
            optimizer.zero_grad()
            loss = task.criterion(each.output.logits, each.batch.target).mean() + sum(each.losses.values())
            torch.autograd.backward(loss)
            optimizer.step()

    return step


def speed(repeats: int) -> None:
    """Median time of steps that alternate between the models, and the peak memory of each in a process of its own."""
    torch.set_num_threads(1)
    steps = {kind: step_of(kind) for kind in SPEEDS}
    times: dict[str, list[float]] = {kind: [] for kind in steps}
    for _ in range(repeats + 1):
        for kind, step in steps.items():
            start = time.perf_counter()
            step()
            times[kind].append(time.perf_counter() - start)
    shown = Table("step", "samples/s", "times the undistilled step", "peak MiB")
    base = times["views, no teacher"][1:]
    for kind, each in times.items():
        ratio = statistics.median(a / b for a, b in zip(each[1:], base, strict=True))
        memory = int(in_fresh_process("benchmarks.speed.cumdf_step", "--memory", kind)) / 2**20
        shown.add_row(kind, f"{SIZE / statistics.median(each[1:]):.1f}", f"{ratio:.2f}", f"{memory:.0f}")
    Console(width=120).print(shown)


def memory(kind: str) -> None:
    """Bytes that three steps need beyond what the process held before; for a fresh process."""
    torch.set_num_threads(1)
    before = resident("VmRSS")
    step = step_of(kind)
    for _ in range(3):
        step()
    print(resident("VmHWM") - before)


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="timed steps of each model")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Print the table."""
    options = parser().parse_args(args)
    if options.memory:
        memory(options.memory)
    else:
        speed(options.repeats)


if __name__ == "__main__":
    main()
