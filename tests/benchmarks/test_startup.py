"""The benchmark of starting compares processes of one round."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.speed import startup


def test_ratios_are_medians_of_those_of_a_round(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # the second round comes while the machine is three times as slow; no ratio is the worse for it
    spent = {startup.LIGHTNING: 4.0, "--help": 0.1, "validate-data of no file": 1.0, "fit, one batch": 6.0}
    spent[startup.THREE] = 8.0
    calls: list[str] = []

    def took(command: Sequence[str], tree: Path) -> float:
        slow = 3.0 if len(calls) >= len(spent) + 1 else 1.0
        calls.append(str(tree))
        name = next(name for name, other in startup.commands(tmp_path).items() if other == command)
        return slow * (spent[name] if tree == startup.ROOT else 10.0)

    monkeypatch.setattr(startup, "seconds", took)
    rows = startup.measure(tmp_path, tmp_path / "before", rounds=2)
    assert {row[0]: row[2] for row in rows} == {name: f"{value / 4:.2f}" for name, value in spent.items()}
    assert {row[0]: row[3] for row in rows if row[3] != "-"} == {startup.THREE: "0.80"}


def test_seconds_are_those_of_the_process_and_a_process_that_fails_is_told() -> None:
    work = "import time\nwhile time.process_time() < 0.3: pass"
    assert startup.seconds([sys.executable, "-c", work], startup.ROOT) >= 0.3
    with pytest.raises(RuntimeError, match="no such luck"):
        startup.seconds(
            [sys.executable, "-c", "import sys; sys.stderr.write('no such luck'); sys.exit(3)"], startup.ROOT
        )
