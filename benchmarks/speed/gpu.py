"""What a GPU makes of the zoo, in one go of at most fifteen minutes: checks, an epoch of MulT, idle share, evaluation.

    python -m benchmarks.speed.gpu --csv results/speed_h200.csv
    python -m benchmarks.speed.gpu --device cpu --tiny             # whether the script itself works

First the rates of the device, and checks: scores and gradients of networks on the GPU beside those on the CPU, and
whether padding that masks hide changes a score; nothing is timed where they fail. Then MulT's epoch at the size of
CMU-MOSEI (16,326 samples, text 50 x 768, audio 500 x 74, vision 500 x 35, batches of 32), in single precision, bf16 and
compiled, from steps of random batches that lie on the device, the whole epoch where one takes no longer than a minute;
peak memory; the share of the rate of matrix products and of the time in which no kernel ran, as the profiler has it;
and samples a second in evaluation of the slowest networks, batches of 64. Every row is printed, and written, when it
is measured, and after ``--minutes`` no other is begun.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

import mer_zoo.backbones
from benchmarks.options import add_results_options
from benchmarks.plain.zoo import TASK, our_terms
from benchmarks.rows import add_rows
from benchmarks.speed.counting import count_step
from benchmarks.speed.roofline import library_step, probes, rates
from benchmarks.speed.timing import Step, time_steps
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.errors import MERError
from mer_zoo.model import Backbone
from mer_zoo.reports.measured import Measured
from mer_zoo.training.compilation import compile_networks
from mer_zoo.training.modes import evaluating

MODULE, EPOCH, RATES, EVALUATION = "benchmarks.speed.gpu", "epoch of MulT", "rates of the machine", "evaluation"
SLOWEST = ("PMR", "DMD", "MulT", "MPLMM", "EMTDLFR", "DLF", "LFLSTM")
CHECKED = ("MulT", "LFLSTM", "DMD", "MISA", "CIDerNet")


class Sizes(NamedTuple):
    """How large everything is."""

    spec: DataSpec
    samples: int
    batch: int
    evaluated: int
    options: dict[str, int]
    scale: int
    repeats: int


MOSEI = Sizes(DataSpec(768, 74, 35, 50, 500, 500), 16_326, 32, 64, {"dim": 40, "heads": 10, "depth": 4}, 8, 10)
TINY = Sizes(DataSpec(6, 3, 2, 8, 10, 12), 20, 4, 3, {"dim": 4, "heads": 2, "depth": 1}, 1, 1)


class Kind(NamedTuple):
    """A way to compute."""

    dtype: torch.dtype
    compiled: bool

    def __str__(self) -> str:
        return ("bf16" if self.dtype == torch.bfloat16 else "fp32") + (", compiled" if self.compiled else "")


KINDS = [Kind(dtype, compiled) for compiled in (False, True) for dtype in (torch.float32, torch.bfloat16)]


class Bench:
    """One run of the script.

    Args:
        device: What is measured.
        sizes: How large.
        path: The file of figures, if any.
        commit: With which they come.
        minutes: After which nothing else is begun.
    """

    def __init__(self, device: torch.device, sizes: Sizes, path: Path | None, commit: str, minutes: float) -> None:
        self.device, self.sizes, self.path = device, sizes, path
        self.ends = time.perf_counter() + 60 * minutes
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, one thread"
        self.about = {"device": name, "commit": commit, "command": f"python -m {MODULE}"}
        self.rate: dict[torch.dtype, float] = {}

    def row(self, benchmark: str, model: str, condition: str, values: Mapping[str, float]) -> None:
        """Print and write what was measured."""
        told = {metric: f"{value:.4g}" for metric, value in values.items()}
        rows = [Measured(benchmark, model, condition, metric, value, **self.about) for metric, value in told.items()]
        say(f"{benchmark}: {model} {condition} " + ", ".join(f"{metric} {value}" for metric, value in told.items()))
        add_rows(self.path, rows)

    def begins(self, what: str) -> bool:
        """Whether there is time left for something."""
        left = self.ends - time.perf_counter()
        if left <= 0:
            say(f"{what}: left out, the time is over")
        return left > 0

    def settled(self, step: Callable[[], object]) -> float:
        """Seconds of something, until the device has done it."""
        self.wait()
        start = time.perf_counter()
        step()
        self.wait()
        return time.perf_counter() - start

    def wait(self) -> None:
        """Until the device has nothing left to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def casts(self, dtype: torch.dtype) -> AbstractContextManager[object]:
        """The context of a step in a precision."""
        return nullcontext() if dtype == torch.float32 else torch.autocast(self.device.type, dtype)


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def speeds(bench: Bench) -> None:
    """The rates of the device."""
    for dtype in (torch.float32, torch.bfloat16):
        measured = probes(bench.device, dtype, bench.sizes.scale)
        seconds = {
            name: min(bench.settled(probe.run) for _ in range(bench.sizes.repeats + 1))
            for name, probe in measured.items()
        }
        found = rates(seconds, measured)
        bench.rate[dtype] = max(found[name] for name, probe in measured.items() if probe.work.flops)
        for name, rate in found.items():
            if dtype == torch.float32 or measured[name].work.flops:
                bench.row(RATES, f"{name}, {str(dtype).removeprefix('torch.')}", "", {"G a second": rate / 1e9})


