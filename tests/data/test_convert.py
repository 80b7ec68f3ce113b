from __future__ import annotations

from pathlib import Path

import corpora
import numpy as np
import pytest

from mer_zoo.data.convert import convert, main
from mer_zoo.data.store.store import open_corpus
from mer_zoo.errors import MERError


def test_a_converted_corpus_opens_like_its_source(corpus_files: dict[str, Path], tmp_path: Path) -> None:
    for name in ("mmsa_unaligned", "mult_iemocap", "own_npz"):
        convert(corpus_files[name], tmp_path / "deep" / name, progress=False)
        source, converted = open_corpus(corpus_files[name]), open_corpus(tmp_path / "deep" / name)
        assert source.spec() == converted.spec()
        assert source.notes == converted.notes
        for split in source.splits:
            np.testing.assert_array_equal(
                source.split(split).features["audio"], converted.split(split).features["audio"]
            )
    assert sorted(entry.name for entry in (tmp_path / "deep").iterdir()) == [
        "mmsa_unaligned",
        "mult_iemocap",
        "own_npz",
    ]


def test_only_a_store_is_replaced(tmp_path: Path) -> None:
    first, second = (corpora.dump(corpora.mmsa(seed), tmp_path / f"{seed}.pkl") for seed in (0, 1))
    convert(first, tmp_path / "store", progress=False)
    convert(first, tmp_path / "store", progress=False)
    with pytest.raises(MERError, match="holds the store of another corpus; .* replace it by --overwrite"):
        convert(second, tmp_path / "store", progress=False)
    assert len(open_corpus(tmp_path / "store").split("train")) == 8
    convert(second, tmp_path / "store", progress=False, overwrite=True)
    labels = open_corpus(tmp_path / "store").split("train").labels
    np.testing.assert_array_equal(labels, corpora.mmsa(1)["train"]["regression_labels"])
    (tmp_path / "notes").mkdir()
    for taken in ("notes", "0.pkl"):
        with pytest.raises(MERError, match=f"{taken} exists and is not a store; give a new folder"):
            convert(second, tmp_path / taken, progress=False)


def test_what_the_user_put_into_a_store_is_not_lost(tmp_path: Path) -> None:
    source = corpora.dump(corpora.with_nan(), tmp_path / "corpus.pkl")
    convert(source, tmp_path / "store", "zero", progress=False)
    (tmp_path / "store" / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(MERError, match=r"store holds notes\.txt, which is no part of a store; move it"):
            convert(source, tmp_path / "store", "zero", progress=False, overwrite=overwrite)
    assert (tmp_path / "store" / "notes.txt").read_text() == "mine"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "corpus.json").write_text("{}")
    (tmp_path / "own" / "clips.npy").write_bytes(b"")
    with pytest.raises(MERError, match=r"own holds clips\.npy"):
        convert(source, tmp_path / "own", "zero", progress=False, overwrite=True)


def test_a_refused_source_leaves_nothing_and_keeps_the_old_store(tmp_path: Path) -> None:
    sound = corpora.dump(corpora.mmsa(), tmp_path / "sound.pkl")
    faulty = corpora.dump(corpora.with_nan(), tmp_path / "faulty.pkl")
    convert(sound, tmp_path / "store", progress=False)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    for destination in ("store", "other"):
        with pytest.raises(MERError, match=r"faulty\.pkl cannot be used: train: audio holds 2 NaN"):
            convert(faulty, tmp_path / destination, progress=False, overwrite=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    assert len(open_corpus(tmp_path / "store").split("train")) == 8


def test_a_store_is_no_source(tmp_path: Path) -> None:
    convert(corpora.dump(corpora.mmsa(), tmp_path / "corpus.pkl"), tmp_path / "store", progress=False)
    with pytest.raises(MERError, match="is a store already"):
        convert(tmp_path / "store", tmp_path / "again", progress=False)


def test_the_command_converts(tmp_path: Path) -> None:
    path = corpora.dump(corpora.with_nan(), tmp_path / "corpus.pkl")
    main([str(path), str(tmp_path / "store"), "--nan", "zero"])
    assert any("set to 0" in note for note in open_corpus(tmp_path / "store").notes)
    with pytest.raises(MERError, match="does not exist"):
        main([str(tmp_path / "nowhere.pkl"), str(tmp_path / "other")])
    with pytest.raises(SystemExit):
        main([str(path), str(tmp_path / "other"), "--nan", "drop"])
