"""Scores without a Trainer are those of one, and one evaluation serves every choice of a strength."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from mer_zoo.backbones import LFLSTM
from mer_zoo.confounding.strength import Selection, Strength
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.scores import Scores
from mer_zoo.training import score
from mer_zoo.wrappers import CLUE, MACI

QUIET: dict[str, Any] = {
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
}
pytestmark = pytest.mark.filterwarnings("ignore:.*an effective sample size of")


def corpus() -> SyntheticMER:
    scm = SyntheticConfig(train=96, valid=48, test=24)
    return SyntheticMER(scm, batch_size=20, conditions=["default", "robustness:RMFM"])


def trained(data: SyntheticMER, wrap: Any = MACI) -> MERModule:
    torch.manual_seed(0)
    module = MERModule(wrap(LFLSTM(data.spec, data.task, dim=4)), optimizer=lambda p: torch.optim.Adam(p, lr=0.02))
    Trainer(max_epochs=1, num_sanity_val_steps=0, **QUIET).fit(module, datamodule=data)
    return module


def test_scores_are_those_of_a_trainer_with_and_without_modalities_missing() -> None:
    data = corpus()
    module = trained(data)
    Trainer(**QUIET).test(module, datamodule=data, verbose=False)
    assert len(data.conditions) > 3
    for condition in data.conditions:
        found = score(module.model.train(), data.condition_source(condition), calibrating=False)
        expected = module.test_scores[condition.name]
        torch.testing.assert_close(found.logits, expected.logits)
        assert found.effects.keys() == expected.effects.keys()
        assert torch.equal(found.index, expected.index)
        assert module.model.training
    complete, missing = (
        score(module.model, data.condition_source(c)) for c in (data.conditions[0], data.conditions[-1])
    )
    assert not torch.allclose(complete.logits, missing.logits)


@pytest.mark.parametrize("wrap", [MACI, CLUE])
def test_one_evaluation_serves_every_choice(wrap: Any) -> None:
    data = corpus()
    model = trained(data, wrap).model
    strength = next(part for part in model.modules() if isinstance(part, Strength))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    valid, test = (score(model, data.batch_source(split)) for split in ("valid", "test_ood"))
    choices: list[tuple[Selection, float]] = [
        ("deconfounded", 0.0),
        ("validation", 0.0),
        ("fixed", 0.0),
        ("fixed", 1.5),
    ]
    for selection, fixed in choices:
        with strength.selecting(selection, fixed):
            model.calibrate(valid)
            logits = model.rescore(test)
            alone = score(model, data.batch_source("test_ood"), calibrating=False)
        torch.testing.assert_close(logits, alone.logits)
    with strength.selecting("oracle"):
        assert len(model.oracle(test)) >= len(strength.values)
    assert strength.selection == "deconfounded"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_else_is_kept_and_left_out() -> None:
    data = corpus()
    model: Model = trained(data).model
    kept = score(model, data.batch_source("valid"), lambda batch: {"lengths": batch.text.lengths.float()})
    assert len(kept.effects["lengths"]) == len(kept)
    assert "bias" in kept.effects
    assert "bias" not in score(model, data.batch_source("valid"), calibrating=False).effects
    assert isinstance(kept, Scores)
    assert model.calibrating


def test_a_selection_that_there_is_not_is_refused_and_changes_nothing() -> None:
    data = SyntheticMER(SyntheticConfig(train=8, valid=8, test=8))
    strength = CLUE(LFLSTM(data.spec, data.task)).strength
    asked = strength.selecting("validation", 1.0)
    with pytest.raises(MERError, match="alpha is 1.0, but alpha_selection validation does not use it"), asked:
        pass
    assert (strength.selection, strength.fixed) == ("deconfounded", 0.0)
