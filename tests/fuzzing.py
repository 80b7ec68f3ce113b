"""Reading hostile inputs with an eye on what they do and how long they take; fuzz_process.py adds a limit of memory."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from mer_zoo.errors import MERError

__all__ = ["COUNTS", "Tally", "Target", "Watch", "read_many", "read_one", "stop", "warm_up"]

SECONDS = 2.0  # of processor time, so that a busy machine makes no findings
COUNTS = ("accepted", "refused", "reached", "other", "slow", "memory", "executed", "hung", "crashed")
CANARIES = ("antigravity", "this", "turtledemo", "idlelib", "mer_zoo.cli.command", "mer_zoo.cli.sweeps")
FORBIDDEN: tuple[str, ...] = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.remove",
    "os.rename",
    "os.rmdir",
)
FORBIDDEN += (
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.kill",
    "subprocess.",
    "socket.",
    "pty.",
)
FORBIDDEN += ("shutil.", "urllib.", "webbrowser.", "ftplib.", "pickle.find_class", "tempfile.")
CODE = ("exec", "import", "marshal.", "ctypes.", "code.__new__", "function.__new__")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Target(ABC):
    """One kind of input: how it is made, and how it is read.

    Args:
        folder: An empty folder for the inputs.

    Attributes:
        lazy: Whether the reader may import parts of libraries when they are needed first.
        reached: Whether the input last read came as far as is of interest, where it was refused later.
    """

    lazy = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reached = False

    @abstractmethod
    def make(self, seed: int) -> None:
        """Write the input of a number."""

    @abstractmethod
    def read(self) -> bool:
        """Read it; the answer says whether it came as far as is of interest."""


class OverTime(BaseException):
    """No ``except Exception`` holds it up."""


class Watch:
    """Notes what the interpreter is told to do while it is on.

    Args:
        lazy: See :class:`Target`.
    """

    latest: ClassVar[list[Watch]] = []

    def __init__(self, lazy: bool) -> None:
        self.lazy, self.on = lazy, False
        self.seen: list[str] = []
        if not Watch.latest:  # a hook stays for good, and each takes time that would count as the reader's
            sys.addaudithook(lambda event, args: Watch.latest[-1]._hook(event, args))
        Watch.latest[:] = [self]

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self.on and event != "builtins.id" and self._is_forbidden(event, args):
            self.seen.append(f"{event} {args!r:.200}")

    def _is_forbidden(self, event: str, args: tuple[Any, ...]) -> bool:
        if event == "open":
            return bool(args[2] & WRITING) if isinstance(args[2], int) else "r" not in str(args[1])
        if event == "import" and str(args[0]).startswith(CANARIES):
            return True
        if event == "compile":  # ast.literal_eval, with which numpy reads headers, is no execution and gives no name
            return not self.lazy and args[1] not in ("<unknown>", b"<unknown>")
        return event.startswith(FORBIDDEN) or (not self.lazy and event.startswith(CODE))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch, and stop what takes too long."""
        self.seen.clear()
        self.on = True
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self.on = False


@dataclass
class Tally:
    """What became of the inputs.

    Args:
        inputs: Number of inputs read.
        counts: How many of them by :data:`COUNTS`: accepted or refused with a MERError, came as far as is of interest;
            and, none of which may happen, raised something else, took over 2 s, took over 2 GiB, executed something,
            hung or killed the process.
        longest: Processor time of the slowest input in seconds.
        memory: Largest resident size in bytes beyond that before the first input.
        seconds: Time taken in all.
        findings: One sentence each, with the number of the input.
    """

    inputs: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    longest: float = 0.0
    memory: int = 0
    seconds: float = 0.0
    findings: list[str] = field(default_factory=list)

    def note(self, name: str, seed: int, came: dict[str, bool], why: str, seconds: float) -> None:
        """Count one input."""
        self.inputs += 1
        self.counts = {key: count + came[key] for key, count in self.counts.items()}
        self.longest = max(self.longest, seconds)
        if faults := [key for key in COUNTS[3:] if came[key]]:
            self.findings.append(f"{name} {seed}: {', '.join(faults)}; {why}")

    @property
    def reach(self) -> float:
        """Share of inputs that came as far as is of interest."""
        return self.counts["reached"] / max(1, self.inputs)


def stop(*_: object) -> None:
    raise OverTime


def _out_of_memory(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, MemoryError) and getattr(error, "errno", None) != errno.ENOMEM:
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return error is not None


def read_one(target: Target, watch: Watch) -> tuple[dict[str, bool], str]:
    """Read the input at hand: what came of it by :data:`COUNTS`, and the reason where there is one."""
    came, why = dict.fromkeys(COUNTS, False), ""
    try:
        with watch.watching():
            came["reached"] = target.read()
        came["accepted"] = True
    except MERError as error:
        why = str(error)
        came["memory"] = _out_of_memory(error)
        came["refused"] = not came["memory"]
        came["reached"] = target.reached
    except MemoryError:
        came["memory"] = True
    except OverTime:
        came["slow"] = True
    except BaseException as error:
        came["other"], why = True, f"{type(error).__name__}: {error}"
    if watch.seen:
        came["executed"], why = True, f"{why} {watch.seen[:3]}"
    return came, why[:500]


def read_many(target: Target, seeds: Iterable[int]) -> Tally:
    """Read inputs in this process.

    Args:
        target: What reads them.
        seeds: Their numbers.
    """
    tally, watch, begin = Tally(), Watch(target.lazy), time.monotonic()
    name, old = type(target).__name__.lower(), signal.signal(signal.SIGPROF, stop)
    warm_up(target, watch)
    for seed in seeds:
        target.make(seed)
        start = time.process_time()
        came, why = read_one(target, watch)
        tally.note(name, seed, came, why, time.process_time() - start)
    signal.signal(signal.SIGPROF, old)
    tally.seconds = time.monotonic() - begin
    return tally


def warm_up(target: Target, watch: Watch) -> None:
    """Let load now what loads once."""
    for seed in range(3):
        target.make(seed)
        read_one(target, watch)
