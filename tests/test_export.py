"""Exports: a student without its teacher predicts as the checkpoint did; the card tells what was measured; wrong files are told."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from mer_zoo.backbones import CUMDFNet
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.cli import main
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.export import export_checkpoint, load_exported
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.task import SentimentClassification
from mer_zoo.wrappers import CUMDF, CausalMER

QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.accelerator=cpu"]
SIZES = ["--data.scm.train=8", "--data.scm.valid=4", "--data.scm.test=4", "--data.batch_size=4"]
SMALL = ["--model.backbone=CUMDFNet", "--model.backbone.dim=8", "--trainer.max_epochs=1"]
CLASSES = {"CUMDF": CUMDF, "CausalMER": CausalMER}


def fit(folder: Path, monkeypatch: pytest.MonkeyPatch, *wrappers: str) -> Path:
    """Train by the command line, as users do, and return the checkpoint."""
    monkeypatch.chdir(folder)
    named = [f"--model.wrappers+={name}" for name in wrappers]
    main(["fit", "--data=SyntheticMER", "--data.task=seven", *SMALL, *named, *SIZES, *QUIET])
    (checkpoint,) = folder.glob("runs/**/best.ckpt")
    return checkpoint


def corpus() -> SyntheticMER:
    return SyntheticMER(SyntheticConfig(train=8, valid=4, test=4), task="seven", batch_size=4)


def net(data: SyntheticMER) -> Model:
    return CUMDFNet(data.spec, data.task, dim=8)


@pytest.mark.parametrize("wrappers", [["CUMDF"], ["CUMDF", "CausalMER"]])
def test_a_student_predicts_without_its_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrappers: list[str]
) -> None:
    checkpoint = fit(tmp_path, monkeypatch, *wrappers)
    with pytest.raises(SystemExit) as leaving:
        main(["export", str(checkpoint), "student", "--student"])
    assert not leaving.value.code
    content = torch.load(checkpoint, weights_only=True)
    kept = load_file("student/model.safetensors")
    assert any(".teacher." in name for name in content["state_dict"])
    assert not any(part in name for name in kept for part in ("teacher", "distillation", "attribution"))
    options = json.loads(Path("student/config.json").read_text())["wrappers"][0]["arguments"]
    assert options.items() >= CUMDF.FOR_PREDICTION.items()
    data = corpus()
    whole = MERModule(net(data), [CLASSES[name] for name in wrappers])
    whole.load_state_dict(content["state_dict"])
    student: Model = CUMDF(net(data), teacher=None, srd_weight=0.0, attribution_weight=0.0)
    student = student if len(wrappers) == 1 else CausalMER(student)
    scaler = load_exported(student, "student")
    assert scaler is not None
    assert torch.equal(scaler["mean"]["audio"], content["mer_zoo"]["scaler"]["mean"]["audio"])
    data.load_scaler_state(scaler)
    data.setup("test")
    batch = next(iter(data.batch_source("test_iid")))
    assert torch.equal(student.eval().predict(batch).logits, whole.eval().model.predict(batch).logits)


def test_without_the_flag_everything_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = fit(tmp_path, monkeypatch, "CUMDF")
    export_checkpoint(checkpoint, "whole")
    data = corpus()
    again, trained = CUMDF(net(data)), MERModule(net(data), [CUMDF])
    load_exported(again, "whole")
    trained.load_state_dict(torch.load(checkpoint, weights_only=True)["state_dict"])
    batch = Batch.random(data.spec, data.task, size=3)
    assert torch.equal(again.eval().predict(batch).logits, trained.eval().model.predict(batch).logits)
    assert again.teacher is not None
    teacher = again.teacher.state_dict()
    assert teacher["backbone.project.text.weight"].equal(
        trained.state_dict()["model.teacher.backbone.project.text.weight"]
    )


def test_the_card_tells_task_data_results_and_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = fit(tmp_path, monkeypatch)
    run = checkpoint.parents[1]
    export_checkpoint(checkpoint, "untested")
    assert "No results were at hand" in Path("untested/README.md").read_text()
    main(
        [
            "test",
            "--config",
            str(run / "config.yaml"),
            f"--ckpt_path={checkpoint}",
        ]
    )
    with pytest.raises(SystemExit) as leaving:
        main(["export", str(checkpoint), "tested", "--licence", "cc-by-4.0"])
    assert not leaving.value.code
    text = Path("tested/README.md").read_text()
    header, _, body = text.removeprefix("---\n").partition("---\n")
    assert yaml.safe_load(header)["license"] == "cc-by-4.0"
    results = json.loads((run / "results.json").read_text())["conditions"]
    accuracy = f"{100 * results['iid']['metrics']['Acc7']:.1f}"
    row = next(line for line in body.splitlines() if line.startswith("| IID"))
    assert accuracy in row
    assert "ood (test_ood, 4)" in body
    assert "SentimentClassification (num_classes 7, convention mmsa)" in body
    assert "of all epochs the one with the lowest val/loss" in body
    assert "by the training split's mean and deviation" in body
    sha256 = corpus().corpus.sha256
    assert sha256 is not None
    assert sha256 in body
    assert str(tmp_path) not in text + Path("tested/config.json").read_text()
    last = checkpoint.with_name("last.ckpt")
    export_checkpoint(last, "last")  # the results are another checkpoint's
    text = Path("last/README.md").read_text()
    assert "No results were at hand" in text
    assert "which no metric chose" in text
    assert "license" not in text.split("---")[1]
    assert "Not stated" in text


def test_what_can_not_be_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = fit(tmp_path, monkeypatch)
    with pytest.raises(MERError, match=r"best\.ckpt holds CUMDFNet, which has no student; leave out --student"):
        export_checkpoint(checkpoint, tmp_path / "out", student=True)
    with pytest.raises(MERError, match=r"nowhere\.ckpt does not exist"):
        export_checkpoint(tmp_path / "nowhere.ckpt", tmp_path / "out")
    moved = tmp_path / "moved.ckpt"
    moved.write_bytes(checkpoint.read_bytes())
    content = torch.load(moved, weights_only=True)
    content["mer_zoo"]["recipe"] = {"refused": "Own is defined inside something else"}
    torch.save(content, moved)
    with pytest.raises(MERError, match=r"moved\.ckpt can't be exported: Own is defined inside something else"):
        export_checkpoint(moved, tmp_path / "out")
    del content["mer_zoo"]["recipe"]
    torch.save(content, moved)
    with pytest.raises(MERError, match=r"moved\.ckpt can't be exported: it was written by an older version"):
        export_checkpoint(moved, tmp_path / "out")
    torch.save({key: value for key, value in content.items() if key != "mer_zoo"}, moved)
    with pytest.raises(MERError, match=r"moved\.ckpt was not written by mer_zoo"):
        export_checkpoint(moved, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_can_not_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, folder = corpus(), tmp_path / "out"
    with pytest.raises(MERError, match=r"model\.safetensors does not exist; give a folder that mer-zoo export wrote"):
        load_exported(net(data), folder)
    export_checkpoint(fit(tmp_path, monkeypatch), folder)
    with pytest.raises(MERError, match=r"the checkpoint holds model CUMDFNet, not CUMDF\(CUMDFNet\)"):
        load_exported(CUMDF(net(data)), folder)
    with pytest.raises(MERError, match="does not fit this CUMDFNet"):
        load_exported(CUMDFNet(DataSpec(), SentimentClassification(7), dim=8), folder)
    tensors = load_file(folder / "model.safetensors")
    metadata = {"mer_zoo": json.dumps({"model": "CUMDFNet", "task": "SentimentClassification [7]"})}
    odd = {
        "which is no statistic": tensors | {"scaler.mean.smell": torch.ones(1)},
        "of different modalities": {name: value for name, value in tensors.items() if name != "scaler.std.audio"},
    }
    for reason, content in odd.items():
        save_file(content, folder / "model.safetensors", metadata)
        with pytest.raises(MERError, match=reason):
            load_exported(net(data), folder)
    for record in ("[]", '{"model": 3}', "{"):
        save_file(tensors, folder / "model.safetensors", {"mer_zoo": record})
        with pytest.raises(MERError, match=r"was not written by mer_zoo|holds model 3|can't be read"):
            load_exported(net(data), folder)
    (folder / "model.safetensors").write_bytes(b"rubbish")
    with pytest.raises(MERError, match=r"model\.safetensors can't be read .*; export again"):
        load_exported(net(data), folder)
