from __future__ import annotations

from pathlib import Path

import corpora
import numpy as np
import pytest

from mer_zoo.data import MOSI
from mer_zoo.data.convert import convert
from mer_zoo.data.files.formats import describe, read_draft
from mer_zoo.data.store.store import open_corpus
from mer_zoo.data.validate import examine
from mer_zoo.errors import MERError


@pytest.mark.parametrize("names", ["train dev test", "Train VAL Test", "training validation testing"])
def test_splits_have_the_names_that_people_give_them(tmp_path: Path, names: str) -> None:
    tree = dict(zip(names.split(), corpora.mmsa().values(), strict=True))
    for path in (corpora.dump(tree, tmp_path / "a.pkl"), corpora.write_folder(tree, tmp_path / "folder")):
        draft = read_draft(path)
        assert (draft.faults, list(draft.splits)) == ([], ["train", "valid", "test"])


def test_a_split_under_two_names_is_a_fault(tmp_path: Path) -> None:
    tree = corpora.mmsa()
    tree["dev"] = tree["valid"]
    (fault,) = read_draft(corpora.dump(tree, tmp_path / "a.pkl")).faults
    assert (str(fault), fault.remedy) == ("dev and valid are both the split valid", "keep one of them")


def test_further_entries_are_noted_only(tmp_path: Path) -> None:
    tree = {**corpora.mmsa(), "train_mix": corpora.mmsa(1)["train"], "info": "made in May"}
    corpus = open_corpus(corpora.dump(tree, tmp_path / "a.pkl"))
    assert list(corpus.splits) == ["train", "valid", "test"]
    assert corpus.notes[:2] == [
        "split 'train_mix' is not used; data.splits: {train: train_mix} trains, {test_NAME: train_mix} tests on it",
        "entry 'info' is not used",
    ]


def test_a_further_split_is_taken_where_an_option_says_so(tmp_path: Path) -> None:
    tree = corpora.mmsa()
    tree["train_mix"] = {key: np.concatenate([value] * 2) for key, value in corpora.mmsa(1)["train"].items()}
    tree["train_mix"]["id"] = np.array([f"mix_{row}$_$0" for row in range(16)])
    path = str(corpora.dump(tree, tmp_path / "a.pkl"))
    mixed, plain = MOSI(path, splits={"train": "train_mix"}), MOSI(path)
    assert [len(data.corpus.split("train")) for data in (mixed, plain)] == [16, 8]
    assert len(MOSI(path, splits={"train": "train_mix"}).corpus.split("train")) == 16  # each has a store of its own
    assert "split 'train' is not used, since data.splits takes 'train_mix' for train" in mixed.corpus.notes
    assert list(open_corpus(path, roles={"test_mix": "train_mix"}).splits) == ["train", "valid", "test", "test_mix"]
    convert(path, tmp_path / "store", progress=False, roles={"train": "train_mix"})
    assert len(open_corpus(tmp_path / "store").split("train")) == 16
    assert examine(Path(path), roles={"train": "train_mix"}).splits[0][:2] == ("train", "16")


@pytest.mark.parametrize("lists", [False, True])
def test_samples_without_labels_of_a_further_split_are_left_out(tmp_path: Path, lists: bool) -> None:
    tree = corpora.mmsa(lists=lists)
    mix = corpora.mmsa(1, lists=lists)["train"]
    mix["id"] = [f"mix_{row}$_$0" for row in range(8)]
    mix["regression_labels"] = np.where(np.arange(8) % 2, np.nan, 0.5)
    path = corpora.dump({**tree, "train_mix": mix}, tmp_path / "a.pkl")
    corpus = open_corpus(path, roles={"train": "train_mix"})
    train = corpus.split("train")
    assert train.ids == [f"mix_{row}$_$0" for row in range(0, 8, 2)]
    assert "train: 4 samples without a label left out" in corpus.notes
    for key in ("audio", "vision", "text"):
        np.testing.assert_array_equal(train.features[key][1] != 0, np.isfinite(mix[key][2]) & (mix[key][2] != 0))
    assert train.raw_text == [mix["raw_text"][row] for row in range(0, 8, 2)]


@pytest.mark.parametrize(
    ("roles", "told"),
    [
        (
            {"train": "mix"},
            r"it has no split 'mix' to take for train \(it has train, valid, test\); name one that it has",
        ),
        ({"dev": "train"}, "data.splits has 'dev'; splits are train, valid, test or test_NAME"),
        ({"test_a": "test", "test_b": "test"}, "data.splits takes 'test' twice"),
    ],
)
def test_a_choice_of_splits_that_cannot_be_made(tmp_path: Path, roles: dict[str, str], told: str) -> None:
    path = corpora.dump(corpora.mmsa(), tmp_path / "a.pkl")
    with pytest.raises(MERError, match=told):
        open_corpus(path, roles=roles)


def test_splits_of_a_store_are_chosen_already(tmp_path: Path) -> None:
    convert(corpora.dump(corpora.mmsa(), tmp_path / "a.pkl"), tmp_path / "store", progress=False)
    with pytest.raises(MERError, match="is a store, whose splits are chosen already; leave data.splits out"):
        open_corpus(tmp_path / "store", roles={"train": "valid"})


