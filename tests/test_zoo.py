"""Every backbone with every wrapper for every kind of task keeps the contract."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from toys import loss_of, step_loss

import mer_zoo.backbones
import mer_zoo.wrappers
from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.model import Model, Wrapper
from mer_zoo.optim import group_parameters
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task

BACKBONES = mer_zoo.backbones.__all__
WRAPPERS = [None, *mer_zoo.wrappers.__all__]
TASKS: dict[str, Task] = {
    "regression": SentimentRegression(),
    "three": SentimentClassification(3),
    "seven": SentimentClassification(7),
    "emotions": EmotionDetection(),
}
SPECS = {
    "features": DataSpec(),
    "tokens": DataSpec(tokens=True, vocab_size=200),
    "text+audio": DataSpec(modalities=["text", "audio"]),
}
READS_PADDING = {"CIDerNet", "MSSD"}  # by default, as the paper does; MSSD's decoders map over time
REFUSED = {("CausalMER", "regression"), ("MACI", "regression")}  # a softmax over one output is constant


def build(backbone: str, wrapper: str | None, task: str, spec: str = "features") -> Model:
    torch.manual_seed(0)
    model: Model = getattr(mer_zoo.backbones, backbone)(SPECS[spec], TASKS[task])
    factory: Any = getattr(mer_zoo.wrappers, wrapper) if wrapper else None
    model = factory(model) if factory else model
    model.prepare([training_split(SPECS[spec], TASKS[task])])
    return model


def training_split(spec: DataSpec, task: Task) -> Batch:
    """A batch with every class of the task."""
    batch = Batch.random(spec, task, size=14)
    every = torch.arange(14) % task.num_outputs
    return batch if batch.target.dim() == 2 else batch.replace(target=every)


def cases() -> list[Any]:
    return [
        pytest.param(b, w, t, s, id=f"{b}-{w}-{t}-{s}")
        for b in BACKBONES
        for w in WRAPPERS
        for t in TASKS
        for s in SPECS
        if (w, t) not in REFUSED and (s == "features" or t == "three")
    ]


@pytest.mark.parametrize(("backbone", "wrapper", "task", "spec"), cases())
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
    # A bias that a softmax over time does not see gets rounding errors for a gradient, or nothing.
    assert [name for name in dead if "embedding" not in name and not name.endswith("score.bias")] == []


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_parameter_in_one_group(backbone: str, wrapper: str | None) -> None:
    model = build(backbone, wrapper, "three")
    groups = group_parameters(model.named_parameters(), {"*.bias": {"weight_decay": 0.0}})
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_eval_scores_depend_on_the_sample_alone(backbone: str, wrapper: str | None, spec: str) -> None:
    model = build(backbone, wrapper, "three", spec).eval()
    batch = Batch.random(SPECS[spec], TASKS["three"], size=4)
    whole = model.predict(batch).logits
    single = [model.predict(rows(batch, slice(i, i + 1))).logits for i in range(4)]
    torch.testing.assert_close(torch.cat(single), whole, atol=1e-5, rtol=1e-4)
    if not model.fixed_length:
        trimmed = [model.predict(rows(batch, slice(i, i + 1)).trim()).logits for i in range(4)]
        torch.testing.assert_close(torch.cat(trimmed), whole, atol=1e-5, rtol=1e-4)


def rows(batch: Batch, which: slice) -> Batch:
    def cut(modality: Modality) -> Modality:
        return Modality(modality.x[which], modality.mask[which], modality.observed[which])

    return batch.replace(
        text=cut(batch.text),
        audio=cut(batch.audio),
        vision=cut(batch.vision),
        target=batch.target[which],
        index=batch.index[which],
        ids=batch.ids[which],
        raw_text=batch.raw_text[which],
    )


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_state_dict_round_trip(backbone: str, wrapper: str | None) -> None:
    model = build(backbone, wrapper, "three").eval()
    other = build(backbone, wrapper, "three").eval()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    batch = Batch.random(SPECS["features"], TASKS["three"], size=3)
    assert torch.equal(model.predict(batch).logits, other.predict(batch).logits)


@pytest.mark.parametrize("name", ["text", "audio", "vision"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_modality_missing_entirely_stays_finite(backbone: str, wrapper: str | None, name: str) -> None:
    model = build(backbone, wrapper, "three")
    batch = Batch.random(SPECS["features"], TASKS["three"], size=3)
    modality = batch.modality(name)
    nothing = torch.zeros_like(modality.mask)
    for mask in (modality.mask, nothing):
        gone = batch.replace(**{name: Modality(torch.zeros_like(modality.x), mask, nothing)})
        loss = loss_of(model, gone)
        torch.autograd.backward(loss)
        assert torch.isfinite(loss)
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
        assert torch.isfinite(model.eval().predict(gone).logits).all()


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("wrapper", [w for w in WRAPPERS if w])
def test_a_wrapper_twice_is_refused(backbone: str, wrapper: str) -> None:
    factory: type[Wrapper] = getattr(mer_zoo.wrappers, wrapper)
    with pytest.raises(ValueError, match=f"{wrapper} stands twice"):
        factory(build(backbone, wrapper, "three"))


@pytest.mark.parametrize(("wrapper", "task"), sorted(REFUSED))
def test_refused_tasks(wrapper: str, task: str) -> None:
    with pytest.raises(ValueError, match=wrapper):
        build("MulT", wrapper, task)


# Options whose scores depend on padding, as the released codes' do; everything else is tested to depend on the sample alone.
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


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_only_named_defaults_read_padding(backbone: str, wrapper: str | None) -> None:
    assert build(backbone, wrapper, "three").fixed_length == bool(READS_PADDING & {backbone, wrapper})


# Options whose scores depend on the neighbours in the batch, exempt from the test that they depend on the sample alone.
READS_BATCH: dict[str, Any] = {
    "CIDerNet positions=released": lambda spec, task: mer_zoo.backbones.CIDerNet(spec, task, positions="released"),
}


@pytest.mark.parametrize("name", READS_BATCH)
def test_options_that_read_the_batch(name: str) -> None:
    model: Model = READS_BATCH[name](SPECS["features"], TASKS["three"]).eval()
    batch = Batch.random(SPECS["features"], TASKS["three"], size=3)
    alone = model(rows(batch, slice(2, 3))).logits
    assert not torch.allclose(model(batch).logits[2:], alone, atol=1e-5)
