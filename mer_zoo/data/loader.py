"""A loader that goes on in the middle of an epoch, in the order in which the epoch began."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import override

from mer_zoo.batch import Batch

__all__ = ["ResumableLoader"]


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
            batches: Iterator[Batch] = super().__iter__()
        else:
            batches = self._skip()
        for batch in batches:
            self._given += 1
            yield batch

    def _skip(self) -> Iterator[Batch]:
        assert self._resumed is not None
        self._start, self._given, self._resumed = self._resumed["start"], self._resumed["batches"], None
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._start)
            batches: Iterator[Batch] = super().__iter__()
            for _ in range(self._given):
                next(batches)
        return batches

    def state_dict(self) -> dict[str, Any]:
        """Where the epoch began and how far it is; nothing before its first batch."""
        return {} if self._start is None else {"start": self._start, "batches": self._given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next epoch be the rest of the one that was saved."""
        self._resumed = state or None
