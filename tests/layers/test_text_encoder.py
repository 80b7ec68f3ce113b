from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from toys import TINY_BERT, MeanNet
from transformers import BertConfig

from mer_zoo.batch import Batch, DataSpec
from mer_zoo.errors import MERError
from mer_zoo.layers.text_encoder import TextEncoder, build_text_encoder, remember_texts
from mer_zoo.layers.text_states import TextStates
from mer_zoo.task import SentimentClassification

TINY = {**TINY_BERT, "vocab_size": 210}
TASK = SentimentClassification(3)
TOKENS = DataSpec(tokens=True, vocab_size=210)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_text_encoder_is_trained_or_frozen(frozen: bool) -> None:
    class WithEncoder(MeanNet):
        def __init__(self) -> None:
            super(MeanNet, self).__init__(TOKENS, TASK, {"config": TINY, "frozen": frozen})
            self.feature_dim = 8
            self.hidden = nn.Linear(sum(self.input_dims.values()), 8)
            self.head = nn.Linear(8, 3)

    model = WithEncoder().train()
    assert model.text_encoder is not None
    assert model.input_dims["text"] == 8
    assert model.text_encoder.model.training is not frozen
    loss = model(Batch.random(TOKENS, TASK)).logits.square().sum()
    torch.autograd.backward(loss)
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert any(p.requires_grad for p in model.text_encoder.parameters()) is not frozen


def test_encoded_padding_is_zero_and_does_not_matter() -> None:
    encoder = TextEncoder(config=TINY).eval()
    ids = torch.tensor([[101, 150, 102, 0, 0]])
    long, short = encoder(ids, ids > 0), encoder(ids[:, :3], ids[:, :3] > 0)
    assert not long[:, 3:].any()
    torch.testing.assert_close(long[:, :3], short, atol=1e-5, rtol=1e-4)
    front = ids.roll(2, 1)
    torch.testing.assert_close(encoder(front, front > 0).roll(-2, 1), long, atol=1e-5, rtol=1e-4)


def test_padding_is_encoded_for_networks_that_read_it() -> None:
    encoder = TextEncoder(config=TINY).eval()
    ids = torch.tensor([[101, 150, 102, 0, 0], [101, 102, 0, 0, 0]])
    zeroed = encoder(ids, ids > 0)
    raw = encoder(ids, ids > 0, keep_padding=True)
    assert raw[ids == 0].any(-1).all()
    assert torch.equal(raw * (ids > 0)[..., None], zeroed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs either a path .* or a config"),
        ({"config": {"model_type": "nothing"}}, "can't be built .*; give a local folder or a config"),
        ({"path": "/no/such/folder"}, "text_encoder /no/such/folder can't be built"),
    ],
)
def test_an_encoder_that_cannot_be_built(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MERError, match=message):
        TextEncoder(**options)


def test_an_encoder_needs_token_ids() -> None:
    from mer_zoo.backbones import MulT

    with pytest.raises(MERError, match="needs token ids, but the data gives none; set data.text: tokens"):
        MulT(DataSpec(), TASK, text_encoder="bert-base-uncased")
    model = MeanNet(TOKENS, TASK)
    with pytest.raises(MERError, match="built for token ids, but the batch holds text features"):
        model(Batch.random(DataSpec(), TASK))


@pytest.mark.parametrize("frozen", [False, True])
def test_pretrained_files_are_trained_with_dropout_unless_frozen(tmp_path: Path, frozen: bool) -> None:
    TextEncoder(config=TINY).model.save_pretrained(tmp_path)
    encoder = TextEncoder(path=str(tmp_path), frozen=frozen)
    assert encoder.model.training is not frozen


def test_a_file_in_half_precision_is_computed_as_the_trainer_says(tmp_path: Path) -> None:
    TextEncoder(config=TINY).model.bfloat16().save_pretrained(tmp_path)
    encoder = TextEncoder(path=str(tmp_path))
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}


def test_an_encoder_without_a_longest_text() -> None:
    sizes = {"vocab_size": 210, "d_model": 8, "n_layer": 1, "n_head": 2, "d_inner": 16}
    assert build_text_encoder(TOKENS, {"model_type": "xlnet", **sizes}) is not None


def test_every_form_of_a_configuration() -> None:
    sizes = {name: value for name, value in TINY.items() if name != "model_type"}
    forms: list[Any] = [TINY, {"config": TINY, "frozen": True}, BertConfig(**sizes)]
    for form in forms:
        encoder = build_text_encoder(TOKENS, form)
        assert encoder is not None
        assert encoder.embedding_dim == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "bert"}, "text_encoder has no option 'name'; give path or config"),
        ({**TINY, "max_position_embeddings": 3}, "reads 3 tokens, the text has 6"),
        ({"model_type": "t5", "d_model": 8, "num_layers": 1, "num_heads": 2, "d_ff": 8}, "encoder with a decoder"),
    ],
)
def test_encoders_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MERError, match=message):
        build_text_encoder(TOKENS, options)


class Counted(TextEncoder):
    """Counts the token states that it computes."""

    computed = 0

    def _read(self, ids: torch.Tensor, real: torch.Tensor, layers: int) -> torch.Tensor:
        self.computed += ids.numel()
        return super()._read(ids, real, layers)


@pytest.mark.parametrize("keep_padding", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_texts_that_were_read_are_not_read_again(keep_padding: bool, layers: int) -> None:
    encoder = Counted(config={**TINY, "num_hidden_layers": 2}).eval()
    rows = [[0, 101, 150, 151, 102], [101, 151, 102, 0, 0], [101, 150, 151, 102, 0], [0, 0, 0, 0, 0]]
    ids = torch.tensor(rows)

    def read(ids: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            states: torch.Tensor = encoder(ids, ids > 0, keep_padding=keep_padding, layers=layers)
        return states

    expected, again = read(ids), read(ids.flip(0))
    encoder.computed = 0
    remember_texts(encoder)
    torch.testing.assert_close(read(ids), expected, atol=1e-6, rtol=0)
    assert 0 < encoder.computed <= 3 * 5  # one of the three texts stands there twice
    encoder.computed = 0
    torch.testing.assert_close(read(ids.flip(0)), again, atol=1e-6, rtol=0)
    torch.testing.assert_close(read(ids[1:2]), expected[1:2], atol=1e-6, rtol=0)
    assert encoder.computed == 0
    with torch.no_grad():
        encoder(ids, ids > 0, layers=layers, keep_padding=not keep_padding)
    assert encoder.computed > 0
    remember_texts(encoder, wanted=False)
    assert torch.equal(read(ids), expected)


def test_states_are_not_kept_while_weights_move_or_beyond_the_budget() -> None:
    ids = torch.tensor([[101, 150, 102], [101, 151, 102]])
    encoder = Counted(config=TINY).eval()
    remember_texts(encoder, trained=False)
    assert encoder.states is None
    encoder.states = TextStates(budget=3 * encoder.embedding_dim * 4)  # one text
    for expected in (6, 9):
        with torch.no_grad():
            encoder(ids, ids > 0)
        assert encoder.computed == expected
    encoder(ids, ids > 0).sum().backward()  # with gradients all are read
    assert encoder.computed == 15
    encoder.train()
    with torch.no_grad():
        encoder(ids, ids > 0)  # as in dropout
    assert encoder.computed == 21
    frozen = Counted(config=TINY, frozen=True).train()
    remember_texts(frozen, trained=False)
    assert torch.equal(frozen(ids, ids > 0), frozen(ids, ids > 0))
    assert frozen.computed == 6
