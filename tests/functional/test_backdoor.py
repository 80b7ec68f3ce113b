"""Backdoor adjustment and class statistics, by hand and by literal transcription."""

import pytest
import torch
from torch import Tensor

from mer_zoo.functional.backdoor import backdoor_adjustment, class_means, class_prior, class_sums


def test_adjustment_is_the_formula() -> None:
    z, prior = torch.randn(5, 3, 4, dtype=torch.float64), torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    expected = sum((prior[i] * torch.softmax(z[:, i], -1) for i in range(3)), torch.zeros(5, 4)).log()
    torch.testing.assert_close(backdoor_adjustment(z, prior), expected)


def test_adjustment_by_hand() -> None:
    # classifier 0 says (3/4, 1/4), classifier 1 says (1/2, 1/2); with P = (2/3, 1/3): 2/3 * 3/4 + 1/3 * 1/2 = 2/3
    z = torch.tensor([[[3.0, 1.0], [5.0, 5.0]]]).log()
    p = backdoor_adjustment(z, torch.tensor([2 / 3, 1 / 3])).exp()
    torch.testing.assert_close(p, torch.tensor([[2 / 3, 1 / 3]]))


def test_adjustment_does_not_underflow() -> None:
    z = torch.tensor([[[500.0, 0.0], [300.0, 0.0]]]).requires_grad_()
    log_p = backdoor_adjustment(z, torch.tensor([0.5, 0.5]))
    assert log_p[0, 1].item() == pytest.approx(-300 + torch.tensor(0.5).log().item(), abs=1e-3)
    log_p[0, 1].backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    torch.testing.assert_close(z.grad[0, 1], torch.tensor([-1.0, 1.0]))


def test_a_class_of_prior_zero_takes_no_part() -> None:
    z = torch.randn(2, 3, 3).requires_grad_()
    log_p = backdoor_adjustment(z, torch.tensor([0.4, 0.0, 0.6]))
    torch.testing.assert_close(log_p, backdoor_adjustment(z[:, [0, 2]], torch.tensor([0.4, 0.6])))
    log_p.sum().backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    assert z.grad.isfinite().all()
    assert not z.grad[:, 1].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_adjustment_computes_in_float32_at_least(dtype: torch.dtype) -> None:
    log_p = backdoor_adjustment(torch.zeros(1, 3, 3, dtype=dtype), torch.full((3,), 1 / 3))
    assert log_p.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(1, dtype=log_p.dtype), atol=1e-6, rtol=0)


def loop_means(x: Tensor, y: Tensor, num_classes: int) -> Tensor:
    return torch.stack([x[y == i].mean(0) for i in range(num_classes)])


def test_class_statistics_of_several_problems_and_batches() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 3, generator=generator), torch.randint(0, 4, (40, 2), generator=generator)
    parts = [class_sums(x[part], y[part], 4) for part in (slice(0, 7), slice(7, 40))]
    sums, counts = (torch.stack(terms).sum(0) for terms in zip(*parts, strict=True))
    assert sums.dtype == torch.float64
    for problem in range(2):
        wanted = loop_means(x.double(), y[:, problem], 4)
        torch.testing.assert_close(class_means(sums, counts)[problem], wanted)
        assert class_prior(counts)[problem].tolist() == pytest.approx((y[:, problem].bincount() / 40).tolist())


def test_samples_that_do_not_count() -> None:
    x, y = torch.tensor([[1.0], [5.0], [7.0]]), torch.tensor([[0], [0], [1]])
    sums, counts = class_sums(x, y, 3, valid=torch.tensor([True, False, True]))
    assert counts.tolist() == [[1.0, 1.0, 0.0]]
    assert class_means(sums, counts).flatten().tolist() == [1.0, 7.0, 4.0]


def test_nothing_counts() -> None:
    sums, counts = class_sums(torch.ones(2, 3), torch.zeros(2, 1, dtype=torch.long), 3, valid=torch.zeros(2).bool())
    assert class_means(sums, counts).tolist() == torch.zeros(1, 3, 3).tolist()
    assert class_prior(counts).tolist() == [[0.0, 0.0, 0.0]]
