"""Texts are read once: under all conditions of a test, and in all epochs where their encoder is frozen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from toys import TINY_BERT

from mer_zoo.backbones import LFLSTM
from mer_zoo.data import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.layers.text_encoder import TextEncoder
from mer_zoo.module import MERModule
from mer_zoo.training import texts


class Counts:
    """Token states that encoders compute."""

    total = 0


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    found, read = Counts(), TextEncoder._read

    def counted(self: TextEncoder, ids: torch.Tensor, real: torch.Tensor, layers: int) -> torch.Tensor:
        found.total += int(real.sum())
        return read(self, ids, real, layers)

    monkeypatch.setattr(TextEncoder, "_read", counted)
    return found


def run(stage: str, frozen: bool, conditions: list[str], **options: Any) -> MERModule:
    seed_everything(0, verbose=False)
    scm = SyntheticConfig(train=64, valid=16, test=48)
    data = SyntheticMER(scm, batch_size=16, conditions=conditions)
    encoder = {"config": {**TINY_BERT, "vocab_size": 1600}, "frozen": frozen}
    module = MERModule(LFLSTM(data.spec, data.task, dim=8, text_encoder=encoder))
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = Trainer(accelerator="cpu", logger=False, **quiet, **options)
    trainer.fit(module, data) if stage == "fit" else trainer.test(module, data, verbose=False)
    parts = [part for part in module.modules() if isinstance(part, TextEncoder)]
    assert [part.states for part in parts] == [None]
    return module


def test_a_test_reads_each_text_once(counts: Counts, monkeypatch: pytest.MonkeyPatch) -> None:
    run("test", False, ["default"])
    plain, counts.total = counts.total, 0
    module = run("test", False, ["default", "availability"])
    once, counts.total = counts.total, 0
    assert once < 1.3 * plain  # the texts, and texts without a word of each length
    monkeypatch.setattr(texts, "remember_texts", lambda *_, **__: None)
    other = run("test", False, ["default", "availability"])
    assert counts.total > 2.9 * plain
    for name, scores in module.test_scores.items():
        torch.testing.assert_close(scores.logits, other.test_scores[name].logits, atol=1e-6, rtol=0)


def test_training_reads_each_text_once_where_its_encoder_is_frozen(
    counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = run("fit", True, ["default"], max_epochs=3)
    once, counts.total = counts.total, 0
    monkeypatch.setattr(texts, "remember_texts", lambda *_, **__: None)
    other = run("fit", True, ["default"], max_epochs=3)
    assert counts.total >= 3 * once
    pairs = zip(module.parameters(), other.parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)


def test_an_encoder_that_is_trained_reads_every_time(counts: Counts) -> None:
    totals = []
    for epochs in (1, 2):
        counts.total = 0
        run("fit", False, ["default"], max_epochs=epochs, num_sanity_val_steps=0)
        totals.append(counts.total)
    assert totals[1] == 2 * totals[0]


def test_a_run_that_was_broken_off_leaves_no_states_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other weights would be tested on what the ones before said of the texts."""
    data = SyntheticMER(SyntheticConfig(train=64, valid=16, test=48), batch_size=16, conditions=["availability"])
    module = MERModule(LFLSTM(data.spec, data.task, dim=8, text_encoder={"config": {**TINY_BERT, "vocab_size": 1600}}))
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False}
    with monkeypatch.context() as patched:
        patched.setattr(MERModule, "on_test_epoch_end", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Trainer(accelerator="cpu", logger=False, **quiet).test(module, data, verbose=False)
    trainer = Trainer(accelerator="cpu", logger=False, **quiet)
    found: list[Any] = []
    encoder = next(part for part in module.modules() if isinstance(part, TextEncoder))
    encoder.register_forward_pre_hook(lambda part, _: found.append(part.states))
    trainer.validate(module, data, verbose=False)
    assert set(found) == {None}
