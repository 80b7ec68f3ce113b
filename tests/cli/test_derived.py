"""The commands that make another run of a trained one: adapt and refit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from explained_runs import trained_run
from safetensors.torch import load_file

from mer_zoo import EFLSTM, LFLSTM, load_pretrained
from mer_zoo.cli import main
from mer_zoo.cli.adapt import main as adapt
from mer_zoo.cli.refit import main as refit
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.reports.record import load_results
from mer_zoo.reports.report import main as report
from mer_zoo.sharing.export import main as export
from mer_zoo.sharing.pretrained import load_model
from mer_zoo.wrappers.casp.layer_norms import layer_norms

QUICK = ["--epochs", "1", "--every", "1", "--label-epochs", "1"]
TARGET = "--data.scm.rho=0.2"


def run_of(folder: Path, net: type[Model]) -> Path:
    """A run whose configuration names its network, too."""
    name = net.__name__
    trained_run(folder / name, net=net)
    config = folder / name / "config.yaml"
    model = f"\nmodel: {{backbone: {{class_path: mer_zoo.{name}, init_args: {{dim: 4}}}}}}\n"
    quiet = "trainer: {logger: false, accelerator: cpu, enable_progress_bar: false}\n"
    config.write_text(config.read_text() + model + quiet, encoding="utf-8")
    return folder / name


@pytest.mark.filterwarnings("ignore")
def test_an_adapted_run_is_tested_reported_and_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, out = run_of(tmp_path, EFLSTM), tmp_path / "adapted"
    adapt([str(run), "--out", str(out), *QUICK, TARGET])
    printed = capsys.readouterr().out
    for said in ("source as it is", "LayerNorm statistics alone", "CASP", "next: mer-zoo test --config adapted"):
        assert said in printed
    before, after = (load_model(folder / "checkpoints" / "best.ckpt")[0] for folder in (run, out))
    norms = {f"{name}.{kind}" for name in layer_norms(after) for kind in ("weight", "bias")}
    inner = after.nest[-1].state_dict()
    assert {name for name, value in before.state_dict().items() if not torch.equal(value, inner[name])} <= norms
    assert after.label == "CASP[transductive](EFLSTM)"

    main(["test", "--config", str(out / "config.yaml"), "--data.conditions=[default]"])
    found = load_results(out)
    assert found.model == "CASP[transductive](EFLSTM)"
    assert json.loads((out / "results.json").read_text())["data"]["source"].startswith("SyntheticMER(rho=0.2")
    assert any("the results are transductive" in note for note in found.notes)
    report([str(out), "--out", str(tmp_path / "report")])
    assert "CASP[transductive](EFLSTM)" in capsys.readouterr().out
    export([str(out / "checkpoints" / "best.ckpt"), str(tmp_path / "export")])
    assert load_pretrained(tmp_path / "export").label == "CASP[transductive](EFLSTM)"
    with pytest.raises(MERError, match="holds a run already"):
        adapt([str(run), "--out", str(out), *QUICK, TARGET])


@pytest.mark.filterwarnings("ignore")
def test_a_layer_is_fitted_again_and_tested(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, out = run_of(tmp_path, LFLSTM), tmp_path / "refitted"
    options = ["--groups", "words", "--retrains", "1", "--min-group", "1", "--data.scm.valid=64"]
    refit([str(run), "--out", str(out), *options])
    printed = capsys.readouterr().out
    assert "the network's own layer" in printed
    assert "fitted to the other half" in printed
    model, _ = load_model(out / "checkpoints" / "best.ckpt")
    assert model.name == "DFR(LFLSTM)"
    assert model.get_buffer("fitted").all()
    assert model.uncertainty is not None
    main(["test", "--config", str(out / "config.yaml"), "--data.conditions=[default]"])
    kept = load_file(out / "scores.safetensors")
    assert kept
    assert load_results(out).model == "DFR(LFLSTM)"


def test_what_can_not_be_adapted_or_fitted_is_refused(tmp_path: Path) -> None:
    trained_run(tmp_path / "none")
    none, out = str(tmp_path / "none"), ["--out", str(tmp_path / "out")]
    for given, message in (
        ([none, *out], "adapt needs the data"),
        ([none, *out, TARGET], "LFLSTM has no LayerNorm"),
        ([none, *out, TARGET, "--clips"], "adapt has no option --clips"),
        ([none, "--out", none, TARGET], "where the run itself lies"),
        ([none, *out, "--data.task=seven"], "the data are for the task"),
        ([none, *out, "--data.modalities=[text,audio]"], "the data have modalities"),
        ([str(tmp_path / "nowhere"), *out, TARGET], "does not exist"),
    ):
        with pytest.raises(MERError, match=message):
            adapt(given)
    (tmp_path / "none" / "checkpoints" / "best.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(MERError, match="is damaged or not a checkpoint"):
        adapt([none, *out, TARGET])
    with pytest.raises(MERError, match="refit has no option --epochs"):
        refit([none, *out, "--epochs", "1"])
    assert not (tmp_path / "out").exists()
