import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_zoo.errors import MERError
from mer_zoo.layers.dropouts import Dropouts
from mer_zoo.layers.transformer import TransformerEncoder


def randomise(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3)


def plain(encoder: TransformerEncoder, x: Tensor, source: Tensor | None) -> Tensor:
    """The encoder as its equations stand, one sample."""
    for layer in encoder.layers:
        query = layer.norm0(x)
        key = query if source is None else layer.norm0(source)
        weights, biases = layer.attention.in_proj_weight.chunk(3), layer.attention.in_proj_bias.chunk(3)
        q, k, v = (F.linear(a, w, b) for a, w, b in zip((query, key, key), weights, biases, strict=True))
        heads = []
        for part in range(layer.attention.heads):
            a, b, c = (tensor.chunk(layer.attention.heads, 1)[part] for tensor in (q, k, v))
            scores = a @ b.T / math.sqrt(a.shape[1])
            if encoder.causal:
                scores = scores + torch.triu(torch.full(scores.shape, -torch.inf), 1 + abs(len(a) - len(b)))
            heads.append(scores.softmax(1) @ c)
        x = x + layer.attention.out_proj(torch.cat(heads, 1))
        x = x + layer.fc2(layer.fc1(layer.norm1(x)).relu())
    result: Tensor = encoder.norm(x)
    return result


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lengths", [(5, 5), (5, 9), (9, 5), (3, 110), (110, 120), (5, None)])
def test_equals_its_equations(lengths: tuple[int, int | None], causal: bool) -> None:
    encoder = TransformerEncoder(8, heads=2, depth=3, causal=causal)
    randomise(encoder)
    x = torch.randn(2, lengths[0], 8)
    source = None if lengths[1] is None else torch.randn(2, lengths[1], 8)
    y = encoder(x, source)
    for i in range(2):
        torch.testing.assert_close(y[i], plain(encoder, x[i], None if source is None else source[i]))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("cross", [False, True])
def test_padding_is_invisible(cross: bool, causal: bool) -> None:
    encoder = TransformerEncoder(8, heads=2, depth=2, causal=causal)
    randomise(encoder)
    x, source = torch.randn(1, 5, 8), torch.randn(1, 7, 8)
    bare = encoder(x, source if cross else None)
    wide, wide_source = F.pad(x, (0, 0, 2, 3), value=9.0), F.pad(source, (0, 0, 1, 4), value=-9.0)
    mask, source_mask = F.pad(torch.ones(1, 5), (2, 3)).bool(), F.pad(torch.ones(1, 7), (1, 4)).bool()
    y = encoder(wide, wide_source, mask, source_mask) if cross else encoder(wide, mask=mask)
    torch.testing.assert_close(y[:, 2:7], bare)
    assert y.isfinite().all()


def test_input_is_left_alone() -> None:
    encoder = TransformerEncoder(8, heads=2, depth=2, dropouts=Dropouts(embed=0.5, res=0.5, relu=0.5))
    x, source = torch.randn(2, 5, 8), torch.randn(2, 3, 8)
    copies = x.clone(), source.clone()
    encoder(x, source)
    encoder.eval()(x, source)
    assert torch.equal(x, copies[0])
    assert torch.equal(source, copies[1])


@pytest.mark.parametrize("name", ["attn", "relu", "res", "embed"])
def test_each_dropout_acts_in_training_only(name: str) -> None:
    encoder = TransformerEncoder(8, heads=2, depth=1, dropouts=Dropouts(**{name: 0.5}))
    x, source = torch.randn(2, 5, 8), torch.randn(2, 3, 8)
    assert not torch.equal(encoder(x, source), encoder(x, source))
    encoder.eval()
    assert torch.equal(encoder(x, source), encoder(x, source))


def test_refuses_heads_that_do_not_divide() -> None:
    with pytest.raises(MERError, match="3 heads do not divide a width of 8"):
        TransformerEncoder(8, heads=3, depth=1)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [5, 110])
def test_one_step_read_by_itself_is_that_step(length: int, causal: bool, padded: bool) -> None:
    encoder = TransformerEncoder(8, heads=2, depth=2, causal=causal)
    randomise(encoder)
    x, step = torch.randn(3, length, 8), torch.tensor([length - 1, 2, 0])
    mask = (torch.arange(length) < torch.tensor([[length], [3], [0]])) if padded else None
    states, read = encoder.read(x, step, mask)
    torch.testing.assert_close(states, encoder(x, mask=mask))
    torch.testing.assert_close(read, states[torch.arange(3), step])
