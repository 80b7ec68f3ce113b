"""A network of the user's by the name of its factory: on the command line, in a configuration, tested and exported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

import mer_zoo
from mer_zoo.cli import main
from mer_zoo.cli.factories import spell_factories

NETS = """
import torch
from torch import nn

import mer_zoo


class Mean(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.layer = nn.Linear(82, dim)

    def forward(self, text, audio, vision):
        return self.layer(torch.cat([text.mean(1), audio.mean(1), vision.mean(1)], dim=1))


mean = mer_zoo.adapt(Mean(8), feature_dim=8)
plain = Mean(8)


def sized(spec, task, dim: int = 8) -> mer_zoo.Backbone:
    return mer_zoo.adapt(Mean(dim), spec, task, feature_dim=dim)


def silent(spec, task):
    return mer_zoo.adapt(Mean(8), spec, task, feature_dim=8)


def wrong(spec, task):
    return Mean(8)
"""
FIT = [
    f"--config={Path(__file__).parents[2] / 'configs' / 'quickstart.yaml'}",
    *("--model.wrappers=[]", "--trainer.max_epochs=1", "--trainer.accelerator=cpu"),
    *("--trainer.enable_progress_bar=false", "--data.batch_size=8", "--data.conditions=default"),
    *("--data.scm.train=16", "--data.scm.valid=8", "--data.scm.test=8"),
]


@pytest.fixture(autouse=True)
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "own_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("own_nets", None)
    yield
    sys.modules.pop("own_nets", None)


def fit(folder: Path, *args: str) -> Path:
    sys.modules.pop("own_nets", None)  # as in a process of its own
    logger = [f"--trainer.logger.save_dir={folder}", "--trainer.logger.name=run", "--trainer.logger.version="]
    main(["fit", *FIT, *logger, *args])
    return folder / "run" / "checkpoints" / "best.ckpt"


def weight(checkpoint: Path) -> torch.Tensor:
    found: torch.Tensor = torch.load(checkpoint, weights_only=True)["state_dict"]["model.module.layer.weight"]
    return found


@pytest.mark.parametrize("words", [["--model.backbone=a.b:c"], ["--model.backbone", "a.b:c"]])
def test_both_ways_to_write_the_option(words: list[str]) -> None:
    made = "mer_zoo.model.factories.made_by"
    wanted = ["fit", f"--model.backbone={made}", "--model.backbone.factory=a.b:c", "--x=a:b"]
    assert spell_factories(["fit", *words, "--x=a:b"]) == wanted
    assert spell_factories(["--model.backbone", "MulT", "a.b:c"]) == ["--model.backbone", "MulT", "a.b:c"]


def test_an_adapted_network_is_trained_tested_and_exported(tmp_path: Path) -> None:
    best = fit(tmp_path, "--model.backbone=own_nets:mean")
    run = best.parents[1]
    assert (
        yaml.safe_load((run / "config.yaml").read_text())["model"]["backbone"]["init_args"]["factory"]
        == "own_nets:mean"
    )
    main(["test", f"--config={run / 'config.yaml'}", f"--ckpt_path={best}"])
    with pytest.raises(SystemExit) as leaving:
        main(["export", str(best), "shared", "--module", "own_nets"])
    assert not leaving.value.code
    trained = weight(best)
    for model in (
        mer_zoo.load_pretrained("shared", modules=("own_nets",)),
        mer_zoo.MERModule.load_from_checkpoint(best, modules="own_nets").model,
    ):
        assert model.name == "Mean"
        assert torch.equal(model.state_dict()["module.layer.weight"], trained)


def test_nothing_in_a_file_makes_a_module_be_imported(tmp_path: Path) -> None:
    best = fit(tmp_path, "--model.backbone=own_nets:mean")
    del sys.modules["own_nets"]
    with pytest.raises(mer_zoo.MERError, match="'own_nets:mean' is no Backbone of mer_zoo; if you trust the module"):
        mer_zoo.MERModule.load_from_checkpoint(best)
    assert "own_nets" not in sys.modules
    content = torch.load(best, weights_only=True)
    for name in ("silent", "plain", "torch"):  # of a module that is trusted only what says that it is a factory
        content["mer_zoo"]["recipe"]["backbone"]["class"] = f"own_nets:{name}"
        torch.save(content, best)
        with pytest.raises(mer_zoo.MERError, match=f"'own_nets:{name}' is no Backbone"):
            mer_zoo.MERModule.load_from_checkpoint(best, modules="own_nets")


def test_the_seed_decides_the_weights_of_a_network_of_the_module(tmp_path: Path) -> None:
    options = ["--model.backbone=own_nets:mean", "--model.optimizer.lr=1e-12"]
    first, again, other = (
        weight(fit(tmp_path / name, *options, f"--seed_everything={seed}"))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize(
    "text",
    [
        "model: {backbone: {class_path: 'own_nets:sized', init_args: {dim: 5}}}",
        "model: {backbone: {class_path: own_nets.sized, init_args: {dim: 5}}}",
    ],
)
def test_a_configuration_names_a_factory_with_options(tmp_path: Path, text: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    assert weight(fit(tmp_path, "--config=own.yaml")).shape == (5, 82)


def test_options_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("model: {backbone: own_nets:sized}")
    assert weight(fit(tmp_path, "--config=own.yaml", "--model.backbone.options.dim=6")).shape == (6, 82)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("own_nets.Mean", ["own_nets.Mean is no Backbone", "mer_zoo.adapt(network, feature_dim=...)"]),
        ("own_nets.silent", ["a factory is named own_nets:silent"]),
        ("torch.nn.Linear", ["torch.nn.Linear is no Backbone", "mer_zoo.adapt"]),
        ("own_nets:plain", ["own_nets:plain is no Backbone", "mer_zoo.adapt"]),
        ("own_nets:wrong", ["own_nets:wrong makes a Mean, which is no Backbone", "mer_zoo.adapt"]),
        ("own_nets:nothing", ["the module own_nets has no nothing"]),
        ("nowhere:net", ["the module nowhere can't be imported", "PYTHONPATH"]),
    ],
)
def test_what_makes_no_backbone_is_told(capsys: pytest.CaptureFixture[str], name: str, words: list[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["fit", *FIT, "--trainer.fast_dev_run=1", f"--model.backbone={name}"])
    assert leaving.value.code == 2
    (told,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mer-zoo: error: ")]
    for word in words:
        assert word in told


def test_a_silent_factory_trains_but_its_export_says_what_is_missing(tmp_path: Path) -> None:
    best = fit(tmp_path, "--model.backbone=own_nets:silent")
    with pytest.raises(mer_zoo.MERError, match=r"own_nets:silent does not say .* write -> mer_zoo.Backbone"):
        mer_zoo.sharing.export.export_checkpoint(best, "shared", modules=["own_nets"])
