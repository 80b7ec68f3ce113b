"""CUMDF's objective, equation by equation, against literal transcriptions and numbers worked by hand."""

import math

import pytest
import torch

from mer_zoo.functional.attribution import (
    balance_loss,
    class_probability,
    distillation_weights,
    modality_effect,
    modality_shares,
    srd,
    weight_penalty,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_srd_is_the_equation() -> None:
    h_s, h_t, w_s, w_t = torch.randn(4, 5), torch.randn(4, 6), torch.randn(3, 5), torch.randn(3, 6)
    for i in range(4):
        s, t = w_s @ h_s[i], w_t @ h_t[i]
        expected = 0.7 * (1 - s @ t / (s.norm() * t.norm()))
        assert srd(h_s, h_t, w_s, w_t, alpha=0.7)[i].item() == pytest.approx(expected.item(), abs=1e-5)


def test_srd_by_hand() -> None:
    """cos of (3, 4) and (1, 0) is 3/5; W_t turns (1, 0) into (0, 2), then it is 4/5."""
    h_s, h_t, one = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]]), torch.eye(2)
    assert srd(h_s, h_t, None, None).item() == pytest.approx(0.4)
    assert srd(h_s, h_t, one, 2 * torch.tensor([[0.0, 1.0], [1.0, 0.0]])).item() == pytest.approx(0.2)


def test_srd_trains_the_student_and_both_projections_but_not_the_teacher() -> None:
    h_s, h_t, w_s, w_t = (torch.randn(2, 2, requires_grad=True) for _ in range(4))
    srd(h_s, h_t, w_s, w_t).sum().backward()  # type: ignore[no-untyped-call]
    assert h_t.grad is None
    for each in (h_s, w_s, w_t):
        assert each.grad is not None
        assert each.grad.any()


def test_srd_of_nothing_is_finite_with_its_gradient() -> None:
    h_s = torch.zeros(1, 2, requires_grad=True)
    distance = srd(h_s, torch.zeros(1, 2), None, None)
    distance.sum().backward()  # type: ignore[no-untyped-call]
    assert distance.item() == 1
    assert h_s.grad is not None
    assert h_s.grad.isfinite().all()


def test_class_probability_of_every_kind_of_task() -> None:
    """softmax of (ln 3, 0) is (3/4, 1/4); two emotions 3/4 and 1/4 average to 1/2; a regression returns its score."""
    logits = torch.tensor([[math.log(3), 0.0]])
    assert class_probability(logits, torch.tensor([0])).item() == pytest.approx(0.75)
    both = class_probability(torch.stack([logits, logits], 1), torch.tensor([[0, 1]]))
    assert both.item() == pytest.approx(0.5)
    assert class_probability(torch.tensor([[-2.5]]), torch.tensor([0])).item() == -2.5


def test_shares_and_balance_are_the_equations() -> None:
    p, without = torch.rand(3, 7), torch.rand(3, 7)
    delta = modality_effect(p, without)
    summed = [sum(abs(float(p[m, i] - without[m, i])) for i in range(7)) for m in range(3)]
    x = modality_shares(delta.sum(1))
    assert x.tolist() == pytest.approx([each / sum(summed) for each in summed])
    expected = sum(float(share) ** 2 for share in x) / float(x.sum())
    assert balance_loss(x).item() == pytest.approx(expected, abs=1e-6)


def test_shares_balance_and_weights_by_hand() -> None:
    """Effects 1, 2 and 5: shares 1/8, 2/8, 5/8; loss (1 + 4 + 25) / 64; weights 7/16, 6/16, 3/16."""
    x = modality_shares(torch.tensor([1.0, 2.0, 5.0]))
    assert x.tolist() == [0.125, 0.25, 0.625]
    assert balance_loss(x).item() == pytest.approx(30 / 64)
    assert distillation_weights(x).tolist() == pytest.approx([7 / 16, 6 / 16, 3 / 16])
    assert distillation_weights(torch.tensor([0.3, 0.7])).tolist() == pytest.approx([0.7, 0.3])


def test_balance_draws_the_larger_share_down() -> None:
    """With lambda fixed the gradient is lambda (minus its mean over the effects), so only the larger effect shrinks."""
    effects = torch.tensor([1.0, 3.0], requires_grad=True)
    balance_loss(modality_shares(effects)).backward()  # type: ignore[no-untyped-call]
    assert effects.grad is not None
    assert effects.grad[0] < 0 < effects.grad[1]


def test_shares_without_any_effect_are_equal_and_have_a_finite_gradient() -> None:
    effects = torch.zeros(3, requires_grad=True)
    x = modality_shares(effects)
    balance_loss(x).backward()  # type: ignore[no-untyped-call]
    assert x.tolist() == pytest.approx([1 / 3] * 3)
    assert effects.grad is not None
    assert effects.grad.isfinite().all()


@pytest.mark.parametrize("coefficients", [(1.0, 1.0, 1.0), (0.5, 0.0, 2.0)])
def test_penalty_is_the_weighted_sum_of_squares(coefficients: tuple[float, float, float]) -> None:
    triples = [(torch.randn(3, 3), torch.randn(3, 3), torch.randn(3, 3)) for _ in range(2)]
    expected = sum(
        c * float(w[i, j]) ** 2
        for triple in triples
        for c, w in zip(coefficients, triple, strict=True)
        for i in range(3)
        for j in range(3)
    )
    assert weight_penalty(triples, coefficients).item() == pytest.approx(expected, rel=1e-5)


def test_penalty_alone_has_coefficients_of_one() -> None:
    one = torch.tensor([[3.0]]), torch.tensor([[4.0]]), torch.tensor([[0.0]])
    assert weight_penalty([one, one]).item() == 50
