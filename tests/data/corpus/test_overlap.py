from __future__ import annotations

import json
from pathlib import Path

import corpora
import numpy as np
import pytest

from mer_zoo.data.convert import convert
from mer_zoo.data.corpus.contents import equal_splits
from mer_zoo.data.corpus.overlap import id_overlaps, named_samples, shared_ids, sharing
from mer_zoo.data.store.store import META, open_corpus
from mer_zoo.data.validate import validate
from mer_zoo.errors import MERError


def refused(tree: corpora.Tree, tmp_path: Path) -> str:
    path = corpora.dump(tree, tmp_path / "corpus.pkl")
    with pytest.raises(MERError) as caught:
        open_corpus(path, cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    assert str(validate(path)[0]) in str(caught.value)
    return str(caught.value)


def test_shared_samples_are_refused(tmp_path: Path) -> None:
    tree = corpora.mmsa()
    for key in tree["test"]:
        tree["test"][key][:2] = np.asarray(tree["train"][key])[[4, 2]]
    message = refused(tree, tmp_path)
    assert "2 samples of train are in test too (samples _aB-1$_$2, _aB-1$_$4)" in message
    assert "keep every sample in one split only" in message


def test_equal_splits_are_refused(tmp_path: Path) -> None:
    """As in a published set, where the file of one test split was saved twice."""
    tree = corpora.mmsa()
    tree["test_ood"] = tree["test"]
    assert "test and test_ood hold the same 6 samples" in refused(tree, tmp_path)


@pytest.mark.parametrize("kind", ["mosi", "iemocap"])
def test_equal_splits_without_ids_are_refused(tmp_path: Path, kind: str) -> None:
    tree = corpora.without(corpora.mult(kind), "id")
    tree["test"] = tree["train"]
    assert "train and test hold the same data" in refused(tree, tmp_path)


def test_equal_data_under_other_ids_are_refused(tmp_path: Path) -> None:
    tree = corpora.mmsa()
    tree["test"] = {**tree["train"], "id": np.array([f"new{row}" for row in range(8)])}
    assert "train and test hold the same data" in refused(tree, tmp_path)


def test_a_store_with_shared_samples_is_refused(tmp_path: Path) -> None:
    convert(corpora.dump(corpora.mmsa(), tmp_path / "corpus.pkl"), tmp_path / "store", progress=False)
    meta = json.loads((tmp_path / "store" / META).read_text())
    meta["splits"]["valid"]["ids"][0] = meta["splits"]["train"]["ids"][0]
    (tmp_path / "store" / META).write_text(json.dumps(meta))
    with pytest.raises(MERError, match="1 sample of train is in valid too"):
        open_corpus(tmp_path / "store")


def test_recordings_may_be_in_two_splits(tmp_path: Path) -> None:
    """Ids that name the video only say nothing about the clips."""
    tree = corpora.mmsa()
    for fields in tree.values():
        fields["id"] = np.array(["one", "two"] * 4)[: len(fields["id"])]
    corpus = open_corpus(corpora.dump(tree, tmp_path / "corpus.pkl"))
    assert "2 ids both in train and in test" in corpus.notes


def test_files_without_ids_open(corpus_files: dict[str, Path]) -> None:
    for name in ("mult_iemocap", "mult_iemocap_noalign", "mult_mosei", "cider"):
        assert len(open_corpus(corpus_files[name]).split("train")) == 8


def test_numbers_and_recordings_name_no_samples() -> None:
    assert named_samples("train", ["train_0", "train_1"]) == set()
    assert named_samples("test_ood", ["train_0", "train_1"]) == {"train_0", "train_1"}
    assert named_samples("train", ["a", "a", "b", "b"]) == set()
    assert named_samples("train", ["a", "a", "b"]) == {"b"}
    assert shared_ids("train", ["b", "a", "a"], "test", ["a", "b"]) == ["b"]
    assert id_overlaps({"train": ["a"], "valid": ["b"], "test": ["c"]}) == []


def test_content_is_compared_array_by_array() -> None:
    x = np.arange(12.0).reshape(2, 3, 2)
    one = {"audio": x, "labels": np.zeros(2), "tokens": None}
    others = {
        "equal": {"audio": x.copy(), "labels": np.zeros(2, np.int64)},
        "other audio": {"audio": x + 1, "labels": np.zeros(2)},
        "other labels": {"audio": x, "labels": np.ones(2)},
        "shorter": {"audio": x[:, :2], "labels": np.zeros(2)},
        "less": {"labels": np.zeros(2)},
        "nothing": {},
        "nothing, too": {},
    }
    assert equal_splits({"one": one, **others}) == [("one", "equal")]


def test_content_is_compared_to_its_last_row() -> None:
    x = np.zeros((3, 2**17, 1))
    y = x.copy()
    y[-1, -1] = 1
    splits = {"a": {"audio": x}, "b": {"audio": y}, "c": {"audio": y.copy()}, "d": {"audio": x.copy()}}
    assert equal_splits(splits) == [("a", "d"), ("b", "c")]


def test_pairs_that_share_ids_are_found_without_a_look_at_every_pair() -> None:
    splits = {"a": {"x", "y"}, "b": {"z"}, "c": {"y", "z"}, "d": {"w"}}
    assert sharing(splits) == [("a", "c"), ("b", "c")]
    many = {f"test_{place}": ["same", f"own{place}"] for place in range(20)}
    faults = id_overlaps(many)
    assert [fault.message for fault in faults[-2:]] == [
        "1 sample of test_0 is in test_16 too",
        "further splits share samples",
    ]