def network(name: str, sizes: Sizes, seed: int = 1) -> Backbone:
    """A network of the zoo; MulT of the size that is written about."""
    torch.manual_seed(seed)
    options = sizes.options if name == "MulT" else {}
    made: Backbone = getattr(mer_zoo.backbones, name)(sizes.spec, TASK, **options)
    return made


def check(bench: Bench) -> None:
    """Compare a GPU's scores and gradients with a CPU's, and scores with padding and without.

    Raises:
        MERError: Where they differ.
    """
    for name in CHECKED:
        model, batch = network(name, bench.sizes).eval(), Batch.random(bench.sizes.spec, TASK, bench.sizes.batch)
        model.prepare([batch])
        # Of a GPU recurrent layers have gradients in training mode alone, and TF32 would differ by more than the limit.
        with evaluating(model, differentiable=True), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            here = answer(model, batch)
            there = answer(model.to(bench.device), batch.to(bench.device))
            gaps = {what: gap(there[what], here[what]) for what in here}
            if not model.fixed_length:
                gaps["padding"] = gap(answer(model, padded(batch).to(bench.device))["scores"], here["scores"])
        bench.row("checks", name, "", gaps)
        for what, apart in gaps.items():
            if not apart < 2e-3:
                raise MERError(
                    f"{what} of {name} differ by {apart:.1e} between CPU and {bench.device}; nothing is timed"
                )


def answer(model: Backbone, batch: Batch) -> dict[str, torch.Tensor]:
    """Scores and the gradient of all parameters, on the CPU."""
    model.zero_grad()
    with torch.enable_grad():
        scores, terms = our_terms(model, batch)
        torch.autograd.backward(terms["task"])
    gradients = [each.grad.flatten() for each in model.parameters() if each.grad is not None]
    return {"scores": scores.detach().cpu(), "gradients": torch.cat(gradients).cpu()}


def gap(one: torch.Tensor, other: torch.Tensor) -> float:
    """Distance of tensors beside the length of the second."""
    return float((one - other).norm() / other.norm().clamp(min=1e-12))


def padded(batch: Batch) -> Batch:
    """The batch with some more padding behind each modality, full of numbers that nobody may see."""
    wider = {}
    for name in MODALITIES:
        given = batch.modality(name)
        some = torch.full_like(given.x[:, :3], 7.0)
        mask = torch.cat([given.mask, torch.zeros_like(given.mask[:, :1]).expand(-1, 3)], 1)
        wider[name] = Modality(torch.cat([given.x, some], 1), mask)
    return batch.replace(**wider)


