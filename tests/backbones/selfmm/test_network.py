from pathlib import Path
from typing import Any

import pytest
import torch
from golden_cases import golden
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader
from toys import TINY_BERT, loss_of
from typing_extensions import override

from mer_zoo.backbones import SelfMM
from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.module import MERModule
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task
from mer_zoo.wrappers import MSSD

TASK = SentimentRegression()
SMALL: dict[str, Any] = {"lstm_dims": (4, 5), "out_dims": (4, 5), "fusion_dim": 8, "post_dims": (6, 4, 5)}
NAMES = {"text": "t", "audio": "a", "vision": "v"}


def close(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def small(task: Task = TASK, spec: DataSpec | None = None, **options: Any) -> SelfMM:
    torch.manual_seed(0)
    return SelfMM(spec or DataSpec(), task, **SMALL, **options)


def released() -> tuple[SelfMM, Batch]:
    config, params, given, _ = golden("self_mm")
    lens = {name: given[name].shape[2 if name == "text" else 1] for name in NAMES}
    dims: list[int] = config["feature_dims"]
    spec = DataSpec(dims[0], dims[1], dims[2], lens["text"], lens["audio"], lens["vision"], tokens=True)
    sizes = {
        "lstm_dims": (config["a_lstm_hidden_size"], config["v_lstm_hidden_size"]),
        "out_dims": (config["audio_out"], config["video_out"]),
        "fusion_dim": config["post_fusion_dim"],
        "post_dims": (config["post_text_dim"], config["post_audio_dim"], config["post_video_dim"]),
    }
    encoder = {**TINY_BERT, "num_hidden_layers": 2, "vocab_size": 30522, "max_position_embeddings": 64}
    model = SelfMM(spec, TASK, encoder, **sizes).eval()
    report = load_released(model, params, "selfmm")
    assert report.used.keys() | report.unused.keys() == params.keys()
    assert all("pooler" in key for key in report.unused)
    assert list(report.kept) == ["bank._extra_state"]
    text = Modality(given["text"][:, 0].long(), given["text"][:, 1].bool())
    audio, vision = (
        Modality(given[name], torch.arange(lens[name]) < given[f"{name}_lengths"][:, None])
        for name in ("audio", "vision")
    )
    return model, Batch(text, audio, vision, given["labels"], torch.arange(3))


def test_the_released_network_and_its_losses() -> None:
    model, batch = released()
    given, out = golden("self_mm")[2:]
    output = model(batch)
    close(output.logits, out["M"])
    close(output.aux.fusion, out["Feature_f"])
    for name, letter in NAMES.items():
        close(output.aux.predictions[name], out[letter.upper()])
        close(output.aux.features[name], out[f"Feature_{letter}"])
    assert model.bank is not None
    known = [torch.ones(3), given["labels"], *(given[f"label_{letter}"] for letter in NAMES.values())]
    rows = torch.stack(known, 1)
    model.bank.rows = torch.cat([rows, rows.new_zeros(3, sum(model.bank.widths[2:]))], 1)
    losses = model.losses(output, batch)
    for name in NAMES:
        torch.testing.assert_close(losses[f"self_mm/{name}"], out[f"loss.{name}"], atol=0, rtol=1e-5)
    task = TASK.criterion(output.logits, batch.target).mean()
    torch.testing.assert_close(task, out["loss.fusion"], atol=0, rtol=1e-5)
    torch.testing.assert_close(task + sum(losses.values()), out["loss.total"], atol=0, rtol=1e-5)


def test_heads_of_modalities_begin_to_learn_at_the_second_visit() -> None:
    model, batch = small(), Batch.random(DataSpec(), TASK, size=6)
    heads = [p for name, p in model.named_parameters() if name.startswith(("towers", "unimodal"))]
    torch.autograd.backward(loss_of(model, batch))
    assert not any(p.grad is None or p.grad.any() for p in heads)
    (second,) = model.steps(batch)
    assert all(loss == 0 for loss in second.losses.values())  # labels move after the loss of their batch
    model.zero_grad()
    torch.autograd.backward(loss_of(model, batch))
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in heads)


def test_nothing_is_remembered_in_evaluation() -> None:
    model, batch = small().eval(), Batch.random(DataSpec(), TASK, size=6)
    for _ in range(2):
        list(model.steps(batch))
        model.predict(batch)
    assert model.bank is not None
    assert not model.bank.rows.any()


@pytest.mark.parametrize("task", [SentimentClassification(3), EmotionDetection()], ids=["classes", "emotions"])
def test_without_real_labels_heads_learn_the_given_ones(task: Task) -> None:
    model, batch = small(task), Batch.random(DataSpec(), task, size=4)
    assert model.bank is None
    assert not any("bank" in name for name in model.state_dict())
    (step,) = model.steps(batch)
    for name in NAMES:
        expected = task.criterion(step.output.aux.predictions[name], batch.target).mean()
        torch.testing.assert_close(step.losses[f"self_mm/{name}"], expected)
    torch.autograd.backward(torch.stack([*step.losses.values()]).sum() + step.output.logits.square().sum())
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


class InOrder(SyntheticMER):
    """The training split in its order, which no random state decides."""

    @override
    def train_dataloader(self) -> DataLoader[Batch]:
        loader = super().train_dataloader()
        return DataLoader(loader.dataset, self.batch_size, collate_fn=loader.collate_fn)


def train(folder: Path, resume: Path | None = None) -> MERModule:
    seed_everything(0)
    corpus = InOrder(SyntheticConfig(train=20, valid=6, test=6), task="regression", batch_size=8)
    torch.manual_seed(1)
    module = MERModule(SelfMM(corpus.spec, corpus.task, **SMALL, post_dropout=0.0))
    keep = ModelCheckpoint(folder, filename="{epoch}", every_n_epochs=1, save_top_k=-1)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", max_epochs=3, callbacks=[keep], num_sanity_val_steps=0, **quiet)
    trainer.fit(module, datamodule=corpus, ckpt_path=resume)
    return module


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")
def test_a_resumed_run_continues_with_the_labels_that_it_had(tmp_path: Path) -> None:
    whole = train(tmp_path)
    resumed = train(tmp_path, tmp_path / "epoch=0.ckpt")
    state, bank = whole.state_dict(), whole.state_dict()["model.bank._extra_state"]
    assert bank[:, 0].tolist() == [3] * 20
    assert (bank[:, 2:5] - bank[:, 1:2]).abs().max() > 0.01
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_each_view_of_a_batch_is_a_visit() -> None:
    inner, batch = small(), Batch.random(DataSpec(), TASK, size=6)
    model = MSSD(inner, alpha=0.0)
    for _ in range(2):
        torch.autograd.backward(loss_of(model, batch))
    assert inner.bank is not None
    assert inner.bank.rows[:, 0].tolist() == [4] * 6


def test_text_is_averaged_unless_an_encoder_or_option_says_otherwise() -> None:
    spec = DataSpec(tokens=True, vocab_size=200)
    assert small(spec=spec).text_pool == "mean"
    assert small(spec=spec, text_encoder={**TINY_BERT, "vocab_size": 200}).text_pool == "first"
    batch = Batch.random(DataSpec(), TASK, size=2)
    x = batch.text.x.clone()
    x[:, 1:] += 1
    other = batch.replace(text=batch.text.replace(x=x))
    first, mean = (small(text_pool=pool).eval() for pool in ("first", "mean"))
    assert torch.equal(first(other).logits, first(batch).logits)
    assert not torch.allclose(mean(other).logits, mean(batch).logits)
    with pytest.raises(MERError, match="unknown text_pool 'last' of SelfMM"):
        small(text_pool="last")
