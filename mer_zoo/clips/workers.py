"""Processes that each do one thing after the other, and that may crash or hang without harm to the rest.

What decodes files of others is a library in C: a damaged file can end the process, or keep it for ever. So it is done
in processes of their own, each of which says when it goes on; one that is dead or silent is replaced.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from threading import Lock
from typing import Any, Generic, TypeVar

from mer_zoo.errors import MERError

__all__ = ["Failed", "Kept", "run_all"]

T = TypeVar("T")
Beat = Callable[[float], None]
"""Says within how many seconds the next sign of life comes."""
Make = Callable[[Beat], Callable[[Any], Any]]

FIRST = 600.0  # seconds until the first sign of life: weights are loaded
POLL = 0.5
READY = "ready"


@dataclass(frozen=True)
class Failed:
    """What a thing failed by.

    Args:
        reason: In words.
    """

    reason: str


def run_all(make: Make, things: Iterable[T], processes: int) -> Iterator[tuple[T, Any]]:
    """Do everything, in any order.

    Args:
        make: Makes what does one thing; it is given a function to call with the seconds within which it will call it
            again. It has to be importable by its name.
        things: What is to be done.
        processes: How many work at a time; 0 does all here, where nothing is replaced. Others import the main module
            again, so that a script has to be written for that.

    Yields:
        Each thing with its result, or with what it failed by.

    Raises:
        MERError: If a process could not be started.

    Example:
        >>> def make(_beat):
        ...     return lambda number: 12 // number
        >>> list(run_all(make, [3, 0], processes=0))
        [(3, 4), (0, Failed(reason='ZeroDivisionError: integer division or modulo by zero'))]
    """
    if not processes:
        do = make(lambda _seconds: None)
        for thing in things:
            yield thing, _done(do, thing)
        return
    waiting = iter(things)
    workers: list[_Worker[T]] = []
    try:
        for thing in waiting:
            workers.append(_Worker(make, thing))
            if len(workers) == processes:
                break
        while workers:
            wait([worker.connection for worker in workers], POLL)
            for worker in list(workers):
                result = worker.result()
                if result is None:
                    continue
                done, is_alive = worker.thing, worker.is_alive
                thing_left = next(waiting, None)
                if thing_left is None or not is_alive:
                    workers.remove(worker)
                    worker.end()
                if thing_left is not None:
                    if is_alive:
                        worker.give(thing_left)
                    else:
                        workers.append(_Worker(make, thing_left))
                yield done, result
    finally:
        for worker in workers:
            worker.end()


def _done(do: Callable[[Any], Any], thing: Any) -> Any:
    try:
        return do(thing)
    except MERError as error:
        return Failed(str(error))
    except MemoryError:
        return Failed("it takes more memory than there is")
    except Exception as error:
        return Failed(f"{type(error).__name__}: {error}")


def _serve(make: Make, connection: Connection, deadline: Any) -> None:
    """What a process does: one thing after the other, until the line is cut."""

    def beat(seconds: float) -> None:
        deadline.value = time.monotonic() + seconds  # a clock that all processes of a machine share

    do = make(beat)
    connection.send(READY)
    while True:
        try:
            thing = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        beat(FIRST)
        result = _done(do, thing)
        beat(FIRST)
        connection.send(result)


@dataclass
class _Worker(Generic[T]):
    """A process and what it is doing."""

    make: Make
    thing: T
    is_alive: bool = True
    is_ready: bool = False

    def __post_init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit the threads of torch
        self.connection, theirs = context.Pipe()
        self.deadline = context.Value("d", time.monotonic() + FIRST, lock=False)
        self.process = context.Process(target=_serve, args=(self.make, theirs, self.deadline), daemon=True)
        self.process.start()
        theirs.close()
        self.give(self.thing)

    def give(self, thing: T) -> None:
        """Hand out the next thing."""
        self.thing = thing
        self.connection.send(thing)

    def result(self) -> Any:
        """What became of the thing; None while it is being done.

        Raises:
            MERError: If the process could not be started.
        """
        try:
            if self.connection.poll():
                if self.is_ready:
                    return self.connection.recv()
                self.is_ready = self.connection.recv() == READY
        except (EOFError, OSError):
            if not self.is_ready:
                raise MERError(
                    "a process that extracts could not be started; call extract under if __name__ == '__main__', or"
                    " with processes=0"
                ) from None
            self.is_alive = False
            return Failed("the decoder crashed on it; convert it to another format, or leave it out")
        if time.monotonic() <= self.deadline.value:
            return None
        self.is_alive = False
        return Failed("decoding it does not go on; convert it to another format, or leave it out")

    def end(self) -> None:
        """End the process."""
        self.connection.close()
        if not self.is_alive:
            self.process.kill()
        self.process.join(1.0)
        if self.process.is_alive():
            self.process.kill()


class Kept(Generic[T]):
    """A process that is kept between things; one that a thing has ended is made anew for the next.

    Args:
        make: See :func:`run_all`.
    """

    def __init__(self, make: Make) -> None:
        self._make, self._lock = make, Lock()
        self._worker: _Worker[T] | None = None

    def __call__(self, thing: T) -> Any:
        """Do a thing, one at a time whoever asks.

        Args:
            thing: What is to be done.

        Returns:
            Its result, or what it failed by.

        Raises:
            MERError: If the process could not be started.
        """
        with self._lock:
            if self._worker is None:
                self._worker = _Worker(self._make, thing)
            else:
                self._worker.give(thing)
            worker = self._worker
            while (result := worker.result()) is None:
                wait([worker.connection], POLL)
            if not worker.is_alive:
                self.end()
            return result

    def end(self) -> None:
        """End the process."""
        if self._worker is not None:
            self._worker.end()
            self._worker = None
