"""GEAR's weights and swaps by their definitions."""

import math

import pytest
import torch

from mer_zoo.functional.gear import bias_loss, sample_weight, swap_order


def test_criteria_by_hand() -> None:
    e = torch.tensor([0.25, 1.0, 4.0], requires_grad=True)
    expected = {
        "tanh": [math.tanh((1 / x) ** 0.5) for x in (0.25, 1.0, 4.0)],
        "sigmoid": [2 / (1 + math.exp(x)) for x in (0.25, 1.0, 4.0)],
    }
    for criterion, w in expected.items():
        loss = bias_loss(e, criterion, q=0.5)  # type: ignore[arg-type]
        assert (loss / e).tolist() == pytest.approx(w)
        assert torch.autograd.grad(loss.sum(), e)[0].tolist() == pytest.approx(w)  # w itself gets no gradient


@pytest.mark.parametrize("criterion", ["tanh", "sigmoid"])
def test_an_error_of_nothing(criterion: str) -> None:
    e = torch.zeros(1, requires_grad=True)
    loss = bias_loss(e, criterion)  # type: ignore[arg-type]
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert e.grad is not None
    assert e.grad.item() == 1


def test_sample_weights() -> None:
    error = torch.tensor([1.0, 0.0, 2.0], requires_grad=True)
    biases = [torch.tensor([1.0, 0.0, 0.0]), torch.tensor([3.0, 0.0, 1.0])]
    mean, least = sample_weight(error, biases), sample_weight(error, biases, "min")
    assert mean.tolist() == pytest.approx([2 / 3, 0, 0.2])
    assert least.tolist() == pytest.approx([0.5, 0, 0])
    assert not mean.requires_grad


def test_orders() -> None:
    index = torch.arange(40) * 3
    orders = [swap_order(seed, number, index) for seed, number in ((0, 0), (0, 1), (1, 0), (0, 0))]
    assert all(sorted(order.tolist()) == list(range(40)) for order in orders)
    assert torch.equal(orders[0], orders[3])
    assert len({tuple(order.tolist()) for order in orders}) == 3
    # whom a sample meets does not depend on the order of the batch
    shuffled = index.flip(0)
    assert torch.equal(index[orders[0]].flip(0), shuffled[swap_order(0, 0, shuffled)])


def test_orders_are_permutations_of_equal_chance() -> None:
    index = torch.tensor([5, 1, 8])
    found = [tuple(swap_order(0, number, index).tolist()) for number in range(1200)]
    counts = [found.count(order) for order in set(found)]
    assert len(counts) == 6
    assert min(counts) > 150  # 200 expected, deviation 13
