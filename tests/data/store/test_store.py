from __future__ import annotations

import json
import os
import pickle
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest

from mer_zoo.data.store import store
from mer_zoo.data.store.store import LABELLING, META, open_corpus, open_store, write_store
from mer_zoo.errors import MERError


def stores(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize(
    "name", ["mmsa_aligned", "mmsa_unaligned", "mmsa_lists", "casp", "cider", "own_folder", "own_npz"]
)
def test_features_and_lengths_of_padded_files(corpus_files: dict[str, Path], name: str, tmp_path: Path) -> None:
    seed = {"mmsa_aligned": 1, "mmsa_unaligned": 2, "mmsa_lists": 3, "cider": 4, "casp": 5}.get(name, 7)
    tree = corpora.mmsa(seed, aligned=name in ("mmsa_aligned", "casp"))
    corpus = open_corpus(corpus_files[name], cache_dir=tmp_path)
    for split, fields in tree.items():
        data = corpus.split(split)
        assert data.token_ids is not None
        assert data.labels is not None
        for key in ("text", "audio", "vision"):
            expected = np.where(np.isneginf(fields[key]), 0, fields[key]).astype(np.float32)
            np.testing.assert_array_equal(data.features[key], expected, strict=True)
            assert not data.features[key].flags.writeable
        words = fields["text_bert"][:, 1].sum(1)
        np.testing.assert_array_equal(data.spans["text"], np.stack([words * 0, words], 1))
        lengths = fields.get("vision_lengths", words)
        np.testing.assert_array_equal(data.spans["vision"][:, 1], lengths)
        np.testing.assert_array_equal(data.token_ids, fields["text_bert"][:, 0])
        np.testing.assert_array_equal(data.labels, fields["regression_labels"])
        assert data.ids == list(fields["id"])
        assert data.raw_text == list(fields["raw_text"])
    assert corpus.source == str(corpus_files[name])
    assert "train: 1 -inf value in audio set to 0" in corpus.notes


def test_files_without_labels_open(corpus_files: dict[str, Path]) -> None:
    assert open_corpus(corpus_files["unlabelled"]).split("test").labels is None


def test_own_files_need_no_more_than_one_modality(tmp_path: Path) -> None:
    path = corpora.write_folder({"test_wild": {"audio": np.ones((2, 3, 4))}}, tmp_path / "own")
    data = open_corpus(path).split("test_wild")
    assert list(data.features) == ["audio"]
    assert data.spans["text"].tolist() == [[0, 0], [0, 0]]
    assert data.ids == ["test_wild_0", "test_wild_1"]


def test_lengths_that_disagree_are_all_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MERError) as caught:
        open_corpus(corpora.dump(corpora.mismatched(), tmp_path / "corpus.pkl"))
    for part in (
        "train: audio has 7 samples where the other fields have 8",
        "valid: audio_lengths[2] is 999, but audio has 9 steps (samples Zz_09$_$2)",
        "valid: vision_lengths[3] is 0, but the sample has steps that are not zero (samples Zz_09$_$3)",
        "test: vision_lengths has 4 samples where the other fields have 6",
    ):
        assert part in str(caught.value)


