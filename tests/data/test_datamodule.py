from __future__ import annotations

import json
import os
import sys
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import corpora
import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import Dataset
from toys import MeanNet
from typing_extensions import override

from mer_zoo.backbones import LFLSTM
from mer_zoo.batch import MODALITIES
from mer_zoo.cli import main as cli
from mer_zoo.data import RMFM, SMM, Condition, loader
from mer_zoo.data.datamodule import IEMOCAP, MOSEI, MOSI, MERDataModule, SyntheticMER
from mer_zoo.data.source import SplitSource
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError, TrainingError
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


def test_no_more_steps_are_read_than_are_asked_for(tmp_path: Path, corpus_files: dict[str, Path]) -> None:
    source = str(corpus_files["mmsa_unaligned"])
    whole, cut = (
        MOSI(source, batch_size=3),
        MOSI(source, batch_size=3, max_lengths={"text": 2, "audio": 3, "vision": 99}),
    )
    assert (cut.spec.text_len, cut.spec.audio_len, cut.spec.vision_len) == (2, 3, whole.spec.vision_len)
    long, short = (next(iter(data.batch_source("train"))) for data in (whole, cut))
    assert long.audio.mask.sum(1).max() > 3
    for name in ("text", "audio", "vision"):
        one, other = long.modality(name), short.modality(name)
        for i in range(3):
            steps = one.x[i, one.mask[i]][: cut.spec.length(name)]
            assert torch.equal(other.x[i, other.mask[i]], steps)
    module = MERModule(MeanNet(cut.spec, cut.task))
    trainer(tmp_path).fit(module, datamodule=cut)
    trainer(tmp_path).test(module, datamodule=cut, verbose=False)
    assert torch.isfinite(torch.tensor(module.results["iid"]["metrics"]["loss"]))


@pytest.mark.parametrize(
    ("name", "lengths", "message"),
    [
        (
            "mmsa_unaligned",
            {"words": 3},
            "max_lengths has words: 3; give a number of steps, at least 1, for text, audio",
        ),
        ("mmsa_unaligned", {"text": 0}, "max_lengths has text: 0"),
        ("mmsa_aligned", {"text": 3}, "max_lengths would part modalities that share one time axis; take unaligned"),
    ],
)
def test_lengths_that_cannot_be(
    corpus_files: dict[str, Path], name: str, lengths: dict[str, int], message: str
) -> None:
    with pytest.raises(MERError, match=message):
        MOSI(str(corpus_files[name]), max_lengths=lengths)


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


def test_a_text_encoder_that_does_not_know_the_token_ids_is_refused_before_training(
    tmp_path: Path, corpus_files: dict[str, Path]
) -> None:
    data = MOSI(str(corpus_files["mmsa_unaligned"]), text="tokens")
    largest = max(int(split.token_ids.max()) for split in data.corpus.splits.values() if split.token_ids is not None)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    for vocabulary in (largest, largest + 1):
        encoder = {"model_type": "bert", "vocab_size": vocabulary, **sizes}
        module = MERModule(LFLSTM(data.spec, data.task, text_encoder=encoder, dim=4))
        if vocabulary == largest:
            with pytest.raises(MERError, match=f"token ids up to {largest} .*the text encoder knows {largest}; choose"):
                trainer(tmp_path).fit(module, data)
        else:
            trainer(tmp_path).fit(module, data)


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


@pytest.mark.parametrize("pattern", ["RMFM", "TraditionalRMFM", "RMM"])
def test_what_is_missing_at_a_rate_is_missing_at_every_larger_one(pattern: str) -> None:
    data = SyntheticMER(SMALL, conditions=f"robustness:{pattern}")
    views = [next(iter(data.condition_source(condition))) for condition in data.conditions]
    for less, more in pairwise(views):
        for name in MODALITIES:
            assert not (more.modality(name).observed & ~less.modality(name).observed).any()
    assert views[-1].audio.observed.sum() == 0 < views[5].audio.observed.sum() < views[0].audio.observed.sum()


