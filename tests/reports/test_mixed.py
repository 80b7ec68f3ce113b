"""What runs of one table should have in common: each lack is told with the run and what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from report_toys import write_run

from mer_zoo.errors import MERError
from mer_zoo.reports import load_results
from mer_zoo.reports.groups import choose_metric, conditions_of, group_runs
from mer_zoo.reports.mixed import mixture_notes


def notes(tmp_path: Path, *runs: Mapping[str, Any], versions: tuple[str, ...] = ("2.9", "2.9")) -> list[str]:
    made = []
    for place, (options, version) in enumerate(zip(runs, versions * 2, strict=False)):
        folder = write_run(tmp_path / f"run_{place}", sets=[], **options)
        (folder / "provenance.json").write_text(json.dumps({"packages": {"torch": version, "mer-zoo": "0.1.0"}}))
        made.append(load_results(folder))
    return mixture_notes(group_runs(made), conditions_of(made), "Acc2_non0")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"task": "regression"}, "TFN · regression was trained for regression and MulT · binary for binary"),
        ({"draw": 1}, "TFN was tested on other samples than MulT (under iid the majority class has "),
        ({"size": 40}, "TFN was tested on other samples than MulT (40 instead of 60 under iid)"),
        ({"convention": "mult"}, "TFN · mult was measured by mult and MulT · mmsa by mmsa"),
        ({"seed": None}, "TFN does not tell its seed; train "),
    ],
)
def test_what_differs_is_told_with_the_run(tmp_path: Path, other: dict[str, Any], said: str) -> None:
    found = notes(tmp_path, {"model": "MulT"}, {"model": "TFN", **other})
    assert found[0].startswith(said)
    assert "run_1" in found[0]


def test_another_version_is_told(tmp_path: Path) -> None:
    (said,) = notes(tmp_path, {"model": "MulT"}, {"model": "TFN"}, versions=("2.9", "2.10"))
    assert said.startswith("TFN was trained with torch 2.10 instead of 2.9;")


def test_a_missing_seed_is_told(tmp_path: Path) -> None:
    (said,) = notes(tmp_path, {"model": "MulT"}, {"model": "TFN"}, {"model": "MulT", "seed": 1})
    assert said.startswith("TFN lacks seed 1 of the others; train it with --seed_everything=1")


def test_nothing_is_said_of_runs_that_go_together(tmp_path: Path) -> None:
    assert notes(tmp_path, *({"model": model, "seed": seed} for model in ("MulT", "TFN") for seed in (0, 1))) == []
    drawn = [{"model": model, "seed": seed, "draw": seed} for model in ("MulT", "TFN") for seed in (0, 1)]
    assert [note for note in notes(tmp_path / "drawn", *drawn) if "samples" in note] == []


def test_runs_without_a_metric_in_common_are_named(tmp_path: Path) -> None:
    runs = [load_results(write_run(tmp_path / task, task=task, sets=[])) for task in ("binary", "emotions")]
    with pytest.raises(
        MERError, match=r"no metric in common, .*binary is of binary and .*emotions is of emotions; report"
    ):
        choose_metric(runs)
