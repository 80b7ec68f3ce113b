import pytest
import torch

from mer_zoo.backbones import EFLSTM
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.errors import MERError
from mer_zoo.task import SentimentRegression

TASK = SentimentRegression()


def test_early_fusion_offers_one_sequence_under_every_name() -> None:
    spec = DataSpec()
    hidden = EFLSTM(spec, TASK, dim=8)(Batch.random(spec, TASK)).hidden
    assert hidden is not None
    assert set(hidden) == {"text", "audio", "vision"}
    assert hidden["text"] is hidden["audio"] is hidden["vision"]


def test_early_fusion_joins_aligned_words_step_by_step() -> None:
    spec = DataSpec(text_len=5, audio_len=5, vision_len=5, aligned=True)
    model = EFLSTM(spec, TASK, dim=8).eval()
    batch = Batch.random(spec, TASK, size=1)
    joined = torch.cat([batch.text.x, batch.audio.x, batch.vision.x], 2)
    hidden = model(batch).hidden
    assert hidden is not None
    torch.testing.assert_close(hidden["text"], model.lstm(model.norm(joined))[0])


def test_early_fusion_hears_every_step_of_unaligned_audio() -> None:
    spec = DataSpec(text_len=3, audio_len=11)
    model = EFLSTM(spec, TASK, dim=8).eval()
    batch = Batch.random(spec, TASK, size=1)
    x = batch.audio.x.clone().requires_grad_()
    torch.autograd.backward(model(batch.replace(audio=batch.audio.replace(x=x))).logits.sum())
    assert x.grad is not None
    assert x.grad.any(2).all()


def test_released_early_fusion_refuses_unaligned_data() -> None:
    with pytest.raises(MERError, match="needs aligned data"):
        EFLSTM(DataSpec(), TASK, variant="released")
