"""What an audit says: all findings on one page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mer_zoo.data.corpus.checks import plural
from mer_zoo.data.survey.finding import SEVERITIES, Finding, NotChecked
from mer_zoo.text import in_markdown, shown

__all__ = ["Page"]


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
        return sorted(self.findings, key=lambda one: SEVERITIES.index(one.severity))

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
        counts = {kind: sum(one.severity == kind for one in self.findings) for kind in SEVERITIES}
        return ", ".join(plural(count, kind) if count else f"no {kind}" for kind, count in counts.items())
