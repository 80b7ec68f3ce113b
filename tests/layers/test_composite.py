"""Layers of CIDer: golden vectors of the released code, and what padding and precision must not do."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from mer_zoo.compat import load_released
from mer_zoo.errors import MERError
from mer_zoo.functional.composite import HIDDEN_SCORE
from mer_zoo.layers.composite import MCA, MCT, WSAM, MCTLayer, NaiveAttention
from mer_zoo.layers.dropouts import Dropouts

GOLDEN = Path(__file__).parents[1] / "golden"
LENGTHS = {"l": 4, "a": 6, "v": 3}


def load(stem: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    return load_file(GOLDEN / f"{stem}.safetensors"), json.loads((GOLDEN / f"{stem}.json").read_text())["config"]


def fill(layer: nn.Module, tensors: dict[str, Tensor]) -> dict[str, str]:
    """Load the released parameters; released key to ours."""
    state = {key.removeprefix("param."): value for key, value in tensors.items() if key.startswith("param.")}
    return load_released(layer.eval(), state, "cider").used


def close(actual: Tensor | None, expected: Tensor) -> None:
    assert actual is not None
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def assert_gradients(layer: nn.Module, used: dict[str, str], tensors: dict[str, Tensor], scaled: bool = False) -> None:
    expected = {key.removeprefix("grad."): value for key, value in tensors.items() if key.startswith("grad.")}
    expected = {key: value for key, value in expected.items() if not key.startswith("in.")}
    assert expected
    for key, value in expected.items():
        scale = value.abs().max().clamp(min=1) if scaled else torch.ones(())
        gradient = layer.get_parameter(used[key]).grad
        assert gradient is not None
        close(gradient / scale, value / scale)


def leaf(x: Tensor) -> Tensor:
    """Batch first, with gradient."""
    return x.transpose(0, 1).contiguous().requires_grad_()


def assert_input_gradient(x: Tensor, expected: Tensor) -> None:
    assert x.grad is not None
    close(x.grad.transpose(0, 1), expected)


@pytest.mark.parametrize("projected", [True, False])
def test_golden_wsam(projected: bool) -> None:
    tensors, config = load("cider_wsam")
    wsam = WSAM(config["embed_dim"])
    used = fill(wsam, tensors)
    query, source = leaf(tensors["in.query"]), leaf(tensors["in.kv"])
    mask, frames = tensors["in.mask_t"].bool(), tensors["in.mask_s"].bool()
    words = mask & (torch.arange(10) > 0) & (torch.arange(10) != tensors["in.text_lengths"][:, None] - 1)
    # A source still to be projected by the identity is the projected source.
    y = wsam(query, source, words, frames, None if projected else torch.eye(config["embed_dim"])).transpose(0, 1)
    close(y, tensors["out.attn"])
    torch.autograd.backward((y * tensors["in.cot"]).sum())
    assert_input_gradient(query, tensors["grad.in.query"])
    assert_input_gradient(source, tensors["grad.in.kv"])
    assert_gradients(wsam, used, tensors)
    special = ~words.T
    assert torch.equal(y[special], wsam.out_proj.bias.expand(int(special.sum()), -1))


@pytest.mark.parametrize("width", [3, 40])
def test_a_projection_left_to_wsam_changes_nothing(width: int) -> None:
    torch.manual_seed(0)
    wsam, text, source = WSAM(8), torch.randn(2, 5, 8), torch.randn(2, 120, width)
    nn.init.normal_(wsam.in_proj_bias)
    words, frames = torch.rand(2, 5) < 0.7, torch.rand(2, 120) < 0.7
    projection = torch.randn(8, width) / width**0.5
    expected = wsam(text, F.linear(source, projection), words, frames)
    torch.testing.assert_close(wsam(text, source, words, frames, projection), expected, atol=1e-5, rtol=1e-5)


def test_wsam_without_frames_gives_the_bias() -> None:
    wsam, words, frames = WSAM(8), torch.ones(2, 3, dtype=torch.bool), torch.ones(2, 5, dtype=torch.bool)
    frames[1] = False
    source = torch.randn(2, 5, 8, requires_grad=True)
    y = wsam(torch.randn(2, 3, 8), source, words, frames)
    assert torch.equal(y[1], wsam.out_proj.bias.expand(3, -1))
    torch.autograd.backward(y.square().sum())
    assert source.grad is not None
    assert source.grad.isfinite().all()
    assert source.grad[0].any()
    assert not source.grad[1].any()


@pytest.mark.parametrize("stem", ["cider_mca", "cider_mca_uneven"])
def test_golden_mca(stem: str) -> None:
    tensors, config = load(stem)
    mca = MCA(config["embed_dim"], config["num_heads"])
    used = fill(mca, tensors)
    x = leaf(tensors["in.x"])
    y, scores = mca(x, dict(zip("lav", config["lens"], strict=True)), return_scores=True)
    close(y.transpose(0, 1), tensors["out.attn"])
    close(scores, tensors["out.raw_scores"])
    torch.autograd.backward((y.transpose(0, 1) * tensors["in.cot"]).sum())
    assert_input_gradient(x, tensors["grad.in.x"])
    assert_gradients(mca, used, tensors)


def test_golden_mct() -> None:
    tensors, config = load("cider_mct")
    mct = MCT(config["embed_dim"], config["num_heads"], config["layers"], positions="released")
    used = fill(mct, tensors)
    lengths = dict(zip("lav", config["lens"], strict=True))
    inputs: list[Tensor] = []
    for layer in mct.layers:
        layer.register_forward_pre_hook(lambda _module, args: inputs.append(args[0].detach().clone()))
    x = leaf(tensors["in.x"])
    y, scores = mct(x, lengths)
    close(y.transpose(0, 1), tensors["out.y"])
    close(scores, tensors["out.raw_scores_2"])
    for i, (layer, given) in enumerate(zip(mct.layers, inputs[:3], strict=True)):
        close(layer(given, lengths, return_scores=True)[1], tensors[f"out.raw_scores_{i}"])
    torch.autograd.backward((y.transpose(0, 1) * tensors["in.cot"]).sum())
    assert_input_gradient(x, tensors["grad.in.x"])
    # The released gradients are sums of up to 40 in absolute value, whose rounding exceeds the tolerance of their small
    # elements:
    # the exact gradient, in double precision, differs by 1.3 times that tolerance too. So each tensor has one scale
    # here.
    assert_gradients(mct, used, tensors, scaled=True)


def test_golden_naive_attention() -> None:
    tensors, config = load("cider_naive_attention")
    pool = NaiveAttention(config["dim"])
    used = fill(pool, tensors)
    x = tensors["in.x"].clone().requires_grad_()
    y = pool(x)
    close(y, tensors["out.y"])
    torch.autograd.backward((y * tensors["in.cot"]).sum())
    close(x.grad, tensors["grad.in.x"])
    assert_gradients(pool, used, tensors)


def test_the_folded_maps_are_the_product_of_three() -> None:
    torch.manual_seed(0)
    mca, x = MCA(8, heads=2), torch.randn(2, 13, 8)
    seen: dict[str, Tensor] = {}
    spans = {"l": (0, 4), "a": (4, 10), "v": (10, 13)}
    for block in ("lav", "la", "lv", "av", "l", "a", "v"):
        steps = torch.cat([torch.arange(*spans[letter]) for letter in block])
        q, k, v = (
            F.linear(x[:, steps], mca.in_proj_weight, mca.in_proj_bias).view(2, -1, 3, 2, 4).permute(2, 0, 3, 1, 4)
        )
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        seen[block] = torch.zeros(2, 13, 8).index_copy(1, steps, mca.out_proj[block](mixed))
    merged = []
    for letter, span in spans.items():
        blocks = [value[:, slice(*span)] for block, value in seen.items() if letter in block]
        merged.append(mca.merge[letter](torch.cat(blocks, 2)))
    torch.testing.assert_close(mca(x, LENGTHS)[0], mca.final(torch.cat(merged, 1)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("letters", ["l", "av", "lav"])
def test_composite_transformer_ignores_padding(letters: str) -> None:
    torch.manual_seed(0)
    mct = MCT(8, heads=2, depth=2, letters=letters).eval()
    lengths = {letter: LENGTHS[letter] for letter in letters}
    parts = {letter: torch.randn(2, length, 8) for letter, length in lengths.items()}
    padded = {letter: F.pad(x, (0, 0, 2, 3), value=5.0) for letter, x in parts.items()}
    real = {letter: F.pad(torch.ones(2, length, dtype=torch.bool), (2, 3)) for letter, length in lengths.items()}
    mask = torch.cat(list(real.values()), 1)
    bare, bare_scores = mct(torch.cat(list(parts.values()), 1), lengths)
    wide_lengths = {letter: length + 5 for letter, length in lengths.items()}
    wide, wide_scores = mct(torch.cat(list(padded.values()), 1), wide_lengths, mask)
    torch.testing.assert_close(wide[mask].view_as(bare), bare, atol=1e-5, rtol=1e-5)
    both = (mask[:, :, None] & mask[:, None]).repeat_interleave(2, 0)
    torch.testing.assert_close(wide_scores[both].view_as(bare_scores), bare_scores, atol=1e-5, rtol=1e-5)
    assert (wide_scores[~both] == HIDDEN_SCORE).all()


def test_empty_blocks_and_samples_stay_finite() -> None:
    mct, x = MCT(8, heads=2, depth=2), torch.randn(3, 13, 8, requires_grad=True)
    mask = torch.ones(3, 13, dtype=torch.bool)
    mask[0, :4], mask[1] = False, False
    y, scores = mct(x, LENGTHS, mask)
    weights = F.softmax(scores, -1)
    torch.autograd.backward((y * mask[..., None]).square().sum() + (weights * weights.detach().log1p()).sum())
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert not x.grad[1].any()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in mct.parameters())


def test_attention_dropout_acts_in_the_block_of_all_alone() -> None:
    torch.manual_seed(0)
    mca, x = MCA(8, heads=2, attn_dropout=0.5), torch.randn(2, 13, 8)
    with torch.no_grad():
        for letter, blocks in mca.blocks.items():
            mca.merge[letter].get_parameter("weight")[:, : 8 * (blocks[0] == "lav")] = 0
    expected = mca.eval()(x, LENGTHS)[0]
    torch.testing.assert_close(mca.train()(x, LENGTHS)[0], expected)
    nn.init.normal_(mca.merge["a"].get_parameter("weight"))
    assert not torch.allclose(mca(x, LENGTHS)[0], mca(x, LENGTHS)[0])


@pytest.mark.parametrize("option", ["relu", "res", "embed", "attn"])
def test_every_dropout_is_random_in_training_only(option: str) -> None:
    mct, x = MCT(8, heads=2, depth=1, dropouts=Dropouts(**{option: 0.5})), torch.randn(2, 13, 8)
    assert not torch.equal(mct(x, LENGTHS)[0], mct(x, LENGTHS)[0])
    mct.eval()
    assert torch.equal(mct(x, LENGTHS)[0], mct(x, LENGTHS)[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_keeps_scores_in_single_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    mct, x = MCT(8, heads=2, depth=2).eval(), torch.randn(2, 13, 8)
    exact, exact_scores = mct(x, LENGTHS)
    with torch.autocast("cpu", dtype):
        y, scores = mct(x, LENGTHS)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(y.float(), exact, atol=0.05, rtol=0.05)
    torch.testing.assert_close(scores, exact_scores, atol=0.05, rtol=0.05)


def test_refuses_impossible_sizes() -> None:
    with pytest.raises(MERError, match="3 heads do not divide a width of 8"):
        MCTLayer(8, heads=3)
    with pytest.raises(MERError, match="depth is 0, but the composite transformer needs at least 1"):
        MCT(8, heads=2, depth=0)
