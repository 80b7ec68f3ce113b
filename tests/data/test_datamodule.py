from __future__ import annotations

from pathlib import Path
from typing import Any

import corpora
import pytest
import torch
from lightning.pytorch import Trainer
from toys import MeanNet

from mer_zoo.data import SMM, Condition
from mer_zoo.data.datamodule import IEMOCAP, MOSEI, MOSI, MERDataModule, SyntheticMER
from mer_zoo.data.synthetic import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.module import MERModule

SMALL = SyntheticConfig(train=12, valid=6, test=6)


def trainer(tmp_path: Path) -> Trainer:
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    return Trainer(accelerator="cpu", default_root_dir=tmp_path, max_epochs=1, enable_model_summary=False, **quiet)


@pytest.mark.parametrize(
    ("kind", "name", "task"),
    [
        (MOSI, "mmsa_unaligned", "regression"),
        (MOSI, "mult_mosi_noalign", "seven"),
        (MOSI, "cider", "binary"),
        (MOSEI, "casp", "regression"),
        (MOSEI, "mult_mosei", "five"),
        (IEMOCAP, "mult_iemocap_noalign", "emotions"),
        (MERDataModule, "own_npz", "two"),
        (MERDataModule, "own_folder", "regression"),
    ],
)
def test_every_format_trains_and_tests(
    tmp_path: Path, corpus_files: dict[str, Path], kind: type[MERDataModule], name: str, task: str
) -> None:
    data = kind(str(corpus_files[name]), task=task, batch_size=3)
    module = MERModule(MeanNet(data.spec, data.task))
    trainer(tmp_path).fit(module, datamodule=data)
    trainer(tmp_path).test(module, datamodule=data, verbose=False)
    assert list(module.results) == ["iid"]
    assert torch.isfinite(torch.tensor(module.results["iid"]["metrics"]["loss"]))


def test_spec_and_task_are_known_at_construction(corpus_files: dict[str, Path]) -> None:
    data = MOSI(str(corpus_files["mmsa_unaligned"]), modalities=["audio", "text"])
    assert data.spec.modalities == ("text", "audio")
    assert data.task.shape == (1,)
    assert not data.spec.tokens


def test_tokens_on_request(corpus_files: dict[str, Path]) -> None:
    data = MOSI(str(corpus_files["mmsa_unaligned"]), text="tokens")
    data.setup("fit")
    assert data.spec.tokens
    assert next(iter(data.val_dataloader())).text.is_tokens


def test_unlabelled_files_serve_predict(tmp_path: Path, corpus_files: dict[str, Path]) -> None:
    data = MOSI(str(corpus_files["unlabelled"]))
    module = MERModule(MeanNet(data.spec, data.task))
    parts = trainer(tmp_path).predict(module, datamodule=data)
    assert parts is not None
    assert len(parts) == 1
    with pytest.raises(MERError, match="no labels to test on; use predict"):
        trainer(tmp_path).test(module, datamodule=data)
    with pytest.raises(MERError, match="has no labels; such files serve predict only"):
        trainer(tmp_path).fit(module, datamodule=data)


def test_workers_fetch_the_same_batches(corpus_files: dict[str, Path]) -> None:
    batches = []
    for workers in (0, 2):
        data = MOSI(str(corpus_files["mmsa_unaligned"]), batch_size=2, num_workers=workers)
        data.setup("fit")
        batches.append([batch.audio.x for batch in data.val_dataloader()])
    assert all(torch.equal(a, b) for a, b in zip(*batches, strict=True))


def test_conditions_drop_modalities_on_the_way_to_the_model(tmp_path: Path) -> None:
    given: list[str | Condition] = ["default", Condition("text only", "test_iid", SMM(["text"]))]
    data = SyntheticMER(SMALL, conditions=given)
    seen: dict[int, Any] = {}

    class Spy(MeanNet):
        def forward(self, batch: Any) -> Any:
            seen[len(seen)] = batch
            return super().forward(batch)

    trainer(tmp_path).test(MERModule(Spy(data.spec, data.task)), datamodule=data, verbose=False)
    assert seen[0].audio.x.any()
    last = seen[len(seen) - 1]
    assert not last.audio.x.any()
    assert not last.vision.observed.any()
    assert last.vision.mask.any()
    assert last.text.observed.all() == last.text.mask.all()


