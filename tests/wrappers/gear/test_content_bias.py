"""GEAR's branches and split: padding, readings, and who trains whom."""

import pytest
import torch
from torch import Tensor, nn

from mer_zoo.wrappers.gear.content_bias import BiasBranch, ContentBias, Reading


def trained(module: nn.Module, loss: Tensor) -> set[str]:
    module.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {name.split(".")[0] for name, p in module.named_parameters() if p.grad is not None and p.grad.any()}


def test_each_head_trains_its_own_half() -> None:
    torch.manual_seed(0)
    split, x = ContentBias(6, 2, dim=16), torch.randn(5, 6)
    assert trained(split, split.content(*split(x)).sum()) == {"content_encoder", "content_head"}
    assert trained(split, split.bias(*split(x)).sum()) == {"bias_encoder", "bias_head"}
    u_c, u_b = split(x)
    other = split.content(u_c, u_b + 1)
    assert not torch.equal(other, split.content(u_c, u_b))  # both heads see both halves


@pytest.mark.parametrize("reading", ["lstm", "first"])
def test_padding_and_empty_samples(reading: Reading) -> None:
    torch.manual_seed(0)
    branch = BiasBranch(3, 2, reading, lstm_dim=4, dim=5).eval()
    x, mask = torch.randn(2, 4, 3), torch.tensor([[True, True, True, False], [False] * 4])
    logits = branch(x, mask)
    front = torch.cat([torch.full((2, 2, 3), 9.0), x.masked_fill(~mask[..., None], 7.0)], 1)
    padded = branch(front, torch.cat([torch.zeros(2, 2, dtype=torch.bool), mask], 1))
    torch.testing.assert_close(logits, padded)
    assert logits.isfinite().all()


def test_only_an_lstm_has_an_encoder() -> None:
    assert BiasBranch(3, 2, "first").encoder is None
    assert BiasBranch(3, 2).features(torch.randn(2, 4, 3), torch.ones(2, 4, dtype=torch.bool)).shape == (2, 32)