def test_an_interrupted_conversion_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = corpora.dump(corpora.mmsa(), tmp_path / "corpus.pkl")

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "_write_meta", interrupt)
        with pytest.raises(KeyboardInterrupt):
            open_corpus(path, cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    assert len(open_corpus(path, cache_dir=tmp_path / "cache").split("train")) == 8


def test_a_full_disk_is_named_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = corpora.dump(corpora.mmsa(), tmp_path / "corpus.pkl")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(MERError, match=r"takes 0\.0 GB \(\d,\d{3} bytes\), but .*cache has .*make room"):
        open_corpus(path, cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_memory_stays_below_the_largest_array(tmp_path: Path) -> None:
    tree = corpora.mmsa()
    for fields in tree.values():
        fields["vision"] = np.ones((len(fields["id"]), 3000, 600))
        fields["vision_lengths"] = [3000] * len(fields["id"])
    largest = tree["train"]["vision"].nbytes
    path = corpora.dump(tree, tmp_path / "corpus.pkl")
    del tree, fields
    tracemalloc.start()
    corpus = open_corpus(path, cache_dir=tmp_path / "cache")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < largest
    assert corpus.split("valid").features["vision"].sum(dtype=np.float64) == 5 * 3000 * 600


def edit(folder: Path, key: str, value: Any) -> None:
    index = json.loads((folder / META).read_text())
    index[key] = value
    (folder / META).write_text(json.dumps(index))


def edit_train(folder: Path, key: str, value: Any) -> None:
    splits = json.loads((folder / META).read_text())["splits"]
    splits["train"][key] = value
    edit(folder, "splits", splits)


def make_holes(file: Path, shape: tuple[int, ...]) -> None:
    """A file of zeros that takes no room."""
    with file.open("wb") as opened:
        np.lib.format.write_array_header_1_0(opened, {"descr": "<i4", "fortran_order": False, "shape": shape})
        opened.truncate(opened.tell() + 4 * int(np.prod(shape)))


def edit_labels(folder: Path, value: float) -> None:
    labels = np.load(folder / "train.labels.npy")
    labels[0] = value
    np.save(folder / "train.labels.npy", labels)


def edit_old_labels(folder: Path, value: float) -> None:
    edit_labels(folder, value)
    edit(folder, LABELLING, None)  # as of a version that wrote no fingerprint of labels


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / META).write_text("{"), "is no JSON"),
        (lambda folder: (folder / META).write_text("[]"), "is a damaged store"),
        (lambda folder: (folder / "train.audio.npy").unlink(), "is a damaged store"),
        (lambda folder: np.save(folder / "train.audio.npy", np.zeros((3, 9, 3))), "has 3 samples, not 8"),
        (lambda folder: np.save(folder / "train.labels.npy", np.array([None] * 8)), "is a damaged store"),
        (lambda folder: (folder / META).write_text('{"version": 99}'), "version 99; convert the source again"),
        (
            lambda folder: (folder / META).write_text((folder / META).read_text().replace('"train"', '"../train"')),
            r"a split is called '\.\./train'",
        ),
        (lambda folder: (folder / META).write_text("[" * 100_000), "is nested too deeply"),
        (lambda folder: edit(folder, "vocab_size", 50), "tokens of train lie outside the vocabulary"),
        (lambda folder: edit(folder, "vocab_size", 10**400), "a number beyond 64 bits"),
        (lambda folder: edit(folder, "aligned", "no"), "vocab_size or aligned"),
        (lambda folder: edit(folder, "notes", [{}]), "notes or sha256 are no text"),
        (lambda folder: edit(folder, "notes", ["\x1b[31mread"]), "notes hold line ends, control"),
        (lambda folder: edit(folder, "notes", ["\ud800"]), "notes hold line ends, control"),
        (lambda folder: edit(folder, "sha256", "\x1b[31m"), "or sha256 is none"),
        (lambda folder: edit(folder, "splits", {}), "there are no splits"),
        (lambda folder: edit(folder, "splits", {"train": None}), "train is not described"),
        (lambda folder: edit_train(folder, "ids", [[]] * 8), "train is not described"),
        (lambda folder: edit_train(folder, "raw_text", ["a"]), "features or raw_text of train"),
        (lambda folder: edit_train(folder, "features", "audio"), "features or raw_text of train"),
        (lambda folder: edit_train(folder, "features", ["audio"]), r"train\.vision\.spans\.npy holds what is no span"),
        (lambda folder: edit_train(folder, "tokens", False), "arrays of different shapes"),
        (lambda folder: edit_train(folder, "labels", "yes"), "tokens or labels of train"),
        (lambda folder: (folder / "train.audio.npy").write_bytes(b""), "is a damaged store"),
        (lambda folder: (folder / "train.audio.npy").write_bytes(b"PK\x03\x04"), "is a damaged store"),
        (lambda folder: np.save(folder / "train.audio.npy", np.zeros((8, 9, 3))), "holds float64 of shape"),
        (lambda folder: np.save(folder / "train.audio.npy", np.zeros((8, 9), "f4")), "holds float32 of shape"),
        (lambda folder: np.save(folder / "train.audio.npy", np.zeros((8, 9, 3), "S4")), r"holds \|S4 of shape"),
        (lambda folder: np.save(folder / "train.audio.spans.npy", np.full((8, 2), 99, "i4")), "is no span of it"),
        (lambda folder: np.save(folder / "train.tokens.npy", np.zeros((8, 3), "i4")), "different lengths"),
        (lambda folder: make_pipe(folder / "train.audio.npy"), "train.audio.npy is missing"),
        (
            lambda folder: make_holes(folder / "train.tokens.npy", (8, 2**25)),
            r"268,435,456 numbers, more than 134,217,",
        ),
        (lambda folder: edit_labels(folder, np.nan), "train: labels hold NaN or infinite values"),
        (lambda folder: edit_labels(folder, 900), "labels, tokens, spans, ids or texts are others"),
        (lambda folder: np.save(folder / "train.labels.npy", np.full(8, 256)), "hold what is no class from 0 to 255"),
        (lambda folder: np.save(folder / "train.labels.npy", np.full((8, 4), 2)), "labels of emotions are not 0 or 1"),
        (lambda folder: edit(folder, "vocab_size", 2**31), "vocab_size or aligned"),
        (lambda folder: edit_train(folder, "ids", ["a\ud800", *"bcdefgh"]), "ids of train hold line ends, control"),
        (lambda folder: edit_train(folder, "ids", ["a\nb", *"bcdefgh"]), "ids of train hold line ends, control"),
        (lambda folder: edit_train(folder, "ids", ["a" * 1001, *"bcdefgh"]), "over 1000 characters"),
        (lambda folder: edit_train(folder, "raw_text", ["\ud800"] * 8), "raw_text of train holds halves"),
        (lambda folder: edit(folder, "splits", {f"test_{k}": {} for k in range(65)}), "65 splits, more than 64"),
    ],
)
def test_a_damaged_store_is_named(tmp_path: Path, damage: Any, message: str) -> None:
    store.write_store(corpora.dump(corpora.mmsa(), tmp_path / "corpus.pkl"), tmp_path / "store")
    damage(tmp_path / "store")
    with pytest.raises(MERError, match=message):
        open_store(tmp_path / "store", "store")


