"""Mamba's block against a transcription, step by step, and padding anywhere."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mer_zoo.layers.selective_state import SelectiveState


def block(dim: int = 6) -> SelectiveState:
    torch.manual_seed(0)
    return SelectiveState(dim, states=3).double()


def transcribed(net: SelectiveState, x: Tensor, other: Tensor) -> Tensor:
    """One sample (T, d) without padding."""
    read = other @ net.read.weight.T
    asked = x @ net.ask.weight.T
    gate, c = asked[:, :12], asked[:, 12:]
    assert net.conv.bias is not None
    h, found = torch.zeros(12, 3, dtype=x.dtype), []
    for t in range(len(x)):
        seen = torch.stack([read[t - k] if t >= k else torch.zeros(12, dtype=x.dtype) for k in (3, 2, 1, 0)], 1)
        u = F.silu((net.conv.weight[:, 0] * seen).sum(1) + net.conv.bias)
        chosen = net.choose.weight @ u
        pace, b = F.softplus(net.pace(chosen[:1])), chosen[1:]
        h = torch.exp(-pace[:, None] * net.log_decay.exp()) * h + (pace * u)[:, None] * b
        found.append(net.out((h @ c[t] + net.skip * u) * F.silu(gate[t])))
    return torch.stack(found)


def test_the_block_is_mambas() -> None:
    net, x, other = block(), torch.randn(7, 6).double(), torch.randn(7, 6).double()
    found = net(x[None], other[None], torch.ones(1, 7, dtype=torch.bool))
    torch.testing.assert_close(found[0], transcribed(net, x, other), atol=1e-12, rtol=1e-12)


def test_it_starts_as_mamba_starts() -> None:
    net = SelectiveState(32)
    paces = F.softplus(net.pace.bias)
    assert 0.0009 < paces.min() < 0.01 < paces.max() < 0.11
    torch.testing.assert_close(net.log_decay.exp()[5], torch.arange(1.0, 17))


def test_padding_anywhere_changes_nothing() -> None:
    net, x, other = block(), torch.randn(3, 5, 6).double(), torch.randn(3, 5, 6).double()
    mask = torch.arange(5) < torch.tensor([[5], [2], [0]])
    plain = net(x, other, mask)
    assert not plain[~mask].any()
    for front, behind in ((3, 0), (0, 4), (2, 2)):
        wide_mask = F.pad(mask, (front, behind))
        wide = [torch.where(wide_mask[..., None], F.pad(y, (0, 0, front, behind)), 9.0) for y in (x, other)]
        torch.testing.assert_close(net(*wide, wide_mask)[:, front : front + 5], plain)


def test_a_step_sees_nothing_of_what_comes() -> None:
    net, x, other = block(), torch.randn(1, 6, 6).double(), torch.randn(1, 6, 6).double()
    mask = torch.ones(1, 6, dtype=torch.bool)
    later = torch.cat([other[:, :4], other[:, 4:] + 1], 1)
    first, second = net(x, other, mask), net(x, later, mask)
    torch.testing.assert_close(first[:, :4], second[:, :4])
    assert not torch.allclose(first[:, 4], second[:, 4])


def test_all_of_it_learns_and_half_precision_is_near() -> None:
    torch.manual_seed(0)
    net, x, other = SelectiveState(8), torch.randn(4, 9, 8), torch.randn(4, 9, 8)
    mask = torch.arange(9) < torch.tensor([[9], [5], [1], [3]])
    whole = net(x, other, mask)
    with torch.autocast("cpu", torch.bfloat16):
        half = net(x, other, mask)
    torch.testing.assert_close(half.float(), whole, atol=0.03, rtol=0.1)
    pure = net.bfloat16()(x.bfloat16(), other.bfloat16(), mask)
    assert pure.dtype == torch.bfloat16
    pure.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() and p.grad.isfinite().all() for p in net.parameters())
