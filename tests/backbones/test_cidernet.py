from typing import Any

import pytest
import torch
import torch.nn.functional as F
from toys import TINY_BERT

from mer_zoo.backbones import CIDerNet
from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.errors import MERError
from mer_zoo.functional.composite import HIDDEN_SCORE
from mer_zoo.layers.composite import MCTLayer
from mer_zoo.task import SentimentClassification
from mer_zoo.wrappers import MACI, MSSD

TASK = SentimentClassification(3)
SMALL: dict[str, Any] = {"dim": 8, "heads": 2}
TINY = {**TINY_BERT, "vocab_size": 210}
TOKENS = DataSpec(tokens=True, vocab_size=210)
MOSI = DataSpec(text_dim=768, audio_dim=5, vision_dim=20, text_len=50, audio_len=375, vision_len=500)


def small(spec: DataSpec, **options: Any) -> CIDerNet:
    torch.manual_seed(0)
    return CIDerNet(spec, TASK, **SMALL, **options).eval()


def pad(modality: Modality, front: int, behind: int) -> Modality:
    """Padding with content, which must not matter."""
    extra = (front, behind)
    if modality.is_tokens:
        return Modality(F.pad(modality.x, extra), F.pad(modality.mask, extra))
    x = F.pad(torch.where(modality.mask[..., None], modality.x, 9.0), (0, 0, *extra), value=9.0)
    ids = None if modality.token_ids is None else F.pad(modality.token_ids, extra)
    return Modality(x, F.pad(modality.mask, extra), token_ids=ids)


def every(batch: Batch, *padding: int) -> Batch:
    return batch.replace(**{name: pad(batch.modality(name), *padding) for name in ("text", "audio", "vision")})


def with_special_tokens(batch: Batch, spec: DataSpec) -> Batch:
    """The same text with [CLS] at its first and [SEP] at its last real step."""
    ids = batch.text.x.clone()
    for row, length in enumerate(batch.text.lengths.tolist()):
        ids[row, 0], ids[row, length - 1] = spec.cls_id, spec.sep_id
    return batch.replace(text=batch.text.replace(x=ids))


def test_parameters_at_mosi_sizes() -> None:
    assert sum(p.numel() for p in CIDerNet(MOSI, TASK).parameters()) == 140_038


@pytest.mark.parametrize(("num_classes", "total"), [(3, 244_086), (7, 251_806)])
def test_parameters_of_the_whole_method_at_mosi_sizes(num_classes: int, total: int) -> None:
    model = MSSD(MACI(CIDerNet(MOSI, SentimentClassification(num_classes))))
    assert sum(p.numel() for p in model.parameters()) == total


def test_shapes_follow_the_text_only_where_it_compresses() -> None:
    unaligned = CIDerNet(MOSI, TASK)
    assert unaligned.hidden_shape == dict.fromkeys(("text", "audio", "vision"), (50, 32))
    assert unaligned.attention_shape == (4, 150, 150)
    assert not unaligned.compress.keys() ^ {"audio", "vision"}
    aligned = CIDerNet(DataSpec(text_len=5, audio_len=5, vision_len=5, aligned=True), TASK)
    assert len(aligned.compress) == 0
    wordless = small(DataSpec(modalities=["audio", "vision"]))
    assert wordless.hidden_shape == {"audio": (8, 8), "vision": (7, 8)}
    assert wordless.attention_shape == (2, 15, 15)
    assert wordless.feature_dim == 16
    output = wordless(Batch.random(wordless.spec, TASK, size=3))
    assert output.attention.shape == (6, 15, 15)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("text_encoder", [None, TINY])
def test_offers_scores_and_hidden_of_the_declared_shapes(text_encoder: dict[str, Any] | None, aligned: bool) -> None:
    spec = DataSpec(tokens=True, vocab_size=210, text_len=6, audio_len=6, vision_len=6, aligned=aligned)
    model = small(spec, text_encoder=text_encoder)
    output = model(Batch.random(spec, TASK, size=3))
    assert output.hidden is not None
    assert output.attention is not None
    assert {name: tuple(h.shape[1:]) for name, h in output.hidden.items()} == model.hidden_shape
    assert model.attention_shape is not None
    assert output.attention.shape == (3 * model.attention_shape[0], *model.attention_shape[1:])