def epochs(bench: Bench) -> None:
    """MulT's epoch in every kind."""
    work = None
    for kind in KINDS:
        if not bench.begins(f"an epoch, {kind}"):
            return
        model, sizes = network("MulT", bench.sizes).train(), bench.sizes
        full = Batch.random(sizes.spec, TASK, sizes.batch)
        model.prepare([full])
        if work is None:
            work = count_step(model, library_step(model), full)
            model.zero_grad(set_to_none=True)
        batch = full.to(bench.device)
        model.to(bench.device)
        if kind.compiled:
            compile_networks(model, True if bench.device.type == "cuda" else "eager")
        step = in_kind(bench, library_step(model), kind.dtype)
        try:
            first = bench.settled(lambda run=step, given=batch: run(given))  # type: ignore[misc]
        except Exception as error:  # of the compiler, on whose account the others are not given up
            say(f"epoch of MulT, {kind}: {type(error).__name__}: {str(error).splitlines()[0]}")
            continue
        if bench.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(bench.device)
        steps = -(-sizes.samples // sizes.batch)
        tried = min(bench.settled(lambda run=step, given=batch: run(given)) for _ in range(sizes.repeats))  # type: ignore[misc]
        taken = steps if tried * steps < 60 else min(steps, 20)
        seconds = bench.settled(lambda run=step, given=batch, n=taken: repeated(run, given, n)) / taken  # type: ignore[misc]
        memory = torch.cuda.max_memory_allocated(bench.device) / 2**20 if bench.device.type == "cuda" else 0.0
        share = 100 * work.flops / (seconds * bench.rate[kind.dtype])
        values = {"s an epoch": seconds * steps, "ms a step": 1000 * seconds, "s of the first step": first}
        values |= {"idle, %": idle(bench, step, batch), "FLOP, % of the rate": share}
        bench.row(EPOCH, "MulT", str(kind), {**values, **({"MiB at most": memory} if memory else {})})


def in_kind(bench: Bench, step: Step, dtype: torch.dtype) -> Step:
    """A step in a precision."""

    def run(batch: Batch) -> None:
        with bench.casts(dtype):
            step(batch)

    return run


def idle(bench: Bench, step: Step, batch: Batch, count: int = 5) -> float:
    """Percent of the time of some steps in which the device ran no kernel; none can be told of a CPU."""
    if bench.device.type != "cuda":
        return 0.0
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        seconds = bench.settled(lambda: repeated(step, batch, count))
    return 100 * max(0.0, 1 - covered(kernels(profiler)) / (1e6 * seconds))


def repeated(step: Step, batch: Batch, count: int) -> None:
    """Some steps."""
    for _ in range(count):
        step(batch)


def kernels(profiler: profile) -> Iterator[tuple[float, float]]:
    """Beginning and end of whatever a device did, in microseconds."""
    for event in profiler.events() or ():  # type: ignore[no-untyped-call]
        if event.device_type == DeviceType.CUDA:
            yield event.time_range.start, event.time_range.end


def covered(spans: Iterator[tuple[float, float]] | Sequence[tuple[float, float]]) -> float:
    """Length of the union of spans.

    Example:
        >>> covered([(0.0, 2.0), (5.0, 6.0), (1.0, 3.0)])
        4.0
    """
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def evaluation(bench: Bench) -> None:
    """Samples a second of networks that only predict."""
    for name in SLOWEST:
        for dtype in (torch.float32, torch.bfloat16):
            if not bench.begins(f"evaluation of {name}"):
                return
            model = network(name, bench.sizes)
            batch = Batch.random(bench.sizes.spec, TASK, bench.sizes.evaluated)
            model.prepare([batch])
            model, batch = model.to(bench.device).eval(), batch.to(bench.device)

            def predict(given: Batch, model: Backbone = model, dtype: torch.dtype = dtype) -> None:
                with torch.inference_mode(), bench.casts(dtype):
                    model.predict(given)
                bench.wait()

            seconds = time_steps({"predict": predict}, {"predict": batch}, min(3, bench.sizes.repeats))["predict"]
            bench.row(EVALUATION, name, str(Kind(dtype, False)), {"samples a second": bench.sizes.evaluated / seconds})


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes of a test")
    parser.add_argument("--minutes", type=float, default=12.0, help="after which nothing else is begun")
    add_results_options(parser)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Check, measure, print and write.

    Raises:
        MERError: Without the device, and where the checks fail.
    """
    options = parser().parse_args(args)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise MERError("there is no CUDA device here; run it where there is one, or try it with --device cpu --tiny")
    if device.type == "cpu":
        torch.set_num_threads(1)
    bench = Bench(device, TINY if options.tiny else MOSEI, options.csv, options.commit, options.minutes)
    speeds(bench)
    check(bench)
    epochs(bench)
    evaluation(bench)


if __name__ == "__main__":
    main()
