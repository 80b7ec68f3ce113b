"""LifeCheck in a Trainer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import nn

from mer_zoo import LFLSTM, LifeCheck, MERError, MERModule, SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig

QUIET: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
QUIET |= {"enable_model_summary": False, "accelerator": "cpu"}


def data() -> SyntheticMER:
    return SyntheticMER(SyntheticConfig(train=39, valid=4, test=4), batch_size=13)


def trained(*callbacks: Any, rate: float = 1e-3) -> MERModule:
    seed_everything(0, verbose=False)
    source = data()
    module = MERModule(LFLSTM(source.spec, source.task, dim=4), optimizer=lambda p: torch.optim.Adam(p, lr=rate))
    Trainer(max_epochs=1, callbacks=list(callbacks), **QUIET).fit(module, source)
    return module


def test_training_is_the_same_with_it() -> None:
    check = LifeCheck()
    with_it, without = trained(check).state_dict(), trained().state_dict()
    assert all(torch.equal(x, without[name]) for name, x in with_it.items())
    assert check.dead == []


def test_what_has_died_is_told() -> None:
    check = LifeCheck(threshold=0.5)
    with pytest.warns(UserWarning, match=r"parts of LFLSTM that do not act after training: .*linear"):
        trained(check, _ZeroLinear())
    assert check.dead


class _ZeroLinear(LifeCheck):
    """Kills a part before the check that stands in front of it looks again."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, MERModule)
        nn.init.zeros_(pl_module.model.get_parameter("linear.weight"))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pass


@pytest.mark.parametrize(
    ("options", "sentence"), [({"samples": 1}, "give at least 2"), ({"threshold": 1.0}, "a share between 0 and 1")]
)
def test_options_out_of_range(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MERError, match=sentence):
        LifeCheck(**options)


def test_another_module_is_refused() -> None:
    with pytest.raises(MERError, match="which LightningModule is not; leave it out"):
        LifeCheck().on_fit_start(Trainer(**QUIET), LightningModule())
