"""Layers of LNLN against their equations written plainly;
the golden vectors are in tests/backbones/lnln/test_network.py.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_zoo.backbones.lnln.token_transformer import (
    HyperLayer,
    TokenAttention,
    TokenCrossTransformer,
    TokenLayer,
    TokenTransformer,
)
from mer_zoo.errors import MERError


def randomised(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module


def plain(attention: TokenAttention, x: Tensor, source: Tensor) -> Tensor:
    """The attention with every norm and map by itself."""
    q, k, v = (
        linear(norm(given)).unflatten(2, (attention.heads, 64)).transpose(1, 2)
        for given, norm, linear in (
            (x, attention.norm_q, attention.to_q),
            (source, attention.norm_k, attention.to_k),
            (source, attention.norm_v, attention.to_v),
        )
    )
    weights = F.softmax(q @ k.transpose(2, 3) / 8, -1)
    mixed: Tensor = attention.to_out((weights @ v).transpose(1, 2).flatten(2))
    return mixed


@pytest.mark.parametrize("length", [3, 120])
def test_attention_as_its_equation_stands(length: int) -> None:
    attention = randomised(TokenAttention(6, 2))
    assert isinstance(attention, TokenAttention)
    x, source = torch.randn(2, 5, 6), torch.randn(2, length, 6)
    torch.testing.assert_close(attention(x, source), plain(attention, x, source), atol=1e-4, rtol=1e-5)


def test_the_first_steps_alone_are_those_of_all() -> None:
    layer, x = randomised(TokenLayer(6, 2)), torch.randn(2, 9, 6)
    assert isinstance(layer, TokenLayer)
    torch.testing.assert_close(layer.first(x, 4), layer(x)[:, :4])


def test_tokens_stand_in_front_with_positions_of_their_own() -> None:
    model = TokenTransformer(6, 2, 2, frames=5, tokens=3)
    randomised(model)
    assert model.tokens is not None
    x = torch.randn(2, 5, 6)
    expected = torch.cat([model.tokens.repeat(2, 1, 1), x], 1) + model.positions
    for layer in model.layers:
        expected = layer(expected)
    torch.testing.assert_close(model(x), expected[:, :3])


def test_states_end_with_what_forward_gives() -> None:
    model, x = TokenTransformer(6, 2, 3, frames=5), torch.randn(2, 5, 6)
    states = model.states(x)
    assert len(states) == 4
    torch.testing.assert_close(states[0], x + model.positions)
    torch.testing.assert_close(states[-1], model(x))


def test_hyper_tokens_carry_on_normalised() -> None:
    layer = HyperLayer(6, 2, ["audio", "vision"])
    randomised(layer)
    text, hyper = torch.randn(2, 4, 6), torch.randn(2, 4, 6)
    sources = {name: torch.randn(2, 4, 6) for name in ("audio", "vision")}

    def split(x: Tensor) -> Tensor:
        return x.view(2, 4, 2, 3).transpose(1, 2)

    mixed = torch.zeros(2, 2, 4, 3)
    for name, source in sources.items():
        x = layer.norms[name](source)
        q, k, v = map(split, (layer.to_q(layer.norms["text"](text)), layer.keys[name](x), layer.values[name](x)))
        mixed += F.softmax(q @ k.transpose(2, 3) / 3**0.5, -1) @ v
    expected = layer.norms["hyper"](hyper) + layer.to_out(mixed.transpose(1, 2).flatten(2))
    torch.testing.assert_close(layer(text, sources, hyper), expected)


def test_an_extra_token_of_the_target_would_change_nothing() -> None:
    model = TokenCrossTransformer(6, 2, 2, frames=4)
    randomised(model)
    source, target = torch.randn(2, 4, 6), torch.randn(2, 4, 6)
    extra = model.token.repeat(2, 1, 1)
    s = torch.cat([extra, source], 1) + model.source_positions
    t = torch.cat([extra, target], 1) + model.target_positions
    for layer in model.layers:
        t = layer(t, s)
    torch.testing.assert_close(model(source, target), t[:, 1:])


def test_stacks_without_layers_are_refused() -> None:
    with pytest.raises(MERError, match="number of layers is 0; give at least 1"):
        TokenCrossTransformer(6, 2, 0, frames=4)
