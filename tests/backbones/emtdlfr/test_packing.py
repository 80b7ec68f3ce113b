import pytest
import torch
from torch import Tensor

from mer_zoo.backbones.emtdlfr.packing import LONG, Packing
from mer_zoo.layers.attention import Visibility, attend, merge_heads, split_heads

LENGTHS = (7, 2 * LONG)


def case(length: int) -> tuple[Tensor, Tensor]:
    """Sequences and a mask with padding in front, behind and inside; the third has no real step."""
    torch.manual_seed(0)
    mask = torch.zeros(4, length, dtype=torch.bool)
    mask[0, 2:] = True
    mask[1, :1] = True
    mask[3, 1:-1:2] = True
    return torch.randn(4, length, 8), mask


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("packed", [True, False])
def test_attention_of_packed_steps_is_that_of_the_real_steps(length: int, packed: bool) -> None:
    x, mask = case(length)
    x = x.double()  # gradients of large scores cancel
    packing = Packing(mask, packed=packed)  # elsewhere than on a CPU steps stay in their places
    inputs = x.clone().requires_grad_()
    q = packing.pack(inputs)
    mixed = packing.unpack(packing.attend(q, 2 * q, 3 * q, heads=2))
    assert mixed[~mask].eq(0).all()
    torch.autograd.backward(mixed.square().sum())
    other = x.clone().requires_grad_()
    for i in (0, 1, 3):
        own = split_heads(other[i : i + 1, mask[i]], 2)
        expected = merge_heads(attend(own, 2 * own, 3 * own, Visibility()))
        torch.testing.assert_close(mixed[i, mask[i]], expected[0])
        torch.autograd.backward(expected.square().sum())
    assert inputs.grad is not None
    assert other.grad is not None
    assert inputs.grad[2].eq(0).all()
    torch.testing.assert_close(inputs.grad, other.grad)


@pytest.mark.parametrize("length", LENGTHS)
def test_only_keys_are_seen(length: int) -> None:
    x, mask = case(length)
    keys = mask & (mask.cumsum(1) < mask.sum(1, keepdim=True))  # all but the last, which leaves sample 1 without
    packing = Packing(mask, keys)
    changed = x.clone()
    changed[0, -1] += 1.0
    changed[1, 0] += 1.0
    q, k, other = (packing.pack(values) for values in (x, x, changed))
    mixed, moved = (packing.unpack(packing.attend(q, values, values, 2)) for values in (k, other))
    assert torch.equal(mixed[[0, 2, 3]], moved[[0, 2, 3]])
    assert not torch.equal(mixed[1, 0], moved[1, 0])  # a step without any key sees itself


def test_dropout_of_attention_reaches_long_and_short_sequences() -> None:
    for length in LENGTHS:
        packing = Packing(torch.ones(1, length, dtype=torch.bool))
        ones = torch.ones(length, 4)
        assert packing.attend(ones, ones, ones, 2, p=0.5).std() > 0.01


@pytest.mark.parametrize("packed", [True, False])
def test_rows_are_those_of_the_samples_left(packed: bool) -> None:
    x, mask = case(7)
    packing = Packing(mask, packed=packed)
    rest, states = packing.rows(packing.pack(x), 1)
    assert torch.equal(rest.unpack(states), (x * mask[..., None])[1:])
    assert packing.rows(states, 0)[0] is packing


def test_nothing_real_at_all() -> None:
    packing = Packing(torch.zeros(2, LONG, dtype=torch.bool))
    x = packing.pack(torch.ones(2, LONG, 4))
    assert packing.unpack(packing.attend(x, x, x, 2)).eq(0).all()


@pytest.mark.parametrize("length", LENGTHS)
def test_wanted_steps_get_what_they_get_among_all(length: int) -> None:
    x, mask = case(length)
    packing = Packing(mask)
    wanted = torch.zeros_like(mask)
    wanted[:, 1::3] = True
    packed = packing.pack(x)
    everything = packing.unpack(packing.attend(packed, packed, packed, 2))
    queries, places = packing.choose(wanted)
    mixed = queries.unpack(packing.attend(packed[places], packed, packed, 2, queries=queries))
    torch.testing.assert_close(mixed, everything * (wanted & mask)[..., None])
    unpacked = Packing(mask, packed=False)
    assert unpacked.choose(wanted) == (unpacked, None)


@pytest.mark.parametrize("length", LENGTHS)
def test_nothing_wanted_still_has_gradients(length: int) -> None:
    packing = Packing(torch.ones(1, length, dtype=torch.bool))
    q, k, v = (torch.randn(length, 4, requires_grad=True) for _ in range(3))
    queries, places = packing.choose(torch.zeros(1, length, dtype=torch.bool))
    torch.autograd.backward(packing.attend(q[places], k, v, 2, queries=queries).sum())
    assert all(part.grad is not None and part.grad.eq(0).all() for part in (q, k, v))
