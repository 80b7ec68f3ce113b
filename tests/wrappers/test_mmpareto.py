"""MMPareto around small models: what is watched, what is changed, nests and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from toys import TwoStep, step_loss
from typing_extensions import override

from mer_zoo.backbones import EFLSTM, LFLSTM, TFN, MulT
from mer_zoo.batch import Batch, DataSpec, Step
from mer_zoo.errors import MERError
from mer_zoo.functional.gradient_conflict import pareto_gradient, pareto_weights
from mer_zoo.model import Model, Wrapper
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task
from mer_zoo.training.refusals import check_training
from mer_zoo.wrappers import CLUE, JTT, CausalMER, MMPareto, PropensityWeighting

SPEC, THREE = DataSpec(), SentimentClassification(3)
pytestmark = pytest.mark.filterwarnings("ignore:PropensityWeighting", "ignore:MMPareto has little")


def wrap(task: Task = THREE, **options: Any) -> MMPareto:
    torch.manual_seed(0)
    model = MMPareto(LFLSTM(SPEC, task, dim=4, out_dropout=0.0), **options)
    model.prepare([])
    return model


def gradients(model: Model, batch: Batch, losses: bool = True) -> dict[str, Tensor]:
    model.zero_grad()
    for step in model.steps(batch):
        torch.autograd.backward(step_loss(model, step) if losses else step.losses["mmpareto/text"])
    named = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name.removeprefix("backbone."): gradient.clone() for name, gradient in named.items()}


@pytest.mark.parametrize("task", [THREE, SentimentRegression(), EmotionDetection()], ids=lambda task: task.name)
def test_watching_changes_nothing_of_the_network(task: Task) -> None:
    model, batch = wrap(task), Batch.random(SPEC, task, size=6)
    found, plain = gradients(model, batch), gradients(model.backbone, batch)
    for name, gradient in plain.items():
        assert torch.equal(found[name], gradient)
    assert found["heads.text.weight"].any()
    told = model.diagnostics()
    assert {name for name in told if "cosine" in name} == {f"mmpareto/cosine_{m}" for m in SPEC.modalities}
    assert all((told[f"mmpareto/cosine_{m}"] < 0) == told[f"mmpareto/conflict_{m}"] for m in SPEC.modalities)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_training_takes_the_direction_both_agree_on(seed: int) -> None:
    model, batch = wrap(mode="train", unimodal_weight=0.5), Batch.random(SPEC, THREE, size=6, seed=seed)
    joint = gradients(model.backbone, batch)
    model.eval()  # without changes
    alone = gradients(model, batch, losses=False)
    model.train()
    found = gradients(model, batch)
    own = [name for name in joint if ".text." in name]
    weights = pareto_weights(*(torch.cat([each[name].flatten() for name in own]) for each in (joint, alone)))
    for name in own:
        torch.testing.assert_close(found[name], pareto_gradient(joint[name], alone[name], weights, 1.5))
    assert torch.equal(found["linear.weight"], joint["linear.weight"])


class Extra(Wrapper):
    """Adds a loss of its own."""

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        for step in self.backbone.steps(batch):
            yield replace(step, losses={**step.losses, "extra": step.output.features.square().mean()})


def test_losses_of_others_keep_their_gradient() -> None:
    torch.manual_seed(0)
    inner, batch = Extra(LFLSTM(SPEC, THREE, dim=4, out_dropout=0.0)), Batch.random(SPEC, THREE, size=6)
    model = MMPareto(inner, mode="train", gamma=1.0, unimodal_weight=0.0)
    model.prepare([])
    found = {name.removeprefix("backbone."): gradient for name, gradient in gradients(model, batch).items()}
    plain = {name.removeprefix("backbone."): gradient for name, gradient in gradients(inner, batch).items()}
    for name, gradient in plain.items():  # no loss of a modality alone, so that nothing is to be agreed on
        torch.testing.assert_close(found[name], gradient)


def test_what_is_remembered() -> None:
    model, batch = wrap(), Batch.random(SPEC, THREE, size=6)
    gradients(model, batch)
    gradients(model.eval(), batch)
    gradients(model.train(), batch.replace(text=batch.text.replace(x=batch.text.x * torch.nan)))
    other = wrap()
    other.load_state_dict(model.state_dict())
    assert (int(other.count), other.diagnostics()) == (1, model.diagnostics())
    with torch.no_grad():
        list(model.steps(batch))
    assert model.count == 1


def test_hidden_sequences_that_have_seen_others_are_told() -> None:
    torch.manual_seed(0)
    model = MMPareto(MulT(SPEC, THREE, dim=8, heads=2, depth=1))
    model.prepare([])
    told = " ".join(model.notes())
    assert "MMPareto: hidden sequences of text, audio, vision in MulT have seen other modalities" in told
    assert not wrap().notes()


@pytest.mark.parametrize("outer", [CausalMER, CLUE, PropensityWeighting, JTT])
@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("mode", ["watch", "train"])
def test_nests(outer: Any, inside: bool, mode: str) -> None:
    spec = DataSpec(tokens=True, vocab_size=200)
    batch = Batch.random(spec, THREE, size=9).replace(target=torch.arange(9) % 3)
    options = {"epochs": 1} if outer is JTT else {}
    net = LFLSTM(spec, THREE, dim=4)
    watch: dict[str, Any] = {"mode": mode}
    model: Model = outer(MMPareto(net, **watch), **options) if inside else MMPareto(outer(net, **options), **watch)
    model.prepare([batch])
    assert torch.cat([gradient.flatten() for gradient in gradients(model, batch).values()]).isfinite().all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MMPareto(LFLSTM(DataSpec(modalities=["text"]), THREE)), "MMPareto weighs modalities against each"),
        (lambda: MMPareto(TwoStep(LFLSTM(SPEC, THREE))), "MMPareto changes the gradient of one step a batch"),
        (lambda: MMPareto(TFN(SPEC, THREE)), "MMPareto reads hidden sequences of known shape"),
        (lambda: MMPareto(EFLSTM(SPEC, THREE)).prepare([]), "of which EFLSTM has none"),
        (lambda: wrap(mode="listen"), "unknown mode 'listen' of MMPareto"),
        (lambda: MMPareto(LFLSTM(SPEC, THREE), gamma=-1.0), "gamma"),
        (lambda: list(MMPareto(LFLSTM(SPEC, THREE)).steps(Batch.random(SPEC, THREE))), "does not know yet whose"),
    ],
)
def test_refusals(build: Any, message: str) -> None:
    with pytest.raises(MERError, match=message):
        build()


def test_gradients_that_are_scaled_are_refused() -> None:
    trainer = Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)
    trainer.strategy.precision_plugin.precision = "16-mixed"
    with pytest.raises(MERError, match=r"MMPareto\(LFLSTM\) computes with gradients that 16-mixed has not scaled"):
        check_training(trainer, wrap(), None)
