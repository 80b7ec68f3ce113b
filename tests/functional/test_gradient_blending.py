"""G-Blend's weights against BalanceBenchmark's numbers and examples worked by hand."""

from __future__ import annotations

import pytest
import torch
from golden_cases import golden
from torch.nn import functional as F

from mer_zoo.functional.gradient_blending import blend_weights, gain_and_growth, printed_weights


def test_printed_weights_are_balancebenchmarks() -> None:
    case = golden("gblend_weights")
    losses = case.outputs["losses"].T
    gain, growth = gain_and_growth(losses[:2], losses[2:])
    torch.testing.assert_close(printed_weights(gain, growth), case.outputs["weights"], atol=1e-5, rtol=1e-5)
    assert (gain < 0).any()  # which ours weighs otherwise
    assert not torch.allclose(blend_weights(gain, growth), case.outputs["weights"], atol=1e-2)
    each = torch.stack([F.cross_entropy(logits, case.inputs["target"]) for logits in case.inputs["logits"]])
    assert all((each - value).abs().min() < 1e-5 for value in losses.flatten())


def test_gain_growth_and_weights_by_hand() -> None:
    before = torch.tensor([[0.60, 0.90], [0.70, 0.90]])
    after = torch.tensor([[0.40, 0.75], [0.60, 0.80]])
    gain, growth = gain_and_growth(before, after)
    torch.testing.assert_close(gain, torch.tensor([0.10, 0.10]))
    torch.testing.assert_close(growth, torch.tensor([0.10, 0.05]))
    torch.testing.assert_close(gain / growth.square(), torch.tensor([10.0, 40.0]), atol=1e-3, rtol=1e-4)
    for rule in (printed_weights, blend_weights):
        torch.testing.assert_close(rule(gain, growth), torch.tensor([0.2, 0.8]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("gain", "growth", "printed", "blended"),
    [
        ([-0.1, 0.1], [0.1, 0.1], [0.5, 0.5], [0.0, 1.0]),  # a rise is no gain
        ([0.1, -0.1], [0.1, 0.1], [0.5, 0.5], [0.5, 0.5]),  # nor does it leave the joint loss without its part
        ([0.5, 0.3, 0.1, 0.1], [0.1] * 4, [0.5, 0.3, 0.1, 0.1], [5 / 12, 0.25, 1 / 12, 0.25]),
        ([0.1, 0.2, 0.3, 0.4], [0.1] * 4, [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]),
        ([-0.1, -0.3], [0.1, 0.1], [0.25, 0.75], [0.5, 0.5]),
        ([0.0, 0.0, 0.0], [0.1] * 3, [1 / 3] * 3, [1 / 3] * 3),
        ([0.1, 0.1], [0.0, 0.0], [0.5, 0.5], [0.5, 0.5]),
    ],
)
def test_rules_by_hand(gain: list[float], growth: list[float], printed: list[float], blended: list[float]) -> None:
    found = torch.tensor(gain), torch.tensor(growth)
    torch.testing.assert_close(printed_weights(*found), torch.tensor(printed), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(blend_weights(*found), torch.tensor(blended), atol=1e-5, rtol=1e-5)


def test_losses_that_are_not_finite_leave_weights_equal() -> None:
    gain = torch.tensor([float("nan"), 0.1, 0.1])
    assert blend_weights(gain, torch.full((3,), 0.1)).tolist() == pytest.approx([1 / 3] * 3)
