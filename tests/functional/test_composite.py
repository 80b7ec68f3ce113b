"""The composite attention beside its equations, where exponentials are shared, tiled, masked,
dropped out or extreme.
"""

from collections.abc import Iterable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mer_zoo.functional import composite
from mer_zoo.functional.composite import HIDDEN_SCORE, composite_attention, composite_blocks

Lengths = dict[str, int]
Given = tuple[Tensor, Tensor, Tensor]
LENGTHS: list[Lengths] = [
    {"l": 5, "a": 9, "v": 2},
    {"l": 4, "a": 4, "v": 4},
    {"l": 3, "v": 6},
    {"a": 7},
    {"l": 3, "a": 0, "v": 4},
    {"l": 100, "a": 70, "v": 1},
]


def plain(
    q: Tensor, k: Tensor, v: Tensor, lengths: Lengths, mask: Tensor | None = None, factors: Tensor | None = None
) -> tuple[dict[str, Tensor], Tensor]:
    """Softmaxes over slices of the whole score matrix;
    ``factors`` (B, heads, T, T) multiply the weights of the largest block.
    """
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    names = [letter for letter, length in lengths.items() for _ in range(length)]
    results: dict[str, list[Tensor]] = {letter: [] for letter in lengths}
    hidden = torch.zeros(len(q), len(names), dtype=torch.bool) if mask is None else ~mask
    for block in composite_blocks(lengths):
        at = [i for i, name in enumerate(names) if name in block]
        visible = scores[:, :, at][..., at].masked_fill(hidden[:, None, None, at], -torch.inf)
        weights = F.softmax(visible.masked_fill(hidden[:, None, at, None], 0.0), -1)
        weights = weights.masked_fill(hidden[:, None, None, at] | hidden[:, None, at, None], 0.0)
        if factors is not None and len(block) == len(lengths):
            weights = weights * factors
        parts = torch.split(weights @ v[:, :, at], [lengths[letter] for letter in block], 2)
        for letter, part in zip(block, parts, strict=True):
            results[letter].append(part)
    scores = scores.masked_fill(hidden[:, None, None] | hidden[:, None, :, None], HIDDEN_SCORE)
    return {letter: torch.stack(parts, 1) for letter, parts in results.items()}, scores.flatten(0, 1)


def draw(lengths: Lengths, size: float = 1.0, dtype: torch.dtype = torch.float64) -> Given:
    """Queries, keys and values for three samples, four heads of three channels."""
    torch.manual_seed(0)
    shape = (3, 4, sum(lengths.values()), 3)
    q, k, v = (torch.randn(shape, dtype=dtype) for _ in range(3))
    return (size * q).requires_grad_(), (size * k).requires_grad_(), v.requires_grad_()


def some_mask(lengths: Lengths) -> Tensor:
    """Gaps, a sample without its first modality, a sample without anything."""
    mask = torch.rand(3, sum(lengths.values())) < 0.7
    mask[1, : next(iter(lengths.values()))] = False
    mask[2] = False
    return mask


def total_of(parts: Iterable[Tensor]) -> Tensor:
    return torch.stack([x.sum() for x in parts]).sum()


