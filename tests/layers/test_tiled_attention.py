from typing import Any

import pytest
import torch
from torch import Tensor

from mer_zoo.layers import attention, tiled_attention
from mer_zoo.layers.attention import Visibility, attend, untiled, visibility
from mer_zoo.layers.tiled_attention import tiled_attention as tiles

KINDS = ["none", "causal", "ahead", "padding", "gaps", "both", "shared"]


def inputs(tq: int, tk: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    q, k, v = (torch.randn(3, 2, length, 4, dtype=dtype, requires_grad=True) for length in (tq, tk, tk))
    return q, k, v


def case(kind: str) -> tuple[tuple[Tensor, Tensor, Tensor], Visibility]:
    q, k, v = inputs(23 if kind == "causal" else 9, 9 if kind == "none" else 23)
    lengths = torch.tensor([[k.shape[2]], [k.shape[2] // 2], [0]])
    masks: dict[str, Any] = {"key_mask": torch.arange(k.shape[2]) < lengths} if kind in {"padding", "both"} else {}
    if kind == "gaps":
        masks = {"key_mask": torch.rand(3, k.shape[2]) < 0.4}
    seen = visibility(q[:, 0], k[:, 0], kind in {"causal", "ahead", "both", "shared"}, **masks)
    return (q, k, v), seen._replace(ahead=None) if kind == "shared" else seen


def run(given: tuple[Tensor, Tensor, Tensor], seen: Visibility, p: float = 0.0) -> Tensor:
    ahead = 0 if seen.causal else seen.ahead
    return tiles(*given, seen.bias if ahead is None else None, ahead, p)


@pytest.fixture(params=["one tile", "many tiles"])
def tiling(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "many tiles":
        monkeypatch.setattr(tiled_attention, "TILE", 64)
        monkeypatch.setattr(tiled_attention, "HEIGHT", 4)


@pytest.mark.usefixtures("tiling")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1.0, 30.0])
def test_agrees_with_plain_attention(kind: str, size: float) -> None:
    given, seen = case(kind)
    assert seen.causal == (kind == "causal")
    assert (seen.ahead is not None) == (kind == "ahead")
    with torch.no_grad():
        given[0].mul_(size)  # large scores need their maxima
        given[1].mul_(size)
    found, expected = run(given, seen), attend(*given, seen)
    torch.testing.assert_close(found, expected)
    upper = torch.randn_like(found)
    for mine, theirs in zip(*(torch.autograd.grad(y, given, upper) for y in (found, expected)), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.usefixtures("tiling")
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_through_dropped_weights(kind: str) -> None:
    given, seen = case(kind)

    def same_draws(*given: Tensor) -> Tensor:
        torch.manual_seed(3)
        return run((given[0], given[1], given[2]), seen, p=0.4)

    assert not torch.allclose(same_draws(*given), attend(*given, seen))
    assert torch.autograd.gradcheck(same_draws, given, fast_mode=True)


@pytest.mark.usefixtures("tiling")
def test_weights_are_dropped_and_scaled() -> None:
    q, k, _ = inputs(40, 40, torch.float32)
    v = torch.eye(40).expand(3, 2, 40, 40)
    weights, again = (tiles(q, k, v, p=0.25) for _ in range(2))
    exact = attend(q, k, v, Visibility())
    kept = weights > 0
    assert 0.7 < kept.float().mean() < 0.8
    assert (kept == (again > 0)).float().mean() < 0.7
    torch.testing.assert_close(weights[kept], exact[kept] / 0.75)


@pytest.mark.usefixtures("tiling")
@pytest.mark.parametrize("size", [1.0, 1000.0])
def test_a_query_that_sees_nothing_gets_zeros(size: float) -> None:
    q, k, v = inputs(6, 5, torch.float32)
    bias = torch.zeros(3, 1, 1, 5)
    bias[1] = -torch.inf
    mixed = tiles(q * size, k, v, bias)
    assert mixed.isfinite().all()
    assert not mixed[1].any()
    for gradient in torch.autograd.grad(mixed.square().sum(), (q, k, v)):
        assert gradient.isfinite().all()
        assert not gradient[1].any()


def test_hidden_keys_are_not_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    widths = []
    multiply = torch.bmm

    def watched(a: Tensor, b: Tensor) -> Tensor:
        widths.append(b.shape[2])
        return multiply(a, b)

    monkeypatch.setattr(torch, "bmm", watched)
    q, k, v = (x.detach() for x in inputs(40, 40, torch.float32))
    monkeypatch.setattr(tiled_attention, "TILE", 40 * 40)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    real = torch.rand(3, 40) < torch.tensor([[0.5], [0.2], [0.0]])
    tiles(q, k, v, torch.zeros(3, 1, 1, 40).masked_fill_(~real[:, None, None], -torch.inf))
    assert widths[::2] == [size for size in real.sum(1).clamp(min=1).tolist() for _ in range(2)]


@pytest.mark.parametrize(("length", "tiled"), [(512, True), (100, False)])
def test_is_taken_for_many_scores(monkeypatch: pytest.MonkeyPatch, length: int, tiled: bool) -> None:
    taken = []

    def spy(q: Tensor, *_: Any) -> Tensor:
        taken.append(q)
        return q

    monkeypatch.setattr(attention, "tiled_attention", spy)
    q, k, v = inputs(length, length, torch.float32)
    for p in (0.0, 0.1):
        attend(q, k, v, Visibility(causal=True), p)
        attend(q.double(), k.double(), v.double(), Visibility(causal=True), p)
        with untiled():
            attend(q, k, v, Visibility(causal=True), p)
    assert len(taken) == 2 * tiled


@pytest.mark.parametrize("ahead", [0, 200])
def test_attention_hides_what_it_hides_elsewhere(ahead: int) -> None:
    q, k, v = (x.detach() for x in inputs(300, 300 + ahead, torch.float32))
    seen = visibility(q[:, 0], k[:, 0], causal=True)
    found = attend(q, k, v, seen)
    with untiled():
        torch.testing.assert_close(found, attend(q, k, v, seen))


def test_wrong_numbers_are_not_hidden() -> None:
    q, k, v = (x.detach() for x in inputs(6, 5, torch.float32))
    q[0, 0, 2, 1] = torch.nan
    assert tiles(q, k, v)[0, 0, 2].isnan().all()


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_autocast_leaves_single_precision_alone(p: float) -> None:
    given = inputs(9, 7, torch.float32)
    results = []
    for enabled in (False, True):
        torch.manual_seed(1)
        with torch.autocast("cpu", enabled=enabled):
            mixed = tiles(*given, p=p)
            results.append([mixed, *torch.autograd.grad(mixed.square().sum(), given)])
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*results, strict=True))
