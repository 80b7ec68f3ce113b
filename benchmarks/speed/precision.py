"""Half precision, compiled networks and two processes against single precision, networks as they are and one process.

    python -m benchmarks.speed.precision losses                  # tiny networks on a CPU: about a minute
    python -m benchmarks.speed.precision losses --compile eager  # and compiled: some minutes, nearly all of it tracing
    python -m benchmarks.speed.precision ddp                     # about a minute
    python -m benchmarks.speed.precision losses --device cuda --full
    python -m benchmarks.speed.precision times --device cuda --full --compile inductor

``losses``: largest relative difference of a training loss and relative distance of the gradient of all parameters, the
same weights and eight samples of SyntheticMER, no dropout. On a CPU 16-mixed computes in float16 where the Trainer
would take bf16-mixed, but for LSTMs. ``ddp``: largest difference of a parameter or buffer after two epochs of three
steps in double precision, shards of unequal size, and of a logged metric. ``times``: milliseconds of forward, backward
and Adam in training; they say something on a GPU only.

``--full`` takes the networks' own sizes, and 16 samples of the sizes of CMU-MOSI.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

sys.path.append(str(Path(__file__).parents[2] / "tests"))  # the tiny sizes and the cases that the tests have, too

from ddp_worker import CASES, EXCEPTIONS, gap, launch
from scale_cases import PLAIN, WRAPPED, Case, make, measure, plugin, synthetic_batch
from toys import step_loss

from benchmarks.plain.zoo import MOSI
from benchmarks.speed.timing import Step, time_steps
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.module import MERModule
from mer_zoo.task import Task, build_task

CONSOLE = Console(width=140)
PRECISIONS = ("bf16-mixed", "16-mixed", "bf16-true")


def inputs(case: Case, full: bool) -> tuple[DataSpec, Task, Batch]:
    """What a case is measured on."""
    if not full:
        return synthetic_batch(case.task)
    task = build_task(case.task)
    torch.manual_seed(0)
    return MOSI.spec, task, Batch.random(MOSI.spec, task, MOSI.size)


def losses(name: str, options: argparse.Namespace) -> Iterator[str]:
    """A row: differences of losses and of gradients in each precision, and compiled."""
    case = (PLAIN | WRAPPED)[name]
    spec, task, batch = inputs(case, options.full)

    def numbers(precision: str, backend: str | bool = False) -> str:
        torch._dynamo.reset()
        module = make(case, spec, task, not options.full, compile=backend)
        loss, gradient, _ = whole.distance(measure(module, batch, precision, options.device))
        return f"{loss:.1e} / {gradient:.1e}"

    whole = measure(make(case, spec, task, not options.full), batch, device=options.device)
    yield from (numbers(precision) for precision in PRECISIONS)
    if options.compile:
        yield numbers("32-true", options.compile)


def stepper(module: MERModule, precision: str, device: str) -> Step:
    """One training step in a precision."""
    given = plugin(precision, device)
    module = given.convert_module(module.to(device)).train()  # type: ignore[assignment]
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)

    def step(batch: Batch) -> None:
        batch = given.convert_input(batch)
        steps = module.model.steps(batch)
        for _ in range(module.model.num_steps):
            with given.forward_context():
                loss = step_loss(module.model, next(steps))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        if device != "cpu":
            torch.cuda.synchronize()

    return step


def timed(options: argparse.Namespace) -> list[str]:
    """Precisions that are timed: float16 has no LSTMs on a CPU."""
    return ["32-true", "bf16-mixed"] if options.device == "cpu" else ["32-true", "bf16-mixed", "16-mixed"]


def times(name: str, options: argparse.Namespace) -> Iterator[str]:
    """A row: milliseconds of a training step in each precision, and compiled."""
    case = (PLAIN | WRAPPED)[name]
    spec, task, batch = inputs(case, options.full)
    kinds = [(precision, False) for precision in timed(options)]
    kinds += [(precision, options.compile) for precision in timed(options) if options.compile]
    steps = {}
    batch = batch.to(torch.device(options.device))
    for precision, backend in kinds:
        module = make(case, spec, task, not options.full, compile=backend)
        module.to(options.device).model.prepare([batch])
        steps[f"{precision} {backend}"] = stepper(module, precision, options.device)
        batch = batch if module.model.fixed_length else batch.trim()
    taken = time_steps(steps, dict.fromkeys(steps, batch), options.repeats)
    yield from (f"{1000 * seconds:.1f}" for seconds in taken.values())


def ddp(options: argparse.Namespace) -> Table:
    """Each case on two processes against one."""
    names = [name for name in CASES if not options.only or name in options.only]
    with tempfile.TemporaryDirectory() as folder:
        one, two = (launch(n, Path(folder) / str(n), names) for n in (1, 2))
    table = Table("case", "parameters", "metrics", "moved", "why", title="two processes against one")
    for name in names:
        first, second = one[name]["metrics"], two[name]["metrics"]
        apart = max(abs(first[key] - second[key]) for key in first if math.isfinite(first[key]))
        why = EXCEPTIONS[name][0] if name in EXCEPTIONS else ""
        table.add_row(name, f"{gap(one[name], two[name]):.1e}", f"{apart:.1e}", f"{one[name]['moved']:.2f}", why)
    return table


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["losses", "times", "ddp"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--full", action="store_true", help="the networks' own sizes and those of CMU-MOSI")
    parser.add_argument("--compile", help="a backend of torch.compile, such as inductor")
    parser.add_argument("--only", action="append", default=[], help="one case; may be given again")
    parser.add_argument("--repeats", type=int, default=10)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Measure, and show the table."""
    options = parser().parse_args(args)
    warnings.simplefilter("ignore")  # so few samples tell nothing, and the compiler leaves some lines to Python
    if options.what == "ddp":
        CONSOLE.print(ddp(options))
        return
    where = torch.cuda.get_device_name() if options.device == "cuda" else options.device
    compiled = [f"compiled by {options.compile}"] if options.compile else []
    if options.what == "losses":
        table = Table("case", *PRECISIONS, *compiled, title=f"loss / gradient against 32-true, {where}")
    else:
        both = [f"{precision} {compiled[0]}" for precision in timed(options) if compiled]
        table = Table("case", *timed(options), *both, title=f"ms a training step, {where}")
    row = losses if options.what == "losses" else times
    for name in options.only or PLAIN | WRAPPED:
        table.add_row(name, *row(name, options))
    CONSOLE.print(table)


if __name__ == "__main__":
    main()
