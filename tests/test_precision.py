"""Losses in half precision are those of single precision, for every network and every wrapper."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from scale_cases import PLAIN, WRAPPED, Numbers, make, measure, synthetic_batch

pytestmark = pytest.mark.filterwarnings("ignore:PropensityWeighting")  # that so few samples tell nothing

CASES = PLAIN | WRAPPED
# Relative differences of a loss that were seen: 0.0023, 0.0006, 0.014.
TOLERANCE = {"bf16-mixed": 0.01, "16-mixed": 0.003, "bf16-true": 0.04}


@cache
def numbers(name: str, precision: str, device: str) -> Numbers:
    spec, task, batch = synthetic_batch(CASES[name].task)
    return measure(make(CASES[name], spec, task), batch, precision, device)


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("name", CASES)
def test_losses_of_half_precision(name: str, precision: str) -> None:
    whole, half = numbers(name, "32-true", "cpu"), numbers(name, precision, "cpu")
    loss, _, logits = whole.distance(half)
    assert loss > 0  # or it would not be half precision
    assert loss < TOLERANCE[precision]
    assert logits < 10 * TOLERANCE[precision]
    assert torch.isfinite(half.gradient).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("name", CASES)
def test_losses_of_half_precision_on_a_gpu(name: str, precision: str) -> None:
    loss, _, logits = numbers(name, "32-true", "cuda").distance(numbers(name, precision, "cuda"))
    assert loss < TOLERANCE[precision]
    assert logits < 10 * TOLERANCE[precision]
