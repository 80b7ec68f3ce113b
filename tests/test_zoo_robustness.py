"""Every backbone with every wrapper: scores of a sample alone, any padding, any batch size, absent modalities,
saved and loaded.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from toys import loss_of
from zoo_cases import READS_PADDING, SPECS, TASKS, build, combinations, pairs, refusal, shared

import mer_zoo.backbones
from mer_zoo.batch import MODALITIES, Batch, Modality
from mer_zoo.model import Model

WORKS = [(b, w) for b, w in pairs() if refusal(b, w) is None]
EVERY_SPEC = [(b, w, s) for b, w, _, s in combinations(["three"], list(SPECS))]
FREE = [(b, w) for b, w in WORKS if not READS_PADDING & {b, w}]


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


def padded(batch: Batch, front: int, behind: int) -> Batch:
    """The batch with rubbish at positions that are no steps."""

    def pad(modality: Modality) -> Modality:
        x = torch.nn.functional.pad(modality.x, (0, 0, front, behind), value=7.0)
        mask, observed = (
            torch.nn.functional.pad(m, (front, behind), value=False) for m in (modality.mask, modality.observed)
        )
        return Modality(x, mask, observed)

    return batch.replace(**{name: pad(batch.modality(name)) for name in MODALITIES})


@pytest.mark.parametrize(("backbone", "wrapper", "spec"), EVERY_SPEC)
def test_eval_scores_depend_on_the_sample_alone(backbone: str, wrapper: str | None, spec: str) -> None:
    model = shared(backbone, wrapper) if spec == "features" else build(backbone, wrapper, "three", spec).eval()
    batch = Batch.random(SPECS[spec], TASKS["three"], size=4)
    whole = model.predict(batch).logits
    single = [model.predict(rows(batch, slice(i, i + 1))).logits for i in range(4)]
    torch.testing.assert_close(torch.cat(single), whole, atol=1e-5, rtol=1e-4)
    if not model.fixed_length:
        trimmed = [model.predict(rows(batch, slice(i, i + 1)).trim()).logits for i in range(4)]
        torch.testing.assert_close(torch.cat(trimmed), whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("front", "behind"), [(0, 3), (2, 0)])
@pytest.mark.parametrize(("backbone", "wrapper"), FREE)
def test_padding_changes_nothing(backbone: str, wrapper: str | None, front: int, behind: int) -> None:
    model = shared(backbone, wrapper)
    batch = Batch.random(SPECS["features"], TASKS["three"], size=3)
    wider = model.predict(padded(batch, front, behind)).logits
    torch.testing.assert_close(wider, model.predict(batch).logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("backbone", "wrapper"), WORKS)
def test_state_dict_round_trip(backbone: str, wrapper: str | None) -> None:
    model, other = shared(backbone, wrapper), build(backbone, wrapper).eval()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    batch = Batch.random(SPECS["features"], TASKS["three"], size=3)
    assert torch.equal(model.predict(batch).logits, other.predict(batch).logits)


@pytest.mark.parametrize(("backbone", "wrapper"), WORKS)
def test_a_batch_of_one_trains(backbone: str, wrapper: str | None) -> None:
    model = build(backbone, wrapper)
    loss = loss_of(model, Batch.random(SPECS["features"], TASKS["three"], size=1))
    torch.autograd.backward(loss)
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(("backbone", "wrapper"), WORKS)
def test_a_modality_missing_entirely_stays_finite(backbone: str, wrapper: str | None) -> None:
    model = build(backbone, wrapper)
    batch = Batch.random(SPECS["features"], TASKS["three"], size=3)
    for name in MODALITIES:
        modality = batch.modality(name)
        model.train()
        nothing = torch.zeros_like(modality.mask)
        for mask in (modality.mask, nothing):
            gone = batch.replace(**{name: Modality(torch.zeros_like(modality.x), mask, nothing)})
            loss = loss_of(model, gone)
            torch.autograd.backward(loss)
            assert torch.isfinite(loss), name
            assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None), name
            assert torch.isfinite(model.eval().predict(gone).logits).all(), name


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