@pytest.mark.parametrize("padding", [(3, 0), (0, 40), (2, 5)])
@pytest.mark.parametrize(
    ("spec", "text_encoder"),
    [
        (DataSpec(), None),
        (DataSpec(text_len=6, audio_len=6, vision_len=6, aligned=True), None),
        (DataSpec(modalities=["audio", "vision"]), None),
        (TOKENS, None),
        (TOKENS, TINY),
    ],
    ids=["features", "aligned", "no text", "tokens", "bert"],
)
def test_masked_padding_changes_nothing(
    spec: DataSpec, text_encoder: dict[str, Any] | None, padding: tuple[int, int]
) -> None:
    model = small(spec, text_encoder=text_encoder, mask_padding=True)
    assert not model.fixed_length
    batch = Batch.random(spec, TASK, size=4)
    if spec.tokens:
        batch = with_special_tokens(batch, spec)
    bare, wide = model(batch), model(every(batch, *padding))
    torch.testing.assert_close(wide.logits, bare.logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(wide.features, bare.features, atol=1e-5, rtol=1e-4)
    for name, h in bare.hidden.items():
        kept = wide.hidden[name][:, padding[0] : padding[0] + h.shape[1]]
        torch.testing.assert_close(kept, h, atol=1e-5, rtol=1e-4)
    real = [scores[scores != HIDDEN_SCORE] for scores in (bare.attention, wide.attention)]
    torch.testing.assert_close(real[1], real[0], atol=1e-5, rtol=1e-4)


def test_the_paper_s_way_reads_padding_and_says_so() -> None:
    model = small(TOKENS, text_encoder=TINY)
    assert model.fixed_length
    batch = Batch.random(TOKENS, TASK, size=4)
    assert model(batch).inputs["text"][~batch.text.mask].any()
    longer = model(every(batch, 0, 2)).logits
    assert not torch.allclose(longer, model(batch).logits)


@pytest.mark.parametrize("mask_padding", [False, True])
@pytest.mark.parametrize("empty", [("text",), ("audio",), ("vision",), ("text", "audio"), ("text", "audio", "vision")])
@pytest.mark.parametrize("text_encoder", [None, TINY])
def test_empty_masks_give_finite_numbers(
    empty: tuple[str, ...], mask_padding: bool, text_encoder: dict[str, Any] | None
) -> None:
    model = small(TOKENS, text_encoder=text_encoder, mask_padding=mask_padding)
    batch = Batch.random(TOKENS, TASK, size=3)
    for name in empty:
        modality = batch.modality(name)
        mask = modality.mask.clone()
        mask[1] = False
        x = modality.x * (mask if modality.is_tokens else mask[..., None])
        batch = batch.replace(**{name: Modality(x, mask)})
    output = model(batch)
    assert output.logits.isfinite().all()
    assert output.attention.isfinite().all()
    torch.autograd.backward(output.logits.square().sum() + output.attention.softmax(-1).square().sum())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
    if mask_padding and len(empty) == 3:
        assert not output.hidden["audio"][1].any()


def test_special_tokens_ask_for_nothing() -> None:
    model = small(TOKENS)
    batch = with_special_tokens(Batch.random(TOKENS, TASK, size=4), TOKENS)
    seen: list[torch.Tensor] = []
    for wsam in model.compress.values():
        wsam.register_forward_hook(lambda _module, args, _output: seen.append(args[2]))
    model(batch)
    words = batch.text.mask & (batch.text.x != TOKENS.cls_id) & (batch.text.x != TOKENS.sep_id)
    assert (batch.text.mask.sum() - words.sum()).item() in range(4, 9)
    assert all(torch.equal(given, words) for given in seen)


def test_token_ids_beside_features_name_the_special_steps() -> None:
    spec = DataSpec()
    model, batch = small(spec), Batch.random(spec, TASK, size=4)
    ids = torch.full_like(batch.text.mask, 200, dtype=torch.long)
    plain = model(batch).logits
    assert torch.equal(model(batch.replace(text=batch.text.replace(token_ids=ids))).logits, plain)
    ids[:, 0] = spec.cls_id
    assert not torch.allclose(model(batch.replace(text=batch.text.replace(token_ids=ids))).logits, plain)


def test_missing_frames_are_attended_to() -> None:
    spec = DataSpec()
    model, batch = small(spec, mask_padding=True), Batch.random(spec, TASK, size=2)
    audio = batch.audio
    kept = audio.mask & (torch.arange(8) % 2 == 0)
    missing = Modality(audio.x * kept[..., None], audio.mask, kept)
    absent = Modality(audio.x * kept[..., None], kept)
    assert not torch.allclose(model(batch.replace(audio=missing)).logits, model(batch.replace(audio=absent)).logits)


def test_released_positions_depend_on_the_place_in_the_batch_alone() -> None:
    spec = DataSpec()
    batch = Batch.random(spec, TASK, size=1)
    twice = batch.replace(
        **{n: Modality(*(t.repeat(2, *[1] * (t.dim() - 1)) for t in (batch.modality(n).x, batch.modality(n).mask)))
           for n in ("text", "audio", "vision")}
    )  # fmt: skip
    logits = small(spec, positions="released")(twice).logits
    assert not torch.allclose(logits[0], logits[1])
    logits = small(spec)(twice).logits
    torch.testing.assert_close(logits[0], logits[1])


def test_the_order_of_steps_matters_through_positions() -> None:
    spec = DataSpec(modalities=["text"])
    model = small(spec)
    model.grus["text"] = torch.nn.Identity()  # the recurrent network would tell the order too
    x = torch.randn(1, 6, 8)
    mask = torch.ones(1, 6, dtype=torch.bool)
    mct = model.mct
    assert mct is not None

    def scores(x: torch.Tensor) -> torch.Tensor:
        encoded: torch.Tensor = mct(x, {"l": 6}, mask)[0]
        return encoded.sum(1)

    assert not torch.allclose(scores(x), scores(x.flip(1)))
    mct.positions = "released"
    torch.testing.assert_close(scores(x), scores(x.flip(1)))


def test_nothing_is_written_into_the_batch() -> None:
    spec = DataSpec()
    batch = Batch.random(spec, TASK, size=3)
    before = [batch.modality(name).x.clone() for name in ("text", "audio", "vision")]
    for mask_padding in (False, True):
        model = small(spec, mask_padding=mask_padding).train()
        torch.autograd.backward(model(batch).logits.square().sum())
    assert all(torch.equal(batch.modality(n).x, x) for n, x in zip(("text", "audio", "vision"), before, strict=True))


def test_scores_of_inner_layers_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    forward = MCTLayer.forward

    def spy(self: MCTLayer, *args: Any, **options: Any) -> Any:
        asked.append(options.get("return_scores", False))
        return forward(self, *args, **options)

    monkeypatch.setattr(MCTLayer, "forward", spy)
    small(DataSpec(), depth=3)(Batch.random(DataSpec(), TASK))
    assert asked == [False, False, True]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    model, batch = small(DataSpec(), mask_padding=True), Batch.random(DataSpec(), TASK, size=4)
    exact = model(batch)
    with torch.autocast("cpu", dtype):
        output = model(batch)
    assert output.attention.dtype == torch.float32
    torch.testing.assert_close(output.logits.float(), exact.logits, atol=0.05, rtol=0.05)
    torch.autograd.backward(output.logits.float().square().sum())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_dropping_the_head_offers_features() -> None:
    model, batch = small(DataSpec()), Batch.random(DataSpec(), TASK)
    expected = model(batch).features
    model.drop_head()
    output = model(batch)
    assert torch.equal(output.logits, output.features)
    assert torch.equal(output.features, expected)
    assert not any(name.startswith("head") for name, _ in model.named_parameters())


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(MERError, match="5 heads do not divide a width of 32"):
        CIDerNet(DataSpec(), TASK, heads=5)
    with pytest.raises(MERError, match="depth is 0"):
        CIDerNet(DataSpec(), TASK, depth=0)