def assert_same(
    ours: tuple[dict[str, Tensor], Tensor | None], expected: tuple[dict[str, Tensor], Tensor], given: Given
) -> None:
    """Outputs, scores and the gradients of both together."""
    outputs, scores = ours
    assert scores is not None
    torch.testing.assert_close(outputs, expected[0], atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(scores, expected[1], atol=1e-9, rtol=1e-9)
    gradients = []
    for parts, matrix in ((outputs, scores), expected):
        torch.manual_seed(1)
        products = [x * torch.randn(x.shape, dtype=x.dtype) for x in (*parts.values(), matrix.clamp(min=-1e6))]
        gradients.append(torch.autograd.grad(total_of(products), given))
    torch.testing.assert_close(*gradients, atol=1e-8, rtol=1e-8)


@pytest.fixture(params=["one tile", "many tiles"])
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in one tile, or tiles of some rows of one matrix."""
    if request.param == "many tiles":
        monkeypatch.setattr(composite, "_CPU_TILE", 1)


@pytest.mark.parametrize("size", [1.0, 6.0])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.usefixtures("tiles")
def test_equals_softmaxes_over_slices(lengths: Lengths, masked: bool, size: float) -> None:
    given = draw(lengths, size)
    mask = some_mask(lengths) if masked else None
    assert_same(composite_attention(*given, lengths, 0.0, mask, True), plain(*given, lengths, mask), given)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.usefixtures("tiles")
def test_dropout_concerns_the_largest_block(masked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = LENGTHS[0]
    given, mask = draw(lengths), some_mask(lengths) if masked else None
    keep = torch.rand(12, 16, 16) < 0.6
    monkeypatch.setattr(composite, "keep_mask", lambda *_: (keep, 2.5))
    expected = plain(*given, lengths, mask, 2.5 * keep.view(3, 4, 16, 16))
    assert_same(composite_attention(*given, lengths, 0.6, mask, True), expected, given)


def test_dropout_is_drawn_anew_and_leaves_the_mean() -> None:
    q = torch.zeros(1, 1, 2000, 1)
    first, second = (composite_attention(q, q, torch.ones_like(q), {"l": 2000}, 0.25)[0]["l"] for _ in range(2))
    assert not torch.equal(first, second)
    assert first.mean().item() == pytest.approx(1, abs=1e-3)
    assert first.std().item() == pytest.approx((0.25 / 0.75 / 2000) ** 0.5, rel=0.1)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [1.0, 8.0])
def test_gradcheck(size: float, masked: bool) -> None:
    lengths = {"l": 2, "a": 3, "v": 1}
    given = tuple(x[:2, :1].detach().requires_grad_() for x in draw(lengths, size))
    mask = torch.tensor([[True] * 6, [False, False, True, True, False, True]]) if masked else None

    def flat(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        outputs, scores = composite_attention(q, k, v, lengths, 0.0, mask, True)
        assert scores is not None
        return (*outputs.values(), scores.clamp(min=-1e6))

    assert torch.autograd.gradcheck(flat, given)


@pytest.mark.parametrize("scale", [1.0, -1.0, 1e3])
def test_columns_that_are_small_beside_others_keep_their_softmax(scale: float) -> None:
    # One query; its scores are [100 | 0, -5]. With the maximum of the whole row, the second block's weights would be
    # [1, 0] or NaN.
    k = torch.tensor([100.0, 0.0, -5.0]).mul(scale).view(1, 1, 3, 1)
    v = torch.tensor([7.0, 1.0, 0.0]).view(1, 1, 3, 1)
    outputs, _ = composite_attention(torch.ones_like(k), k, v, {"l": 1, "a": 2})
    both, alone = outputs["a"][0, :, 0, 0, 0].double()
    torch.testing.assert_close(
        alone, torch.sigmoid(torch.tensor(5.0 * scale, dtype=torch.float64)), atol=1e-6, rtol=1e-5
    )
    weights = F.softmax(k.flatten().double(), 0)
    torch.testing.assert_close(both, weights @ v.flatten().double(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("size", [1.0, 3.0, 30.0, 3e4])
def test_large_scores_keep_single_precision(size: float) -> None:
    lengths = {"l": 8, "a": 12, "v": 5}
    given = draw(lengths, size, torch.float32)
    # The same scores, from the identity as keys, in double precision: what is tested is what follows them.
    unit = torch.eye(25, dtype=torch.float64).expand(3, 4, 25, 25)
    ours, scores = composite_attention(*given, lengths, return_scores=True)
    assert scores is not None
    expected, _ = plain(scores.detach().double().view(3, 4, 25, 25) * 5, unit, given[2].detach().double(), lengths)
    for letter, output in ours.items():
        torch.testing.assert_close(output.double(), expected[letter], atol=1e-5 * max(1, size * size / 50), rtol=1e-5)
    gradients = torch.autograd.grad(total_of(x.square() for x in ours.values()), given)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_what_is_masked_is_never_seen() -> None:
    lengths = LENGTHS[0]
    given, mask = draw(lengths, dtype=torch.float32), some_mask(lengths)
    expected, _ = composite_attention(*given, lengths, key_mask=mask)
    for size in (1.0, 1e6):
        q, k, v = (torch.where(mask[:, None, :, None], x, size * torch.randn_like(x)) for x in given)
        outputs, _ = composite_attention(q, k, v, lengths, key_mask=mask)
        torch.testing.assert_close(outputs, expected, atol=1e-6, rtol=1e-5)
        gradients = torch.autograd.grad(total_of(x.square() for x in outputs.values()), given)
        for gradient in gradients:
            assert gradient.isfinite().all()
            assert not gradient.masked_select(~mask[:, None, :, None]).any()
    assert not any(output[2].any() for output in expected.values())


def test_an_empty_batch() -> None:
    q = torch.zeros(0, 4, 16, 3, requires_grad=True)
    outputs, scores = composite_attention(q, q, q, LENGTHS[0], return_scores=True)
    assert {letter: tuple(x.shape) for letter, x in outputs.items()} == {
        letter: (0, 4, 4, length, 3) for letter, length in LENGTHS[0].items()
    }
    assert scores is not None
    assert scores.shape == (0, 16, 16)


def test_only_the_scores_may_be_differentiated() -> None:
    lengths = LENGTHS[0]
    given = draw(lengths)
    _, scores = composite_attention(*given, lengths, return_scores=True)
    assert scores is not None
    ours, expected = (torch.autograd.grad(x.square().sum(), given[:2]) for x in (scores, plain(*given, lengths)[1]))
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_computes_in_single_precision(dtype: torch.dtype) -> None:
    lengths = LENGTHS[0]
    q, k, v = (x.detach().to(dtype).requires_grad_() for x in draw(lengths, 4.0))
    expected, expected_scores = composite_attention(q.float(), k.float(), v.float(), lengths, return_scores=True)
    with torch.autocast("cpu", dtype):
        outputs, scores = composite_attention(q, k, v, lengths, return_scores=True)
        assert scores is not None
        assert scores.dtype == torch.float32
        torch.testing.assert_close(scores, expected_scores)
        for letter, output in outputs.items():
            torch.testing.assert_close(output, expected[letter].to(dtype))
        torch.autograd.backward(total_of(x.float().square() for x in outputs.values()))
    assert all(x.grad is not None and x.grad.dtype == dtype and x.grad.isfinite().all() for x in (q, k, v))


def test_a_second_derivative_is_refused() -> None:
    given = draw(LENGTHS[0])
    outputs, _ = composite_attention(*given, LENGTHS[0])
    (gradient,) = torch.autograd.grad(outputs["l"].square().sum(), given[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.autograd.backward(gradient.sum())


def test_blocks_stand_in_the_papers_order() -> None:
    names, letters = ["lav", "la", "lv", "av", "l", "a", "v"], "l" * 5 + "a" * 9 + "v" * 2
    assert composite_blocks("lav") == names
    given = draw(LENGTHS[0])
    outputs, _ = composite_attention(*given, LENGTHS[0])
    for name in names:
        at = [i for i, letter in enumerate(letters) if letter in name]
        q, k, v = (x[:, :, at] for x in given)
        alone, _ = composite_attention(q, k, v, {letter: LENGTHS[0][letter] for letter in name})
        for letter in name:
            place = [other for other in names if letter in other].index(name)
            torch.testing.assert_close(outputs[letter][:, place], alone[letter][:, 0])
