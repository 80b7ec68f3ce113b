"""Results whose run has other weights by now are told apart from those of its weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from report_toys import write_run
from rich.console import Console
from torch import Tensor

from mer_zoo.reports.report import Report, report
from mer_zoo.runs.provenance import weights_sha256

QUIET = Console(quiet=True)
TESTED: dict[str, Tensor] = {"model.weight": torch.arange(4.0)}
OTHER: dict[str, Tensor] = {"model.weight": torch.arange(4.0) + 1}


def save(run: Path, name: str, state: dict[str, Any], age: int) -> None:
    """Write a checkpoint so many seconds older than the results."""
    path = run / "checkpoints" / name
    path.parent.mkdir(exist_ok=True)
    torch.save({"state_dict": state, "pytorch-lightning_version": "2.6.6"}, path)
    when = (run / "results.json").stat().st_mtime - age
    os.utime(path, (when, when))


def made(run: Path) -> Report:
    return report([run], samples=0, console=QUIET)


def run_in(folder: Path, weights: str | None = None) -> Path:
    return write_run(folder, weights=weights_sha256(TESTED) if weights is None else weights)


@pytest.mark.parametrize(
    ("checkpoints", "marked"),
    [
        ([], False),
        ([("best.ckpt", TESTED, 10)], False),
        ([("best.ckpt", OTHER, 10)], False),  # older: a test of other weights was asked for
        ([("best.ckpt", OTHER, -10)], True),
        ([("best.ckpt", TESTED, -10)], False),  # copied
        ([("best.ckpt", OTHER, -10), ("last.ckpt", TESTED, -10)], False),
        ([("best.ckpt", OTHER, -10), ("last.ckpt", OTHER, -10)], True),
        ([("last.ckpt", OTHER, -10)], False),
    ],
)
def test_younger_weights_that_were_not_tested(
    tmp_path: Path, checkpoints: list[tuple[str, Any, int]], marked: bool
) -> None:
    run = run_in(tmp_path / "run")
    for name, state, age in checkpoints:
        save(run, name, state, age)
    told = made(run)
    first = told.tables[0]
    assert first.rows[0][0] == ("MulT [other weights]" if marked else "MulT")
    found = [note for note in first.notes if "best.ckpt" in note]
    assert len(found) == marked
    if marked:
        assert "is younger than these results, which are of other weights; test it with mer-zoo test" in found[0]
        assert str(run) in found[0]
        assert "\\[other weights\\]" in told.markdown() or "[other weights]" in told.markdown()


def test_unread_where_it_is_older(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    save(run, "best.ckpt", OTHER, 10)
    (run / "checkpoints" / "best.ckpt").chmod(0)
    assert made(run).tables[0].rows[0][0] == "MulT"


@pytest.mark.parametrize("weights", ["", "0" * 64])
def test_what_can_not_be_compared_is_told(tmp_path: Path, weights: str) -> None:
    run = run_in(tmp_path / "run", weights)
    save(run, "best.ckpt", OTHER, -10)
    if weights:
        (run / "checkpoints" / "best.ckpt").write_bytes(b"PK damaged")
        later = (run / "results.json").stat().st_mtime + 10
        os.utime(run / "checkpoints" / "best.ckpt", (later, later))
    first = made(run).tables[0]
    assert first.rows[0][0] == "MulT [other weights?]"
    assert any("can't be said whether" in note for note in first.notes)


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")

    class Harm:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "harm"),)

    save(run, "best.ckpt", {"model.weight": Harm()}, -10)
    assert made(run).tables[0].rows[0][0] == "MulT [other weights?]"
    assert not (tmp_path / "harm").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    (run / "checkpoints").mkdir()
    os.mkfifo(run / "checkpoints" / "best.ckpt")
    assert made(run).tables[0].rows[0][0] == "MulT"


def test_runs_of_several_seeds_and_names(tmp_path: Path) -> None:
    for seed in (0, 1):
        run = write_run(tmp_path / "mult" / str(seed), seed=seed, weights=weights_sha256(TESTED))
        if seed:
            save(run, "best.ckpt", OTHER, -10)
    assert made(tmp_path / "mult").tables[0].rows[0][:2] == ["MulT [other weights]", "2"]
    named = report([tmp_path / "mult"], samples=0, console=QUIET, names=["ours"])
    assert named.tables[0].rows[0][0] == "ours [other weights]"
    assert sum("best.ckpt" in note for note in named.tables[0].notes) == 1
