"""A run that is resumed goes on with the data, options and seed that it had, or says what is other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from mer_zoo.cli import main
from mer_zoo.errors import MERError
from mer_zoo.training.settings import STRETCHES, allowed_kinds, go_on

pytestmark = pytest.mark.filterwarnings("ignore:the run goes on otherwise")
FIT = ["fit", "--data=SyntheticMER", "--data.task=binary", "--data.batch_size=4", "--model.backbone=LFLSTM"]
FIT += ["--data.scm.train=8", "--data.scm.valid=4", "--data.scm.test=4", "--model.backbone.dim=4"]
FIT += ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--record.pictures=false"]
FIT += ["--model.optimizer=torch.optim.Adam", "--model.optimizer.lr=0.01", "--trainer.logger=false"]
OTHER = {
    "data": (["--data.scm.seed=7"], "data (sha256: "),
    "batch": (["--data.batch_size=8"], "data (batch_size: 4 before, 8 now)"),
    "model": (["--model.backbone.out_dropout=0.5"], "model ("),
    "rate": (["--model.optimizer.lr=0.5"], "optimizer (options.lr: 0.01 before, 0.5 now)"),
    "optimizer": (["--model.optimizer=torch.optim.SGD"], "optimizer (class: 'Adam' before, 'SGD' now"),
    "groups": (
        ["--model.param_groups={'*bias': {lr: 0.1}}"],
        "optimizer (groups.*.text_encoder.*: a dict before, None now, groups.*bias",
    ),
    "clipping": (["--model.clip_norm=0.8"], "optimizer (clip_norm: None before, 0.8 now)"),
    "schedule": (["--model.lr_scheduler=StepLR", "--model.lr_scheduler.step_size=1"], "optimizer (scheduler: "),
    "seed": (["--seed_everything=5"], "seed (seed_everything: 0 before, 5 now)"),
}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("begun") / "run"
    main([*FIT, "--trainer.max_epochs=1", f"--trainer.default_root_dir={folder}"])
    return folder


def resume(folder: Path, *options: str) -> None:
    last = folder / "checkpoints" / "last.ckpt"
    where = f"--trainer.default_root_dir={folder}"
    main([*FIT, "--trainer.max_epochs=2", where, f"--ckpt_path={last}", *options])


@pytest.mark.parametrize("kind", OTHER)
def test_what_is_other_is_named_and_refused(
    begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    shutil.copytree(begun, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    options, words = OTHER[kind]
    with pytest.raises(SystemExit) as stopped:
        resume(tmp_path / "run", *options)
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert f"the run that is resumed had another {words}" in told
    assert "--resume.allow=" in told
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()} == before


def test_more_epochs_are_no_difference_and_each_stretch_is_told(begun: Path, tmp_path: Path) -> None:
    shutil.copytree(begun, tmp_path / "run")
    resume(tmp_path / "run")
    record = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert [(part["epoch"], part["step"], part["changed"]) for part in record["stretches"]] == [(0, 0, []), (0, 2, [])]
    assert record["stretches"][0]["settings"] == record["stretches"][1]["settings"]
    assert record["stretches"][0]["settings"]["data"]["sha256"] == record["data"]["sha256"]


def test_what_is_asked_for_is_what_is_done(begun: Path, tmp_path: Path) -> None:
    shutil.copytree(begun, tmp_path / "run")
    options = ["--model.optimizer.lr=0.5", "--seed_everything=5", "--data.scm.seed=7"]
    resume(tmp_path / "run", *options, "--resume.allow=optimizer,seed,data")
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert [group["lr"] for group in last["optimizer_states"][0]["param_groups"]] == [0.5]
    first, second = last[STRETCHES]
    assert second["settings"]["optimizer"]["options"]["lr"] == 0.5
    assert second["settings"]["data"]["sha256"] != first["settings"]["data"]["sha256"]
    assert second["changed"][-1] == "seed_everything: 0 before, 5 now"
    assert json.loads((tmp_path / "run" / "provenance.json").read_text())["stretches"] == [first, second]
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["model"]["optimizer"]["init_args"]["lr"] == 0.5
    assert "resume" not in config


def test_a_schedule_goes_on_from_where_it_is(tmp_path: Path) -> None:
    schedule = ["--model.lr_scheduler=StepLR", "--model.lr_scheduler.step_size=1", "--model.lr_scheduler.gamma=0.1"]
    where = f"--trainer.default_root_dir={tmp_path}"
    main([*FIT, *schedule, "--trainer.max_epochs=1", where])
    resume(tmp_path, *schedule, "--model.optimizer.lr=0.5", "--resume.allow=optimizer")
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert [group["lr"] for group in last["optimizer_states"][0]["param_groups"]] == pytest.approx([0.005])


@pytest.mark.parametrize("given", ["date", "data;seed", "data seed", "all"])
def test_a_kind_that_there_is_not(given: str) -> None:
    with pytest.raises(MERError, match="choose from data, model, optimizer, seed"):
        allowed_kinds(given)


@pytest.mark.parametrize(
    "odd", [3, "text", [], [3], [{}], [{"settings": 3}], {"settings": {}}, [{"settings": {"seed": 3}}]]
)
def test_odd_stretches_are_refused(odd: object) -> None:
    with pytest.raises(MERError, match="use a checkpoint as"):
        go_on({STRETCHES: odd}, {"seed": {"seed_everything": 0}}, [])


def test_a_checkpoint_from_before_has_none() -> None:
    assert len(go_on({"epoch": 2}, {"seed": {"seed_everything": 0}}, [])) == 1
