"""What reading one file of others may take."""

from __future__ import annotations

from typing import Final

from mer_zoo.errors import MERError

__all__ = ["Budget"]

STEPS: Final = 4_500_000
MEMORY: Final = 2**30
DEPTH: Final = 64
REMEDY: Final = "save features and labels as arrays, and less beside them"


class Budget:
    """What reading one file may take beyond the arrays in it: steps, which stand for time, memory and depth.

    One budget goes with a file through all that reads it, since what each reader takes may be little and all of it
    together much. Everything is counted, nothing is measured: a file is read or refused on every machine alike.

    Args:
        name: What to call the file in messages.
        steps: How many things may be read or made, each of which takes about a quarter of a microsecond to one.
        memory: Bytes that what is made may hold.
        depth: How deep containers may lie in each other.
        remedy: What makes a file take less.

    Example:
        >>> budget = Budget("corpus.pkl", memory=100)
        >>> budget.hold(80)
        >>> budget.hold(80)
        Traceback (most recent call last):
        mer_zoo.errors.MERError: corpus.pkl is refused: what is in it takes over 100 bytes of memory; save features and
        labels as arrays, and less beside them
    """

    def __init__(
        self, name: str, steps: int = STEPS, memory: int = MEMORY, depth: int = DEPTH, remedy: str = REMEDY
    ) -> None:
        self.name = name
        self.steps, self.memory, self.depth, self.remedy = steps, memory, depth, remedy
        self.taken = self.held = 0

    def take(self, steps: int) -> None:
        """Account for work.

        Raises:
            MERError: If it is too much.
        """
        self.taken += steps
        if self.taken > self.steps:
            raise MERError(
                f"{self.name} is refused: reading it would take more than {self.steps:,} steps; {self.remedy}"
            )

    def hold(self, size: int) -> None:
        """Account for bytes of memory.

        Raises:
            MERError: If they are too many.
        """
        self.held += size
        if self.held > self.memory:
            raise MERError(
                f"{self.name} is refused: what is in it takes over {self.memory:,} bytes of memory; {self.remedy}"
            )

    def nest(self, depth: int) -> None:
        """Account for a container that lies so deep in others.

        Raises:
            MERError: If that is too deep.
        """
        if depth > self.depth:
            raise MERError(f"{self.name} is refused: it is nested more than {self.depth} deep; write it flatter")
