from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mer_zoo.layers import attention
from mer_zoo.layers.attention import Visibility, attend, merge_heads, split_heads, visibility


def seen(
    tq: int, tk: int, query_mask: Tensor | None = None, key_mask: Tensor | None = None, causal: bool = True
) -> Tensor:
    """Which keys each query sees, read off attention weights."""
    size = len(query_mask) if query_mask is not None else 1
    q, k = torch.zeros(size, tq, 2), torch.zeros(size, tk, 2)
    visible = visibility(q, k, causal, query_mask, key_mask)
    values = torch.eye(tk).expand(size, 1, tk, tk)
    return attend(torch.zeros(size, 1, tq, tk), torch.zeros(size, 1, tk, tk), values, visible)[:, 0] > 0


@pytest.mark.parametrize(
    ("tq", "tk"), [(5, 5), (3, 7), (7, 3), (6, 5), (9, 2), (1, 1), (1, 4), (110, 110), (100, 120), (120, 100)]
)
def test_causal_rule(tq: int, tk: int) -> None:
    expected = torch.tensor([[j <= i + abs(tk - tq) for j in range(tk)] for i in range(tq)])
    assert torch.equal(seen(tq, tk)[0], expected)


def test_unmasked_when_nothing_is_hidden() -> None:
    x = torch.zeros(1, 9, 4)
    assert visibility(x, x[:, :5], causal=True) == visibility(x, x, causal=False) == Visibility()


def test_causal_rule_counts_real_steps_under_padding() -> None:
    bare = seen(3, 5)[0]
    for fq, bq, fk, bk in [(0, 0, 0, 2), (0, 3, 4, 0), (2, 0, 1, 1)]:
        query_mask = F.pad(torch.ones(1, 3), (fq, bq)).bool()
        key_mask = F.pad(torch.ones(1, 5), (fk, bk)).bool()
        got = seen(fq + 3 + bq, fk + 5 + bk, query_mask, key_mask)[0]
        assert torch.equal(got[fq : fq + 3, fk : fk + 5], bare)
        assert not got[:, ~key_mask[0]].any()


@pytest.mark.parametrize("causal", [False, True])
def test_a_sample_without_keys_sees_all(causal: bool) -> None:
    query_mask = torch.tensor([[True, True], [False, False]])
    got = seen(2, 3, query_mask, torch.tensor([[True, False, False], [False] * 3]), causal)
    assert got[0].tolist() == [[True, False, False]] * 2
    assert got[1].all()


@pytest.mark.parametrize("kind", ["none", "causal", "padding", "both"])
@pytest.mark.parametrize(("tq", "tk"), [(6, 6), (4, 110), (110, 4), (110, 110)])
def test_fused_and_plain_agree(monkeypatch: pytest.MonkeyPatch, kind: str, tq: int, tk: int) -> None:
    q, k, v = (torch.randn(3, 2, length, 4, dtype=torch.float64) for length in (tq, tk, tk))
    masks: dict[str, Any] = {}
    if kind in {"padding", "both"}:
        lengths = torch.tensor([[tk], [tk // 2], [0]])
        masks = {"query_mask": torch.ones(3, tq, dtype=torch.bool), "key_mask": torch.arange(tk) < lengths}
    visible = visibility(merge_heads(q), merge_heads(k), kind in {"causal", "both"}, **masks)
    results = []
    for fused in (True, False):
        monkeypatch.setattr(attention, "_fused_is_faster", lambda *_, fused=fused: fused)
        leaves = [x.clone().requires_grad_() for x in (q, k, v)]
        y = attend(leaves[0], leaves[1], leaves[2], visible)
        results.append((y, *torch.autograd.grad(y.square().sum(), leaves)))
    for fused_result, plain_result in zip(*results, strict=True):
        assert fused_result.isfinite().all()
        torch.testing.assert_close(fused_result, plain_result)


def test_dropout_acts_on_weights_and_keeps_their_mean() -> None:
    torch.manual_seed(0)
    q = torch.zeros(1, 1, 2000, 4)
    k = torch.zeros(1, 1, 10, 4)
    y = attend(q, k, torch.ones(1, 1, 10, 4), Visibility(), p=0.5)
    assert y.std() > 0.1
    assert abs(y.mean().item() - 1) < 0.05


def test_heads_are_channel_blocks() -> None:
    x = torch.arange(12.0).view(1, 2, 6)
    assert split_heads(x, 3)[0, 1].tolist() == [[2, 3], [8, 9]]
    assert torch.equal(merge_heads(split_heads(x, 3)), x)
