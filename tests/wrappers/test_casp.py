"""CASP: what it may change and read, what it is told by, and the baseline that matches the LayerNorms' statistics."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from typing_extensions import override
from zoo_cases import TINY

from mer_zoo.backbones import EFLSTM, LFDNN, PMR
from mer_zoo.batch import Batch, DataSpec, Output
from mer_zoo.errors import MERError
from mer_zoo.functional.adaptation import nt_xent
from mer_zoo.model import Wrapper
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task
from mer_zoo.training.modes import evaluating
from mer_zoo.wrappers import CASP, CLUE, DFR, MCIS
from mer_zoo.wrappers.casp.layer_norms import layer_norms, match_statistics

SPEC, SCORE = DataSpec(), SentimentRegression()


def made(task: Task = SCORE, **options: Any) -> CASP:
    torch.manual_seed(0)
    return CASP(EFLSTM(SPEC, task, dim=4), **{"epochs": 2, "every": 1, "label_epochs": 1, "lr": 1e-2, **options})


def batches(task: Task = SCORE) -> list[Batch]:
    whole = Batch.random(SPEC, task, size=12)
    return [whole.take(range(6)), whole.take(range(6, 12))]


class Watching(Wrapper):
    """Notes the labels that it is shown."""

    seen: list[Tensor]

    @override
    def forward(self, batch: Batch) -> Output:
        self.seen.append(batch.target)
        return super().forward(batch)

    @override
    def predict(self, batch: Batch) -> Output:
        self.seen.append(batch.target)
        return super().predict(batch)


@pytest.mark.parametrize("task", [SCORE, SentimentClassification(3), EmotionDetection()])
def test_gain_and_offset_of_the_layer_norms_alone_change(task: Task) -> None:
    model = made(task)
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    model.train().adapt(batches(task))
    assert torch.equal(torch.rand(1), expected)  # the global draws go on as they were
    assert model.training
    allowed = {f"{name}.{kind}" for name in layer_norms(model) for kind in ("weight", "bias")}
    changed = {name for name, value in model.backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert changed <= allowed
    assert len(changed) > len(allowed) / 2
    assert all(parameter.grad is None for parameter in model.parameters())


def test_labels_are_not_read() -> None:
    found = []
    for change in (lambda y: y, lambda y: -7 * y, lambda y: torch.full_like(y, torch.inf)):
        model = made()
        model.adapt([batch.replace(target=change(batch.target)) for batch in batches()])
        found.append(model.state_dict())
    for other in found[1:]:
        assert all(torch.equal(value, found[0][name]) for name, value in other.items())


def test_nobody_is_shown_a_label() -> None:
    torch.manual_seed(0)
    watching = Watching(EFLSTM(SPEC, SCORE, dim=4))
    watching.seen = []
    CASP(watching, epochs=1, every=1, label_epochs=1).adapt(batches())
    assert len(watching.seen) > 8
    assert torch.cat(watching.seen).isnan().all()


def test_views_are_drawn_together() -> None:
    losses = []
    for epochs in (1, 12):
        model = made(epochs=epochs, label_epochs=0)
        model.adapt(batches())
        whole = Batch.joined(batches())
        model.eval()
        with torch.no_grad():
            views = [model(whole), model(whole.replace(audio=whole.audio.replace(x=0 * whole.audio.x)))]
        losses.append(float(nt_xent(*(view.features for view in views))))
    assert losses[1] < losses[0]


def test_pseudo_labels_act_and_are_counted() -> None:
    plain, taught, other = made(label_epochs=0), made(), made(stable="above")
    for model in (plain, taught, other):
        model.adapt(batches())
    assert [model.counts.tolist() for model in (plain, taught)] == [[12, 0], [12, 6]]
    weights = [torch.cat([p.flatten() for p in model.parameters()]) for model in (plain, taught, other)]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


def test_results_are_marked_where_it_was_adapted() -> None:
    model = made()
    assert model.label == "CASP(EFLSTM)"
    assert "CASP changed nothing" in model.notes()[0]
    model.adapt(batches())
    again = made()
    again.load_state_dict(model.state_dict())
    for each in (model, again):
        assert each.label == "CASP[transductive](EFLSTM)"
        assert "12 unlabelled samples of the target, 6 of them with pseudo-labels" in each.notes()[0]


def test_a_nest_is_adapted_whole() -> None:
    torch.manual_seed(0)
    task = SentimentClassification(2)
    model = CASP(CLUE(EFLSTM(SPEC, task, dim=4)), epochs=1, every=1, label_epochs=1)
    branch = model.backbone.get_submodule("text_branch")
    before = {name: value.clone() for name, value in branch.state_dict().items()}
    model.adapt(batches(task))
    assert all(torch.equal(value, before[name]) for name, value in branch.state_dict().items())


def test_what_groups_are_made_of_is_not_asked_of_the_target() -> None:
    torch.manual_seed(0)
    task = SentimentClassification(2)
    source = Batch.random(SPEC, task, size=12)
    source = source.replace(target=torch.arange(12) % 2, raw_text=[f"word{i % 3}" for i in range(12)])
    inner = DFR(EFLSTM(SPEC, task, dim=4), min_group=1)
    inner.prepare([source])
    model = CASP(inner, epochs=1, every=1, label_epochs=1)
    model.adapt([source.replace(raw_text=[])])
    assert int(model.counts[0]) == 12
    assert model.calibrating
    assert inner.calibrating


def test_answers_that_a_model_keeps_are_of_the_weights_at_the_time() -> None:
    torch.manual_seed(0)
    source = batches()
    model = CASP(MCIS(EFLSTM(SPEC, SCORE, dim=4), strengths="fixed", x=1.0), epochs=1, every=1, lr=0.1)
    model.prepare(source)
    parameters = [p for layer in layer_norms(model).values() for p in layer.parameters()]
    with evaluating(model):
        _, kept = model._contrast(source, parameters, torch.Generator().manual_seed(0))
        now = model.eval().predict(Batch.joined(source)).logits
    torch.testing.assert_close(kept[-1], now)
    assert not torch.allclose(kept[0], now)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs of CASP is 0"),
        ({"every": 3}, "every of CASP is 3, and its epochs 2"),
        ({"quantile": 1.0}, "quantile of CASP is 1.0"),
        ({"stable": "around"}, "unknown stable 'around' of CASP; choose from below, above"),
        ({"lr": -1.0}, "lr of CASP is -1.0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MERError, match=message):
        made(**options)


def test_who_has_no_layer_norm_is_refused() -> None:
    with pytest.raises(MERError, match="LFDNN has no LayerNorm"):
        CASP(LFDNN(SPEC, SCORE))
    with pytest.raises(MERError, match="no samples to adapt to"):
        made().adapt([])


def test_statistics_of_other_inputs_are_matched() -> None:
    source = batches()
    target = [batch.replace(audio=batch.audio.replace(x=3 * batch.audio.x + 1)) for batch in source]
    model = CASP(PMR(SPEC, SCORE, **TINY["PMR"]))
    last = list(layer_norms(model).values())[-1]
    outputs: list[Tensor] = []
    last.register_forward_hook(lambda _, __, output: outputs.append(output.detach().flatten(0, -2)))

    def moments(given: list[Batch]) -> Tensor:
        outputs.clear()
        with torch.no_grad():
            for batch in given:
                model.eval().predict(batch)
        rows = torch.cat(outputs)
        return torch.stack([rows.mean(0), rows.std(0, correction=0)])

    wanted, before = moments(source), moments(target)
    match_statistics(model, source, target)
    error = (moments(target) - wanted).abs().max()
    assert error < 1e-4
    assert (before - wanted).abs().max() > 10 * error
