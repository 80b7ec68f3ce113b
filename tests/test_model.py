from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from toys import MeanNet, Shifting, TwoStep

from mer_zoo.batch import Batch, DataSpec, Modality, Output
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.layers.text_encoder import TextEncoder
from mer_zoo.model import adapt
from mer_zoo.module import MERModule
from mer_zoo.task import SentimentClassification, SentimentRegression
from mer_zoo.wrappers import CausalMER

TINY: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 210,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
TASK = SentimentClassification(3)
TOKENS = DataSpec(tokens=True, vocab_size=210)


class Sum(nn.Module):
    """A user's network: knows nothing of the zoo."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(15, 7)

    def forward(self, text: Tensor, audio: Tensor, vision: Tensor) -> Tensor:
        out: Tensor = self.layer(torch.cat([text.sum(1), audio.sum(1), vision.sum(1)], 1))
        return out


def test_adapt_takes_wrappers_and_trains() -> None:
    batch = Batch.random(DataSpec(), TASK, size=4)
    model = CausalMER(adapt(Sum(), DataSpec(), TASK, feature_dim=7))
    assert model.name == "CausalMER(Sum)"
    assert model.predict(batch).logits.shape == (4, 3)
    assert model.fixed_length


def test_adapt_call_hands_over_masks_and_accepts_an_output() -> None:
    def masked(module: nn.Module, text: Modality, audio: Modality, vision: Modality) -> Tensor:
        features: Tensor = module(*(m.x * m.mask[..., None] for m in (text, audio, vision)))
        return features

    def complete(module: nn.Module, text: Modality, audio: Modality, vision: Modality) -> Output:
        features = masked(module, text, audio, vision)
        return Output(features[:, :3], features)

    batch = Batch.random(DataSpec(), TASK, size=2)
    assert adapt(Sum(), DataSpec(), TASK, feature_dim=7, call=masked)(batch).features.shape == (2, 7)
    assert adapt(Sum(), DataSpec(), TASK, feature_dim=7, call=complete)(batch).logits.shape == (2, 3)


def test_adapt_names_a_wrong_width() -> None:
    batch = Batch.random(DataSpec(), TASK, size=2)
    with pytest.raises(MERError, match=r"returned shape \(2, 7\), expected \(2, 9\): see feature_dim"):
        adapt(Sum(), DataSpec(), TASK, feature_dim=9)(batch)


def test_the_nest_is_listed_from_outside_in() -> None:
    model = Shifting(TwoStep(MeanNet(DataSpec(), SentimentRegression())))
    assert [type(inner).__name__ for inner in model.nest] == ["Shifting", "TwoStep", "MeanNet"]
    assert model.num_steps == 2
    assert model.calibrates
    with pytest.raises(MERError, match=r"TwoStep stands twice in the nest Shifting\(TwoStep\(MeanNet\)\)"):
        TwoStep(model)


def test_token_ids_without_an_encoder_are_embedded_in_64() -> None:
    model = MeanNet(TOKENS, TASK)
    assert model.input_dims["text"] == 64
    assert model(Batch.random(TOKENS, TASK)).inputs["text"].shape == (2, 6, 64)


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


def test_pretrained_groups_do_not_catch_the_plain_embedding(tmp_path: Path) -> None:
    data = SyntheticMER(SyntheticConfig(train=8, valid=4, test=4), batch_size=4)
    module = MERModule(MeanNet(data.spec, data.task), optimizer=lambda p: torch.optim.Adam(p, lr=0.01))
    Trainer(fast_dev_run=1, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False).fit(
        module, datamodule=data
    )
    optimizer = module.optimizers()
    assert not isinstance(optimizer, list)
    assert [group["lr"] for group in optimizer.param_groups] == [0.01]