def test_empty_splits_and_missing_labels_do_not_matter_to_predict(tmp_path: Path) -> None:
    own = corpora.mmsa()["test"]
    own["regression_labels"] = np.full(6, np.nan, np.float32)
    own["classification_labels"] = [None] * 6
    tree = {name: own if name == "test" else {key: value[:0] for key, value in own.items()} for name in corpora.SIZES}
    data = MOSI(str(corpora.dump(tree, tmp_path / "own.pkl")), standardize=False)
    assert [len(batch) for batch in data.predict_dataloader()] == [6]
    assert data.corpus.split("test").labels is None
    with pytest.raises(MERError, match=r"^train is empty in .*own\.pkl"):
        data.train_dataloader()
    with pytest.raises(MERError, match="valid is empty"):
        data.val_dataloader()


def test_a_corpus_of_empty_splits_only_is_a_fault() -> None:
    assert [str(fault) for fault in describe({"train": {"audio": []}}).faults] == ["train: no split has any samples"]


def restarting(seed: int = 0) -> corpora.Tree:
    tree = corpora.mmsa(seed)
    for fields in tree.values():
        fields["id"] = np.array([f"dia{row // 3}_utt{row % 3}" for row in range(len(fields["id"]))])
        fields["raw_text"] = np.array([f"{text} {row} {seed}" for row, text in enumerate(fields["raw_text"])])
    return tree


def test_ids_that_begin_anew_are_joined_to_their_split(tmp_path: Path) -> None:
    corpus = open_corpus(corpora.dump(restarting(), tmp_path / "meld.pkl"))
    assert corpus.split("train").ids[:2] == ["train_dia0_utt0", "train_dia0_utt1"]
    assert corpus.split("test").ids[0] == "test_dia0_utt0"
    assert any("dia0_utt0 names other samples in train and in valid" in note for note in corpus.notes)


def test_one_id_of_two_samples_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    tree = corpora.mmsa()
    tree["test"]["id"][0] = tree["train"]["id"][0]
    corpus = open_corpus(corpora.dump(tree, tmp_path / "a.pkl"))
    assert corpus.split("train").ids[:2] == ["train__aB-1$_$0", tree["train"]["id"][1]]
    assert corpus.split("test").ids[:2] == ["test__aB-1$_$0", tree["test"]["id"][1]]


@pytest.mark.parametrize("lacking", [(), ("raw_text",), ("raw_text", "text_bert"), ("raw_text", "text_bert", "text")])
def test_one_sample_in_two_splits_is_found_among_ids_that_begin_anew(tmp_path: Path, lacking: tuple[str, ...]) -> None:
    tree = restarting()
    for key in tree["test"]:
        tree["test"][key][1] = np.asarray(tree["train"][key])[1]
    draft = read_draft(corpora.dump(corpora.without(tree, *lacking), tmp_path / "meld.pkl"))
    assert [str(fault) for fault in draft.faults] == ["1 sample of train is in test too (samples dia0_utt1)"]


def test_equal_texts_tell_equal_samples_though_features_differ(tmp_path: Path) -> None:
    """Features that were extracted again, or standardised split by split, are no other samples."""
    tree = restarting()
    tree["valid"]["raw_text"] = tree["train"]["raw_text"][:5]
    (fault,) = read_draft(corpora.dump(tree, tmp_path / "meld.pkl")).faults
    assert fault.message == "5 samples of train are in valid too"


def test_numbered_corpora_are_tested_across(tmp_path: Path) -> None:
    files = []
    for seed in (1, 2):
        tree = corpora.without(corpora.mmsa(seed), "raw_text", "text_bert")
        start = 0
        for fields in tree.values():
            fields["id"] = list(range(start, start + len(fields["id"])))
            start += len(fields["id"])
        tree["test"]["id"] = list(range(6))
        files.append(str(corpora.dump(tree, tmp_path / f"{seed}.pkl")))
    assert len(MOSI(files[0]).dataset("test", files[1])) == 6
    moved = {**corpora.without(corpora.mmsa(1), "raw_text", "text_bert")}
    moved["test"] = {**moved["train"], "id": list(range(8))}
    moved["train"] = corpora.without(corpora.mmsa(5), "raw_text", "text_bert")["train"]
    train = {**corpora.without(corpora.mmsa(1), "raw_text", "text_bert")}
    train["train"]["id"] = list(range(8))
    one, other = (str(corpora.dump(tree, tmp_path / name)) for tree, name in ((train, "a.pkl"), (moved, "b.pkl")))
    with pytest.raises(MERError, match="test of .* shares 8 samples with train of"):
        MOSI(one).dataset("test", other)


def test_a_split_without_a_name_is_told_how_to_be_wrapped(tmp_path: Path) -> None:
    (fault,) = read_draft(corpora.dump(corpora.mmsa()["test"], tmp_path / "flat.pkl")).faults
    assert fault.message.startswith(
        "it is one split without a name (it has audio, vision, text, text_bert); wrap it as"
    )
