"""GBlend around small models: first trainings, held-out recordings, weights of losses, nests and refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from toys import TwoStep, step_loss

from mer_zoo.backbones import LFLSTM, TFN
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task
from mer_zoo.wrappers import (
    AGM,
    CLUE,
    JTT,
    MACI,
    OGMGE,
    RWG,
    CausalMER,
    GBlend,
    GroupDRO,
    MMPareto,
    PropensityWeighting,
)
from mer_zoo.wrappers.gblend import _held_out, _Part
from mer_zoo.wrappers.hidden_heads import head_losses, pooled_hidden

SPEC, THREE = DataSpec(), SentimentClassification(3)
pytestmark = pytest.mark.filterwarnings("ignore:(OGMGE|MMPareto) has little")


def wrap(task: Task = THREE, **options: Any) -> GBlend:
    torch.manual_seed(0)
    model = GBlend(LFLSTM(SPEC, task, dim=4), **{"epochs": 1, **options})
    model.prepare([Batch.random(SPEC, task, size=20)])
    return model


@pytest.mark.parametrize("task", [THREE, SentimentRegression(), EmotionDetection()], ids=lambda task: task.name)
def test_losses_are_blended(task: Task) -> None:
    state = torch.nn.Module.state_dict(GBlend(LFLSTM(SPEC, task, dim=4)))
    model, batch = wrap(task).eval(), Batch.random(SPEC, task, size=6)
    assert {name for name in state if "backbone" in name} == {n for n in model.state_dict() if "backbone" in n}
    assert model.weights.sum() == pytest.approx(1)
    model.weights.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    (plain,), (step,) = model.backbone.steps(batch), model.steps(batch)
    alone = head_losses(model.heads, task, pooled_hidden(model, plain), plain)
    expected = 0.4 * step_loss(model, plain) + sum(w * alone[m] for m, w in zip(alone, (0.1, 0.2, 0.3), strict=True))
    torch.testing.assert_close(step_loss(model, step), expected)
    assert model.diagnostics()["gblend/weight_all"] == pytest.approx(0.4)
    assert model.notes()[0] == "GBlend: weights of the losses are text 0.10, audio 0.20, vision 0.30, all 0.40"
    model.weights.copy_(torch.tensor([0.0, 0.0, 0.0, 1.0]))  # which is the network's own training
    (step,) = model.steps(batch)
    torch.testing.assert_close(step_loss(model, step), step_loss(model, plain))
    assert torch.equal(model(batch).logits, model.backbone(batch).logits)


def test_the_network_is_not_trained_beforehand_and_a_resumed_run_does_not_repeat() -> None:
    torch.manual_seed(0)
    plain = LFLSTM(SPEC, THREE, dim=4).state_dict()
    model = wrap()
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, plain[name])
    other = GBlend(LFLSTM(SPEC, THREE, dim=4))
    other.load_state_dict(model.state_dict())
    assert not other.needs_preparing
    assert torch.equal(other.weights, model.weights)


def test_whole_recordings_are_held_out_and_others_are_taken_away() -> None:
    batch = Batch.random(SPEC, THREE, size=20)
    batch.ids = [f"film{i // 4}$_${i}" for i in range(20)]
    held = _held_out([batch.take(range(10)), batch.take(range(10, 20))], 0.2)
    assert int(held.sum()) == 4
    assert len({i // 4 for i in held.nonzero().flatten().tolist()}) == 1
    (part,) = _Part([batch], ~held, ("audio",), wrap())
    assert part.index.tolist() == list(range(16))  # a split by itself
    assert part.ids == [name for name, out in zip(batch.ids, held.tolist(), strict=True) if not out]
    assert not part.text.observed.any()
    assert part.audio.observed.any()
    with pytest.raises(MERError, match="GBlend can't hold out 20 % of a training split of 1 samples"):
        _held_out([batch.take([0])], 0.2)


def test_weights_are_of_what_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each first training: its modalities, then training and held-out losses before and after; the second example of
    # the rule by hand for the text, the first for audio, and a rise for vision and for all.
    scripted = {
        ("text",): [0.90, 0.90, 0.75, 0.80],
        ("audio",): [0.60, 0.70, 0.40, 0.60],
        ("vision",): [0.60, 0.70, 0.40, 0.80],
        SPEC.modalities: [0.60, 0.70, 0.30, 0.90],
    }
    left = {there: iter(losses) for there, losses in scripted.items()}
    monkeypatch.setattr("mer_zoo.wrappers.gblend._loss", lambda model, part: torch.tensor(next(left[part.there])))
    torch.testing.assert_close(wrap().weights, torch.tensor([0.6, 0.15, 0.0, 0.25]), atol=1e-5, rtol=1e-5)
    left |= {there: iter(losses) for there, losses in scripted.items()}
    raw = torch.tensor([40.0, 10.0, 0.1 / 0.3**2, 0.2 / 0.5**2])
    torch.testing.assert_close(wrap(rule="printed").weights, raw / raw.sum(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("other", [CausalMER, CLUE, MACI, GroupDRO, RWG, JTT, AGM, OGMGE, MMPareto])
def test_nests(other: Any) -> None:
    spec = DataSpec(tokens=True, vocab_size=200)
    batch = Batch.random(spec, THREE, size=18).replace(target=torch.arange(18) % 3)
    batch = batch.replace(raw_text=[f"well this is {'so' if i % 2 else 'not'} bad" for i in range(18)])
    groups = {"groups": dict.fromkeys(batch.ids, "A"), "min_group": 1, "draw": False}
    options: dict[Any, dict[str, Any]] = {GroupDRO: groups, JTT: {"epochs": 1}, RWG: {"min_group": 1}}
    own = options.get(other, {})
    inside = GBlend(other(LFLSTM(spec, THREE, dim=4), **own), epochs=1)
    nests: list[Model] = [inside, other(GBlend(LFLSTM(spec, THREE, dim=4), epochs=1), **own)]
    for model in nests:
        model.prepare([batch])
        for step in model.steps(batch):
            assert step_loss(model, step).isfinite()
            assert {f"gblend/{name}" for name in spec.modalities} <= set(step.losses)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: GBlend(LFLSTM(DataSpec(modalities=["text"]), THREE)),
            "GBlend blends the losses of several modalities",
        ),
        (lambda: GBlend(TwoStep(LFLSTM(SPEC, THREE))), "takes 2; leave GBlend out"),
        (lambda: GBlend(TFN(SPEC, THREE)), "GBlend reads hidden sequences of known shape"),
        (lambda: GBlend(LFLSTM(SPEC, THREE), epochs=0), "epochs of GBlend is 0"),
        (lambda: GBlend(PropensityWeighting(LFLSTM(SPEC, THREE), mode="product")), "trains other logits than it"),
        (lambda: GBlend(LFLSTM(SPEC, THREE), lr=0.0), "lr of GBlend is 0.0"),
        (lambda: GBlend(LFLSTM(SPEC, THREE), rule="best"), "rule"),  # type: ignore[arg-type]
        (lambda: GBlend(LFLSTM(SPEC, THREE), held_out=0.7), "held_out of GBlend is 0.7"),
    ],
)
def test_refusals(build: Any, message: str) -> None:
    with pytest.raises(MERError, match=message):
        build()
