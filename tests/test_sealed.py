"""Nothing that is fitted, prepared, calibrated or selected reads the test splits."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from toys import MeanNet, Shifting

from mer_zoo.backbones import CUMDFNet, MulT
from mer_zoo.data.corpus.corpus import Corpus, SplitData
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.module import MERModule
from mer_zoo.wrappers import CLUE, CUMDF, DFR, GEAR, MACI, CausalMER, PropensityWeighting


class Poisoned:
    """A test split that raises as soon as anything of it is read."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the test split was read: {name}")

    def __len__(self) -> int:
        raise AssertionError("the test split was read: its length")


class PoisonedMER(SyntheticMER):
    def read(self) -> Corpus:
        corpus = super().read()
        poisoned: dict[str, Any] = {name: Poisoned() for name in corpus.splits if name.startswith("test")}
        splits: dict[str, SplitData] = {**corpus.splits, **poisoned}
        assert poisoned
        return replace(corpus, splits=splits)


def run(tmp_path: Path, task: str, wrappers: list[Any], net: Any, *stages: str) -> None:
    data = PoisonedMER(SyntheticConfig(train=24, valid=12, test=12), task=task, batch_size=8)
    module = MERModule(net(data.spec, data.task), wrappers=wrappers)
    callbacks = [EarlyStopping("val/loss"), ModelCheckpoint(tmp_path, monitor="val/loss")]
    trainer = Trainer(
        default_root_dir=tmp_path,
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    for stage in stages:
        getattr(trainer, stage)(module, datamodule=data)


@pytest.mark.parametrize(
    ("task", "wrappers", "net"),
    [
        ("regression", [Shifting], MeanNet),
        ("binary", [CausalMER], MulT),
        ("seven", [], MulT),
        ("binary", [MACI, CausalMER], MeanNet),
        ("emotions", [MACI], MeanNet),
        ("seven", [partial(MACI, tau_selection="validation")], MeanNet),
        ("binary", [partial(MACI, tau_selection="oracle")], MeanNet),  # not even this one, before it is tested
        ("seven", [CUMDF, CausalMER], CUMDFNet),
        ("regression", [CUMDF], MulT),
        ("seven", [CLUE], MeanNet),
        ("binary", [partial(CLUE, alpha_selection="oracle")], MeanNet),
        ("regression", [GEAR], MeanNet),
        ("binary", [GEAR, CLUE], MeanNet),
        ("emotions", [PropensityWeighting], MeanNet),
        ("binary", [partial(DFR, retrains=1, min_group=1)], MeanNet),
        ("binary", [partial(MACI, tau_selection="propensity"), partial(PropensityWeighting, mode="product")], MeanNet),
    ],
)
@pytest.mark.filterwarnings("ignore:(MACI|CLUE) chose .* by an effective sample size")
@pytest.mark.filterwarnings("ignore:(PropensityWeighting|deconfounded metrics|the worst group)")
def test_fit_never_reads_the_test_split(tmp_path: Path, task: str, wrappers: list[Any], net: Any) -> None:
    run(tmp_path, task, wrappers, net, "fit", "validate")


def test_the_poison_works(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="the test split was read"):
        run(tmp_path, "binary", [], MeanNet, "test")
