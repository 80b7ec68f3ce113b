"""Fields of what was read from a file, each checked for its type before anything is done with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mer_zoo.errors import MERError
from mer_zoo.text import told

__all__ = ["Fields"]

_LARGEST = 2**64  # of a whole number: seeds go so far
_FARTHEST = 1e100  # of a number; its square is one too
_DEEPEST = 20  # of lists and mappings in each other


class Fields:
    """The fields of a mapping that came out of a file; one that is missing or odd is refused by its name.

    A field that may be missing may be None too.

    Args:
        content: What was read.
        where: The file, and where in it, for messages.
        remedy: What to do about an odd one.

    Raises:
        MERError: If it is no mapping of names.

    Example:
        >>> fields = Fields({"model": "MulT", "seed": "one"}, "last.ckpt", "train again")
        >>> fields.text("model")
        'MulT'
        >>> fields.optional_count("seed")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: last.ckpt: seed is 'one', not a whole number; train again
    """

    def __init__(self, content: object, where: str, remedy: str) -> None:
        self.where, self.remedy = where, remedy
        if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
            raise MERError(f"{where} holds {told(content)}, not fields by name; {remedy}")
        self.content: Mapping[str, Any] = content

    def refusal(self, name: str, wanted: str) -> MERError:
        """The error of a field that is not what it should be.

        Args:
            name: The field.
            wanted: What it should be, in words.
        """
        if name not in self.content:
            return MERError(f"{self.where} has no {name}; {self.remedy}")
        return MERError(f"{self.where}: {name} is {told(self.content[name])}, not {wanted}; {self.remedy}")

    def text(self, name: str) -> str:
        """A text."""
        value = self.content.get(name)
        if not isinstance(value, str):
            raise self.refusal(name, "a text")
        return value

    def optional_text(self, name: str) -> str | None:
        """A text, or None."""
        return None if self.content.get(name) is None else self.text(name)

    def optional_count(self, name: str) -> int | None:
        """A whole number, or None."""
        value = self.content.get(name)
        if value is not None and (type(value) is not int or not abs(value) < _LARGEST):
            raise self.refusal(name, "a whole number")
        return value

    def count(self, name: str) -> int:
        """A whole number that is not negative."""
        value = self.optional_count(name)
        if value is None or value < 0:
            raise self.refusal(name, "a whole number of at least 0")
        return value

    def number(self, name: str) -> float:
        """A number, whose sums and squares are numbers too; NaN where it is missing.

        One that is not finite is let through: files of JSON hold none, and what is about to be written may.
        """
        value = self.content.get(name)
        if value is None:
            return math.nan
        if isinstance(value, bool) or not isinstance(value, (int, float)) or _FARTHEST < abs(value) < math.inf:
            raise self.refusal(name, "a number")
        return float(value)

    def flag(self, name: str) -> bool:
        """True or False; the latter where it is missing."""
        value = self.content.get(name)
        if not isinstance(value, (bool, type(None))):
            raise self.refusal(name, "true or false")
        return bool(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; empty where it is missing."""
        value = self.content.get(name)
        if value is None:
            return ()
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            raise self.refusal(name, "a list of texts")
        return tuple(value)

    def part(self, name: str) -> Fields:
        """Fields by name that stand in a field."""
        if not isinstance(self.content.get(name), Mapping):
            raise self.refusal(name, "fields by name")
        return Fields(self.content[name], f"{self.where}: {name}", self.remedy)

    def optional_part(self, name: str) -> Fields | None:
        """Fields by name that stand in a field, or None."""
        return None if self.content.get(name) is None else self.part(name)

    def plain(self, name: str) -> Any:
        """What JSON can hold: texts, finite numbers, lists and mappings of names, not too deep in each other."""
        value = self.content.get(name)
        if not _is_plain(value, _DEEPEST):
            raise self.refusal(name, "made of plain values")
        return value


def _is_plain(value: object, depth: int) -> bool:
    if value is None or isinstance(value, (bool, str)):
        return True
    if type(value) is int:
        return abs(value) < _LARGEST
    if type(value) is float:
        return math.isfinite(value)
    if depth and type(value) in (list, tuple):
        return all(_is_plain(item, depth - 1) for item in value)  # type: ignore[attr-defined]
    if depth and isinstance(value, dict):
        return all(isinstance(name, str) and _is_plain(item, depth - 1) for name, item in value.items())
    return False
