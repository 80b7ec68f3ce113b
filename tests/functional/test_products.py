"""What is done to products in one function is what torch does in several."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from mer_zoo.functional.products import relu_each


def given(dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    shapes = (2, 6, 4), (2, 4, 5), (2, 1, 5)
    return tuple(torch.randn(shape, dtype=dtype).requires_grad_() for shape in shapes)


def test_relu_and_dropout_are_torchs() -> None:
    keep, single = torch.rand(2, 6, 5) > 0.3, given(torch.float32)
    plain = torch.baddbmm(single[2], single[0], single[1]).relu() * keep
    found, upper = relu_each(single[0], single[1], single[2], keep), torch.randn_like(plain)
    assert_close(found, plain)
    slopes = (torch.autograd.grad(each, single, upper) for each in (found, plain))
    for ours, theirs in zip(*slopes, strict=True):
        assert_close(ours, theirs)


def test_both_derivatives_are_right() -> None:
    keep, double = torch.rand(2, 6, 5) > 0.3, given(torch.float64)
    assert torch.autograd.gradcheck(relu_each, (*double, keep))
    assert torch.autograd.gradgradcheck(relu_each, (*double, keep))


def test_functions_of_torch_transform_it() -> None:
    x, weight, bias = (each.detach() for each in given(torch.float32))
    found = torch.func.vmap(relu_each, (0, None, None))(torch.stack([x, 2 * x]), weight, bias)
    assert_close(found[1], torch.baddbmm(bias, 2 * x, weight).relu())


def test_autocast_multiplies_in_its_own_precision() -> None:
    x, weight, bias = given(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert relu_each(x, weight, bias).dtype is torch.bfloat16
