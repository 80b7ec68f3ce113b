import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from report_toys import content, write_run
from safetensors.torch import load_file

from mer_zoo.errors import MERError
from mer_zoo.reports import load_results
from mer_zoo.reports.record import find_results, parse_results, save_results


def test_round_trip(tmp_path: Path) -> None:
    results, scores = content(notes=["tau 0.3 chosen on valid"], parameters=7)
    saved = save_results(tmp_path / "run", results, scores)
    read = load_results(tmp_path / "run")
    assert read == saved
    assert (read.model, read.task, read.seed, read.parameters) == ("MulT", "binary", 0, 7)
    assert read.notes == ["tau 0.3 chosen on valid"]
    assert list(read.conditions) == list(results["conditions"])
    found, expected = read.conditions["{l}"], results["conditions"]["{l}"]
    assert found.metrics == pytest.approx(expected["metrics"], abs=1e-6)
    assert found.majority == pytest.approx(expected["majority"], abs=1e-6)
    assert not found.complete
    full = read.full(found)
    assert full is not None
    assert full.name == "iid"


def test_scores_beside_it(tmp_path: Path) -> None:
    results, scores = content()
    shared = scores["iid"].target
    scores["{l}"].target = shared  # memory that two entries share must not stop the writing
    save_results(tmp_path, results, scores)
    tensors = load_file(tmp_path / "scores.safetensors")
    assert set(tensors) == {f"{name}.{part}" for name in scores for part in ("logits", "target", "index")}
    torch.testing.assert_close(tensors["ood.logits"], scores["ood"].logits)


def test_undefined_numbers_are_valid_json(tmp_path: Path) -> None:
    results, scores = content()
    results["conditions"]["iid"]["metrics"]["MAE"] = math.nan
    save_results(tmp_path, results, scores)
    raw = json.loads((tmp_path / "results.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert raw["conditions"]["iid"]["metrics"]["MAE"] is None
    assert math.isnan(load_results(tmp_path).conditions["iid"].metrics["MAE"])


def test_diagnostics(tmp_path: Path) -> None:
    results, scores = content(model="MACI[oracle tau](CIDerNet)", diagnostics={"maci/tau": 0.4, "maci/size": math.inf})
    save_results(tmp_path, results, scores)
    run = load_results(tmp_path)
    assert run.model == "MACI[oracle tau](CIDerNet)"
    assert run.diagnostics["maci/tau"] == 0.4
    assert math.isnan(run.diagnostics["maci/size"])


def test_files_of_earlier_versions() -> None:
    metrics = {"Acc2": 0.5}
    run = parse_results({"model": "MulT", "conditions": {"iid": {"metrics": metrics}}}, Path("results.json"))
    assert (run.notes, run.diagnostics) == ([], {})
    assert run.conditions["iid"].curve is None


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("RMFM 0.3", "RMFM(rate=0.3)", ("RMFM", 0.3)),
        ("ood RMFM 1.0", "RMFM(rate=1.0)", ("ood RMFM", 1.0)),
        ("TraditionalRMFM 0.1", "TraditionalRMFM(text=0.1, audio=0.1, vision=0.1)", ("TraditionalRMFM", 0.1)),
        ("MRMS 0.7", "MRMS(ratio=0.7)", ("MRMS", 0.7)),
        ("TraditionalRMFM 0.1", "TraditionalRMFM(text=0.1, audio=0.2, vision=0.1)", (None, None)),
        ("RMFM 0.3", "RMM(rate=0.3)", (None, None)),
        ("RMFM 0.3", "RMFM(rate=0.4)", (None, None)),
        ("half", "RMFM(rate=0.5)", (None, None)),
        ("{l}", "SMM(available=('text',))", (None, None)),
        ("version 0.3", None, (None, None)),
    ],
)
def test_points_of_curves(name: str, pattern: str | None, expected: tuple[str | None, float | None]) -> None:
    entry = {"pattern": pattern, "metrics": {"Acc2": 0.5}}
    condition = parse_results({"model": "M", "conditions": {name: entry}}, Path("r.json")).conditions[name]
    assert (condition.curve, condition.rate) == expected


def test_bad_content_writes_nothing(tmp_path: Path) -> None:
    results, scores = content(conditions={})
    with pytest.raises(MERError, match="holds no tested condition; write it anew with mer-zoo test"):
        save_results(tmp_path / "run", results, scores)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "holds a list, not fields by name"),
        ('{"model": "MulT"}', "has no conditions"),
        ('{"conditions": {}}', "holds no tested condition"),
        ('{"model": "MulT", "conditions": {"iid": {}}}', "conditions: iid has no metrics"),
        (
            '{"model": "M", "conditions": {"iid": {"metrics": {"Acc2": "high"}}}}',
            "conditions: iid: metrics: Acc2 is 'high', not a number",
        ),
        (
            '{"model": "M", "conditions": {"iid": {"metrics": {}}}, "diagnostics": {"tau": "x"}}',
            "diagnostics: tau is 'x', not a number",
        ),
        (
            '{"model": "M", "conditions": {"iid": {"metrics": {}}}, "diagnostics": [1]}',
            "diagnostics is a list, not fields by name",
        ),
    ],
)
def test_odd_files(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "results.json"
    file.write_text(text)
    with pytest.raises(MERError, match=f"{message}.*; write (it anew with mer-zoo test|or copy it again)"):
        load_results(file)


def test_binary_rubbish(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_bytes(b"\x80\x04\x95\xff")
    with pytest.raises(MERError, match="is no JSON"):
        load_results(file)


def test_find(tmp_path: Path) -> None:
    runs: list[Any] = [write_run(tmp_path / "runs" / name, seed=seed) for seed, name in enumerate("ab")]
    found = find_results([tmp_path / "runs"])
    assert [run.seed for run in found] == [0, 1]
    named = find_results([runs[1], runs[0] / "results.json", runs[1]])
    assert [run.seed for run in named] == [1, 0]
    (tmp_path / "empty").mkdir()
    with pytest.raises(MERError, match="no results.json in or below .*empty; run mer-zoo test first"):
        find_results([tmp_path / "empty"])
    with pytest.raises(MERError, match="nowhere does not exist; give a run folder"):
        find_results([tmp_path / "nowhere"])
