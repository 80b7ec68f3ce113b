"""A trained module in Python, without the command line: what its checkpoint says is all that it takes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from toys import MeanNet

from mer_zoo import CLUE, CUMDF, LFLSTM, MERError, MERModule, SyntheticMER
from mer_zoo.backbones import CUMDFNet
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.model import Model


def corpus() -> SyntheticMER:
    return SyntheticMER(SyntheticConfig(train=16, valid=8, test=8), task="seven", batch_size=8, seed=3)


def quiet(folder: Path) -> Trainer:
    off: dict[str, Any] = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    return Trainer(max_epochs=1, accelerator="cpu", default_root_dir=folder, enable_checkpointing=False, **off)


def trained(folder: Path, build: Any) -> tuple[MERModule, Path]:
    data = corpus()
    torch.manual_seed(1)
    module, trainer = MERModule(build(data.spec, data.task)), quiet(folder)
    trainer.fit(module, data)
    trainer.save_checkpoint(folder / "last.ckpt")
    return module, folder / "last.ckpt"


def nested(spec: Any, task: Any) -> Model:
    return CLUE(LFLSTM(spec, task, dim=4), alpha_selection="fixed", alpha=0.5)


def taught(spec: Any, task: Any) -> Model:
    return CUMDF(CUMDFNet(spec, task, dim=8))


@pytest.mark.parametrize("build", [nested, taught])
def test_the_module_comes_back_and_tests_as_it_did(tmp_path: Path, build: Any) -> None:
    module, path = trained(tmp_path, build)
    draws = torch.get_rng_state()
    again = MERModule.load_from_checkpoint(path, clip_norm=0.5)
    assert torch.equal(torch.get_rng_state(), draws)
    assert again.model.name == module.model.name
    assert again.stepping.clip_norm == 0.5
    for name, value in module.state_dict().items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(again.state_dict()[name], value)
    results = [quiet(tmp_path).test(one, corpus(), verbose=False)[0] for one in (module, again)]
    assert results[0] == results[1]
    quiet(tmp_path).fit(again, corpus())  # and can be trained on


def test_statistics_of_the_data_come_along(tmp_path: Path) -> None:
    module, path = trained(tmp_path, nested)
    scaler = module.trainer.datamodule.scaler_state()  # type: ignore[attr-defined]
    again = MERModule.load_from_checkpoint(path)
    found = again.model.scaler_state
    assert found is not None
    assert torch.equal(found["mean"]["audio"], scaler["mean"]["audio"])


def test_only_modules_that_are_named_are_looked_into(tmp_path: Path) -> None:
    module, path = trained(tmp_path, MeanNet)
    with pytest.raises(MERError, match=r"toys\.MeanNet' is no Backbone of mer_zoo; .* name it in modules"):
        MERModule.load_from_checkpoint(path)
    assert MERModule.load_from_checkpoint(path, modules="toys").model.name == module.model.name


def test_nothing_of_the_file_is_imported_or_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = trained(tmp_path, nested)
    (tmp_path / "planted.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    content = torch.load(path, weights_only=True)
    content["hyper_parameters"] = {"optimizer": "planted.function", "clip_norm": -5, "_instantiator": "planted.make"}
    torch.save(content, path)
    assert MERModule.load_from_checkpoint(path).stepping.clip_norm is None
    content["mer_zoo"]["recipe"]["backbone"]["class"] = "planted.Net"
    torch.save(content, path)
    with pytest.raises(MERError, match="'planted.Net' is no Backbone of mer_zoo"):
        MERModule.load_from_checkpoint(path)
    assert "planted" not in sys.modules


def test_what_can_not_be_is_told(tmp_path: Path) -> None:
    module, path = trained(tmp_path, nested)
    with pytest.raises(MERError, match=r"nowhere.ckpt does not exist; give a .ckpt file"):
        MERModule.load_from_checkpoint(tmp_path / "nowhere.ckpt")
    with pytest.raises(TypeError, match="cannot be called on an instance"):
        module.load_from_checkpoint(path)
    content = torch.load(path, weights_only=True)
    content["mer_zoo"]["recipe"]["backbone"]["arguments"]["dim"] = 50_000
    torch.save(content, path)
    with pytest.raises(MERError, match="shape"):
        MERModule.load_from_checkpoint(path)
