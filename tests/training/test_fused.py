"""Adam takes fused steps where nothing else was asked for, and nothing else changes: updates, checkpoints, clipping."""

from __future__ import annotations

import copy
import gc
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn
from training_runs import train

from mer_zoo.training.fused import PROBES, fuse, spare_probing

KINDS = [torch.optim.Adam, partial(torch.optim.Adam, weight_decay=0.1, amsgrad=True), torch.optim.AdamW]


def made(kind: Any, dtype: torch.dtype = torch.float32, **options: Any) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    weights = [nn.Parameter(torch.randn(size, generator=generator).to(dtype)) for size in (5, 40)]
    groups: list[Any] = [{"params": weights[:1], "lr": 0.1}, {"params": weights[1:]}]
    return kind(groups, **options), [*weights]


def steps(optimizer: torch.optim.Optimizer, weights: list[Tensor], count: int = 3) -> None:
    for _ in range(count):
        for weight in weights:
            weight.grad = weight.detach().sin() + 0.1
        optimizer.step()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_steps_are_the_same_but_for_rounding(kind: Any, dtype: torch.dtype) -> None:
    (fused, mine), (plain, theirs) = made(kind, dtype), made(kind, dtype)
    fuse(fused)
    assert all(group["fused"] for group in fused.param_groups)
    steps(fused, mine)
    steps(plain, theirs)
    allowed = 4 * torch.finfo(dtype).eps
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=allowed, atol=allowed)


@pytest.mark.parametrize("first", [True, False])
def test_a_run_goes_on_with_the_other_way(first: bool) -> None:
    (before, weights), (after, others), (plain, theirs) = made(KINDS[0]), made(KINDS[0]), made(KINDS[0])
    fuse(before if first else after)
    steps(before, weights)
    after.load_state_dict(before.state_dict())
    assert [group["fused"] for group in after.param_groups] == [None if first else True] * 2
    with torch.no_grad():
        for other, weight in zip(others, weights, strict=True):
            other.copy_(weight)
    steps(after, others)
    steps(plain, theirs, 6)
    for one, other in zip(others, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_what_is_saved_does_not_tell() -> None:
    (fused, _), (plain, _) = made(KINDS[1]), made(KINDS[1])
    fuse(fused)
    assert fused.state_dict() == plain.state_dict()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (torch.optim.Adam, {"fused": False}),
        (torch.optim.Adam, {"foreach": True}),
        (torch.optim.Adam, {"foreach": False}),
        (torch.optim.AdamW, {"differentiable": True}),
        (torch.optim.SGD, {}),
        (torch.optim.NAdam, {}),
    ],
)
def test_who_asked_for_another_way_gets_it(kind: Any, options: dict[str, Any]) -> None:
    optimizer, _ = made(kind, **options)
    before = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    fuse(optimizer)
    for group, then in zip(optimizer.param_groups, before, strict=True):
        assert {name: value for name, value in group.items() if name != "params"} == then


def halves() -> MixedPrecision:
    return MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=128.0))


@pytest.mark.parametrize("clipped", [{"clip_norm": 0.05}, {"trainer": {"gradient_clip_val": 0.05}}])
@pytest.mark.parametrize("scaled", [False, True])
def test_a_training_clips_and_scales_as_before(tmp_path: Path, clipped: dict[str, Any], scaled: bool) -> None:
    runs = []
    for asked in (None, False):
        trainer = {**clipped.get("trainer", {}), **({"plugins": [halves()]} if scaled else {})}
        given = {**clipped, "trainer": trainer, "optimizer": partial(torch.optim.Adam, lr=0.02, fused=asked)}
        runs.append(train(tmp_path / str(asked), 0, **given)[0])
    for one, other in zip(*runs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:the run goes on otherwise")
def test_a_training_goes_on_where_a_fused_one_was_stopped(tmp_path: Path) -> None:
    whole, _ = train(tmp_path / "whole", 0)
    epoch = sorted((tmp_path / "whole").glob("step=*.ckpt"))[0]
    saved = torch.load(epoch, weights_only=False)["optimizer_states"][0]["param_groups"]
    assert [group["fused"] for group in saved] == [None]
    for one, other in zip(whole, train(tmp_path / "rest", 5, resumed=epoch)[0], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strange", ["transposed", "expanded", "view"])
def test_memory_that_lies_otherwise_is_read_rightly(kind: Any, strange: str) -> None:
    def run(fused: bool) -> torch.Tensor:
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(3, 8)[:, :4] if strange == "view" else torch.randn(3, 4))
        optimizer = kind([weight], lr=0.1)
        if fused:
            fuse(optimizer)
        for _ in range(3):
            gradient = torch.randn(4, 3).t() if strange == "transposed" else torch.randn(3, 4)
            weight.grad = gradient[:1, :1].expand(3, 4) if strange == "expanded" else gradient
            optimizer.step()
        return weight.detach()

    torch.testing.assert_close(run(fused=True), run(fused=False))


def looks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Where torch's optimisers note that they look for a GPU."""
    found: list[bool] = []
    name = next(name for name in PROBES if hasattr(torch.optim.Optimizer, name))
    monkeypatch.setattr(torch.optim.Optimizer, name, lambda optimizer: found.append(True))
    return found


@pytest.mark.parametrize("kind", [*KINDS, torch.optim.RMSprop, torch.optim.SGD])
def test_steps_on_a_cpu_look_for_no_gpu(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = looks(monkeypatch)
    (optimizer, weights), (plain, others) = made(kind), made(kind)
    spare_probing(optimizer)
    steps(optimizer, weights)
    assert not found
    steps(plain, others)
    assert bool(found) == (kind is not torch.optim.SGD)
    for weight, other in zip(weights, others, strict=True):
        torch.testing.assert_close(weight, other, rtol=0, atol=0)
    assert copy.deepcopy(optimizer).state_dict().keys() == optimizer.state_dict().keys()


def test_steps_elsewhere_look_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    found = looks(monkeypatch)
    optimizer, _ = made(torch.optim.Adam)
    spare_probing(optimizer)
    optimizer.param_groups[0]["params"] = [nn.Parameter(torch.zeros(1, device="meta"))]
    optimizer.step()
    assert found


def test_an_optimiser_that_spares_probing_goes_with_its_last_name() -> None:
    optimizer, _ = made(torch.optim.Adam)
    spare_probing(optimizer)
    gone = weakref.ref(optimizer)
    gc.disable()
    try:
        del optimizer
        assert gone() is None
    finally:
        gc.enable()
