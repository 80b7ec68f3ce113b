"""The order of an epoch, told by a seed and the epoch alone, and a loader that goes on in the middle of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sized
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler
from typing_extensions import override

from mer_zoo.batch import Batch
from mer_zoo.errors import MERError, TrainingError

__all__ = ["PATIENCE", "EpochOrder", "ResumableLoader", "check_shared_memory"]

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


class EpochOrder(RandomSampler):
    """The order of samples in an epoch: a function of a seed and the epoch, whatever else draws in the meantime.

    The seed is drawn from torch's generator once, when the first epoch begins. Checkpoints hold it, as they do that of
    Lightning's sampler for several processes, which adds seed and epoch likewise.

    Attributes:
        seed: Seed of the order; None until it is drawn.

    Example:
        >>> order = EpochOrder(range(6))
        >>> first = list(order)
        >>> order.set_epoch(1)
        >>> second = list(order)
        >>> order.set_epoch(0)
        >>> list(order) == first != second
        True
    """

    def __init__(self, data_source: Sized) -> None:
        super().__init__(data_source)
        self.seed: int | None = None
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes; Lightning does."""
        self._epoch = epoch

    def draw(self) -> None:
        """Draw the seed, so that this epoch has the order that torch's own loader would give it now."""
        torch.empty((), dtype=torch.int64).random_()  # the seed of workers, which that loader draws first
        drawn = int(torch.empty((), dtype=torch.int64).random_())
        self.seed = (drawn - self._epoch) % 2**63

    @override
    def __iter__(self) -> Iterator[int]:
        if self.seed is None:
            self.draw()
        assert self.seed is not None
        generator = torch.Generator().manual_seed((self.seed + self._epoch) % 2**63)
        yield from torch.randperm(len(self.data_source), generator=generator).tolist()


class ResumableLoader(DataLoader[Batch]):
    """A DataLoader whose place in the epoch can be saved; Lightning keeps it in checkpoints.

    A sampler that shuffles is an :class:`EpochOrder`, which tells the order of the epoch, so that the number of batches
    handed out tells the rest of it.

    Example:
        >>> loader = ResumableLoader(range(8), batch_size=2, sampler=EpochOrder(range(8)))
        >>> batches = iter(loader)
        >>> _ = next(batches)
        >>> state, rest = loader.state_dict(), list(batches)
        >>> loader.load_state_dict(state)
        >>> all(torch.equal(a, b) for a, b in zip(loader, rest, strict=True))
        True
    """

    _given = 0
    _resumed: dict[str, Any] | None = None

    @override
    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        # A generator: nothing is drawn before the first batch, when a sampler has been told the epoch.
        resumed, self._resumed = self._resumed or {}, None
        if "start" in resumed and isinstance(self.sampler, EpochOrder):
            _draw_from(self.sampler, resumed["start"])
        self._given = resumed.get("batches", 0)
        batches = super().__iter__()
        for _ in range(self._given):
            next(batches)
        while (batch := self._next(batches)) is not None:
            self._given += 1
            yield batch

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

    def state_dict(self) -> dict[str, Any]:
        """How far the epoch is; nothing before its first batch."""
        return {"batches": self._given} if self._given else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next epoch be the rest of the one that was saved."""
        self._resumed = state or None


def _draw_from(order: EpochOrder, start: Tensor) -> None:
    # Checkpoints once told the order of an epoch by the state of torch's generator at its beginning.
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(start)
        order.draw()
