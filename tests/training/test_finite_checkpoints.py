"""Weights that are not finite are never kept, and never taken for trained ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from toys import MeanNet, TwoStep
from typing_extensions import override

from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError, TrainingError
from mer_zoo.module import MERModule
from mer_zoo.training.resume import LastCheckpoint


class Explode(Callback):
    """Spoils one entry of the state behind the last loss of an epoch."""

    def __init__(self, epoch: int, name: str, value: float) -> None:
        self.epoch, self.name, self.value = epoch, name, value

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.current_epoch == self.epoch and trainer.is_last_batch:
            pl_module.state_dict()[self.name].view(-1)[-1] = self.value


class ExplodeMoments(Callback):
    """Spoils what the optimizer keeps of a parameter, behind the last step of an epoch; the weights stay."""

    def __init__(self, epoch: int, name: str, value: float) -> None:
        self.epoch, self.name, self.value = epoch, name, value

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.current_epoch == self.epoch and trainer.is_last_batch:
            states = trainer.optimizers[0].state
            states[pl_module.get_parameter("model.head.weight")][self.name].view(-1)[0] = self.value


def data() -> SyntheticMER:
    return SyntheticMER(SyntheticConfig(train=16, valid=8, test=8), task="binary", batch_size=8, standardize=False)


class Counting(MeanNet):
    """Has a buffer that is open, infinite or not a number until it is fitted, and one that is not."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.register_buffer("lowest", torch.tensor([torch.inf, 1.0]))
        self.register_buffer("unknown", torch.full((2,), torch.nan))
        self.register_buffer("count", torch.zeros(2))


def fit(folder: Path, *callbacks: Callback, wrappers: Any = None, **options: Any) -> MERModule:
    """Two epochs, without validation unless asked for."""
    source = data()
    module = MERModule(Counting(source.spec, source.task), wrappers=wrappers, **options)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        limit_val_batches=0,
        default_root_dir=folder,
        callbacks=[LastCheckpoint(folder, filename="last", enable_version_counter=False), *callbacks],
        **quiet,
    )
    trainer.fit(module, datamodule=source)
    return module


def finite(path: Path, name: str) -> bool:
    return bool(torch.load(path, weights_only=True)["state_dict"][name].isfinite().all())


@pytest.mark.parametrize("wrappers", [None, [TwoStep]])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("stop_at_nan", [True, False])
def test_a_checkpoint_of_exploded_weights_leaves_the_one_before(
    tmp_path: Path, wrappers: Any, value: float, stop_at_nan: bool
) -> None:
    name = "model.backbone.head.weight" if wrappers else "model.head.weight"
    last = tmp_path / "last.ckpt"
    with pytest.raises(TrainingError, match=rf"{name} holds numbers that are not finite in epoch 1.*{last}"):
        fit(tmp_path, Explode(1, name, value), wrappers=wrappers, stop_at_nan=stop_at_nan)
    assert finite(last, name)
    assert torch.load(last, weights_only=True)["epoch"] == 0


def test_without_an_earlier_checkpoint_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no checkpoint has been kept"):
        fit(tmp_path, Explode(0, "model.head.bias", torch.nan))
    assert not list(tmp_path.rglob("*.ckpt"))


def test_buffers_that_have_been_fitted_stay_finite(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="model.count holds numbers that are not finite"):
        fit(tmp_path, Explode(1, "model.count", torch.nan))


def test_what_is_open_from_the_start_may_stay_so(tmp_path: Path) -> None:
    fit(tmp_path)
    source = data()
    module = MERModule(Counting(source.spec, source.task))
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", default_root_dir=tmp_path, **quiet)
    trainer.test(module, datamodule=source, ckpt_path=tmp_path / "last.ckpt", verbose=False)
    assert module.results


def test_a_file_with_such_weights_is_refused_when_it_is_read(tmp_path: Path) -> None:
    fit(tmp_path, ModelCheckpoint(tmp_path, filename="kept"))
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    content["state_dict"]["model.head.weight"][0, 0] = torch.nan
    torch.save(content, tmp_path / "bad.ckpt")
    source = data()
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", default_root_dir=tmp_path, **quiet)
    with pytest.raises(MERError, match="model.head.weight holds numbers that are not finite"):
        trainer.test(MERModule(Counting(source.spec, source.task)), source, ckpt_path=tmp_path / "bad.ckpt")


@pytest.mark.parametrize("name", ["exp_avg", "exp_avg_sq"])
@pytest.mark.parametrize("stop_at_nan", [True, False])
def test_a_checkpoint_of_an_exploded_optimizer_leaves_the_one_before(
    tmp_path: Path, name: str, stop_at_nan: bool
) -> None:
    told = rf"{name} of model.head.weight in the state of the optimizer holds numbers that are not finite in epoch 1"
    with pytest.raises(TrainingError, match=rf"{told}.*{tmp_path / 'last.ckpt'}"):
        fit(tmp_path, ExplodeMoments(1, name, torch.inf), stop_at_nan=stop_at_nan)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 0


def test_weights_alone_are_kept_whatever_the_optimizer_holds(tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path, filename="kept", save_weights_only=True)
    with pytest.raises(TrainingError, match="in the state of the optimizer"):
        fit(tmp_path, ExplodeMoments(0, "exp_avg", torch.nan), keep)
    assert [path.name for path in tmp_path.glob("*.ckpt")] in ([], ["kept.ckpt"])


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda state: state["state"][1]["exp_avg"].view(-1)[0].fill_(torch.nan), "exp_avg of a parameter holds"),
        (lambda state: state["state"][0]["step"].fill_(torch.inf), "step of a parameter holds"),
        (lambda state: state["param_groups"][0].update(lr=float("nan")), "param_groups: lr is"),
        (lambda state: state["param_groups"][0].update(eps=torch.tensor(torch.inf)), "param_groups: eps is"),
        (lambda state: state["param_groups"][0].update(betas=(0.9, float("inf"))), "param_groups: betas is"),
    ],
)
def test_an_optimizer_that_is_not_finite_is_refused_when_it_is_read(tmp_path: Path, spoil: Any, told: str) -> None:
    fit(tmp_path)
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    spoil(content["optimizer_states"][0])
    torch.save(content, tmp_path / "bad.ckpt")
    source = data()
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", default_root_dir=tmp_path, max_epochs=3, limit_val_batches=0, **quiet)
    with pytest.raises(MERError, match=f"optimizer_states: {told}"):
        trainer.fit(MERModule(Counting(source.spec, source.task)), source, ckpt_path=tmp_path / "bad.ckpt")
