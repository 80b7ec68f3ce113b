from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

from mer_zoo.functional.dropout import PIECE, MaskStream, dropout, keep_mask, relu_dropout


@pytest.mark.parametrize("p", [0.1, 0.25, 0.9])
@pytest.mark.parametrize("shape", [(100_003,), (400, 250)])
def test_drops_a_share_p_and_keeps_the_mean(shape: tuple[int, ...], p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(shape, requires_grad=True)
    y = dropout(x, p)
    spread = (p * (1 - p) / x.numel()) ** 0.5
    assert abs((y == 0).float().mean().item() - p) < 5 * spread
    assert abs(y.mean().item() - 1) < 5 * spread / (1 - p)
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 1 / (1 - p)), atol=0, rtol=2e-4)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, y)


def test_neighbours_and_calls_are_independent() -> None:
    torch.manual_seed(0)
    first, second = (dropout(torch.ones(100_000), 0.5) - 1 for _ in range(2))
    assert abs((first * second).mean().item()) < 0.02
    for shift in (1, 2, 3, 4):
        assert abs((first[shift:] * first[:-shift]).mean().item()) < 0.02


def test_seed_decides_and_evaluation_passes_through() -> None:
    x = torch.randn(3, 5)
    torch.manual_seed(3)
    first = dropout(x, 0.5)
    torch.manual_seed(3)
    assert torch.equal(dropout(x, 0.5), first)
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0) is x


@pytest.mark.parametrize("count", [PIECE, 2 * PIECE + 5])
def test_masks_made_in_pieces_are_those_of_one_draw(count: int) -> None:
    torch.manual_seed(3)
    keep, factor = keep_mask((count,), 0.25, torch.device("cpu"))
    torch.manual_seed(3)
    draws = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:count]
    assert torch.equal(keep.bool(), draws >= 2**14 - 2**15)
    torch.manual_seed(3)
    x = torch.randn(count)
    torch.manual_seed(3)
    assert torch.equal(relu_dropout(x.clone(), 0.25), x.relu() * keep * factor)


def test_a_coarse_default_type_draws_the_same() -> None:
    torch.manual_seed(1)
    wanted, _ = keep_mask((1000,), 0.3, torch.device("cpu"))
    torch.set_default_dtype(torch.bfloat16)
    try:
        torch.manual_seed(1)
        assert torch.equal(keep_mask((1000,), 0.3, torch.device("cpu"))[0], wanted)
    finally:
        torch.set_default_dtype(torch.float32)


def test_keeps_type_and_input() -> None:
    x = torch.ones(7, 3, dtype=torch.bfloat16)
    assert dropout(x, 0.5).dtype == torch.bfloat16
    assert x.all()
    assert relu_dropout(x.clone(), 0.5).dtype == torch.bfloat16


def test_a_relu_of_what_is_laid_out_otherwise_is_dropped_in_the_same_places() -> None:
    x = torch.randn(6, 5)
    torch.manual_seed(1)
    wanted = relu_dropout(x.clone(), 0.5)
    torch.manual_seed(1)
    assert torch.equal(relu_dropout(x.t().contiguous().t(), 0.5), wanted)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.7])
def test_a_relu_that_is_dropped_in_place_is_the_dropped_relu(p: float) -> None:
    torch.manual_seed(0)
    weight, x, gradient = torch.randn(50, 30), torch.randn(20, 30, requires_grad=True), torch.randn(20, 50)
    layers: list[Callable[[Tensor], Tensor]] = [lambda y: relu_dropout(y, p), lambda y: dropout(F.relu(y), p)]
    found = []
    for layer in layers:
        torch.manual_seed(1)
        y = layer(F.linear(x, weight))
        (slope,) = torch.autograd.grad(y, x, gradient, create_graph=True)
        torch.manual_seed(1)
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(x.detach(), 2 * x.detach())  # type: ignore[no-untyped-call]
            tangent = forward_ad.unpack_dual(layer(F.linear(dual, weight))).tangent  # type: ignore[no-untyped-call]
        found.append((y, slope, tangent))
    for ours, wanted in zip(*found, strict=True):
        assert torch.equal(ours, wanted)


def test_a_relu_is_dropped_under_vmap_and_on_no_device_at_all() -> None:
    x = torch.randn(3, 40)
    torch.manual_seed(1)
    mapped = torch.func.vmap(lambda row: relu_dropout(row.clone(), 0.5), randomness="same")(x)
    torch.manual_seed(1)
    keep, factor = keep_mask((40,), 0.5, x.device)
    assert torch.equal(mapped, x.relu() * keep * factor)
    assert relu_dropout(torch.empty(3, 40, device="meta"), 0.5).shape == (3, 40)
    assert not relu_dropout(torch.full((40,), -torch.inf), 0.5).any()


def test_masks_of_a_stream_keep_their_share_and_are_independent() -> None:
    torch.manual_seed(0)
    masks, size = MaskStream(0.25, 40_000), 40_000
    draw, again = masks.play(), masks.play()
    drawn = [draw(torch.empty(size)) for _ in range(6)]
    assert all(torch.equal(mask, again(torch.empty(size))) for mask in drawn)
    spread = (0.25 * 0.75 / size) ** 0.5
    centred = [mask - 0.75 for mask in drawn]
    for i, mask in enumerate(centred):
        assert torch.unique(mask).tolist() == [-0.75, 0.25]
        assert abs(mask.mean().item()) < 5 * spread
        for other in [*centred[:i], *(mask.roll(shift) for shift in (1, 2, 3, 4))]:
            assert abs((mask * other).mean().item()) < 5 * 0.25 * 0.75 / size**0.5
