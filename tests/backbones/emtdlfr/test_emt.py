import pytest
import torch
from torch import Tensor

from mer_zoo.backbones.emtdlfr.emt import EMT, PromotionUnit, normalise
from mer_zoo.backbones.emtdlfr.packing import Packing
from mer_zoo.layers.attention import Visibility, attend, merge_heads, split_heads, visibility

MASK = torch.tensor([[False, True, True, True, True], [True, True, False, False, False]])


def jolt(module: torch.nn.Module) -> None:
    """Random gains, shifts and biases, so that none of them can be forgotten."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))


def plain(unit: PromotionUnit, x: Tensor, context: Tensor, seen: Visibility, own: Visibility) -> Tensor:
    """The unit as its equations stand."""

    def attention(maps: torch.nn.Module, x: Tensor, context: Tensor, visible: Visibility) -> Tensor:
        k, v = maps.get_submodule("key_value")(context).chunk(2, -1)
        q, k, v = (split_heads(part, 2) for part in (maps.get_submodule("query")(x), k, v))
        mixed: Tensor = maps.get_submodule("out")(merge_heads(attend(q, k, v, visible)))
        return mixed

    x = x + attention(unit.cross, unit.norm_query(x), unit.norm_context(context), seen)
    x = x + attention(unit.attention, unit.norm_self(x), unit.norm_self(x), own)
    a, b = unit.fc1(unit.norm_inner(x)).chunk(2, -1)
    mapped: Tensor = unit.fc2(a * torch.nn.functional.gelu(b))
    return x + mapped


def test_unit_is_its_equations() -> None:
    unit, packing = PromotionUnit(8, heads=2, expansion=3), Packing(MASK)
    jolt(unit)
    x, tokens = torch.randn(2, 5, 8), torch.randn(2, 3, 8)
    packed = packing.pack(x)
    x_hat = packing.unpack(normalise(packed))
    keys = visibility(x, x, causal=False, key_mask=MASK)
    expected = plain(unit, x, tokens, Visibility(), keys)
    torch.testing.assert_close(packing.unpack(unit.steps(packed, x_hat, tokens, packing)[0])[MASK], expected[MASK])
    expected = plain(unit, tokens, x, keys, Visibility())
    torch.testing.assert_close(unit.tokens(tokens, x_hat, packing), expected)


def test_dropped_weights_take_the_shift_of_the_context_with_them() -> None:
    unit, packing = PromotionUnit(8, heads=2, attn_dropout=0.999), Packing(MASK)
    jolt(unit)
    x_hat = packing.unpack(normalise(packing.pack(torch.randn(2, 5, 8))))
    asked = unit._ask_steps(torch.randn(2, 3, 8), x_hat, packing.visible(x_hat))
    # with all weights gone nothing but the bias of the last map is left
    assert (asked - unit.cross.out.bias).abs().amin() == 0


def test_only_the_samples_from_start_on_are_promoted_last() -> None:
    torch.manual_seed(0)
    emt, packing = EMT(["audio", "vision"], 8, heads=2, depth=3), Packing(MASK)
    x = {name: packing.pack(torch.randn(2, 5, 8)) for name in ("audio", "vision")}
    tokens, packings = torch.randn(2, 2, 8), dict.fromkeys(x, packing)
    whole, fused = emt(x, tokens, packings)
    rest, same = emt(x, tokens, packings, start=1)
    assert torch.equal(fused, same)
    for name, states in rest.items():
        torch.testing.assert_close(states, whole[name][1:])
    wanted = {
        "audio": torch.tensor([[True, False, False, False, False]]),
        "vision": torch.zeros(1, 5, dtype=torch.bool),
    }
    some, same = emt(x, tokens, packings, start=1, wanted=wanted)
    assert torch.equal(fused, same)
    torch.testing.assert_close(some["audio"][:, 0], whole["audio"][1:, 0])
    assert some["audio"][:, 1:].eq(0).all()
    assert some["vision"].eq(0).all()


def test_one_modality_has_nothing_to_pool() -> None:
    emt, packing = EMT(["text"], 8, heads=2, depth=2, share_layers=False), Packing(MASK)
    states, tokens = emt({"text": packing.pack(torch.randn(2, 5, 8))}, torch.randn(2, 1, 8), {"text": packing})
    assert len(emt.pools) == 0
    torch.autograd.backward(states["text"].square().sum() + tokens.square().sum())
    assert all(parameter.grad is not None for parameter in emt.parameters())


def test_sizes_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="3 heads do not divide a width of 8"):
        PromotionUnit(8, heads=3)
    with pytest.raises(ValueError, match="depth is 0"):
        EMT(["text"], 8, heads=2, depth=0)
