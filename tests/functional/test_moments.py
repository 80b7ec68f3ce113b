import pytest
import torch

from mer_zoo.functional.moments import central_moment_discrepancy, difference_loss


def test_cmd_is_zero_for_equal_samples_in_any_order() -> None:
    x = torch.rand(6, 3, dtype=torch.float64)
    assert central_moment_discrepancy(x, x.flip(0)).item() == pytest.approx(0, abs=1e-12)
    assert central_moment_discrepancy(x, torch.cat([x, x])).item() == pytest.approx(0, abs=1e-12)


def test_cmd_sees_the_order_in_which_distributions_begin_to_differ() -> None:
    x = torch.tensor([[0.0], [1.0]])
    assert central_moment_discrepancy(x, x + 1, moments=1).item() == pytest.approx(1)
    assert central_moment_discrepancy(x, 2 * x - 0.5, moments=1).item() == pytest.approx(0)
    assert central_moment_discrepancy(x, 2 * x - 0.5, moments=2).item() == pytest.approx(1 - 1 / 4)
    skewed = torch.tensor([[0.0], [0.0], [3.0]])
    mirrored = 2 - skewed
    assert central_moment_discrepancy(skewed, mirrored, moments=2).item() == pytest.approx(0)
    assert central_moment_discrepancy(skewed, mirrored, moments=3).item() == pytest.approx(4)


def test_difference_is_zero_for_orthogonal_features_and_one_for_equal_ones() -> None:
    x = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    y = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    assert difference_loss(x, y).item() == pytest.approx(0, abs=1e-10)
    assert difference_loss(x, 3 * x + 5).item() == pytest.approx(16, rel=1e-4)


def test_no_gradient_goes_through_the_lengths() -> None:
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    y = torch.randn(5, 2, dtype=torch.float64)
    difference_loss(x, y).backward()  # type: ignore[no-untyped-call]
    length = (x - x.mean(0)).norm(dim=1, keepdim=True).detach()
    assert x.grad is not None
    free = x.detach().clone().requires_grad_()
    unit = (y - y.mean(0)) / ((y - y.mean(0)).norm(dim=1, keepdim=True) + 1e-6)
    (((free - free.mean(0)) / (length + 1e-6)).T @ unit).square().mean().backward()
    torch.testing.assert_close(x.grad, free.grad)


def test_half_precision_is_left() -> None:
    torch.manual_seed(0)
    x, y = torch.rand(64, 16).bfloat16(), (torch.rand(64, 16) + 0.01).bfloat16()
    for loss in (central_moment_discrepancy, difference_loss):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = loss(x, y)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, loss(x.float(), y.float()), atol=0, rtol=1e-5)


@pytest.mark.parametrize("size", [1, 2])
def test_equal_rows_give_finite_gradients(size: int) -> None:
    x = torch.ones(size, 3, requires_grad=True)
    y = torch.ones(size, 3, requires_grad=True)
    torch.autograd.backward(central_moment_discrepancy(x, y) + difference_loss(x, y))
    assert x.grad is not None
    assert y.grad is not None
    assert x.grad.isfinite().all()
    assert y.grad.isfinite().all()
