"""Timing and memory of training steps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from mer_zoo.batch import Batch

__all__ = ["Step", "peak_memory", "resident", "time_steps"]

Step = Callable[[Batch], None]


def time_steps(steps: Mapping[str, Step], batches: Mapping[str, Batch], repeats: int) -> dict[str, float]:
    """Median seconds of each kind of step on its batch; one of each in turn, the first round not counted."""
    times: dict[str, list[float]] = {kind: [] for kind in steps}
    for i in range(repeats + 1):
        for kind, step in steps.items():
            start = time.perf_counter()
            step(batches[kind])
            if i > 0:
                times[kind].append(time.perf_counter() - start)
    return {kind: statistics.median(values) for kind, values in times.items()}


def peak_memory(step: Step, small: Batch, batch: Batch) -> int:
    """Bytes that three steps need at most beyond what a fresh process holds after one on a small batch."""
    step(small)
    before = resident("VmRSS")
    for _ in range(3):
        step(batch)
    return resident("VmHWM") - before


def resident(key: str) -> int:
    """Bytes of resident memory of this process: VmRSS now, VmHWM at most so far."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(key))
    return 1024 * int(line.split()[1])
