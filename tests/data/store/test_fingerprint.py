"""Fingerprints: of files and folders, kept in the store, other for other splits."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import corpora
import numpy as np

from mer_zoo.data.convert import convert
from mer_zoo.data.store.fingerprint import regrouped_sha256, source_sha256, splits_sha256
from mer_zoo.data.store.store import META, open_corpus
from mer_zoo.data.synthetic.generate import SyntheticConfig, generate


def test_a_store_keeps_the_fingerprint_of_its_source(corpus_files: dict[str, Path], tmp_path: Path) -> None:
    source = corpus_files["mmsa_unaligned"]
    expected = hashlib.sha256(source.read_bytes()).hexdigest()
    assert open_corpus(source, cache_dir=tmp_path / "cache").sha256 == expected
    convert(source, tmp_path / "store", progress=False)
    assert open_corpus(tmp_path / "store").sha256 == expected
    meta = json.loads((tmp_path / "store" / META).read_text())
    del meta["sha256"]  # as stores were made before
    (tmp_path / "store" / META).write_text(json.dumps(meta))
    assert open_corpus(tmp_path / "store").sha256 is None


def test_folders_count_by_names_and_content(tmp_path: Path) -> None:
    def folder(name: str, split: str, value: float) -> str:
        tree = {split: {"audio": np.full((2, 3, 4), value)}}
        return source_sha256(corpora.write_folder(tree, tmp_path / name))

    one = folder("one", "train", 1.0)
    assert folder("same", "train", 1.0) == one
    assert len({one, folder("value", "train", 2.0), folder("split", "valid", 1.0)}) == 3


def test_large_files_are_read_to_the_end(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4097 + b"end"
    (tmp_path / "file").write_bytes(content)
    assert source_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_generated_corpora() -> None:
    tiny = SyntheticConfig(train=4, valid=2, test=2)
    corpus = generate(tiny)
    assert corpus.sha256 == generate(tiny).sha256 == splits_sha256(corpus.splits)
    others = {
        generate(SyntheticConfig(train=4, valid=2, test=2, seed=1)).sha256,
        generate(tiny, "continuous").sha256,
    }
    assert len({corpus.sha256, *others}) == 3


def test_other_splits_of_the_same_source() -> None:
    ids = {"train": ["a", "b"], "test_ood": ["c"]}
    one = regrouped_sha256("0" * 64, ids)
    assert one != regrouped_sha256("0" * 64, {"train": ["a"], "test_ood": ["b", "c"]})
    assert one != regrouped_sha256("1" * 64, ids)
    assert regrouped_sha256(None, ids) is None
