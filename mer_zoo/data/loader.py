"""A loader that goes on in the middle of an epoch, in the order in which the epoch began."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import override

from mer_zoo.batch import Batch
from mer_zoo.errors import MERError, TrainingError

__all__ = ["PATIENCE", "ResumableLoader", "check_shared_memory"]

PATIENCE = 600
"""Seconds that a batch of a worker is waited for."""
PREFETCHED = 2  # batches that a worker has ready, PyTorch's default
SHARED = Path("/dev/shm")  # noqa: S108 - looked at, not written
_LOST = re.compile(r"DataLoader (timed out|worker .* (exited unexpectedly|killed by signal))")
_REMEDY = "set data.num_workers lower, or 0, or give it more (docker run --shm-size=2g)"


def check_shared_memory(workers: int, batch: int) -> None:
    """Refuse workers whose batches do not fit in the memory that processes share: they would wait for room for ever.

    Args:
        workers: How many there are.
        batch: Bytes of a batch.

    Raises:
        MERError: Naming the room there is and the need.

    Example:
        >>> check_shared_memory(workers=0, batch=2**50)
        >>> check_shared_memory(workers=4, batch=2**50)
        Traceback (most recent call last):
        mer_zoo.errors.MERError: 4 workers need ... MB of shared memory for their batches, but /dev/shm has ... MB left;
        set data.num_workers lower, or 0, or give it more (docker run --shm-size=2g)
    """
    if not workers or not SHARED.is_dir():
        return
    need, free = workers * PREFETCHED * batch, shutil.disk_usage(SHARED).free
    if need > free:
        raise MERError(
            f"{workers} workers need {need / 1e6:.0f} MB of shared memory for their batches, but {SHARED} has"
            f" {free / 1e6:.0f} MB left; {_REMEDY}"
        )


class ResumableLoader(DataLoader[Batch]):
    """A DataLoader whose place in the epoch can be saved; Lightning keeps it in checkpoints.

    The order of an epoch is drawn from torch's generator when its first batch is asked for, so the state of the
    generator at that moment and the number of batches handed out since tell the rest of the epoch.

    Example:
        >>> loader = ResumableLoader(range(8), batch_size=2, shuffle=True)
        >>> batches = iter(loader)
        >>> _ = next(batches)
        >>> state, rest = loader.state_dict(), list(batches)
        >>> loader.load_state_dict(state)
        >>> all(torch.equal(a, b) for a, b in zip(loader, rest, strict=True))
        True
    """

    _start: Tensor | None = None
    _given = 0
    _resumed: dict[str, Any] | None = None

    @override
    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        # A generator: nothing is drawn before the first batch, when a distributed sampler has been told the epoch.
        if self._resumed is None:
            self._start, self._given = torch.get_rng_state(), 0
            batches = self._begin()
        else:
            batches = self._skip()
        while (batch := self._next(batches)) is not None:
            self._given += 1
            yield batch

    def _begin(self) -> Iterator[Batch]:
        if self.num_workers:
            # A loader without workers draws a number here: with them, as many are drawn, so that the rest of a run
            # does not depend on who fetches its batches.
            torch.empty((), dtype=torch.int64).random_()
        return super().__iter__()

    def _next(self, batches: Iterator[Batch]) -> Batch | None:
        try:
            return next(batches, None)
        except RuntimeError as error:
            if not _LOST.search(str(error)):
                raise
            room = f"; {SHARED} has {shutil.disk_usage(SHARED).free / 1e6:.0f} MB left" if SHARED.is_dir() else ""
            raise TrainingError(
                f"a worker that fetches batches was killed, or has given none for {PATIENCE} s{room}; {_REMEDY}"
            ) from error

    def _skip(self) -> Iterator[Batch]:
        assert self._resumed is not None
        self._start, self._given, self._resumed = self._resumed["start"], self._resumed["batches"], None
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._start)
            batches = self._begin()
            for _ in range(self._given):
                next(batches)
        return batches

    def state_dict(self) -> dict[str, Any]:
        """Where the epoch began and how far it is; nothing before its first batch."""
        return {} if self._start is None else {"start": self._start, "batches": self._given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next epoch be the rest of the one that was saved."""
        self._resumed = state or None
