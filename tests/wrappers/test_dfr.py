"""DFR: the layer that is fitted, what its validation metrics rest on, what is saved, nests and refusals."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor
from toys import MeanNet

from mer_zoo.backbones import LFLSTM
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.scores import Scores
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task
from mer_zoo.wrappers import (
    AGM,
    CLUE,
    CUMDF,
    DFR,
    GEAR,
    JTT,
    MACI,
    MCIS,
    MSSD,
    OGMGE,
    RWG,
    CausalMER,
    GroupDRO,
    MMPareto,
    MulDeF,
    PropensityWeighting,
)

SPEC, TWO, THREE = DataSpec(), SentimentClassification(2), SentimentClassification(3)
pytestmark = pytest.mark.filterwarnings("ignore:(PropensityWeighting|deconfounded metrics|the worst group)")
PAIRS = {f"random$_${i}": "ab"[i % 2] for i in range(64)}


def made(task: Task = TWO, width: int = 2, **options: Any) -> DFR:
    torch.manual_seed(0)
    return DFR(MeanNet(SPEC, task, width), **{"groups": PAIRS, "retrains": 3, "min_group": 1, **options})


def biased(size: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Features whose first says the label with noise, and whose second says it clearly in four of five samples."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (size,), generator=generator)
    aligned = torch.rand(size, generator=generator) < 0.8
    easy = torch.where(aligned, y, 1 - y)
    noise = torch.randn(size, 2, generator=generator) * torch.tensor([0.8, 0.2])
    return torch.stack([y, easy], 1) * 2.0 - 1 + noise, y, 2 * y + easy


def scores_of(model: DFR, x: Tensor, y: Tensor, group: Tensor, ids: list[str] | None = None) -> Scores:
    logits = torch.zeros(len(x), *model.task.shape)
    effects = {"base": logits, "factual": logits, "dfr/features": x, "dfr/group": group.view(len(x), -1).float()}
    return Scores(logits, effects, y, torch.arange(len(x)), ids=ids)


def test_a_layer_of_equal_groups_goes_by_what_matters() -> None:
    model = made()
    model.calibrate(scores_of(model, *biased(400, 0)))
    x, y, group = biased(2000, 1)
    right = (model._score(x, torch.zeros(2000, 2)).argmax(1) == y).float()
    by_group = [float(right[group == g].mean()) for g in range(4)]
    assert min(by_group) > 0.8
    assert float(right[(x[:, 1] > 0) != y.bool()].mean()) > 0.8  # where the easy feature misleads


def test_validation_is_scored_by_layers_of_the_other_half() -> None:
    x, y, group = biased(100, 0)
    model = made(strengths=[0.3])
    valid = scores_of(model, x, y, group)
    model.calibrate(valid)
    held_out, second = model.rescore(valid), model._halves(valid)
    assert 40 <= int(second.sum()) <= 60
    turned = torch.where(second, 1 - y, y)
    other = scores_of(model, x, turned, torch.where(second, 3 - group, group))
    model.calibrate(other)
    torch.testing.assert_close(model.rescore(other)[second], held_out[second])
    assert (model.rescore(other)[~second] - held_out[~second]).abs().max() > 0.5
    # and what is not this split's is not taken from it, though it be as long
    for size in (50, 100):
        fresh = scores_of(model, *biased(size, 2))
        fresh.logits = model._score(fresh.effects["dfr/features"], fresh.logits)
        assert torch.equal(model.rescore(fresh), fresh.logits)


def test_a_recording_is_in_one_half() -> None:
    x, y, group = biased(60, 0)
    model = made()
    ids = [f"video{i // 6}$_${i}" for i in range(60)]
    second = model._halves(scores_of(model, x, y, group, ids)).view(10, 6)
    assert torch.equal(second.all(1), second.any(1))
    assert int(second.sum()) == 30
    alone = model._halves(scores_of(model, x, y, group, ["video$_$1"] * 60))
    assert int(alone.sum()) == 30


def test_what_is_said_where_groups_are_small_or_lacking() -> None:
    model = made(strengths=[1.0])
    assert "was not fitted on a validation split" in model.notes()[0]
    x, y, group = biased(60, 0)
    model.calibrate(scores_of(model, x, y, group))
    least = int(torch.bincount(group).min())
    assert f"has {least} samples, so that the last layer was fitted to {4 * least} at a time" in model.notes()[0]
    assert set(model.diagnostics()) == {"dfr/strength", "dfr/worst"}
    model.calibrate(scores_of(model, x, y, torch.zeros_like(y)))
    assert "half of the validation split lacks two groups" in model.notes()[0]
    assert not model.diagnostics()
    base = torch.randn(60, 2)
    assert torch.equal(model._score(x, base), base)


@pytest.mark.parametrize("task", [THREE, SentimentRegression(), EmotionDetection()])
@pytest.mark.parametrize("penalty", [None, "l2"])
def test_every_task(task: Task, penalty: Any) -> None:
    batch = Batch.random(SPEC, task, size=64)
    shapes = {name: value.shape for name, value in made(task, penalty=penalty).state_dict().items()}
    model = made(task, penalty=penalty, strengths=[0.3, 0.1]).eval()
    model.prepare([batch])
    with torch.no_grad():
        output = model.predict(batch)
        model.calibrate(valid := Scores(output.logits, output.effects, batch.target, batch.index))
        assert model.fitted.all()
        assert model.rescore(valid).shape == output.logits.shape
        again = made(task, penalty=penalty)
        again.load_state_dict(model.state_dict())
        assert {name: value.shape for name, value in again.state_dict().items()} == shapes
        model.calibrating = again.eval().calibrating = False
        tested = model.predict(batch)
        assert torch.equal(tested.logits, again.predict(batch).logits)
    assert not torch.equal(tested.logits, output.logits)
    assert set(tested.effects) == {"factual", "base"}
    assert torch.equal(tested.effects["base"], output.logits)


@pytest.mark.parametrize("other", [CLUE, CausalMER, MACI, MulDeF, MCIS, GEAR, CUMDF])
def test_who_computes_with_the_scores_is_refused(other: Any) -> None:
    spec = DataSpec(tokens=True, vocab_size=200)
    options = {"teacher": None} if other is CUMDF else {}
    with pytest.raises(MERError, match=r"DFR computes its scores from the features, so those of \w+\(LFLSTM\)"):
        DFR(other(LFLSTM(spec, TWO, dim=4), **options), groups=PAIRS)
    with pytest.raises(MERError, match="DFR"):
        other(DFR(LFLSTM(spec, TWO, dim=4), groups=PAIRS), **options)


@pytest.mark.parametrize("outer", [AGM, MCIS, lambda net: MCIS(MSSD(net))])
def test_who_asks_the_network_again_stands_inside_or_not_at_all(outer: Any) -> None:
    """Its answers would be of another layer than the scores."""
    with pytest.raises(MERError, match=r"^(AGM|MCIS) .* DFR .*; leave one of them out$"):
        outer(DFR(LFLSTM(SPEC, TWO, dim=4), groups=PAIRS))


@pytest.mark.parametrize("other", [RWG, GroupDRO, JTT, PropensityWeighting, MSSD, OGMGE, MMPareto])
def test_who_trains_otherwise_stands_inside_or_outside(other: Any) -> None:
    batch = Batch.random(SPEC, TWO, size=64)
    own: dict[Any, dict[str, Any]] = {JTT: {"epochs": 1}, PropensityWeighting: {"source": "recording"}}
    own |= {kind: {} for kind in (MSSD, OGMGE, MMPareto)}
    options = own.get(other, {"groups": PAIRS, "min_group": 1, "draw": False})
    mine, theirs = partial(DFR, groups=PAIRS, retrains=1, strengths=[0.3], min_group=1), partial(other, **options)
    for outer, inner in ((mine, theirs), (theirs, mine)):
        torch.manual_seed(0)
        model: Model = outer(inner(LFLSTM(SPEC, TWO, dim=4)))
        model.prepare([batch])
        with torch.no_grad():
            output = model.eval().predict(batch)
            model.calibrate(Scores(output.logits, output.effects, batch.target, batch.index))
        assert next(part for part in model.nest if isinstance(part, DFR)).fitted.all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retrains": 0}, "retrains of DFR is 0"),
        ({"strengths": []}, r"strengths of DFR are \[\]"),
        ({"strengths": [0.0]}, r"strengths of DFR are \[0.0\]"),
        ({"penalty": "l3"}, "unknown penalty 'l3' of DFR"),
        ({"groups": None}, "groups is not given"),
        ({"task": SentimentRegression(), "penalty": "l1"}, "penalty of DFR is l1, but SentimentRegression has"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MERError, match=message):
        made(**options)


def test_training_by_the_trainer() -> None:
    seed_everything(0, verbose=False)
    data = SyntheticMER(SyntheticConfig(train=64, valid=64, test=16), batch_size=32)
    model = DFR(LFLSTM(data.spec, data.task, dim=4), retrains=1, strengths=[0.3])
    trainer = Trainer(max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.fit(module := MERModule(model), datamodule=data)
    assert {"val/dfr/strength", "val/dfr/worst", "val/accuracy_worst"} <= set(trainer.callback_metrics)
    trainer.test(module, datamodule=data, verbose=False)
    tested = module.test_scores["iid"]
    assert "dfr/features" not in tested.effects
    assert not torch.equal(tested.logits, tested.effects["base"])
