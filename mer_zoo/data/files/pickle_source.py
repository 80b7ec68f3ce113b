"""The bytes of a pickle, read under account of how much is made of them."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from typing import IO, Any

from mer_zoo.data.files.numpy_pickles import FileSlice, MalformedPickleError
from mer_zoo.foreign import Budget

__all__ = ["SLICE_FROM", "STEPS", "Source"]

SLICE_FROM = 64 * 2**10
# An instruction of one byte can make a set of 216 bytes; 100 000 clips as lists need about a million instructions.
STEPS = 3  # an instruction
_FORMS = {form: struct.Struct(form) for form in ("<H", "<I", "<Q", "<i", ">d")}


class Source:
    """The bytes of a file, counted; to ask for more of them than there are is an error.

    Args:
        path: The file.
        file: The same file, open at its start.
        budget: Of the file.
    """

    def __init__(self, path: Path, file: IO[bytes], budget: Budget) -> None:
        self.path, self.file, self.budget = path, file, budget
        self._read = file.read
        self.size = os.fstat(file.fileno()).st_size
        self.position = 0
        self.spent = 0

    def peek(self) -> bytes:
        """Return the first bytes without consuming them."""
        head = self.file.read(32)
        self.file.seek(0)
        return head

    def instruction(self) -> bytes:
        """Read the byte of the next instruction."""
        budget = self.budget
        budget.taken += STEPS
        if budget.taken > budget.steps:
            budget.take(0)  # says so
        code = self._read(1)
        if not code:
            self._require(1)
        self.position += 1
        return code

    def read(self, count: int) -> bytes:
        """Read exactly so many bytes."""
        if not 0 <= count <= self.size - self.position:
            self._require(count)
        self.position += count
        return self._read(count)

    def number(self, form: str) -> Any:
        """Read one number, ``form`` as in the module struct: one of those that pickles have."""
        if form == "<B":  # most of them
            return self.read(1)[0]
        known = _FORMS[form]
        return known.unpack(self.read(known.size))[0]

    def line(self) -> str:
        """Read up to the end of a line."""
        text = self.file.readline(1024)
        self.budget.take(STEPS + len(text) // 16)
        self._require(len(text))
        if not text.endswith(b"\n"):
            raise MalformedPickleError("a line does not end")
        return text[:-1].decode("utf-8")

    def text(self, count: int) -> str:
        """Read text of so many bytes."""
        text = self.read(count).decode("utf-8", "surrogatepass")
        size = sys.getsizeof(text)
        # Long text is an array in old pickles, a byte each, which is no more than stands in the file.
        if count < SLICE_FROM or size > 2 * count:
            self.budget.hold(size)
        return text

    def data(self, count: int) -> bytes | FileSlice:
        """Read bytes, or skip them and remember where they are if they are many."""
        return self.read(count) if count < SLICE_FROM else self.skip(count)

    def skip(self, count: int) -> FileSlice:
        """Skip bytes and remember where they are."""
        start = self.position
        self._require(count)
        self.file.seek(self.position)
        return FileSlice(self.path, start, count)

    def spend(self, count: int) -> None:
        """Account for bytes of memory that a copy takes: the same text can be copied again and again."""
        self.spent += count
        # Text becomes bytes and these a number, text again or an array, so that sound files copy everything twice at
        # most.
        if self.spent > 2 * self.size + 2**20:
            raise MalformedPickleError("it makes more copies than it has data")

    def _require(self, count: int) -> None:
        if not 0 <= count <= self.size - self.position:
            raise MalformedPickleError(
                f"it is cut short, it has {self.size:,} bytes where at least {self.position + count:,} are needed"
            )
        self.position += count
