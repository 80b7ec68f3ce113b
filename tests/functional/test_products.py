"""Products of stacks are those of torch whichever library makes them, and torch is left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from mer_zoo.functional import products
from mer_zoo.functional.products import map_each, one_dnn, relu_each

MATMUL: Any = getattr(torch.backends.mkldnn, "matmul", None)
needs_switch = pytest.mark.skipif(MATMUL is None, reason="torch older than 2.9 has no such switch")


@pytest.fixture
def switched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a processor where oneDNN is the faster."""
    monkeypatch.setattr(products, "_is_faster", lambda: True)
    yield
    assert MATMUL.fp32_precision == "none"


def given() -> tuple[torch.Tensor, ...]:
    x, weight, bias = torch.randn(3, 64, 16), torch.randn(3, 16, 24), torch.randn(3, 1, 24)
    return tuple(each.double().requires_grad_() for each in (x, weight, bias))


def test_values_and_both_derivatives_are_torchs() -> None:
    assert torch.autograd.gradcheck(map_each, given())
    x, weight, bias = given()
    small = x[:2, :3, :4], weight[:2, :4, :2], bias[:2, :, :2]
    assert torch.autograd.gradgradcheck(map_each, tuple(each.detach().requires_grad_() for each in small))
    single = [each.detach().float().requires_grad_() for each in given()]
    plain = torch.baddbmm(single[2], single[0], single[1])
    upper = torch.randn_like(plain)
    found = map_each(*single)
    assert_close(found, plain)
    for ours, theirs in zip(
        torch.autograd.grad(found, single, upper), torch.autograd.grad(plain, single, upper), strict=True
    ):
        assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_relu_and_dropout_are_torchs() -> None:
    keep = torch.rand(3, 64, 24) > 0.3
    single = [each.detach().float().requires_grad_() for each in given()]
    plain = torch.baddbmm(single[2], single[0], single[1]).relu() * keep
    upper = torch.randn_like(plain)
    found = relu_each(single[0], single[1], single[2], keep)
    assert_close(found, plain)
    for ours, theirs in zip(
        torch.autograd.grad(found, single, upper), torch.autograd.grad(plain, single, upper), strict=True
    ):
        assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    x, weight, bias = (each.detach() for each in given())
    small = x[:2, :4, :4], weight[:2, :4, :3], bias[:2, :, :3]
    assert torch.autograd.gradcheck(relu_each, (*(each.requires_grad_() for each in small), keep[:2, :4, :3]))


def test_functions_of_torch_transform_it() -> None:
    x, weight, bias = (each.detach() for each in given())
    several = torch.stack([x, 2 * x])
    found = torch.func.vmap(map_each, (0, None, None))(several, weight, bias)
    assert_close(found[1], torch.baddbmm(bias, 2 * x, weight))


def test_autocast_multiplies_in_its_own_precision() -> None:
    x, weight, bias = (each.detach().float() for each in given())
    with torch.autocast("cpu", torch.bfloat16):
        assert map_each(x, weight, bias).dtype is torch.bfloat16


@needs_switch
def test_a_product_sees_the_switch_and_nothing_behind_it_does(switched: None) -> None:
    def seen(x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(MATMUL.fp32_precision)

    with pytest.raises(RuntimeError, match="bf16"):
        one_dnn(seen, torch.ones(1))
    with pytest.raises(RuntimeError, match="none"):
        one_dnn(seen, torch.ones(1, dtype=torch.float64))


@needs_switch
def test_a_precision_that_was_asked_for_stays(switched: None) -> None:
    def precision(x: torch.Tensor) -> torch.Tensor:
        return x.new_tensor(["ieee", "bf16", "none"].index(MATMUL.fp32_precision))

    MATMUL.fp32_precision = "ieee"
    try:
        assert one_dnn(precision, torch.ones(1)) == 0
        assert MATMUL.fp32_precision == "ieee"
    finally:
        MATMUL.fp32_precision = "none"


@needs_switch
@pytest.mark.parametrize(("maker", "exact"), [("GenuineIntel", True), ("AuthenticAMD", False)])
def test_other_makers_and_roundings_keep_mkl(maker: str, exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(products, "_maker", lambda: maker)
    monkeypatch.setattr(products, "_is_exact", lambda: exact)
    assert not products._is_faster.__wrapped__()


@needs_switch
def test_the_trial_finds_what_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    product = torch.baddbmm
    monkeypatch.setattr(
        torch, "baddbmm", lambda bias, a, b: product(bias.bfloat16(), a.bfloat16(), b.bfloat16()).float()
    )
    assert not products._is_exact()
    assert MATMUL.fp32_precision == "none"
