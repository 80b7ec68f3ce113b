"""Text of a results.json is data in the terminal, in Markdown and in pictures."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from report_toys import content
from rich.console import Console

from mer_zoo.reports import write_results
from mer_zoo.reports.report import report

EVIL = "\x1b[2J\x1b]0;t\x07<img src=x onerror=alert(1)> ](javascript:x) `a` $\\frac{1}{0}$ $x \u202e" + "y" * 5000


def test_hostile_names_are_shown_as_they_are(tmp_path: Path) -> None:
    results, scores = content(model=EVIL, curves=["RMFM"], notes=[EVIL], diagnostics={EVIL: 1.0}, sets=["{l}"])
    conditions: dict[str, Any] = results["conditions"]
    conditions[EVIL], scores[EVIL] = conditions["ood"], scores["ood"]
    results["data"]["corpus"] = results["task"] = EVIL
    write_results(tmp_path / "run", results, scores)
    told = io.StringIO()
    made = report([tmp_path / "run"], tmp_path / "report", samples=0, console=Console(file=told, width=200))
    assert [picture.name for picture in made.pictures] == ["report", "robustness", "gaps"]
    assert json.loads((tmp_path / "run" / "results.json").read_text())["model"] == EVIL
    texts = [(tmp_path / "run" / "results.md").read_text(), (tmp_path / "report" / "report.md").read_text()]
    for text in texts:
        assert "<img" not in text
        assert "](javascript" not in text
        assert " $x" not in text
    for text in (*texts, told.getvalue()):
        assert all(line.isprintable() for line in text.splitlines())
