import io
import json
from pathlib import Path

import pytest
from lightning import Trainer
from rich.console import Console

from mer_zoo import LFLSTM, SyntheticMER
from mer_zoo.callbacks import RunRecord
from mer_zoo.data import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.module import MERModule
from mer_zoo.reports import load_results
from mer_zoo.reports.kept_scores import read_scores
from mer_zoo.reports.report import report


def run_test(folder: Path, modalities: tuple[str, ...] = ("text", "audio"), emap: int = 0) -> None:
    data = SyntheticMER(SyntheticConfig(train=8, valid=4, test=24), standardize=False, modalities=modalities)
    module = MERModule(LFLSTM(data.spec, data.task, dim=4))
    record = RunRecord(str(folder), pictures=False, emap=emap)
    quiet = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu", "default_root_dir": folder}
    Trainer(callbacks=[record], **quiet).test(module, data, verbose=False)  # type: ignore[arg-type]


def test_results_and_report_tell_what_interaction_adds(tmp_path: Path) -> None:
    run_test(tmp_path, emap=10)
    entry = json.loads((tmp_path / "results.json").read_text())["conditions"]["iid"]["emap"]
    assert (entry["samples"], entry["combinations"]) == (10, 100)
    for name, apart in entry["difference"].items():
        assert apart["value"] == pytest.approx(entry["model"][name] - entry["additive"][name], abs=1e-5)
        assert apart["low"] <= apart["value"] <= apart["high"]
    kept = read_scores(tmp_path, "iid", (3,))
    assert kept is not None
    assert kept.additive is not None
    assert int((~kept.additive.isnan().any(1)).sum()) == 10
    assert "What interaction adds" in (tmp_path / "results.md").read_text()
    made = report([tmp_path], metric="Acc3", samples=50, console=Console(file=io.StringIO(), width=200))
    table = next(table for table in made.tables if table.title.startswith("What interaction adds"))
    values = [f"{100 * entry[side]['Acc3']:.1f}" for side in ("model", "additive")]
    assert table.rows[0][:4] == ["LFLSTM on IID", "10", *values]
    assert load_results(tmp_path).conditions["iid"].count == 24


def test_what_can_not_be_measured_is_refused_before_the_test(tmp_path: Path) -> None:
    with pytest.raises(MERError, match="record.emap is 1; give the number of samples, at least 2, or 0"):
        RunRecord(emap=1)
    with pytest.raises(MERError, match="record.emap puts modalities together, and the model has a single one"):
        run_test(tmp_path, modalities=("text",), emap=4)
    assert not list(tmp_path.iterdir())