def test_another_corpus_as_a_condition(tmp_path: Path, corpus_files: dict[str, Path]) -> None:
    other = corpora.dump(corpora.mmsa(9, steps=(5, 14, 6)), tmp_path / "other.pkl")
    data = MOSI(
        str(corpus_files["mmsa_unaligned"]), conditions=["default", Condition("cross", "test", source=str(other))]
    )
    module = MERModule(MeanNet(data.spec, data.task))
    trainer(tmp_path).test(module, datamodule=data, verbose=False)
    assert list(module.results) == ["iid", "cross"]
    loaders = data.test_dataloader()
    assert next(iter(loaders[1])).audio.x.shape[1] == data.spec.audio_len
    emotional = Condition("cross", "test", source=str(corpus_files["mult_mosei"]))
    clash = MOSI(str(corpus_files["mmsa_unaligned"]), conditions=[emotional])
    with pytest.raises(MERError, match="has text of width .*, .* of .*; cross-dataset tests need equal features"):
        clash.test_dataloader()


def test_a_modality_that_is_absent_everywhere_must_be_declared(tmp_path: Path) -> None:
    tree = corpora.mmsa(3)
    for split in tree.values():
        split["vision"][:] = 0
        split.pop("vision_lengths", None)
    path = corpora.dump(tree, tmp_path / "deaf.pkl")
    with pytest.raises(MERError, match=r"no vision: it is zero in every sample; set data.modalities: \[text, audio\]"):
        MOSI(str(path))
    assert MOSI(str(path), modalities=["text", "audio"]).spec.modalities == ("text", "audio")


def test_batch_size_must_be_positive() -> None:
    with pytest.raises(MERError, match="batch_size is 0; give at least 1"):
        SyntheticMER(SMALL, batch_size=0)


@pytest.mark.parametrize("task", ["regression", "two", "binary", "five", "seven", "emotions"])
def test_synthetic_labels_follow_the_task(tmp_path: Path, task: str) -> None:
    data = SyntheticMER(SMALL, task=task)
    module = MERModule(MeanNet(data.spec, data.task))
    trainer(tmp_path).fit(module, datamodule=data)
    assert next(iter(data.val_dataloader())).target.dtype == (
        torch.float32 if task not in ("binary", "emotions") else torch.int64
    )


def test_the_second_argument_is_the_batch_size(corpus_files: dict[str, Path]) -> None:
    assert MOSI(str(corpus_files["mmsa_unaligned"]), 3).batch_size == 3


def test_predict_reads_the_first_test_split_by_default() -> None:
    assert SyntheticMER(SMALL).predict_split == "test_iid"
    with pytest.raises(MERError, match="has no split 'test'"):
        SyntheticMER(SMALL, predict_split="test")


def test_robustness_covers_every_rate() -> None:
    names = [condition.name for condition in SyntheticMER(SMALL, conditions="robustness").conditions]
    assert names == ["iid", *(f"RMFM {rate / 10}" for rate in range(1, 11))]


def test_conditions_that_do_not_suit_the_data_fail_early(corpus_files: dict[str, Path]) -> None:
    with pytest.raises(MERError, match=r"TMFM\(rate=0.1\) drops the same time steps .* needs aligned data"):
        SyntheticMER(SMALL, conditions=["default", "robustness:TMFM"])
    aligned = MOSI(str(corpus_files["mmsa_aligned"]), conditions="robustness:STMFM")
    assert len(aligned.conditions) == 11
    with pytest.raises(MERError, match="keeps vision, but the data is used with text, audio only"):
        SyntheticMER(SMALL, modalities=["text", "audio"], conditions=[Condition("v", "test_iid", SMM(["vision"]))])
