"""Every wrapper around a network for one of several classes without an order, whose numbers mean nothing."""

from __future__ import annotations

import warnings

import pytest
import torch

import mer_zoo.wrappers
from mer_zoo import Batch, DataSpec, NominalClassification, Scores, Task
from mer_zoo.backbones import LFLSTM, MISA, TFN, SelfMM
from mer_zoo.task import build_task

CLASSES = NominalClassification(["anger", "joy", "neutral", "fear"], class_weights=[2.0, 1.0, 0.5, 3.0])
SPEC = DataSpec(tokens=True, vocab_size=200)


def labelled(size: int = 20) -> Batch:
    batch = Batch.random(SPEC, CLASSES, size=size)
    words = [f"well this is {'so' if place % 2 else 'not'} bad" for place in range(size)]
    return batch.replace(raw_text=words, target=torch.arange(size) % 4)


@pytest.mark.parametrize("wrapper", mer_zoo.wrappers.__all__)
def test_a_wrapper_works_for_classes_without_an_order(wrapper: str) -> None:
    torch.manual_seed(0)
    net = MISA(SPEC, CLASSES, dim=8) if wrapper == "CASP" else LFLSTM(SPEC, CLASSES, dim=8)  # that has a LayerNorm
    model = getattr(mer_zoo.wrappers, wrapper)(net)
    batch = labelled()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PropensityWeighting")  # that so few samples tell nothing
        model.prepare([batch])
    with torch.no_grad():
        output = model.eval().predict(batch)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*effective sample size")
        model.calibrate(Scores(output.logits, output.effects, batch.target, batch.index))
    model.train()
    for step in model.steps(batch):
        assert torch.isfinite(step.output.logits).all()
        assert all(torch.isfinite(loss).all() for loss in step.losses.values())
    model.eval()
    assert model.predict(batch).logits.shape == (20, 4)
    assert all(name.isprintable() for name in model.diagnostics())


@pytest.mark.parametrize("task", [build_task("regression", "sims"), build_task("regression", limits=(-5.0, 5.0))])
def test_networks_know_the_range_of_labels(task: Task) -> None:
    limit = task.given["limits"][1] if task.given["limits"] else 1.0
    batch = Batch.random(DataSpec(), task, size=6)
    assert batch.target.abs().max() <= limit
    tfn = TFN(DataSpec(), task, hidden_dims=(4, 4, 4), text_out=4, fusion_dim=4)
    assert tfn.limits == (-limit, limit)
    assert tfn(batch).logits.abs().max() <= limit
    model = SelfMM(DataSpec(), task, lstm_dims=(4, 4), out_dims=(4, 4), fusion_dim=4, post_dims=(4, 4, 4))
    for _ in range(4):
        list(model.steps(batch))
    assert model.bank is not None
    assert all(label.abs().max() <= limit for label in model.bank.labels(batch.index, batch.target).values())
