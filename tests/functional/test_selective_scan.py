"""The scan against a loop, its gradient, and padding that the state passes."""

from typing import Any

import pytest
import torch
from torch import Tensor

from mer_zoo.functional.selective_scan import linear_scan, selective_scan

DOUBLE = torch.float64


def numbers(steps: int, size: int = 3, channels: int = 4, states: int = 5, dtype: Any = DOUBLE) -> dict[str, Tensor]:
    """All but the mask."""
    generator = torch.Generator().manual_seed(steps)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    u, pace = draw(size, steps, channels), draw(size, steps, channels).exp()
    a, write, read = -draw(channels, states).exp(), draw(size, steps, states), draw(size, steps, states)
    return {"u": u, "pace": pace, "a": a, "write": write, "read": read}


def loop(u: Tensor, pace: Tensor, a: Tensor, write: Tensor, read: Tensor, mask: Tensor) -> Tensor:
    """One step after the other, one channel and one state at a time."""
    size, steps, channels = u.shape
    y = torch.zeros_like(u)
    for i in range(size):
        for e in range(channels):
            h = torch.zeros(len(a[e]), dtype=u.dtype)
            for t in range(steps):
                if mask[i, t]:
                    h = torch.exp(pace[i, t, e] * a[e]) * h + pace[i, t, e] * write[i, t] * u[i, t, e]
                y[i, t, e] = read[i, t] @ h
    return y


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 8, 9, 21])
def test_the_scan_is_the_loop(steps: int) -> None:
    given = numbers(steps)
    mask = torch.rand(3, steps, generator=torch.Generator().manual_seed(0)) < 0.7
    torch.testing.assert_close(selective_scan(**given, mask=mask), loop(**given, mask=mask), atol=1e-12, rtol=1e-12)


def test_gradients_are_the_loops() -> None:
    given = {name: each.requires_grad_() for name, each in numbers(6).items()}
    mask = torch.tensor([[True] * 6, [True, False] * 3, [False] * 6])
    weight = torch.randn(3, 6, 4, dtype=DOUBLE)
    found, expected = (
        torch.autograd.grad((weight * form(**given, mask=mask)).sum(), list(given.values()))
        for form in (selective_scan, loop)
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


def test_gradients_of_the_recurrence() -> None:
    a, b = (torch.randn(2, 5, 3, dtype=DOUBLE, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(linear_scan, (a, b))


def test_a_long_sequence_stays_finite() -> None:
    given = numbers(1500, size=1, dtype=torch.float32)
    u = given["u"].requires_grad_()
    y = selective_scan(**given, mask=torch.ones(1, 1500, dtype=torch.bool))
    y.square().mean().backward()  # type: ignore[no-untyped-call]
    assert y.isfinite().all()
    assert u.grad is not None
    assert u.grad.isfinite().all()


def test_half_precision_is_widened() -> None:
    given = {name: each.bfloat16() for name, each in numbers(9, dtype=torch.float32).items()}
    with torch.autocast("cpu", torch.bfloat16):
        found = selective_scan(**given, mask=torch.ones(3, 9, dtype=torch.bool))
    assert found.dtype == torch.float32
    wide = {name: each.float() for name, each in given.items()}
    expected = selective_scan(**wide, mask=torch.ones(3, 9, dtype=torch.bool))
    torch.testing.assert_close(found, expected)
