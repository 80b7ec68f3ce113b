"""Reading hostile inputs in processes of their own, under a limit of memory, and killed when they hang.

An input is known by its target and number: ``python tests/fuzz_process.py 30 TARGET NUMBER 1`` reads it again and says
what came of it.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import signal
import struct
import subprocess
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from fuzz_targets import TARGETS
from fuzzing import COUNTS, Tally, Target, Watch, read_one, stop, warm_up

__all__ = ["fuzz"]

MEMORY = 2 * 2**30
FAILED = 99  # status of a process that ends by a mistake of ours


class _Board:
    """What outlasts a process that reads: the next number, and the tally of those before."""

    form = struct.Struct(f"<{len(COUNTS) + 4}q")

    def __init__(self, folder: Path, first: int | None = None) -> None:
        self.findings, numbers = folder / "findings", folder / "numbers"
        if first is not None:
            numbers.write_bytes(self.form.pack(first, *[0] * (len(COUNTS) + 3)))
            self.findings.touch()
        with numbers.open("r+b") as file:
            self.numbers = mmap.mmap(file.fileno(), self.form.size)

    def get(self) -> tuple[int, Tally]:
        seed, inputs, *counts, longest, memory = self.form.unpack(self.numbers[:])
        findings = [json.loads(line) for line in self.findings.read_text().splitlines()]
        return seed, Tally(inputs, dict(zip(COUNTS, counts, strict=True)), longest / 1e6, memory, findings=findings)

    def seed(self) -> int:
        return int(self.form.unpack(self.numbers[:])[0])

    def put(self, seed: int, tally: Tally) -> None:
        self.numbers[:] = self.form.pack(
            seed, tally.inputs, *tally.counts.values(), int(1e6 * tally.longest), tally.memory
        )

    def add(self, findings: list[str]) -> None:
        with self.findings.open("a") as file:
            file.writelines(json.dumps(finding) + "\n" for finding in findings)


def _resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _limit_memory() -> None:
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, mapped + MEMORY))


def supervise(name: str, first: int, count: int, patience: float) -> Tally:
    """Read inputs in a copy of this process, and in a fresh one where that hangs or dies."""
    begin = time.monotonic()
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        target, board = TARGETS[name](Path(folder)), _Board(Path(folder), first)
        watch = Watch(target.lazy)
        signal.signal(signal.SIGPROF, stop)
        warm_up(target, watch)
        seed, tally = board.get()
        while seed < first + count:
            child = os.fork()
            if not child:
                _work(name, target, watch, board, first + count)
            killed = _wait(child, board, patience)
            seed, tally = board.get()
            if seed < first + count:
                came = {**dict.fromkeys(COUNTS, False), "hung" if killed else "crashed": True}
                tally.note(name, seed, came, "", 0.0)
                board.add(tally.findings[-1:])
                board.put(seed := seed + 1, tally)
    tally.seconds = time.monotonic() - begin
    return tally


def _work(name: str, target: Target, watch: Watch, board: _Board, end: int) -> NoReturn:
    """Read inputs one after the other, from the number on the board on."""
    status = FAILED
    try:
        before, parent = _resident(), os.getppid()
        _limit_memory()
        start, tally = board.get()
        for seed in range(start, end):
            if os.getppid() != parent:
                break
            target.make(seed)
            begin, known = time.process_time(), len(tally.findings)
            came, why = read_one(target, watch)
            tally.note(name, seed, came, why, time.process_time() - begin)
            tally.memory = max(tally.memory, _resident() - before)
            board.add(tally.findings[known:])
            board.put(seed + 1, tally)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _wait(child: int, board: _Board, patience: float) -> bool:
    """Wait for the end of a process; whether it had to be killed."""
    seen, since = -1, 0.0
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            if os.WIFEXITED(status) and os.WEXITSTATUS(status) == FAILED:
                raise RuntimeError("the process failed by itself; its traceback stands above")
            return False
        seed, spent = board.seed(), _processor_time(child)
        if seed != seen:
            seen, since = seed, spent
        elif spent - since > patience:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return True
        time.sleep(0.05)


def _processor_time(pid: int) -> float:
    """Seconds; a busy machine keeps a process waiting, which says nothing about it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has just ended
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fuzz(*jobs: tuple[str, int, int], patience: float = 30.0) -> list[Tally]:
    """Read inputs in a process that has nothing else to do.

    Args:
        jobs: Name of the target, number of the first input, and how many.
        patience: Seconds of processor time without an input done, after which a reading process is killed.
    """
    command = [sys.executable, __file__, str(patience), *(str(part) for job in jobs for part in job)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        answer = process.communicate()[0]
    if process.returncode:
        raise RuntimeError("the process failed by itself; its traceback stands above")
    return [Tally(**fields) for fields in json.loads(answer)]


def main(patience: str, *rest: str) -> None:
    """Read inputs in this process and write what became of them."""
    jobs = zip(rest[::3], map(int, rest[1::3]), map(int, rest[2::3]), strict=True)
    json.dump([asdict(supervise(*job, float(patience))) for job in jobs], sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
