"""CUMDF's network, equation by equation, against literal transcriptions and numbers worked by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mer_zoo.functional.label_guidance import (
    common_knowledge,
    expected_embedding,
    guided_attention,
    label_embedding,
    masked_softmax,
    pooled_norm,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_common_knowledge_is_the_equation() -> None:
    x, other = torch.randn(2, 4, 3), torch.randn(2, 5, 3)
    result = common_knowledge(x, other, torch.ones(2, 5, dtype=torch.bool))
    for i in range(2):
        m = x[i] @ other[i].T
        s = torch.softmax(torch.tanh(m), dim=1)
        r = s @ other[i]
        close(result[i], torch.cat([r, r * x[i]], dim=1))


def test_common_knowledge_by_hand() -> None:
    """M = (ln 3, 0), whose tanh is (4/5, 0); S = (e^0.8, 1) / (e^0.8 + 1)."""
    x, other = torch.tensor([[[1.0]]]), torch.tensor([[[math.log(3)], [0.0]]])
    r, product = common_knowledge(x, other, torch.tensor([[True, True]]))[0, 0].tolist()
    weight = math.exp(0.8) / (math.exp(0.8) + 1)
    assert r == pytest.approx(weight * math.log(3))
    assert product == pytest.approx(r)


def test_common_knowledge_does_not_see_padding() -> None:
    x, other = torch.randn(2, 4, 3), torch.randn(2, 5, 3)
    mask = torch.tensor([[True] * 3 + [False] * 2, [False] * 5])
    other = torch.where(mask[..., None], other, 0.0)
    result = common_knowledge(x, other, mask)
    close(result[0], common_knowledge(x[:1], other[:1, :3], mask[:1, :3])[0])
    assert not result[1].any()


def test_masked_softmax_with_nothing_real_is_finite() -> None:
    assert masked_softmax(torch.randn(2, 3), torch.zeros(2, 3, dtype=torch.bool)).isfinite().all()


def test_embeddings_are_the_equation() -> None:
    table, logits, classes = torch.randn(3, 4), torch.randn(2, 3), torch.tensor([2, 0])
    close(label_embedding(classes, table), torch.stack([table[2], table[0]]))
    p = torch.softmax(logits, 1)
    close(
        expected_embedding(logits, table),
        torch.stack([p[i, 0] * table[0] + p[i, 1] * table[1] + p[i, 2] * table[2] for i in range(2)]),
    )


def test_embeddings_of_emotions_are_means_over_them() -> None:
    table, logits, classes = torch.randn(4, 2, 5), torch.randn(3, 4, 2), torch.randint(0, 2, (3, 4))
    known = torch.stack([torch.stack([table[k, classes[i, k]] for k in range(4)]).mean(0) for i in range(3)])
    close(label_embedding(classes, table), known)
    each = torch.stack([expected_embedding(logits[:, k], table[k]) for k in range(4)])
    close(expected_embedding(logits, table), each.mean(0))


def test_a_certain_expectation_is_the_label() -> None:
    table = torch.randn(3, 4)
    close(expected_embedding(100.0 * torch.eye(3), table), label_embedding(torch.arange(3), table))


def literal_attention(
    e: Tensor, z1: Tensor, z2: Tensor, mask: Tensor, weights: tuple[Tensor, ...], heads: int
) -> Tensor:
    """One sample: queries, keys and values of every step, -inf at padding."""
    w_q, w_k, w_v, w_0 = weights
    q, k, v = w_q @ e, z1 @ w_k.T, z2 @ w_v.T
    size = len(e) // heads
    found = []
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        scores = k[:, part] @ q[part] / math.sqrt(size)
        scores[~mask] = -math.inf
        found.append(torch.softmax(scores, 0) @ v[:, part])
    return w_0 @ torch.cat(found)


@pytest.mark.parametrize("heads", [1, 2, 6])
def test_guided_attention_is_the_equation(heads: int) -> None:
    e, gate, x1, x2 = torch.randn(3, 6), torch.randn(3, 6), torch.randn(3, 5, 6), torch.randn(3, 5, 6)
    mask = torch.tensor([[True] * 5, [False, False, True, True, True], [True, False, False, False, False]])
    q, k, v, o = torch.randn(4, 6, 6)
    result = guided_attention(e, gate, x1, x2, mask, (q, k, v, o), heads)
    for i in range(3):
        close(result[i], literal_attention(e[i], x1[i] * gate[i], x2[i] * gate[i], mask[i], (q, k, v, o), heads))


def test_guided_attention_by_hand() -> None:
    """q = 2, gated keys ln 2 / 2 and 0, so weights 2/3 and 1/3;
    gated values 3 and 6 mix to 4, W_V doubles, W_0 negates.
    """
    one = torch.eye(1)
    keys, values = torch.tensor([[[math.log(2) / 6], [0.0]]]), torch.tensor([[[1.0], [2.0]]])
    mask = torch.tensor([[True, True]])
    result = guided_attention(one, 3 * one, keys, values, mask, (2 * one, one, 2 * one, -one), heads=1)
    assert result.item() == pytest.approx(-8.0)


def test_guided_attention_without_a_real_step_is_zero() -> None:
    z = torch.zeros(1, 3, 2)
    e, mask = torch.randn(1, 2), torch.zeros(1, 3, dtype=torch.bool)
    result = guided_attention(e, e, z, z, mask, (torch.eye(2),) * 4, heads=1)
    assert not result.any()


def test_pooled_norm_is_the_equation() -> None:
    x, gate, update = torch.randn(4, 5, 6), torch.randn(4, 6), torch.randn(4, 6)
    mask = torch.arange(5) < torch.tensor([5, 3, 1, 0])[:, None]
    result = pooled_norm(x, gate, update, mask)
    for i in range(3):
        close(result[i], F.layer_norm(x[i, mask[i]] * gate[i] + update[i], (6,)).mean(0))
    assert not result[3].any()


def test_pooled_norm_has_the_gradients_of_the_equation() -> None:
    x, gate, update = (each.double().requires_grad_() for each in (torch.randn(2, 3, 4), *torch.randn(2, 2, 4)))
    mask = torch.tensor([[True] * 3, [True, False, False]])
    assert torch.autograd.gradcheck(lambda x, gate, update: pooled_norm(x, gate, update, mask), (x, gate, update))


def test_pooled_norm_by_hand() -> None:
    """(1, 3) * (2, 1) + (0, 1) = (2, 4) is normalised to (-1, 1), (1, 0) * (2, 1) + (0, 1) = (2, 1) to (1, -1)."""
    x, gate, update = (
        torch.tensor([[[1.0, 3.0], [1.0, 0.0], [1.0, 3.0]]]),
        torch.tensor([[2.0, 1.0]]),
        torch.tensor([[0.0, 1.0]]),
    )
    result = pooled_norm(x, gate, update, torch.ones(1, 3, dtype=torch.bool), eps=0.0)
    assert result[0].tolist() == pytest.approx([-1 / 3, 1 / 3])


def test_pooled_norm_of_constant_sums_is_finite_with_its_gradient() -> None:
    """Rounding may make a variance of 0 negative."""
    x = (torch.rand(64, 3, 1) * 10).expand(-1, -1, 300).clone().requires_grad_()
    result = pooled_norm(x, torch.ones(64, 300), torch.ones(64, 300), torch.ones(64, 3, dtype=torch.bool))
    result.square().sum().backward()  # type: ignore[no-untyped-call]
    assert result.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()
