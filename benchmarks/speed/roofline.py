"""How near the training step of every network comes to what the machine can do.

    python -m benchmarks.speed.roofline --csv results/roofline_cpu.csv     # ten minutes, most of them PMR's
    python -m benchmarks.speed.roofline --only MulT --only LFLSTM --repeats 9

A step is forward, backward and Adam with all losses, at the sizes of CMU-MOSI: text 50 x 768, audio 375 x 5, vision 500
x 20 features, 16 samples of random lengths, on one CPU thread. What it has to do is counted by ``counting.py`` from the
shapes of its operations; what the machine does in a second is measured beside it: a step, a product of matrices,
exponentials and a copy in turn, so that a busy machine slows all of them; medians of the processor's time.
No step can be faster than the longest of the times that its FLOPs, exponentials and bytes take at these rates: the
largest of its three shares is what it has reached. The copy fits no cache and what a small network keeps does, so that
its share of bytes may be too large; the other two are not.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch

import mer_zoo.backbones
from benchmarks.options import add_results_options
from benchmarks.plain.same import backward
from benchmarks.plain.zoo import our_terms
from benchmarks.rows import add_rows
from benchmarks.speed.counting import Work, count_step
from benchmarks.speed.timing import Step, time_steps
from benchmarks.speed.train_step import alone_model
from mer_zoo.batch import Batch
from mer_zoo.model import Model
from mer_zoo.reports.measured import Measured
from mer_zoo.training.param_groups import build_optimizer

MODULE, TITLE, RATES = "benchmarks.speed.roofline", "share of the bound", "rates of the machine"
AGAIN = 16  # exponentials of the same numbers, which stay in the cache
COUNTS = {"GFLOP": 1e9, "million exponentials": 1e6, "MB": 1e6}
SHARES = ("FLOP, % of the rate", "exponentials, % of the rate", "bytes, % of the rate")


class Probe(NamedTuple):
    """What a machine does as fast as it can, and how much of it."""

    run: Callable[[], object]
    work: Work


def probes(device: torch.device, dtype: torch.dtype = torch.float32, scale: int = 1) -> dict[str, Probe]:
    """Products of matrices, exponentials and a copy, by what is done.

    Args:
        device: Where.
        dtype: Of the matrices.
        scale: How many times the side of the matrices is that which fills one core of a CPU.
    """
    side = 1024 * scale
    a, b, c = (torch.ones(side, side, device=device, dtype=dtype) for _ in range(3))
    few, of_few = (torch.ones(scale**2 << 16, device=device) for _ in range(2))
    many, of_many = (torch.ones(scale**2 << 24, device=device) for _ in range(2))
    product, exponentials = Work(2 * side**3, 0, 0), Work(0, AGAIN * few.numel(), 0)
    found = {
        "FLOP, torch.mm": Probe(lambda: torch.mm(a, b, out=c), product),
        "exponentials": Probe(lambda: [torch.exp(few, out=of_few) for _ in range(AGAIN)], exponentials),
        "bytes copied": Probe(lambda: of_many.copy_(many), Work(0, 0, 2 * many.nbytes)),
    }
    if device.type == "cpu" and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        packed = a.to_mkldnn()  # on some processors twice as fast as the library behind torch.mm
        found["FLOP, oneDNN"] = Probe(lambda: torch.ops.aten.mkldnn_linear(packed, b), product)
    return found


def rates(seconds: Mapping[str, float], measured: Mapping[str, Probe]) -> dict[str, float]:
    """What each probe does a second."""
    return {name: max(probe.work) / seconds[name] for name, probe in measured.items()}


def peaks(found: Mapping[str, float], measured: Mapping[str, Probe]) -> list[float]:
    """FLOPs, exponentials and bytes a second, each by the probe that does most."""
    return [max(found[name] for name, probe in measured.items() if probe.work[kind]) for kind in range(3)]


def library_step(model: Model) -> Step:
    """A training step with the optimiser that the library makes."""
    optimizer = build_optimizer(torch.optim.Adam, model.named_parameters(), {})

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        backward(our_terms(model, batch)[1])
        optimizer.step()

    return step


def measure(name: str, repeats: int) -> tuple[Work, dict[str, float], list[float]]:
    """What a step of a network has to do; seconds of it and of the probes; and what the machine does in one."""
    model, batch = alone_model(name)
    step, measured = library_step(model.train()), probes(torch.device("cpu"))
    work = count_step(model, step, batch)
    kinds: dict[str, Step] = {kind: partial(_run, probe) for kind, probe in measured.items()}
    kinds["step"] = step
    seconds = time_steps(kinds, dict.fromkeys(kinds, batch), repeats, time.process_time)
    done = rates(seconds, measured)
    return work, {"step": seconds["step"], **done}, peaks(done, measured)


def _run(probe: Probe, _: Batch) -> None:
    probe.run()


def shares(work: Work, seconds: float, rate: Sequence[float]) -> list[float]:
    """Percent of a step's time that each kind of its work takes at the least."""
    return [100 * done / (most * seconds) for done, most in zip(work, rate, strict=True)]


def figures(name: str, work: Work, seconds: float, rate: Sequence[float], **about: str) -> list[Measured]:
    """The rows of a network."""
    counts = {kind: f"{done / unit:.3g}" for (kind, unit), done in zip(COUNTS.items(), work, strict=True)}
    reached = {kind: f"{share:.1f}" for kind, share in zip(SHARES, shares(work, seconds, rate), strict=True)}
    told = {**counts, "ms": f"{1000 * seconds:.4g}", **reached}
    return [Measured(TITLE, name, "", metric, value, **about) for metric, value in told.items()]


def rates_found(found: Sequence[Mapping[str, float]], **about: str) -> list[Measured]:
    """The rows of the machine: medians of what it did beside the networks."""
    medians = {kind: statistics.median(each[kind] for each in found) / 1e9 for kind in found[0]}
    return [Measured(RATES, kind, "", "G a second", f"{rate:.3g}", **about) for kind, rate in medians.items()]


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = mer_zoo.backbones.__all__
    parser.add_argument("--only", action="append", choices=names, help="only this one; may be repeated")
    parser.add_argument("--repeats", type=int, default=3, help="timed steps of each network")
    add_results_options(parser)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Measure, print and write a network after the other."""
    options = parser().parse_args(args)
    torch.set_num_threads(1)
    about = {"device": "CPU, one thread", "commit": options.commit, "command": f"python -m {MODULE}"}
    found: list[dict[str, float]] = []
    for name in options.only or mer_zoo.backbones.__all__:
        work, measured, reached = measure(name, options.repeats)
        found.append(measured)
        rows = figures(name, work, measured.pop("step"), reached, **about)
        sys.stdout.write(f"{name:<10}" + ", ".join(f"{row.metric} {row.value}" for row in rows) + "\n")
        sys.stdout.flush()
        add_rows(options.csv, rows)
        add_rows(options.csv, rates_found(found, **about))


if __name__ == "__main__":
    main()
