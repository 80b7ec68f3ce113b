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
