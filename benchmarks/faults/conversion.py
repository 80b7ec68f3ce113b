"""Faults of conversion: kill -9 at random moments, and a disk that fills up.

    python -m benchmarks.faults.conversion SCRATCH --kills 30

Half of the kills hit a conversion on first use (what `mer-zoo fit` does), half one that replaces an older store
(`mer-zoo convert`). Moments are drawn, seeded, over the measured time of a whole conversion; one that comes after the
end is drawn again. A kill is survived if what stands at the store's place afterwards is a whole store or nothing, and
the next run leaves the very bytes of an undisturbed one and nothing else (an empty lock file may stay where the store
was complete). The disk is a tmpfs where mounting is permitted. SCRATCH is emptied. POSIX only.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest import mock

from rich.console import Console
from rich.progress import track
from rich.table import Table
from typing_extensions import override

from benchmarks.speed.big_corpus import split_sizes, write_corpus
from mer_zoo.data.convert import convert
from mer_zoo.data.store.store import is_store, open_corpus
from mer_zoo.errors import MERError

CONSOLE = Console()
Digest = dict[str, str]
Task = Callable[[], object]


def digest(folder: Path) -> Digest:
    """SHA-256 of every file of a folder."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def fork(task: Task) -> BaseProcess:
    """Start a task in a process that has imported everything already, so that all of its time is conversion."""
    process = multiprocessing.get_context("fork").Process(target=task)
    process.start()
    return process


def run(task: Task) -> float:
    """Run a task to its end in a process of its own; seconds."""
    start, process = time.perf_counter(), fork(task)
    process.join()
    if process.exitcode != 0:
        raise RuntimeError("an undisturbed conversion failed")
    return time.perf_counter() - start


def killed_after(task: Task, seconds: float) -> bool:
    """Kill a task some time after its start; whether it was still running."""
    process = fork(task)
    process.join(seconds)
    if process.exitcode is None and process.pid is not None:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode == -signal.SIGKILL


class FirstUse:
    """A conversion into the cache, as `mer-zoo fit` begins.

    Args:
        folder: Where it may work.
        old: A source that was converted before.
        new: The source to convert.
    """

    def __init__(self, folder: Path, old: Path, new: Path) -> None:
        self.folder, self.old, self.new = folder / "cache", old, new

    def reset(self) -> None:
        """Set everything to the state before the conversion."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def task(self) -> None:
        """Convert and open."""
        open_corpus(self.new, self.folder)

    def stores(self) -> list[Path]:
        """What would be opened as a store of this source."""
        return [path for path in self.folder.glob("*") if path.suffix != ".part" and path.is_dir()]

    def leftovers(self) -> list[Path]:
        """What stands there beside."""
        return [path for path in self.folder.glob("*") if path not in self.stores()]


class Replacement(FirstUse):
    """`mer-zoo convert` over an older store."""

    def __init__(self, folder: Path, old: Path, new: Path) -> None:
        super().__init__(folder, old, new)
        self.folder = folder / "stores"

    @override
    def reset(self) -> None:
        super().reset()
        convert(self.old, self.folder / "store", progress=False, overwrite=True)

    @override
    def task(self) -> None:
        convert(self.new, self.folder / "store", progress=False, overwrite=True)


def state(case: FirstUse, whole: list[Digest]) -> str:
    """What a kill left: which whole store, or a failure."""
    found = [
        "HALF A STORE" if digest(path) not in whole else f"store {whole.index(digest(path))}" for path in case.stores()
    ]
    parts = [path for path in case.leftovers() if path.suffix == ".part"]
    stage = "nothing begun"
    if parts:
        stage = (
            "all written" if any(is_store(path) for path in parts) else f"{len(list(parts[0].iterdir()))} files begun"
        )
    return f"{', '.join(found) or 'no store'}; {stage}"


def mended(case: FirstUse, expected: Digest) -> bool:
    """Whether the next run succeeds, leaves the bytes of an undisturbed one, and nothing else."""
    next_run = fork(case.task)
    next_run.join()
    clean = all(path.is_file() and not path.stat().st_size for path in case.leftovers())
    return next_run.exitcode == 0 and clean and [digest(path) for path in case.stores()] == [expected]


def kill(case: FirstUse, whole: list[Digest], kills: int, rng: random.Random, table: Table) -> int:
    """Kill conversions and let the next run mend them; how many did not survive."""
    case.reset()
    duration = run(case.task)
    late, lost, states = 0, 0, Counter[str]()
    for _ in track(range(kills), type(case).__name__, console=CONSOLE, disable=not CONSOLE.is_terminal):
        while True:
            case.reset()
            if killed_after(case.task, rng.uniform(0, duration)):
                break
            late += 1
        seen = state(case, whole)
        states[seen] += 1
        lost += "HALF" in seen or not mended(case, whole[1])
    shown = "\n".join(f"{count} x {what}" for what, count in states.most_common())
    name = type(case).__name__
    table.add_row(name, f"{duration:.2f} s", str(kills), str(late), str(kills - lost), shown)
    return lost


def full_disk(folder: Path, source: Path, needed: int) -> str:
    """Convert onto a disk with half of the room; what the user reads."""
    disk = folder / "disk"
    disk.mkdir()
    options = f"size={needed // 2}"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], check=False).returncode:
        return "no tmpfs may be mounted here; tests/data/test_conversion_faults.py limits the size of files instead"
    check = shutil.disk_usage
    plenty = type(check("/"))(10**15, 0, 10**15)
    messages = []
    try:
        for told in (check, lambda _: plenty):  # the second as if others filled the disk after the check
            try:
                with mock.patch("shutil.disk_usage", told):
                    convert(source, disk / "store", progress=False)
            except MERError as error:
                left = sorted(path.name for path in disk.iterdir())
                messages.append(f"{error} [left behind: {left or 'nothing'}]")
            else:
                messages.append("it was converted, so the fault was not injected")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    return "\n".join(messages)


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a scratch folder, which is emptied")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Inject the faults and print what became of them."""
    options = parser().parse_args(args)
    folder: Path = options.folder.resolve() / "fault_conversion"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        sources = [folder / f"{seed}.pkl" for seed in range(2)]
        for seed, source in enumerate(sources):
            write_corpus(source, split_sizes(options.samples), seed)
            convert(source, folder / "undisturbed" / str(seed), progress=False)
        whole = [digest(folder / "undisturbed" / str(seed)) for seed in range(2)]
        table = Table(
            "conversion", "whole run", "injected", "too late", "survived", "what the kill left", show_lines=True
        )
        rng, cases = random.Random(options.seed), (FirstUse, Replacement)
        shares = (options.kills - options.kills // 2, options.kills // 2)
        lost = sum(kill(case(folder, *sources), whole, n, rng, table) for case, n in zip(cases, shares, strict=True))
        CONSOLE.print(table)
        needed = sum(file.stat().st_size for file in (folder / "undisturbed" / "1").iterdir())
        CONSOLE.print(f"{options.kills - lost} of {options.kills} kills survived; on a full disk:")
        CONSOLE.print(full_disk(folder, sources[1], needed), markup=False, soft_wrap=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    raise SystemExit(1 if lost else 0)


if __name__ == "__main__":
    main()
