"""Timing and memory of training steps."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from mer_zoo.batch import Batch

__all__ = ["Step", "in_fresh_process", "peak_memory", "ratio", "resident", "time_steps"]

Step = Callable[[Batch], None]
ROOT = Path(__file__).parents[2]


def time_steps(
    steps: Mapping[str, Step],
    batches: Mapping[str, Batch],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each kind of step on its batch; one of each in turn, the first round not counted."""
    times: dict[str, list[float]] = {kind: [] for kind in steps}
    for i in range(repeats + 1):
        for kind, step in steps.items():
            start = clock()
            step(batches[kind])
            if i > 0:
                times[kind].append(clock() - start)
    return {kind: statistics.median(values) for kind, values in times.items()}


def peak_memory(step: Step, small: Batch, batch: Batch) -> int:
    """Bytes that three steps need at most beyond what a fresh process holds after one on a small batch."""
    step(small)
    before = resident("VmRSS")
    for _ in range(3):
        step(batch)
    return resident("VmHWM") - before


def in_fresh_process(module: str, *args: str, **environment: str) -> str:
    """What a script of the benchmarks prints in a process of its own.

    Args:
        module: The script as ``python -m`` takes it.
        args: Its arguments.
        environment: Variables that it gets beside those of this process.
    """
    command = [sys.executable, "-m", module, *args]
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | environment
    ).stdout


def ratio(a: float, b: float) -> str:
    """A number against another, as a table shows it; a dash where steps were too small to take any memory."""
    return f"{a / b:.2f}" if b else "-"


def resident(key: str) -> int:
    """Bytes of resident memory of this process: VmRSS now, VmHWM at most so far."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(key))
    return 1024 * int(line.split()[1])