@pytest.mark.parametrize("value", [900, -1e12])
def test_labels_of_an_old_store_that_mean_nothing_are_named(tmp_path: Path, value: float) -> None:
    store.write_store(corpora.dump(corpora.mmsa(), tmp_path / "corpus.pkl"), tmp_path / "store")
    edit_old_labels(tmp_path / "store", value)
    with pytest.raises(MERError, match=r"train: labels hold a sentiment outside \[-3, 3\] \(samples _aB-1"):
        open_corpus(tmp_path / "store")


def test_a_missing_path_and_an_unknown_policy_are_named(tmp_path: Path) -> None:
    with pytest.raises(MERError, match=r"nowhere\.pkl does not exist"):
        open_corpus(tmp_path / "nowhere.pkl")
    with pytest.raises(MERError, match="nan is 'drop'; choose error or zero"):
        open_corpus(tmp_path, nan="drop")  # type: ignore[arg-type]


def test_the_hostile_corpus_runs_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    path = corpora.dump(corpora.evil(tmp_path / "ran"), tmp_path / "evil.pkl")
    with pytest.raises(MERError, match="refused"):
        open_corpus(path, cache_dir=tmp_path / "cache")
    assert stores(tmp_path) == ["evil.pkl"]


def test_damaged_corpora_open_or_are_refused(tmp_path: Path) -> None:
    sound = pickle.dumps(corpora.mmsa(), 4)
    rng = np.random.default_rng(0)
    path = tmp_path / "corpus.pkl"
    refused = 0
    for _ in range(40):
        data = bytearray(sound)
        for place in rng.integers(0, len(data), 20):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            open_corpus(path, cache_dir=tmp_path / "cache")
        except MERError:
            refused += 1
    assert refused > 5


def test_texts_that_json_finds_hard_survive(tmp_path: Path) -> None:
    tree = corpora.mmsa(lists=True)
    tree["train"]["raw_text"][0] = 'a "quoted"\n\u2028line'
    corpus = open_corpus(corpora.dump(tree, tmp_path / "corpus.pkl", 5), cache_dir=tmp_path / "cache")
    assert corpus.split("train").raw_text[0] == 'a "quoted"\n\u2028line'
    (folder,) = (tmp_path / "cache").iterdir()
    assert json.loads((folder / META).read_text())["splits"]["train"]["ids"] == tree["train"]["id"]


def test_a_store_that_could_not_be_opened_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mer_zoo.data.store.reader.LARGEST_INDEX", 1000)
    path = corpora.dump(corpora.mmsa(), tmp_path / "corpus.pkl")
    with pytest.raises(MERError, match=r"ids and texts of .*corpus\.pkl are too long for a store .* 1,000 bytes"):
        open_corpus(path, cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("way", ["labels", "spans", "ids"])
def test_a_store_that_was_edited_after_its_conversion_is_refused(
    way: str, tmp_path: Path, corpus_files: dict[str, Path]
) -> None:
    folder = tmp_path / "store"
    write_store(corpus_files["mmsa_unaligned"], folder)
    whole = open_store(folder, "store")
    if way == "labels":
        np.save(folder / "train.labels.npy", -np.load(folder / "train.labels.npy"))
    elif way == "spans":
        spans = np.load(folder / "train.audio.spans.npy")
        np.save(folder / "train.audio.spans.npy", spans[::-1].copy())
        if np.array_equal(spans, spans[::-1]):
            pytest.skip("all clips are as long")
    else:
        edit_train(folder, "ids", whole.split("train").ids[::-1])
    with pytest.raises(MERError, match="damaged store .*others than were converted.*delete it and convert"):
        open_store(folder, "store")


def test_a_store_from_before_such_a_fingerprint_opens(tmp_path: Path, corpus_files: dict[str, Path]) -> None:
    folder = tmp_path / "store"
    write_store(corpus_files["mmsa_unaligned"], folder)
    edit(folder, "labelling_sha256", None)
    assert open_store(folder, "store").split("train").ids
