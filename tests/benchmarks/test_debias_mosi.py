"""The benchmark of debiasers on a file of CMU-MOSI's form:
both settings, the table, and the words as the wrapper finds them.
"""

from __future__ import annotations

import json
from pathlib import Path

import corpora
import numpy as np
import pytest

from benchmarks.studies import debias_mosi

pytestmark = pytest.mark.filterwarnings("ignore:.*an effective sample size of")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A corpus whose word "plot" stands in negative samples of the official training fold,
    and in positive ones of the test fold.
    """
    rng, tree = np.random.default_rng(0), {}
    for split, count in {"train": 120, "valid": 40, "test": 40}.items():
        labels = rng.choice([-2.0, -1.0, 0.0, 1.0, 2.0], count)
        told = labels > 0 if split == "test" else labels < 0
        words = np.stack([np.where(told, 1000, 1001), rng.integers(1002, 1040, count)], 1)
        tokens = np.zeros((count, 3, 4), np.int64)
        tokens[:, 0] = np.column_stack([np.full(count, 101), words, np.full(count, 102)])
        tokens[:, 1] = 1
        tree[split] = {
            "text_bert": tokens,
            "text": rng.normal(size=(count, 4, 3)),
            "audio": rng.normal(size=(count, 4, 2)),
            "vision": rng.normal(size=(count, 4, 2)),
            "raw_text": np.array([f"{'plot' if a == 1000 else 'film'} w{b}" for a, b in words]),
            "id": np.array([f"{split}{row % 12}$_${row}" for row in range(count)]),
            "regression_labels": labels,
        }
    return corpora.dump(tree, tmp_path / "corpus.pkl")


def test_both_settings_are_run_and_shown(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "runs"
    methods = "plain,PropensityWeighting mode=weight,unconfounded"
    tiny = ["--epochs", "1", "--seeds", "4", "--backbones", "CIDerNet", "--methods", methods]
    debias_mosi.main(["run", str(source), "--out", str(out), *tiny])
    records = [json.loads(path.read_text()) for path in out.rglob("seed*.json")]
    found = {(*record["place"][1:], record["seed"]) for record in records}
    assert found == {
        (setting, name, 4) for setting in ("OOD splits", "official folds") for name in methods.split(",")[:2]
    }
    assert {name for record in records for name in record["truth"]} == {"valid", "iid", "ood"}
    official = next(record for record in records if record["place"][1] == "official folds")
    assert set(official["ids"]["iid"]) == {f"test{number}" for number in range(12)}

    debias_mosi.main(["table", str(out), "--select", "last"])
    table = (out / "table.md").read_text()
    assert "CIDerNet, OOD splits: accuracy" in table
    assert "unconfounded" not in table

    shifted = ["--label_shifts=-0.2", "--official", "no", "--choices", "last"]
    debias_mosi.main(["run", str(source), "--out", str(out), *tiny, *shifted])
    settings = {json.loads(path.read_text())["place"][1] for path in out.rglob("seed*.json")}
    assert settings == {"OOD splits", "official folds", "OOD splits, labels -0.2"}
    report = json.loads((out / "splits" / "labels -0.2" / "seed4" / "split_report.json").read_text())
    assert report["label_shift_reached"] == pytest.approx(-0.2, abs=0.02)

    capsys.readouterr()
    debias_mosi.main(["words", str(source), "--out", str(out)])
    shown = capsys.readouterr().out
    assert shown.index("official folds: 2 biased words") < shown.index("seed4:")
    plot = next(line for line in shown.splitlines() if "plot" in line)
    cells = [cell.strip() for cell in plot.strip("│ ").split("│")]
    assert [cells[0], cells[2], cells[4]] == ["plot", "100 / 0 / 0", "0 / 0 / 100"]
    assert "the gate is open" in shown
