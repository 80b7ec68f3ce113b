"""Nothing but the command line and its configurations decides what is run: no checkpoint, and no half of an option."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mer_zoo.cli import main
from mer_zoo.cli.sweeps.config import check_sweep, load_sweep
from mer_zoo.errors import MERError

MODEL = ["--data=SyntheticMER", "--data.task=binary", "--data.batch_size=4", "--model.backbone=LFLSTM"]
MODEL += ["--data.scm.train=8", "--data.scm.valid=4", "--data.scm.test=4", "--model.backbone.dim=4"]
MODEL += [
    "--model.clip_norm=0.8",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--record.pictures=false",
]
SWEEP = """
program: mer-zoo
method: random
metric: {name: val/loss, goal: minimize}
parameters: {seed_everything: {value: 0}, {name}: {value: {value}}}
command: ["${program}", fit, --data=SyntheticMER, --data.task=binary, --model.backbone=LFLSTM, "${args}"]
"""
HYPER_PARAMETERS = [
    {"optimizer": "side_door.run"},
    {"_class_path": "side_door.Module", "optimizer": "side_door.run"},
    {"_instantiator": "side_door.run", "lr_scheduler": "side_door.run"},
    {"_instantiator": "lightning.pytorch.cli.instantiate_module", "_class_path": "side_door.Module"},
    {"wrappers": ["side_door.run"]},
    {"backbone": {"class_path": "side_door.run"}},
    {"clip_norm": -5.0},
    {"no_option_at_all": 1},
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    main(["fit", *MODEL, "--trainer.max_epochs=1", "--trainer.logger=false", f"--trainer.default_root_dir={folder}"])
    return folder / "checkpoints" / "last.ckpt"


@pytest.fixture
def edited(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Copies of the checkpoint with other entries; in the current folder lies a module that tells when it is run."""
    (tmp_path / "side_door.py").write_text(
        "from pathlib import Path\nPath('imported').touch()\ndef run(*args, **kwargs): Path('called').touch()\n"
        "class Module: pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def edit(**entries: Any) -> Path:
        content = torch.load(trained, weights_only=True)
        torch.save({**content, **entries}, tmp_path / "foreign.ckpt")
        return tmp_path / "foreign.ckpt"

    return edit


@pytest.mark.filterwarnings("ignore:the best epoch before")  # the checkpoint has left its run
@pytest.mark.parametrize(
    ("doing", "given"),
    [
        *(("test", given) for given in HYPER_PARAMETERS),
        *(("fit", given) for given in HYPER_PARAMETERS[::3]),
        *((doing, HYPER_PARAMETERS[0]) for doing in ("validate", "predict")),
    ],
    ids=str,
)
def test_options_in_a_checkpoint_are_none(edited: Callable[..., Path], doing: str, given: dict[str, Any]) -> None:
    checkpoint = edited(hyper_parameters=given, hparams_name="kwargs", datamodule_hyper_parameters=given)
    folder = Path("run").absolute()
    options = ["--trainer.logger=false", f"--trainer.default_root_dir={folder}"]
    if doing == "fit":
        options += ["--trainer.max_epochs=2"]
    main([doing, *MODEL, *options, "--ckpt_path", str(checkpoint)])
    assert not Path("imported").exists()
    assert not Path("called").exists()
    (config,) = [*folder.glob("config*.yaml"), *Path().glob("config*.yaml")]
    assert yaml.safe_load(config.read_text())["model"]["clip_norm"] == 0.8


def sweep_file(folder: Path, name: str, value: str) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(SWEEP.replace("{name}", name).replace("{value}", value))
    return path


@pytest.mark.parametrize("name", ["ckpt_p", "ckpt", "conf", "trainer.log_every_n", "checkpoint.mon", "model.clip", "c"])
def test_half_an_option_in_a_sweep_is_no_option(tmp_path: Path, name: str) -> None:
    with pytest.raises(MERError):
        check_sweep(load_sweep(sweep_file(tmp_path, name, "1")))


@pytest.mark.parametrize(
    "name", ["ckpt_path=there.ckpt", "'model.clip_norm=1 --ckpt_path'", "'ckpt_path '", "-c", "''"]
)
def test_a_parameter_of_a_sweep_is_an_option_in_dots(tmp_path: Path, name: str) -> None:
    with pytest.raises(MERError, match="option in dots"):
        load_sweep(sweep_file(tmp_path, name, "1"))


@pytest.mark.parametrize("extra", [["--ckpt_path=a.ckpt"], ["--ckpt", "a.ckpt"], ["--print=x"], ["--model.clip=3"]])
def test_half_an_option_behind_a_sweep_is_no_option(tmp_path: Path, extra: list[str]) -> None:
    with pytest.raises(MERError):
        check_sweep(load_sweep(sweep_file(tmp_path, "model.clip_norm", "1"), extra))


@pytest.mark.parametrize("option", ["--ckpt=a.ckpt", "--trainer.max_ep=3", "--model.clip=3", "--seed=3"])
@pytest.mark.parametrize("doing", ["fit", "test"])
def test_half_an_option_is_no_option(capsys: pytest.CaptureFixture[str], doing: str, option: str) -> None:
    with pytest.raises(SystemExit):
        main([doing, *MODEL, option])
    assert f"option {option[2:].split('=')[0]!r} does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["convert", "a.pkl", "b", "--na", "zero"],
        ["report", "a", "--met", "MAE"],
        ["export", "a.ckpt", "b", "--stud"],
        ["validate-data", "a.pkl", "--na", "zero"],
        ["sweep", "a.yaml", "--tri", "3"],
    ],
)
def test_half_an_option_of_a_tool_is_no_option(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert "unrecognized arguments" in capsys.readouterr().err
