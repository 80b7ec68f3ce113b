"""Exports: a student without its teacher predicts as the checkpoint did; the card tells what was measured;
wrong files are told.
"""

import json
import re
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from mer_zoo.backbones import LFLSTM, CUMDFNet
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.cli import loading, main
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.sharing.export import export_checkpoint, load_exported, save_pretrained
from mer_zoo.sharing.pretrained import load_pretrained
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
    assert options.items() >= CUMDF.for_prediction.items()
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
    assert "prohibited in the European Union (AI Act" in Path("untested/README.md").read_text()
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
    assert "of all epochs the one with the highest val/Acc7" in body
    assert "by the training split's mean and deviation" in body
    sha256 = corpus().corpus.sha256
    assert sha256 is not None
    assert sha256 in body
    assert "Corpus: SyntheticMER(rho=0.8" in body
    assert str(tmp_path) not in text + Path("tested/config.json").read_text()
    last = checkpoint.with_name("last.ckpt")
    export_checkpoint(last, "last")  # after a single epoch both have the same weights
    text = Path("last/README.md").read_text()
    assert row in text
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
    with pytest.raises(MERError, match=r"model.safetensors holds model CUMDFNet, not CUMDF\(CUMDFNet\)"):
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
        with pytest.raises(MERError, match=r"holds None|holds a list|model is 3|can't be read|has no task"):
            load_exported(net(data), folder)
    save_file(tensors, folder / "model.safetensors", {"mer_zoo": "[" + "[]," * 2**19 + "0]"})
    with pytest.raises(MERError, match="says more of its model than any has to say"):
        load_exported(net(data), folder)
    (folder / "model.safetensors").write_bytes(b"rubbish")
    with pytest.raises(MERError, match=r"model\.safetensors can't be read .*; export again"):
        load_exported(net(data), folder)


def test_results_of_other_weights_are_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = fit(tmp_path, monkeypatch)
    run = checkpoint.parents[1]
    main(["test", "--config", str(run / "config.yaml"), f"--ckpt_path={checkpoint}"])
    export_checkpoint(checkpoint, "tested")
    assert "No results were at hand" not in Path("tested/README.md").read_text()
    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"]["model.head.bias"] += 0.5  # as another training into the same folder would leave it
    torch.save(content, checkpoint)
    export_checkpoint(checkpoint, "changed")
    assert "No results were at hand" in Path("changed/README.md").read_text()
    (run / "results.json").write_text("{")
    with pytest.raises(MERError, match=r"results\.json is no JSON"):
        export_checkpoint(checkpoint, "damaged")
    assert not Path("damaged").exists()


