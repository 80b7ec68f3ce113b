from __future__ import annotations

import pickle
from pathlib import Path

import corpora
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mer_zoo.batch import Batch
from mer_zoo.data.corpus.corpus import SplitData
from mer_zoo.data.corpus.mapped import attach, detach
from mer_zoo.data.datamodule import MERDataModule
from mer_zoo.data.store.store import open_corpus
from mer_zoo.errors import MERError


def wide(path: Path) -> Path:
    return corpora.dump(corpora.mmsa(steps=(7, 900, 800)), path)


def arrays(split: SplitData) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    assert split.token_ids is not None
    assert split.labels is not None
    spans = {f"{name}.spans": values for name, values in split.spans.items()}
    return {**split.features, **spans, "tokens": split.token_ids, "labels": split.labels}


def test_a_mapped_split_travels_as_the_names_of_its_files(tmp_path: Path) -> None:
    split = open_corpus(wide(tmp_path / "corpus.pkl"), cache_dir=tmp_path / "cache").split("train")
    sent = pickle.dumps(split)
    assert sum(array.nbytes for array in arrays(split).values()) > 100_000
    assert len(sent) < 10_000
    arrived = pickle.loads(sent)
    assert (arrived.ids, arrived.raw_text) == (split.ids, split.raw_text)
    for name, array in arrays(arrived).items():
        assert isinstance(array, np.memmap)
        np.testing.assert_array_equal(array, arrays(split)[name], strict=True)


def test_what_is_not_a_whole_mapping_travels_as_numbers(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(12.0).reshape(4, 3))
    whole = np.load(tmp_path / "x.npy", mmap_mode="r")
    for part in (whole[1:3], whole[:, ::2], np.asarray(whole), whole + 0, np.load(tmp_path / "x.npy", mmap_mode="c")):
        assert attach(detach(part)) is part
    assert attach(detach(None)) is None


def test_fortran_order_survives(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.asfortranarray(np.arange(12.0).reshape(4, 3)))
    described = detach(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert described.order == "F"
    np.testing.assert_array_equal(attach(described), np.arange(12.0).reshape(4, 3))


def test_a_file_that_has_gone_or_shrunk_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(12.0))
    described = detach(np.load(tmp_path / "x.npy", mmap_mode="r"))
    (tmp_path / "x.npy").unlink()
    with pytest.raises(MERError, match=r"x\.npy cannot be mapped again"):
        attach(described)
    np.save(tmp_path / "x.npy", np.arange(2.0))
    with pytest.raises(MERError, match=r"x\.npy cannot be mapped again"):
        attach(described)


@pytest.mark.slow
def test_spawned_workers_deliver_what_the_process_itself_does(tmp_path: Path) -> None:
    data = MERDataModule(str(wide(tmp_path / "corpus.pkl")), batch_size=3, cache_dir=str(tmp_path / "cache"))
    data.setup("fit")
    own = data.val_dataloader()
    loader: DataLoader[Batch] = DataLoader(
        own.dataset, batch_size=3, num_workers=1, multiprocessing_context="spawn", collate_fn=own.collate_fn
    )
    for theirs, ours in zip(loader, own, strict=True):
        assert torch.equal(theirs.vision.x, ours.vision.x)
        assert theirs.ids == ours.ids
