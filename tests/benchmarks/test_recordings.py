"""The study of synthetic recordings: some clips, from files to tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.studies import recordings
from mer_zoo.reports.measured import read_measured


def run(*args: object) -> None:
    recordings.main([str(arg) for arg in args])


def test_from_clips_to_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    run("make", tmp_path, "--clips", "20", "--processes", "0")
    monkeypatch.delattr(recordings, "synthesise")
    monkeypatch.delattr(recordings, "extract")
    run("make", tmp_path, "--clips", "20")  # nothing is made twice

    out, figures = tmp_path / "out", tmp_path / "recordings_cpu.csv"
    small = ["--seeds", "0,1", "--epochs", "1", "--networks", "LFLSTM", "--out", out]
    run("run", tmp_path / "features.pkl", *small)
    monkeypatch.delattr(recordings, "fit")
    run("run", tmp_path / "features.pkl", *small)
    run("table", out, "--csv", figures)

    lines = [line for line in (out / "table.md").read_text().splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    accuracies, gains = ([row[1] for row in rows if row[0] == "LFLSTM"][a:b] for a, b in ((0, 7), (7, None)))
    taken = ["without text", "without audio", "without vision", "text alone"]
    assert accuracies == ["all", *(f"all, {name}" for name in taken), "words", "voice and face"]
    assert gains == [f"all - {name}" for name in (*taken, "words", "voice and face")]

    measured = {(figure.benchmark, figure.model, figure.condition): figure for figure in read_measured(figures)}
    of = ("synthetic recordings: accuracy", "synthetic recordings: what is added")
    for test in ("iid", "ood", "rct"):
        whole, words = (float(measured[of[0], f"LFLSTM; {name}", test].value) for name in ("all", "words"))
        chance = float(measured[of[0], "the most frequent class; ", test].value)
        assert float(measured[of[0], "LFLSTM; all", test].difference) == pytest.approx(whole - chance, abs=0.11)
        assert float(measured[of[1], "LFLSTM; all - words", test].difference) == pytest.approx(whole - words, abs=0.11)
