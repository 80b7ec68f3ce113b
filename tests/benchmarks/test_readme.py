"""benchmarks/README.md has one line for every script, and for nothing else."""

from __future__ import annotations

import re
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_every_script_has_one_line_and_every_line_a_script() -> None:
    named = re.findall(r"^\| `([^`]+)` \| \S", (BENCHMARKS / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    there = [path.relative_to(BENCHMARKS).as_posix() for path in BENCHMARKS.rglob("*.py") if path.name != "__init__.py"]
    assert sorted(named) == sorted(there)
