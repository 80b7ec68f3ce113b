from typing import Any

import pytest
import torch
import torch.nn.functional as F
from toys import TINY_BERT

from mer_zoo.backbones import MAGBERT
from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.errors import MERError
from mer_zoo.layers.text_encoder import TextEncoder
from mer_zoo.task import SentimentRegression

TASK = SentimentRegression()
TINY = {**TINY_BERT, "vocab_size": 210}
TOKENS = DataSpec(tokens=True, vocab_size=210)
SMALL: dict[str, Any] = {"dim": 8, "depth": 1, "heads": 2}


def small(spec: DataSpec = TOKENS, encoder: Any = TINY, **options: Any) -> MAGBERT:
    torch.manual_seed(0)
    return MAGBERT(spec, TASK, encoder, **SMALL, **options)


def widen(modality: Modality, front: int, behind: int) -> Modality:
    if modality.is_tokens:
        return Modality(F.pad(modality.x, (front, behind)), F.pad(modality.mask, (front, behind)))
    x = F.pad(modality.x, (0, 0, front, behind), value=7.0)
    return Modality(x, F.pad(modality.mask, (front, behind)))


def test_embeddings_given_back_change_nothing() -> None:
    torch.manual_seed(0)
    encoder = TextEncoder(config=TINY).eval()
    text = Batch.random(TOKENS, TASK, size=3).text
    embedded = encoder.embed(text.x, text.mask)
    plain = encoder(text.x, text.mask)
    torch.testing.assert_close(encoder(text.x, text.mask, embedded), plain)
    assert not torch.allclose(encoder(text.x, text.mask, embedded.flip(0)), plain)
    torch.testing.assert_close(encoder(text.x, text.mask), plain)  # nothing of it stays


def test_a_closed_gate_leaves_the_language_model_as_it_is() -> None:
    model, batch = small(out_dropout=0.0).eval(), Batch.random(TOKENS, TASK, size=3)
    for gate in model.gate.gates.values():
        torch.nn.init.constant_(gate.get_parameter("bias"), -1000.0)
    assert model.text_encoder is not None
    text = batch.text
    plain = model.text_encoder(text.x, text.mask, model.gate.norm(model.text_encoder.embed(text.x, text.mask)))
    torch.testing.assert_close(model(batch).hidden["audio"], plain)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("encoder", [None, TINY], ids=["embedding", "bert"])
def test_audio_and_vision_reach_the_words(encoder: Any, aligned: bool) -> None:
    spec = DataSpec(tokens=True, vocab_size=210, text_len=6, audio_len=6, vision_len=6, aligned=aligned)
    model, batch = small(spec, encoder).eval(), Batch.random(spec, TASK, size=3)
    output = model(batch)
    for name in ("audio", "vision"):
        modality = batch.modality(name)
        other = model(batch.replace(**{name: modality.replace(x=modality.x + 1)}))
        assert not torch.allclose(other.logits, output.logits)
        assert torch.equal(other.inputs["text"], output.inputs["text"])  # the words alone
    assert not output.hidden["text"][~batch.text.mask].any()


@pytest.mark.parametrize("padding", [(3, 0), (0, 4), (2, 5)])
@pytest.mark.parametrize("encoder", [None, TINY], ids=["embedding", "bert"])
def test_padding_does_not_matter(encoder: Any, padding: tuple[int, int]) -> None:
    model, batch = small(encoder=encoder).eval(), Batch.random(TOKENS, TASK, size=4)
    wide = batch.replace(**{name: widen(batch.modality(name), *padding) for name in ("text", "audio", "vision")})
    torch.testing.assert_close(model(wide).logits, model(batch).logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_go_through_the_language_model(frozen: bool) -> None:
    model = small(encoder={"config": TINY, "frozen": frozen}, embed_dropout=0.0)
    assert model.text_encoder is not None
    batch = Batch.random(TOKENS, TASK, size=3)
    torch.autograd.backward(model(batch).logits.square().sum())
    free = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in free)
    assert all(p.grad.any() for p in model.gate.parameters())  # type: ignore[union-attr]
    assert any(p.requires_grad for p in model.text_encoder.parameters()) != frozen


@pytest.mark.parametrize("empty", ["text", "audio", "vision"])
@pytest.mark.parametrize("encoder", [None, TINY], ids=["embedding", "bert"])
def test_empty_masks_give_finite_numbers(encoder: Any, empty: str) -> None:
    model, batch = small(encoder=encoder), Batch.random(TOKENS, TASK, size=3)
    modality = batch.modality(empty)
    mask = modality.mask.clone()
    mask[1] = False
    x = modality.x * (mask if modality.is_tokens else mask[..., None])
    output = model(batch.replace(**{empty: Modality(x, mask)}))
    torch.autograd.backward(output.logits.square().sum())
    assert output.logits.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_checkpoint_in_the_names_of_the_library() -> None:
    """The names of a sequence classifier of Hugging Face with the gate inside;
    only those of the gate have been seen.
    """
    model = small()
    renamed = {}
    letters = {"audio": "a", "vision": "v"}
    for name, value in model.state_dict().items():
        for long, letter in letters.items():
            name = name.replace(f"gate.gates.{long}", f"bert.MAG.W_h{letter}").replace(
                f"gate.maps.{long}", f"bert.MAG.W_{letter}"
            )
        name = name.replace("gate.norm", "bert.MAG.LayerNorm").replace("pooler.", "bert.pooler.dense.")
        renamed[name.replace("text_encoder.model.", "bert.").replace("head.", "classifier.")] = value + 1
    other = small()
    assert not load_released(other, renamed, "magbert").unused
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value + 1)


def test_what_cannot_work_is_refused() -> None:
    for modalities in (["text"], ["audio", "vision"]):
        with pytest.raises(MERError, match="MAGBERT moves words by audio or vision"):
            small(DataSpec(modalities=modalities), None)
    with pytest.raises(MERError, match="beta of MAGBERT is 0"):
        small(beta=0.0)
    narrow = {**TINY, "model_type": "albert", "embedding_size": 4}
    with pytest.raises(MERError, match="embeddings of its own width"):
        small(encoder=narrow)
    with pytest.raises(MERError, match="this model was built for token ids"):
        small()(Batch.random(DataSpec(text_dim=8), TASK))
