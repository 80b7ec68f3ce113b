"""What an audit says: findings, and what could not be looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mer_zoo.data.corpus.checks import plural
from mer_zoo.text import in_markdown, shown

__all__ = ["Finding", "NotChecked", "Page", "Severity"]

Severity = Literal["leak", "warning", "note"]
_ORDER: dict[str, int] = {"leak": 0, "warning": 1, "note": 2}


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


@dataclass
class Page:
    """All that an audit has to say of a corpus and of runs on it.

    Args:
        source: Name of the corpus.
        facts: What was read, a line each.
        findings: What was found.
        not_checked: What was not looked at, and why.

    Example:
        >>> page = Page("clips.pkl", findings=[Finding("few", "note", "there are 3 samples", "collect more")])
        >>> page.exit_code, page.lines()[-1]
        (0, 'no leak, no warning, 1 note')
    """

    source: str
    facts: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    not_checked: list[NotChecked] = field(default_factory=list)

    def add(self, *found: Finding | NotChecked) -> None:
        """Put findings, and checks that were not done, on the page; of equal ones one."""
        for one in found:
            place: list[Any] = self.findings if isinstance(one, Finding) else self.not_checked
            if one not in place:
                place.append(one)

    @property
    def sorted(self) -> list[Finding]:
        """The findings, leaks first."""
        return sorted(self.findings, key=lambda one: _ORDER[one.severity])

    @property
    def exit_code(self) -> int:
        """1 where there is a leak, else 0."""
        return int(any(one.severity == "leak" for one in self.findings))

    def lines(self) -> list[str]:
        """The page for a terminal."""
        lines = [f"audit of {shown(self.source)}", *(f"  {shown(fact)}" for fact in self.facts), ""]
        for one in self.sorted:
            about = f"{one.run}: " if one.run else ""
            lines += [f"{one.severity}: {shown(about + one.message)}", f"    remedy: {shown(one.remedy)}"]
        lines += [f"not checked: {shown(str(one))}" for one in self.not_checked]
        return [*lines, self.closing]

    def markdown(self) -> str:
        """The page in Markdown."""
        lines = [f"# Audit of {in_markdown(self.source)}", "", *(f"- {in_markdown(fact)}" for fact in self.facts), ""]
        if self.findings:
            lines += ["| | finding | remedy |", "|---|---|---|"]
        for one in self.sorted:
            about = f"{one.run}: " if one.run else ""
            cells = [f"**{one.severity}**", in_markdown(about + one.message), in_markdown(one.remedy)]
            lines.append(f"| {' | '.join(cells)} |")
        lines += ["", *(f"- not checked: {in_markdown(str(one))}" for one in self.not_checked), "", self.closing]
        return "\n".join(lines) + "\n"

    def plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "source": self.source,
            "facts": self.facts,
            "findings": [one.plain() for one in self.sorted],
            "not_checked": [vars(one) for one in self.not_checked],
        }

    @property
    def closing(self) -> str:
        """How many findings there are of each severity."""
        counts = {kind: sum(one.severity == kind for one in self.findings) for kind in _ORDER}
        return ", ".join(plural(count, kind) if count else f"no {kind}" for kind, count in counts.items())
