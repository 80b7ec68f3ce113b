"""The great table on a few samples: a row of every wrapper, every condition recorded once, and the worst group."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import mer_zoo.wrappers
from benchmarks.studies import great_table
from benchmarks.studies.debias_table import SPLITS
from benchmarks.studies.great_table_shown import groups_of, worst, worst_cell
from benchmarks.studies.table import Answers
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig, latents
from mer_zoo.reports.measured import Measured, read_measured, write_measured

RCT = SPLITS["rct"]
pytestmark = [  # there are few samples
    pytest.mark.filterwarnings("ignore:.*an effective sample size of"),
    pytest.mark.filterwarnings("ignore:(deconfounded metrics|PropensityWeighting) sees? no confounding"),
]


def test_every_wrapper_has_a_row() -> None:
    rows = great_table.methods()
    assert (rows[0], rows[-1]) == ("plain", "unconfounded")
    assert {row.split()[0] for row in rows[1:-1]} == set(mer_zoo.wrappers.__all__)
    assert "RWG groups=speaker" in great_table.methods(great_table.BY_SPEAKER)


def test_a_training_is_tested_under_every_condition(tmp_path: Path) -> None:
    tiny = ["--samples", "96,32,96", "--epochs", "1", "--seeds", "3", "--backbones", "MulT", "--rhos", "0.8"]
    methods = ["--methods", "plain,PropensityWeighting mode=weight,unconfounded", "--choices", "accuracy"]
    great_table.main(["synthetic", "--out", str(tmp_path), *tiny, *methods])
    records = {tuple(record["place"][1:]): record for record in map(_read, tmp_path.rglob("seed*.json"))}
    assert {("rho 0.8", "plain"), ("rho 0.8, labels -0.267", "plain"), ("rho 0.8", "unconfounded")} <= records.keys()
    record = records["rho 0.8", "plain"]
    assert set(record["truth"]) == {"valid", "iid", "ood", "rct", "without l", "without a", "without v"}
    assert set(records["rho 0.8, labels -0.267", "plain"]["truth"]) == {"valid", "rct"}
    scm = SyntheticConfig(train=96, valid=32, test=96, rho=0.8, seed=3, positive_share=0.674)
    assert record["attributes"]["rct"] == "".join(map(str, latents(scm, "test_rct").topic))

    great_table.main(["table", str(tmp_path), "--select", "accuracy"])
    (shown,) = (tmp_path / "table.md").read_text().split("**MulT, rho 0.8**")[1:]
    header = next(line for line in shown.splitlines() if line.startswith("| method"))
    for title in ("IID", "without audio", "randomised trial, labels shifted", "worst group, randomised trial"):
        assert f"| {title} |" in header
    assert "| unconfounded | 1 |" in shown
    assert all(cell.strip() != "-" for cell in shown.splitlines()[4].split("|"))

    path = tmp_path / "great_cpu.csv"
    others = [
        Measured("toy, MulT", name, "rho 0.8, IID", "Acc2_non0", "1") for name in ("plain", "RWG", "unconfounded")
    ]
    write_measured(path, others)
    words = ["--select", "accuracy", "--csv", str(path), "--benchmark", "toy", "--methods"]
    great_table.main(["table", str(tmp_path), *words, "PropensityWeighting mode=weight", "--add"])
    found = {row.model: row.value for row in read_measured(path) if row.condition == "rho 0.8, IID"}
    assert list(found) == ["plain", "PropensityWeighting mode=weight", "RWG", "unconfounded"]
    assert found["plain"] != found["RWG"] == "1"


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def record(said: str, truth: str, attributes: str) -> dict[str, Any]:
    splits = {"rct": {"classes": said, "metrics": {}}}
    told = {"seed": 0, "truth": {"rct": truth}, "ids": {}, "attributes": {"rct": attributes}}
    return {**told, "choices": {"accuracy": {"splits": splits, "diagnostics": {}, "epoch": 0}}}


def test_the_worst_group_is_large_enough_and_not_neutral() -> None:
    truth = "0" * 12 + "0" * 12 + "2" * 12 + "2" * 3 + "1" * 12
    said = "0" * 12 + "0" * 6 + "2" * 6 + "2" * 12 + "0" * 3 + "0" * 12
    attributes = "0" * 12 + "2" * 12 + "2" * 12 + "0" * 3 + "1" * 12
    answers = Answers([record(said, truth, attributes)], "accuracy")
    group = groups_of(answers, 0, "rct")
    assert torch.unique(group[group >= 0]).tolist() == [0, 2, 22]
    values, size = worst(answers, RCT, draws=20)
    assert (values[-1].tolist(), values.shape, size) == ([50.0], torch.Size([21, 1]), 51)
    better = Answers([record(truth, truth, attributes)], "accuracy")
    assert worst_cell(better, answers, RCT).startswith("100.0 (+50.0 [")
    assert worst_cell(answers, None, RCT) == "50.0"


def test_a_modality_is_missing_where_it_matters() -> None:
    data = SyntheticMER(SyntheticConfig(train=8, valid=4, test=4))
    found = great_table.without_each(data)
    assert [(c.name, c.split, c.available) for c in found] == [
        ("without l", "test_rct", ("audio", "vision")),
        ("without a", "test_rct", ("text", "vision")),
        ("without v", "test_rct", ("text", "audio")),
    ]
    assert great_table.said_by_words(data, "test_rct").strip("012") == ""
