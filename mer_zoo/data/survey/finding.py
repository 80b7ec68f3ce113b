"""What checks of a corpus and of runs say: findings, and what could not be looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["SEVERITIES", "Finding", "NotChecked", "Severity", "listed"]

Severity = Literal["leak", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("leak", "warning", "note")
"""The worst first."""


@dataclass(frozen=True)
class Finding:
    """One thing that an audit has found.

    Args:
        kind: What it is, in a word that does not change: ``overlap``, ``too-telling`` and so on, see docs/audit.md.
        severity: ``leak``: what is tested on can be known without having learnt anything; ``warning``: a figure does
            not say what it seems to; ``note``: what a reader should know.
        message: What was found, a sentence with its figures.
        remedy: What to do about it.
        evidence: The figures, by name.
        run: The run that it is about; empty where it is about the data.

    Example:
        >>> Finding("overlap", "leak", "2 samples of test are in train", "split again", {"samples": 2}).plain()["kind"]
        'overlap'
    """

    kind: str
    severity: Severity
    message: str
    remedy: str
    evidence: Mapping[str, float | int | str] = field(default_factory=dict)
    run: str = ""

    def plain(self) -> dict[str, Any]:
        """Plain values for JSON, which has no NaN."""
        return {**vars(self), "evidence": {name: _number(value) for name, value in self.evidence.items()}}


def _number(value: float | int | str) -> float | int | str | None:
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


@dataclass(frozen=True)
class NotChecked:
    """A check that was not done.

    Args:
        check: What was not looked at.
        because: Why not.
        run: The run that it is about; empty where it is about the data.
    """

    check: str
    because: str
    run: str = ""

    def __str__(self) -> str:
        about = f"{self.run}: " if self.run else ""
        return f"{about}{self.check}, because {self.because}"


def listed(columns: Sequence[int], most: int = 12) -> str:
    """The numbers of columns for a sentence, runs of three and more as such.

    Args:
        columns: Their numbers, rising.
        most: How many numbers and runs are written out.

    Example:
        >>> listed([0, 7, 31, 32, 33]), listed(range(0, 40, 2), most=3)
        ('0, 7, 31-33', '0, 2, 4 and 17 more')
    """
    runs: list[list[int]] = []
    for column in columns:
        if runs and column == runs[-1][-1] + 1:
            runs[-1].append(column)
        else:
            runs.append([column])
    words: list[tuple[str, int]] = []
    for run in runs:
        words += [(f"{run[0]}-{run[-1]}", len(run))] if len(run) > 2 else [(str(column), 1) for column in run]
    left_out = sum(count for _, count in words[most:])
    return ", ".join(word for word, _ in words[:most]) + (f" and {left_out} more" if left_out else "")