def test_conditions_that_do_not_suit_the_data_fail_early(corpus_files: dict[str, Path]) -> None:
    with pytest.raises(MERError, match=r"TMFM\(rate=0.1\) drops the same time steps .* needs aligned data"):
        SyntheticMER(SMALL, conditions=["default", "robustness:TMFM"])
    aligned = MOSI(str(corpus_files["mmsa_aligned"]), conditions="robustness:STMFM")
    assert len(aligned.conditions) == 11
    with pytest.raises(MERError, match="keeps vision, but the data is used with text, audio only"):
        SyntheticMER(SMALL, modalities=["text", "audio"], conditions=[Condition("v", "test_iid", SMM(["vision"]))])


def test_cross_dataset_conditions_from_the_command_line(
    tmp_path: Path, corpus_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Train on one corpus, test on another one whose texts are longer, under missing frames too."""
    monkeypatch.chdir(tmp_path)
    corpora.dump(corpora.mmsa(9, steps=(5, 14, 6)), tmp_path / "mosei.pkl")
    given = [
        "--model.backbone=LFLSTM",
        "--data=MOSI",
        f"--data.path={corpus_files['mmsa_unaligned']}",
        "--data.task=binary",
        "--data.text=tokens",
        "--data.conditions=[default, {name: mosei, split: test, source: mosei.pkl}, robustness:RMM@mosei]",
        "--trainer.accelerator=cpu",
    ]
    cli(["fit", "--trainer.fast_dev_run=1", *given])
    cli(["test", *given, "--untrained=true"])
    (results,) = tmp_path.glob("runs/**/results.json")
    conditions = json.loads(results.read_text())["conditions"]
    assert list(conditions) == ["iid", "mosei", *(f"mosei RMM {step / 10}" for step in range(1, 11))]


def test_token_ids_that_are_cut_keep_their_ending(tmp_path: Path, corpus_files: dict[str, Path]) -> None:
    longer = corpora.dump(corpora.mmsa(9, steps=(12, 9, 11)), tmp_path / "longer.pkl")
    data = MOSI(str(corpus_files["mmsa_unaligned"]), text="tokens", standardize=False)
    full = MOSI(str(longer), text="tokens", standardize=False).dataset("test").__getitems__(range(6)).text
    cut = data.dataset("test", str(longer)).__getitems__(range(6)).text
    assert cut.x.shape[1] == data.spec.text_len < full.x.shape[1]
    assert (full.lengths > cut.x.shape[1]).any()
    for row, length in enumerate(cut.lengths.tolist()):
        assert cut.x[row, length - 1] == 102
        assert torch.equal(cut.x[row, : length - 1], full.x[row, : length - 1])


def test_what_no_cross_dataset_test_can_use_is_named(tmp_path: Path, corpus_files: dict[str, Path]) -> None:
    trees = {name: corpora.mmsa(seed) for name, seed in (("own", 2), ("many", 9), ("moved", 2))}
    trees["many"]["test"]["text_bert"][0, 0, 1] = 50264
    trees["moved"]["test"], trees["moved"]["train"] = trees["moved"]["train"], trees["moved"]["test"]
    files = {name: str(corpora.dump(tree, tmp_path / f"{name}.pkl")) for name, tree in trees.items()}
    data = MOSI(files["own"], text="tokens")
    for name, message in {
        "many": r"many\.pkl has token ids up to 50264, .*own\.pkl up to 30521; .* the same tokenizer",
        "moved": r"test of .*moved\.pkl shares 8 samples with train of .*own\.pkl \(first id .*\)",
    }.items():
        with pytest.raises(MERError, match=message):
            data.dataset("test", files[name])
    aligned = MOSI(str(corpus_files["mmsa_aligned"]))
    with pytest.raises(MERError, match=r"own\.pkl is unaligned, .*aligned\.pkl aligned; .* both files of one kind"):
        aligned.dataset("test", files["own"])


def test_one_file_under_two_names_is_no_second_condition(tmp_path: Path) -> None:
    """A published pair of an IID and an OOD test file has equal content."""
    first, second = (str(corpora.dump(corpora.mmsa(2), tmp_path / f"{name}.pkl")) for name in ("iid", "ood"))
    with pytest.raises(MERError, match="conditions 'iid' and 'ood' test on the same data; give each its own file"):
        MOSI(first, conditions=["default", Condition("ood", "test", source=second)]).test_dataloader()
    named = MOSI(first, conditions=["default", Condition("own", "test", source=first)])
    assert len(named.test_dataloader()) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")
def test_parameters_do_not_depend_on_workers(tmp_path: Path, corpus_files: dict[str, Path]) -> None:
    found = []
    for workers in (0, 1, 2):
        torch.manual_seed(0)
        data = MOSI(str(corpus_files["mmsa_unaligned"]), batch_size=2, num_workers=workers)
        module = MERModule(LFLSTM(data.spec, data.task, dim=4))
        quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
        options = {**quiet, "max_epochs": 3, "enable_model_summary": False, "check_val_every_n_epoch": 2}
        Trainer(accelerator="cpu", default_root_dir=tmp_path, **options).fit(module, data)
        found.append((torch.cat([p.detach().flatten() for p in module.parameters()]), torch.rand(4)))
    for parameters, draws in found[1:]:
        assert torch.equal(parameters, found[0][0])
        assert torch.equal(draws, found[0][1])


def test_workers_without_room_for_their_batches_are_refused(
    corpus_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = MOSI(str(corpus_files["mmsa_unaligned"]), batch_size=4, num_workers=4)
    batch = next(iter(SplitSource(data.dataset("train"), 4)))
    kinds = (batch.text, batch.audio, batch.vision)
    tensors = [tensor for kind in kinds for tensor in (kind.x, kind.mask, kind.token_ids) if tensor is not None]
    assert 4 * data.dataset("train").sample_bytes == sum(tensor.nbytes for tensor in tensors)
    need = 4 * 2 * sum(tensor.nbytes for tensor in tensors)
    for free in (need, need - 1):
        monkeypatch.setattr(loader, "SHARED", Path("/"))
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))  # noqa: B023
        if free == need:
            data.train_dataloader()
        else:
            with pytest.raises(MERError, match=r"4 workers need .* MB of shared memory .* set data\.num_workers lower"):
                data.train_dataloader()


class Dying(Dataset[int]):
    def __len__(self) -> int:
        return 4

    @override
    def __getitem__(self, index: int) -> int:
        os._exit(1)


@pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")
def test_a_worker_that_dies_is_told_in_one_sentence() -> None:
    with pytest.raises(TrainingError, match=r"a worker that fetches batches was killed.*set data\.num_workers lower"):
        list(loader.ResumableLoader(Dying(), num_workers=1, timeout=60))  # type: ignore[arg-type]


@pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")
def test_a_worker_that_gives_nothing_is_not_waited_for_without_end() -> None:
    class Slow(Dying):
        @override
        def __getitem__(self, index: int) -> int:
            time.sleep(20)
            return 0

    begin = time.monotonic()
    with pytest.raises(TrainingError, match="has given none"):
        list(loader.ResumableLoader(Slow(), num_workers=1, timeout=1))  # type: ignore[arg-type]
    assert time.monotonic() - begin < 15


def test_masks_do_not_depend_on_batches_or_workers(tmp_path: Path) -> None:
    seen: list[dict[int, list[bool]]] = []
    for batch_size, workers in ((4, 0), (3, 2)):
        half = Condition("half", "test_iid", RMFM(0.5))
        data = SyntheticMER(SMALL, batch_size=batch_size, num_workers=workers, conditions=[half], seed=3)
        found: dict[int, list[bool]] = {}

        class Spy(MeanNet):
            def forward(self, batch: Any, found: dict[int, list[bool]] = found) -> Any:
                for row, index in enumerate(batch.index.tolist()):
                    # padding that no sample of a batch needs is cut, so only real places compare
                    parts = [batch.modality(name) for name in ("text", "audio", "vision")]
                    found[index] = torch.cat([part.observed[row][part.mask[row]] for part in parts]).tolist()
                return super().forward(batch)

        trainer(tmp_path).test(MERModule(Spy(data.spec, data.task)), datamodule=data, verbose=False)
        seen.append(found)
    assert seen[0] == seen[1]
    assert len(seen[0]) == SMALL.test
    assert 0.3 < sum(map(sum, seen[0].values())) / sum(map(len, seen[0].values())) < 0.7


def test_there_has_to_be_something_to_test() -> None:
    data = SyntheticMER(SyntheticConfig(train=8, valid=4, test=4), conditions=[])
    with pytest.raises(MERError, match="there is nothing to test"):
        data.test_dataloader()
