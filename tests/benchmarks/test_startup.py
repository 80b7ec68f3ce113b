"""The benchmark of starting compares processes of one round."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.speed import startup


def test_ratios_are_of_one_round_and_the_first_round_does_not_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The machine is slower from round to round, and much slower while the first goes on.
    slow, spent = [50.0, 1.0, 3.0, 9.0], {startup.LIGHTNING: 4.0, startup.THREE: 8.0}
    calls: list[str] = []

    def took(command: Sequence[str], tree: Path, code: int = 0) -> float:
        name = next(name for name, other in startup.commands(tmp_path).items() if other == command)
        calls.append(name if tree == startup.ROOT else "before")
        assert code == (name == startup.REFUSED)
        return slow[calls.count(calls[-1]) - 1] * (spent.get(name, 1.0) if tree == startup.ROOT else 10.0)

    monkeypatch.setattr(startup, "seconds", took)
    rows = {row[0]: row[1:] for row in startup.measure(tmp_path, tmp_path / "before", rounds=3)}
    assert rows[startup.LIGHTNING] == ["12.00", "1.00", "-"]  # the median of 4, 12 and 36
    assert rows[startup.THREE] == ["24.00", "2.00", "0.80"]
    assert rows["--help"] == ["3.00", "0.25", "-"]
    beside = [other for one, other in itertools.pairwise(calls) if one == "before"]
    assert beside.count(startup.THREE) == 2  # before ours in every second round


def test_seconds_are_those_of_the_process_and_a_process_that_fails_is_told() -> None:
    work = "import time\nwhile time.process_time() < 0.3: pass"
    assert startup.seconds([sys.executable, "-c", work], startup.ROOT) >= 0.25  # of ticks of 10 ms
    with pytest.raises(RuntimeError, match="no such luck"):
        startup.seconds(
            [sys.executable, "-c", "import sys; sys.stderr.write('no such luck'); sys.exit(3)"], startup.ROOT
        )
