"""Every backbone with every wrapper for every kind of task keeps the contract, or is refused with the reason."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from toys import step_loss
from zoo_cases import (
    BACKBONES,
    MAKES_VIEWS,
    NO_HIDDEN_SEQUENCES,
    READS_PADDING,
    SPECS,
    TASKS,
    TINY,
    build,
    combinations,
    nest,
    pairs,
    refusal,
    shared,
)

import mer_zoo.backbones
import mer_zoo.wrappers
from mer_zoo.batch import Batch
from mer_zoo.errors import MERError
from mer_zoo.model import Model, Wrapper
from mer_zoo.training.param_groups import group_parameters

ALL_TASKS, ALL_SPECS = list(TASKS), list(SPECS)
WORKS = [(b, w) for b, w in pairs() if refusal(b, w) is None]


def test_every_backbone_has_a_tiny_size() -> None:
    assert set(TINY) == set(BACKBONES)


@pytest.mark.parametrize(("backbone", "wrapper", "task", "spec"), combinations(ALL_TASKS, ALL_SPECS))
def test_contract(backbone: str, wrapper: str | None, task: str, spec: str) -> None:
    model = build(backbone, wrapper, task, spec)
    batch = Batch.random(SPECS[spec], TASKS[task], size=15)
    for output in (model(batch), model.predict(batch)):
        assert output.logits.shape == (15, *TASKS[task].shape)
        assert output.features.shape == (15, model.feature_dim)
        assert output.inputs.keys() == set(SPECS[spec].modalities)
        assert {name: x.shape[-1] for name, x in output.inputs.items()} == model.input_dims
        assert all(len(value) == 15 for value in output.effects.values())
    if model.hidden_shape is not None:
        assert output.hidden is not None
        assert {name: tuple(h.shape[1:]) for name, h in output.hidden.items()} == model.hidden_shape
    if backbone == "SelfMM":  # its unimodal labels are the given ones, at no loss, until a sample has been seen twice
        for _ in range(2):
            list(model.steps(batch))
    alive: set[str] = set()
    # One by one: the signs that an absolute error has for gradients may cancel over two steps.
    for step in model.steps(batch):
        loss = step_loss(model, step)
        assert torch.isfinite(loss)
        torch.autograd.backward(loss)
        alive |= {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    dead = [name for name, p in model.named_parameters() if p.grad is not None and name not in alive]
    # A bias that a softmax over time does not see gets rounding errors for a gradient, or nothing; the ones that LNLN's
    # hyper tokens start with are zeros once normalised, so that the gain behind gets its first gradient a step later.
    # DiCMoR's flows end in maps that start at zero, so do its class distributions, not all of which the batch has.
    # GCNet reads samples of which nothing tells the dialogue one by one: no state comes back into its recurrences.
    late = ("score.bias", "hyper.0.norms.hyper.weight")
    dead = [name for name in dead if not re.search(r"recovery\.(flows\..*net|priors)\.", name)]
    if backbone == "GCNet":
        dead = [name for name in dead if "rnn.weight_hh" not in name]
    assert [name for name in dead if "embedding" not in name and not name.endswith(late)] == []


@pytest.mark.parametrize(("backbone", "wrapper", "task", "spec"), combinations(ALL_TASKS, ALL_SPECS, works=False))
def test_refused_with_the_reason(backbone: str, wrapper: str | None, task: str, spec: str) -> None:
    with pytest.raises(MERError, match=refusal(backbone, wrapper, task, spec)):
        build(backbone, wrapper, task, spec)


@pytest.mark.parametrize("backbone", sorted(NO_HIDDEN_SEQUENCES - MAKES_VIEWS))
def test_self_distillation_without_hidden_sequences(backbone: str) -> None:
    model = nest(backbone, "MSSD", alpha=0.0)
    batch = Batch.random(SPECS["features"], TASKS["three"], size=6)
    losses = [step_loss(model, step) for step in model.steps(batch)]
    assert len(losses) == 2
    assert torch.isfinite(torch.stack(losses)).all()


@pytest.mark.parametrize(("backbone", "wrapper"), WORKS)
def test_every_parameter_in_one_group(backbone: str, wrapper: str | None) -> None:
    model = shared(backbone, wrapper)
    groups = group_parameters(model.named_parameters(), {"*.bias": {"weight_decay": 0.0}})
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


@pytest.mark.parametrize(("backbone", "wrapper"), [(b, w) for b, w in WORKS if w])
def test_a_wrapper_twice_is_refused(backbone: str, wrapper: str) -> None:
    factory: type[Wrapper] = getattr(mer_zoo.wrappers, wrapper)
    with pytest.raises(ValueError, match=f"{wrapper} stands twice"):
        factory(shared(backbone, wrapper))


# Options whose scores depend on padding, as the released codes' do; everything else is tested to depend on the sample
# alone.
EXEMPT: dict[str, Any] = {
    "MulT variant=released": lambda spec, task: mer_zoo.backbones.MulT(spec, task, variant="released"),
    "MulT pool=last_position": lambda spec, task: mer_zoo.backbones.MulT(spec, task, pool="last_position"),
    "MulT positions=released": lambda spec, task: mer_zoo.backbones.MulT(spec, task, positions="released"),
    "MulT mask_padding=False": lambda spec, task: mer_zoo.backbones.MulT(spec, task, mask_padding=False),
    "CIDerNet mask_padding=False": lambda spec, task: mer_zoo.backbones.CIDerNet(spec, task, mask_padding=False),
    "CausalMER branches=paper": lambda spec, task: mer_zoo.wrappers.CausalMER(
        mer_zoo.backbones.LFLSTM(spec, task), branches={"audio": "paper"}
    ),
}


@pytest.mark.parametrize("name", EXEMPT)
def test_options_that_read_padding_keep_the_full_length(name: str) -> None:
    model: Model = EXEMPT[name](SPECS["features"], TASKS["three"])
    assert model.fixed_length


@pytest.mark.parametrize(("backbone", "wrapper"), WORKS)
def test_only_named_defaults_read_padding(backbone: str, wrapper: str | None) -> None:
    assert shared(backbone, wrapper).fixed_length == bool(READS_PADDING & {backbone, wrapper})
