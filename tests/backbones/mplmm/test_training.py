"""The two stages of MPLMM under a Trainer: what is copied, frozen, saved, and refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from mer_zoo.backbones import MulT
from mer_zoo.backbones.mplmm.network import MPLMM, SHARED
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.wrappers import CausalMER

SIZES: dict[str, Any] = {"dim": 4, "heads": 2, "depth": 1}


def data(task: str = "binary") -> SyntheticMER:
    return SyntheticMER(SyntheticConfig(train=16, valid=8, test=8), task=task, batch_size=8)


def fit(
    folder: Path, model: Model, source: SyntheticMER, name: str, start: Path | None = None
) -> tuple[MERModule, Path]:
    """Train for one epoch, or go on for another; the checkpoint is of its end."""
    module = MERModule(model, optimizer=lambda p: torch.optim.Adam(p, lr=0.01))
    saving = ModelCheckpoint(folder, filename=name, enable_version_counter=False)
    quiet: dict[str, Any] = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    epochs = 1 if start is None else 2
    running = Trainer(accelerator="cpu", max_epochs=epochs, num_sanity_val_steps=0, callbacks=[saving], **quiet)
    running.fit(module, datamodule=source, ckpt_path=start)
    return module, folder / f"{name}.ckpt"


def mult(source: SyntheticMER, **options: Any) -> MulT:
    torch.manual_seed(0)
    return MulT(source.spec, source.task, **{**SIZES, **options}, variant="released")


def mplmm(source: SyntheticMER, path: Path | str | None, **options: Any) -> MPLMM:
    torch.manual_seed(1)
    pretrained = None if path is None else str(path)
    return MPLMM(source.spec, source.task, pretrained=pretrained, prompt_length=2, seed=0, **{**SIZES, **options})


def state(path: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return {name.removeprefix("model."): value for name, value in found.items()}


@pytest.fixture(scope="module")
def stage_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = data("regression")  # another task than that of stage 2
    return fit(tmp_path_factory.mktemp("one"), mult(source), source, "mult")[1]


def test_stage_two_copies_and_freezes_all_but_convolutions_and_classifier(stage_one: Path, tmp_path: Path) -> None:
    source = data()
    module, path = fit(tmp_path, mplmm(source, stage_one), source, "mplmm")
    before, after, start = state(stage_one), state(path), mplmm(source, None).state_dict()
    shared = {name for name in after if name.startswith(SHARED)}
    assert shared == {name for name in before if name.startswith(SHARED)}
    assert all(torch.equal(after[name], before[name]) for name in shared)
    frozen = {name for name, p in module.model.named_parameters() if not p.requires_grad}
    assert frozen == shared
    for name in set(after) - shared - {"views._extra_state"}:
        assert not torch.equal(after[name], start[name]), name


def test_a_trained_model_predicts_without_the_file_of_stage_one(stage_one: Path, tmp_path: Path) -> None:
    source = data()
    module, path = fit(tmp_path, mplmm(source, stage_one), source, "mplmm")
    alone = MERModule(mplmm(source, tmp_path / "gone.ckpt"))
    alone.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    batch = next(iter(source.batch_source("valid")))
    assert torch.equal(alone.eval().model.predict(batch).logits, module.eval().model.predict(batch).logits)


def test_a_run_goes_on_without_the_file_of_stage_one(stage_one: Path, tmp_path: Path) -> None:
    source = data()
    _, path = fit(tmp_path, mplmm(source, stage_one), source, "mplmm")
    _, later = fit(tmp_path, mplmm(source, tmp_path / "gone.ckpt"), source, "later", path)
    shared = {name: value for name, value in state(later).items() if name.startswith(SHARED)}
    assert all(torch.equal(value, state(path)[name]) for name, value in shared.items())


def test_without_a_checkpoint_everything_trains() -> None:
    assert all(p.requires_grad for p in mplmm(data(), None).parameters())


def test_files_that_are_no_stage_one(stage_one: Path, tmp_path: Path) -> None:
    source = data()

    def refused(path: Path | str, match: str, **options: Any) -> None:
        model = mplmm(source, path, **options)
        before = {name: value.clone() for name, value in model.named_parameters()}
        with pytest.raises(MERError, match=match):
            model.prepare([])
        assert all(torch.equal(before[name], value) for name, value in model.named_parameters())

    refused(tmp_path / "nowhere.ckpt", r"pretrained .*nowhere\.ckpt does not exist; train MulT first")
    (tmp_path / "rubbish.ckpt").write_bytes(b"rubbish")
    refused(tmp_path / "rubbish.ckpt", "rubbish.ckpt is damaged or not a checkpoint")
    content = torch.load(stage_one, weights_only=True)
    record = content.pop("mer_zoo")
    torch.save(content, tmp_path / "foreign.ckpt")
    refused(tmp_path / "foreign.ckpt", "was not written by mer_zoo; train MulT first")
    wrapped = CausalMER(mult(source), branches="light").name
    torch.save({**content, "mer_zoo": {**record, "model": wrapped}}, tmp_path / "wrapped.ckpt")
    refused(tmp_path / "wrapped.ckpt", r"wrapped\.ckpt holds CausalMER\(MulT\); give the checkpoint of a run of MulT")
    refused(stage_one, r"does not fit this MPLMM as its pretrained .*has shape \(12,\) there and \(24,\)", dim=8)
    refused(stage_one, "layers.1.* is only in the model", depth=2)
