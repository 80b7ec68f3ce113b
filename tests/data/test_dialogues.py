"""Batches of whole dialogues: what is in them, in training, in tests, on several processes and after a break."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones import LFDNN
from mer_zoo.batch import Batch, Output
from mer_zoo.data import RMM, Condition, MERDataModule
from mer_zoo.data.dialogues import DialogueBatches, dealt_out
from mer_zoo.errors import MERError
from mer_zoo.layers.dialogues import Dialogues
from mer_zoo.module import MERModule

SIZES = {"train": (5, 1, 7, 2, 2, 4), "valid": (3, 4), "test": (6, 2)}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dialogues whose samples lie in no order."""
    rng, tree = np.random.default_rng(0), {}
    for split, sizes in SIZES.items():
        pairs = [(f"{split}{dialogue}", turn) for dialogue, size in enumerate(sizes) for turn in range(size)]
        pairs = [pairs[row] for row in rng.permutation(len(pairs))]
        tree[split] = {
            "dialogue": [dialogue for dialogue, _ in pairs],
            "turn": [turn for _, turn in pairs],
            "audio": rng.normal(size=(len(pairs), 3, 4)),
            "vision": rng.normal(size=(len(pairs), 3, 4)),
            "regression_labels": rng.integers(-2, 3, len(pairs)) * 1.0,
        }
    return corpora.dump(tree, tmp_path_factory.mktemp("corpus") / "dialogues.pkl")


def data_of(file: Path, **options: Any) -> MERDataModule:
    told = {"modalities": ["audio", "vision"], "batch_size": 8, "batches": "dialogues", "labels": "sentiment"}
    return MERDataModule(str(file), **{**told, **options})


def check_whole(batches: Sequence[Batch], split: str, most: int = 8) -> None:
    """Every dialogue is in one batch, whole and in order, and every sample in one."""
    assert sorted(i for batch in batches for i in batch.index.tolist()) == list(range(sum(SIZES[split])))
    for batch in batches:
        assert batch.turn is not None
        runs = "".join(map(str, batch.turn.tolist())).split("0")[1:]
        assert all(run == "".join(map(str, range(1, len(run) + 1))) for run in runs)
        assert len(runs) == len(set(batch.names["dialogue"])) == len(Dialogues.of(batch).rows)
        assert len(batch) <= most or len(runs) == 1


@pytest.mark.parametrize("most", [1, 3, 8, 100])
@pytest.mark.parametrize("split", ["train", "test"])
def test_every_source_gives_whole_dialogues(file: Path, split: str, most: int) -> None:
    data = data_of(file, batch_size=most)
    loader = data.train_dataloader() if split == "train" else data.test_dataloader()[0]
    sources = [loader, data.batch_source(split), data.condition_source(data.conditions[0])][: 2 + (split == "test")]
    for source in sources:
        check_whole(list(source), split, most)
    assert len(list(loader)) == len(loader)


def test_epochs_differ_and_their_lengths_do_not() -> None:
    generator, sizes = torch.Generator().manual_seed(0), [3 + place % 7 for place in range(40)]
    epochs = [dealt_out(sizes, 20, generator) for _ in range(30)]
    assert len({len(epoch) for epoch in epochs}) == 1
    assert len({str(epoch) for epoch in epochs}) == 30
    for epoch in epochs:
        assert sorted(dialogue for batch in epoch for dialogue in batch) == list(range(40))
        assert all(sum(sizes[dialogue] for dialogue in batch) <= 20 for batch in epoch)
    assert len(epochs[0]) <= 1.2 * sum(sizes) / 20 + 1


@pytest.mark.parametrize("shuffle", [True, False])
def test_processes_share_the_batches(shuffle: bool) -> None:
    dialogues = [[row] for row in range(7)]
    parts = [DialogueBatches(dialogues, 2, shuffle, seed=5, processes=3, rank=rank) for rank in range(3)]
    for epoch in (0, 1):
        for part in parts:
            part.set_epoch(epoch)
        found = [list(part) for part in parts]
        assert {len(batches) for batches in found} == {len(parts[0])}
        assert {row for batches in found for batch in batches for row in batch} == set(range(7))


class Context(LFDNN):
    """A network that reads the mean of the dialogue beside the sample."""

    @override
    def forward(self, batch: Batch) -> Output:
        dialogues, output = Dialogues.of(batch), super().forward(batch)
        padded = dialogues.pad(output.logits)
        mean = padded.sum(1, keepdim=True) / dialogues.mask.sum(1)[:, None, None]
        return output.replace(logits=output.logits + dialogues.flat(mean.expand_as(padded)))


class Seen(MERModule):
    """Notes which samples it was trained on."""

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        seen.append(batch.index.tolist())
        return super().training_step(batch, batch_idx)


seen: list[list[int]] = []


def trained(file: Path, folder: Path, epochs: int, ckpt: Path | None = None, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    data = data_of(file)
    module = Seen(Context(data.spec, data.task))
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", max_epochs=epochs, default_root_dir=folder, **quiet, **options)
    trainer.fit(module, data, ckpt_path=ckpt)
    trainer.save_checkpoint(folder / f"{epochs}.ckpt")
    return module


def test_training_goes_on_where_it_was(file: Path, tmp_path: Path) -> None:
    seen.clear()
    whole = trained(file, tmp_path, 3)
    once = list(seen)
    trained(file, tmp_path, 1)
    seen.clear()
    resumed = trained(file, tmp_path, 3, tmp_path / "1.ckpt")
    assert seen == once[len(once) // 3 :]
    assert once[: len(once) // 3] != once[-len(once) // 3 :]
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_loader_goes_on_in_the_middle_of_an_epoch(file: Path) -> None:
    loader = data_of(file).train_dataloader()
    loader.sampler.set_epoch(4)  # type: ignore[attr-defined]
    batches = iter(loader)
    next(batches)
    state, rest = loader.state_dict(), [batch.index.tolist() for batch in batches]  # type: ignore[attr-defined]
    again = data_of(file).train_dataloader()
    again.load_state_dict(state)  # type: ignore[attr-defined]
    again.sampler.set_epoch(4)  # type: ignore[attr-defined]
    assert [batch.index.tolist() for batch in again] == rest != []


def test_what_is_missing_leaves_dialogues_whole(file: Path) -> None:
    data = data_of(file, conditions=[Condition("half", "test", RMM(0.5))])
    batches = list(data.condition_source(data.conditions[0]))
    check_whole(batches, "test")
    assert not all(batch.audio.observed.equal(batch.audio.mask) for batch in batches)


def test_batches_of_samples_are_told_apart(file: Path) -> None:
    with pytest.raises(MERError, match=r"set data\.batches: dialogues"):
        Dialogues.of(next(iter(data_of(file, batches="samples", batch_size=4).batch_source("train"))))


def test_files_without_dialogues_are_refused(tmp_path: Path) -> None:
    tree = {
        split: {"audio": np.full((3, 2, 2), 1.0 + place), "regression_labels": np.array([-2.0, 0.0, 2.0])}
        for place, split in enumerate(SIZES)
    }
    data = data_of(corpora.dump(tree, tmp_path / "a.pkl"), modalities=["audio"])
    with pytest.raises(MERError, match=r"valid of .*a\.pkl does not tell dialogues.*set data\.batches: samples"):
        data.val_dataloader()
    with pytest.raises(MERError, match="unknown batches 'videos' of data; choose from samples, dialogues"):
        data_of(tmp_path / "a.pkl", batches="videos")