def test_the_card_tells_how_to_use_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    export_checkpoint(fit(tmp_path, monkeypatch, "CausalMER"), "shared")
    (code,) = re.findall(r"^```python\n(.*?)^```$", Path("shared/README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert "SyntheticMER(task='seven', convention='mmsa')" in code
    small = "scm=mer_zoo.data.SyntheticConfig(train=8, valid=4, test=4), "
    code = code.replace("FOLDER_OR_HUB_ID", "shared").replace("SyntheticMER(", f"SyntheticMER({small}")
    quiet = "enable_progress_bar=False, accelerator='cpu', "
    exec(code.replace("Trainer(", f"Trainer({quiet}"), {})
    assert "test/Acc7" in capsys.readouterr().out
    model = LFLSTM(DataSpec(tokens=True, modalities=["text", "audio"]), SentimentClassification(3))
    save_pretrained(model, "other")
    line = "MERDataModule('CORPUS', task='TASK', text='tokens', modalities=['text', 'audio'], standardize=False)"
    assert line in Path("other/README.md").read_text()


def tiny(bias: float) -> Model:
    model = LFLSTM(DataSpec(), SentimentClassification(3), dim=4)
    head = model.get_parameter("head.bias")
    torch.nn.init.constant_(head, bias)
    return model


def bias_of(folder: Path) -> float:
    return load_pretrained(folder).get_parameter("head.bias")[0].item()


def test_what_is_there_is_replaced_on_demand_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = fit(tmp_path, monkeypatch)
    project = tmp_path / "project"
    project.mkdir()
    (project / "README.md").write_text("my project")
    (project / "code.py").write_text("mine")
    capsys.readouterr()
    for dest, message in {
        "project": "project has a README.md already; name another folder, or replace it by --overwrite",
        "project/code.py": "code.py is a file; name a folder",
        "project/code.py/model": "model can't be written (",
    }.items():
        with pytest.raises(SystemExit) as leaving:
            main(["export", str(checkpoint), dest])
        assert leaving.value.code == 2
        assert message in capsys.readouterr().err
    assert sorted(path.name for path in project.iterdir()) == ["README.md", "code.py"]
    assert (project / "README.md").read_text() == "my project"
    with pytest.raises(SystemExit) as leaving:
        main(["export", str(checkpoint), "project", "--overwrite"])
    assert not leaving.value.code
    assert load_pretrained(project).name == "CUMDFNet"
    assert (project / "code.py").read_text() == "mine"
    save_pretrained(tiny(1.0), project, overwrite=True)
    assert bias_of(project) == 1.0
    modes = {stat.S_IMODE(file.stat().st_mode) for file in project.iterdir()}
    assert len(modes) == 1  # what others may read of the card they may read of the weights


@pytest.mark.parametrize("new", [True, False])
def test_a_broken_export_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new: bool) -> None:
    """Wherever the writing breaks off, there is the old export, the new one, or none,
    and nothing is left lying about.
    """
    states = set()
    for breaking in range(20):
        dest = tmp_path / str(breaking) / "shared"
        dest.parent.mkdir()
        if not new:
            save_pretrained(tiny(1.0), dest)
            (dest / "notes.txt").write_text("mine")
        calls = 0

        def count(real: Any, breaking: int = breaking) -> Any:
            def call(*args: Any, **options: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls > breaking:
                    raise OSError(28, "No space left on device")
                return real(*args, **options)

            return call

        with monkeypatch.context() as patch:
            for name in ("write_bytes", "replace", "rename", "mkdir"):
                patch.setattr(Path, name, count(getattr(Path, name)))
            try:
                save_pretrained(tiny(2.0), dest, overwrite=True)
                broken = False
            except MERError as error:
                broken = "No space left on device" in str(error)
        assert (calls > breaking) == broken
        names = {path.name for path in dest.iterdir()} if dest.exists() else set()
        assert {path.name for path in dest.parent.iterdir()} <= {"shared"}
        assert names <= {"model.safetensors", "README.md", "config.json", "notes.txt"}
        assert new or "notes.txt" in names
        states.add(bias_of(dest) if "config.json" in names else None)
        if not broken:
            break
    assert not broken
    assert states == ({None, 2.0} if new else {None, 1.0, 2.0})


def test_modules_that_can_not_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = fit(tmp_path, monkeypatch)
    with pytest.raises(SystemExit) as leaving:
        main(["export", str(checkpoint), "out", "--module", "no_such_module"])
    assert leaving.value.code == 2
    assert "the module no_such_module can't be imported (" in capsys.readouterr().err
    assert not Path("out").exists()


OWN = """
import torch
from torch import nn
from mer_zoo import Backbone, Output

class OwnNet(Backbone):
    def __init__(self, spec, task, width: int = 4):
        super().__init__(spec, task)
        self.feature_dim = width
        self.hidden = nn.Linear(self.input_dims["audio"], width)
        self.head = nn.Linear(width, task.num_outputs)

    def fuse(self, text, audio, vision):
        features = torch.tanh(self.hidden((audio.x * audio.mask[..., None]).mean(1)))
        return Output(self.classify(features), features)
"""


def test_an_own_network_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("own_net_of_mine.py").write_text(OWN)
    trained = ["fit", "--data=SyntheticMER", "--data.task=seven", *SIZES, *QUIET, "--trainer.max_epochs=1"]
    own = ["--model.backbone=own_net_of_mine.OwnNet", "--model.backbone.width=6", "--model.wrappers+=CausalMER"]
    monkeypatch.setattr(sys, "argv", ["mer-zoo", *trained, *own])
    monkeypatch.setattr("gc.freeze", lambda: None)  # this process runs more than a command
    monkeypatch.setitem(loading._process, "runs_a_command", False)
    main()
    (checkpoint,) = tmp_path.glob("runs/**/best.ckpt")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["export", str(checkpoint), "shared"])
    assert "name it in modules (mer-zoo export --module)" in capsys.readouterr().err
    with pytest.raises(SystemExit) as leaving:
        main(["export", str(checkpoint), "shared", "--module", "own_net_of_mine"])
    assert not leaving.value.code
    with pytest.raises(MERError, match=r"'own_net_of_mine\.OwnNet' is no Backbone of mer_zoo"):
        load_pretrained("shared")
    model = load_pretrained("shared", modules=("own_net_of_mine",))
    content = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert model.name == "CausalMER(OwnNet)"
    assert all(torch.equal(value, content[f"model.{name}"]) for name, value in model.state_dict().items())
    assert 'modules=["own_net_of_mine"]'.replace('"', "'") in Path("shared/README.md").read_text()
