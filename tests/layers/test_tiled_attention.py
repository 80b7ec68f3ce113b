from typing import Any

import pytest
import torch
from torch import Tensor

from mer_zoo.layers import attention
from mer_zoo.layers.attention import Visibility, attend, visibility
from mer_zoo.layers.tiled_attention import tiled_attention

KINDS = ["none", "causal", "offset", "padding"]


def inputs(tq: int, tk: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    q, k, v = (torch.randn(3, 2, length, 4, dtype=dtype, requires_grad=True) for length in (tq, tk, tk))
    return q, k, v


def visible(kind: str, q: Tensor, k: Tensor) -> Visibility:
    lengths = torch.tensor([[k.shape[2]], [k.shape[2] // 2], [0]])
    masks: dict[str, Any] = {"key_mask": torch.arange(k.shape[2]) < lengths} if kind == "padding" else {}
    return visibility(q[:, 0], k[:, 0], kind in ("causal", "offset"), **masks)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tile", [1 << 17, 64])
def test_agrees_with_plain_attention(monkeypatch: pytest.MonkeyPatch, kind: str, tile: int) -> None:
    monkeypatch.setattr("mer_zoo.layers.tiled_attention.TILE", tile)
    q, k, v = inputs(*((23, 23) if kind == "causal" else (23, 9) if kind == "none" else (9, 23)))
    seen = visible(kind, q, k)
    assert seen.causal == (kind == "causal")
    assert (seen.bias is None) == (kind in ("none", "causal"))
    # A probability below the resolution of the draws drops nothing.
    found = tiled_attention(q, k, v, seen.bias, seen.causal, p=1e-9)
    expected = attend(q, k, v, seen)
    torch.testing.assert_close(found, expected)
    upper = torch.randn_like(found)
    for mine, theirs in zip(*(torch.autograd.grad(y, (q, k, v), upper) for y in (found, expected)), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_through_dropped_weights(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr("mer_zoo.layers.tiled_attention.TILE", 64)
    q, k, v = inputs(*((11, 11) if kind == "causal" else (11, 5) if kind == "none" else (5, 11)))
    seen = visible(kind, q, k)

    def same_draws(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        torch.manual_seed(3)
        return tiled_attention(q, k, v, seen.bias, seen.causal, p=0.4)

    assert not torch.allclose(same_draws(q, k, v), attend(q, k, v, seen))
    assert torch.autograd.gradcheck(same_draws, (q, k, v))


def test_weights_are_dropped_and_scaled() -> None:
    q, k, _ = inputs(40, 40, torch.float32)
    v = torch.eye(40).expand(3, 2, 40, 40)
    weights = tiled_attention(q, k, v, None, causal=False, p=0.25)
    exact = attend(q, k, v, Visibility())
    kept = weights > 0
    assert 0.7 < kept.float().mean() < 0.8
    torch.testing.assert_close(weights[kept], exact[kept] / 0.75)


@pytest.mark.parametrize(("length", "tiled"), [(512, True), (100, False)])
def test_is_taken_for_long_sequences_with_dropout(monkeypatch: pytest.MonkeyPatch, length: int, tiled: bool) -> None:
    taken = []

    def spy(q: Tensor, *_: Any) -> Tensor:
        taken.append(q)
        return q

    monkeypatch.setattr(attention, "tiled_attention", spy)
    q, k, v = inputs(length, length, torch.float32)
    q, k, v = (x.repeat(1, 2, 1, 1) for x in (q, k, v))
    attend(q, k, v, Visibility(causal=True), p=0.1)
    attend(q, k, v, Visibility(causal=True))
    attend(q.double(), k.double(), v.double(), Visibility(causal=True), p=0.1)
    assert len(taken) == tiled
