from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest

from mer_zoo.data.corpus.arrays import StoredArray
from mer_zoo.data.corpus.checks import Fault, fault_error
from mer_zoo.data.files.formats import describe
from mer_zoo.data.files.labels import count_labels, read_labels
from mer_zoo.data.files.sources import read_tree


def stored(tree: corpora.Tree, tmp_path: Path) -> Any:
    return read_tree(corpora.dump(tree, tmp_path / "corpus.pkl"))


def faults(tree: corpora.Tree, tmp_path: Path) -> list[str]:
    return [str(fault) for fault in describe(stored(tree, tmp_path)).faults]


@pytest.mark.parametrize(
    ("name", "aligned", "tokens"),
    [
        ("mmsa_aligned", True, True),
        ("mmsa_unaligned", False, True),
        ("mmsa_lists", False, True),
        ("cider", False, True),
        ("casp", True, True),
        ("unlabelled", False, True),
        ("own_folder", False, True),
        ("own_npz", False, True),
        ("mult_mosi", True, False),
        ("mult_mosi_noalign", False, False),
        ("mult_mosei", True, False),
        ("mult_iemocap", True, False),
        ("mult_iemocap_noalign", False, False),
    ],
)
def test_every_format_is_recognised(corpus_files: dict[str, Path], name: str, aligned: bool, tokens: bool) -> None:
    draft = describe(read_tree(corpus_files[name]))
    assert draft.faults == []
    assert draft.aligned == aligned
    assert {split: len(content.ids) for split, content in draft.splits.items()} == corpora.SIZES
    assert list(draft.splits) == ["train", "valid", "test"]
    assert all((content.tokens is not None) == tokens for content in draft.splits.values())
    assert all((content.labels is None) == (name == "unlabelled") for content in draft.splits.values())
    assert all(list(content.features) == ["text", "audio", "vision"] for content in draft.splits.values())


@pytest.mark.parametrize("name", ["mmsa_lists", "mmsa_unaligned"])
def test_lists_mean_the_same_as_arrays(tmp_path: Path, name: str) -> None:
    tree = corpora.mmsa(lists=name == "mmsa_lists")
    content = describe(stored(tree, tmp_path)).splits["train"]
    assert content.labels is not None
    assert content.token_spans is not None
    assert content.ids == list(tree["train"]["id"])
    assert content.raw_text == list(tree["train"]["raw_text"])
    np.testing.assert_array_equal(content.labels, np.asarray(tree["train"]["regression_labels"], dtype=np.float32))
    np.testing.assert_array_equal(content.lengths["vision"], tree["train"]["vision_lengths"])
    np.testing.assert_array_equal(content.token_spans[:, 1], tree["train"]["text_bert"][:, 1].sum(1))


def test_ids_of_bytes_name_the_clip(tmp_path: Path) -> None:
    content = describe(stored(corpora.mult("mosi"), tmp_path)).splits["train"]
    assert content.ids[:2] == ["_aB-1_0", "_aB-1_1"]


def test_ids_that_name_only_the_video_are_told_apart_by_the_start(tmp_path: Path) -> None:
    content = describe(stored(corpora.mult("mosei"), tmp_path)).splits["train"]
    assert content.ids[:2] == ["_aB-1$_$0.00", "_aB-1$_$2.50"]


def test_samples_without_ids_are_numbered_and_noted(tmp_path: Path) -> None:
    draft = describe(stored(corpora.mult("iemocap"), tmp_path))
    assert draft.splits["valid"].ids[:2] == ["valid_0", "valid_1"]
    assert draft.notes == ["train, valid, test: there are no ids, so samples are numbered"]


def test_repeated_and_shared_ids_are_noted_only(tmp_path: Path) -> None:
    tree = corpora.mmsa()
    tree["train"]["id"][:3] = "same"
    tree["test"]["id"][0] = "same"
    draft = describe(stored(tree, tmp_path))
    assert draft.faults == []
    assert draft.notes == ["train: 2 samples with an id that another one has", "1 id both in train and in test"]


def test_emotions_come_as_ones_where_present(tmp_path: Path) -> None:
    labels = describe(stored(corpora.mult("iemocap"), tmp_path)).splits["train"].labels
    assert labels is not None
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels[:4], np.eye(4))
    np.testing.assert_array_equal(labels[-1], 0)


def test_unknown_fields_are_noted(tmp_path: Path) -> None:
    tree = corpora.mmsa()
    tree["train"]["vision_leak"] = np.zeros(8, dtype=bool)
    draft = describe(stored(tree, tmp_path))
    assert draft.faults == []
    assert draft.notes == ["fields not used: vision_leak"]


def test_a_larger_vocabulary_is_found(tmp_path: Path) -> None:
    tree = corpora.mmsa()
    assert describe(stored(tree, tmp_path)).vocab_size == 30522
    tree["test"]["text_bert"][0, 0, 1] = 50264
    assert describe(stored(tree, tmp_path)).vocab_size == 50265


def test_wrong_keys_name_what_is_missing_and_what_is_there(tmp_path: Path) -> None:
    found = faults(corpora.wrong_keys(), tmp_path)
    assert found == [
        "train: the keys text, audio and vision are missing (it has txt, acoustic, visual, y)",
        "valid: the keys text, audio and vision are missing (it has txt, acoustic, visual, y)",
        "test: the keys text, audio and vision are missing (it has txt, acoustic, visual, y)",
    ]


def test_lengths_that_disagree_are_all_found(tmp_path: Path) -> None:
    assert faults(corpora.mismatched(), tmp_path) == [
        "train: audio has 7 samples where the other fields have 8",
        "valid: audio_lengths[2] is 999, but audio has 9 steps (samples Zz_09$_$2)",
        "test: vision_lengths has 4 samples where the other fields have 6",
    ]


BROKEN = [
    ("audio", np.ones((8, 3, 2, 2), np.float32), r"train: audio has shape \(8, 3, 2, 2\) instead of"),
    ("audio", np.ones((8, 9, 0), np.float32), r"train: audio has shape \(8, 9, 0\)"),
    ("audio", [[1.0]] * 8, "train: audio is not one array of numbers; pad"),
    ("audio", np.full((8, 9, 3), "x"), "train: audio is not one array of numbers"),
    ("audio", {"a": 1}, "train: audio is neither an array nor a list"),
    ("audio", np.ones((8, 9, 4), np.float32), r"valid: a sample of audio has shape \(9, 3\), but in train \(9, 4\)"),
    ("audio_lengths", [1.5] * 8, "train: audio_lengths is not one whole number a sample"),
    ("audio_lengths", [-1] + [1] * 7, r"train: audio_lengths\[0\] is -1"),
    ("audio_lengths", [99] * 8, "train: 8 of audio_lengths do not fit the 9 steps"),
    ("text_bert", np.zeros((8, 2, 7)), "train: text_bert does not have shape"),
    ("text_bert", np.zeros((8, 3, 6)), "train: text_bert has 6 steps, but text has 7"),
    ("text_bert", np.full((8, 3, 7), 0.5), "train: text_bert holds what is no token id"),
    ("text_bert", np.full((8, 3, 7), np.nan), "train: text_bert holds what is no token id"),
    ("text_bert", np.full((8, 3, 7), 2_000_000_000), "train: text_bert holds what is no token id"),
    ("id", np.array(["a\ud800", *"bcdefgh"], dtype=object), "train: id holds line ends, control characters or halves"),
    ("id", np.array(["a\r\nb", *"bcdefgh"]), "train: id holds line ends, control characters or halves"),
    ("raw_text", np.array(["\udfff"] * 8, dtype=object), "train: raw_text holds halves of characters or zeros"),
    ("raw_text", [2**64] * 8, "train: raw_text is not one text a sample"),
    ("id", [["a"] * 9] * 8, "train: id is not one short text a sample"),
    ("id", ["a" * 2000] * 8, "train: id is not one short text a sample"),
    ("raw_text", [1.5] * 8, "train: raw_text is not one text a sample"),
    ("regression_labels", [4.0] + [0.0] * 7, r"outside \[-3, 3\] \(samples _aB-1\$_\$0\)"),
    ("regression_labels", [np.nan] + [0.0] * 7, r"hold NaN or infinite values \(samples _aB-1\$_\$0\)"),
    ("regression_labels", ["good"] * 8, "regression_labels are not numbers"),
    ("regression_labels", [2**70] * 8, "regression_labels are not numbers"),
    ("regression_labels", np.zeros((8, 2, 3)), r"have shape \(8, 2, 3\), which is neither"),
    ("regression_labels", np.full((8, 4, 2), 1), "are not one-hot"),
    ("regression_labels", np.full((8, 4), 2), "are not 0 or 1"),
]


@pytest.mark.parametrize(("field", "value", "message"), BROKEN)
def test_a_broken_field_is_named(tmp_path: Path, field: str, value: Any, message: str) -> None:
    tree = corpora.mmsa()
    tree["train"][field] = value
    error = fault_error("corpus.pkl", describe(stored(tree, tmp_path)).faults)
    with pytest.raises(type(error), match=rf"corpus\.pkl cannot be used: .*{message}.*; mend the (file|labels)"):
        raise error


def test_a_field_of_one_split_only_is_named(tmp_path: Path) -> None:
    tree = corpora.mmsa()
    del tree["test"]["vision"]
    assert "test: vision is in one of train and test, but not in the other" in faults(tree, tmp_path)


@pytest.mark.parametrize("value", [[1, 2], "text", 3.5, None, {}, {"train": 1}])
def test_anything_but_a_dict_of_splits_is_refused(tmp_path: Path, value: Any) -> None:
    draft = describe(read_tree(corpora.dump(value or {}, tmp_path / "corpus.pkl")))
    assert len(draft.faults) == 1
    assert draft.splits == {}


def test_a_bomb_of_nested_lists_does_not_go_off(tmp_path: Path) -> None:
    bomb: Any = ["x"] * 8
    for _ in range(60):
        bomb = [bomb] * 8
    tree = corpora.mmsa()
    for field in ("id", "raw_text", "regression_labels", "audio", "text_bert"):
        tree["train"][field] = bomb
    assert len(faults(tree, tmp_path)) == 5


def test_many_splits_of_the_same_parts_are_read_a_few_times_only() -> None:
    audio = StoredArray(np.dtype("f8"), (4, 2, 3), lambda: io.BytesIO(bytes(192)))
    fields = {"audio": audio, "id": list("abcd")}
    splits = {f"test_{number}": {**fields, "regression_labels": [0.0] * 4} for number in range(60)}
    draft = describe(splits)
    assert list(draft.splits) == ["test_0", "test_1", "test_2"]
    assert "test_3: audio is that of 3 other splits" in [str(fault) for fault in draft.faults]


def test_fields_that_are_all_of_no_use_are_named() -> None:
    assert "train: text is neither an array nor a list" in [str(f) for f in describe({"train": {"text": {}}}).faults]


def test_splits_called_by_a_number_are_named() -> None:
    draft = describe({0: {"audio": StoredArray(np.dtype("f8"), (1, 2, 3), lambda: io.BytesIO(bytes(48)))}})
    assert "splits are called train, valid, test or test_NAME, but it has 0" in [str(fault) for fault in draft.faults]


def closed() -> io.BytesIO:
    raise AssertionError("it is read")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"audio": (9, 1, 1), "regression_labels": (9, 2**27)}, "regression_labels takes 9.7 GB at a time"),
        ({"audio": (2, 2**14, 2**13)}, "audio takes 1.1 GB at a time; it has to fit in memory"),
        ({"audio": (2**30, 1, 1)}, "it has 1073741824 samples, but all splits together can have 524288"),
    ],
)
def test_what_does_not_fit_in_memory_is_not_read(fields: dict[str, tuple[int, ...]], message: str) -> None:
    arrays = {key: StoredArray(np.dtype("f8"), shape, closed) for key, shape in fields.items()}
    assert message in str(describe({"train": arrays}).faults[0])


def test_labels_of_classes_are_kept_without_scores() -> None:
    labels = read_labels("classification_labels", [0.0, 1.0, 2.0])
    assert labels.values is not None
    assert labels.values.dtype == np.int64
    assert labels.values.tolist() == [0, 1, 2]
    assert "no class" in read_labels("classification_labels", [0.0, 256.0]).faults[0][0]
    assert "no class" in read_labels("classification_labels", [0.5]).faults[0][0]


def test_labels_are_counted() -> None:
    assert count_labels(None) == "none"
    assert count_labels(np.array([0, 2, 2])) == "class 0: 1, class 2: 2"
    assert count_labels(np.array([[1, 0], [1, 1]])) == "present 2 1"


def test_the_sentence_of_an_error_stays_short() -> None:
    many = [Fault("train", "audio", f"fault {number}", remedy="mend it") for number in range(30)]
    message = str(fault_error("corpus.pkl", many))
    assert message.startswith("corpus.pkl cannot be used: train: fault 0; ")
    assert message.endswith("; and 22 more; mend it")


WORDS = [["so", "good"], ["what"], ["not", "a", "word"], [], ["no"], ["a"] * 9, ["yes"], ["well"]]


@pytest.mark.parametrize(
    "value",
    [
        WORDS,
        [tuple(words) for words in WORDS],
        [np.array(words, dtype="U5") for words in WORDS],
        [[word.encode() for word in words] for words in WORDS],
        np.array([words + [""] * (9 - len(words)) for words in WORDS]),
        np.array([words + [None] * (9 - len(words)) for words in WORDS], dtype=object),
        np.array(WORDS, dtype=object),
    ],
    ids=["lists", "tuples", "arrays", "bytes", "array", "object array", "array of lists"],
)
def test_words_become_texts(tmp_path: Path, value: Any) -> None:
    tree = corpora.mmsa()
    tree["train"]["raw_text"] = value
    draft = describe(stored(tree, tmp_path))
    assert draft.faults == []
    assert draft.splits["train"].raw_text == [" ".join(words) for words in WORDS]
    assert "train: raw_text is lists of words, put together with spaces" in draft.notes


@pytest.mark.parametrize(
    "silent", [np.str_(""), "", None, float("nan"), b""], ids=["scalar", "text", "None", "NaN", "bytes"]
)
def test_an_empty_text_is_one(tmp_path: Path, silent: Any) -> None:
    tree = corpora.mmsa()
    tree["train"]["raw_text"] = [*tree["train"]["raw_text"][:7], silent]
    tree["valid"]["raw_text"] = np.zeros(5, "U1")
    draft = describe(stored(tree, tmp_path))
    assert draft.faults == []
    assert draft.splits["train"].raw_text is not None
    assert draft.splits["train"].raw_text[7] == ""
    assert draft.splits["valid"].raw_text == [""] * 5


@pytest.mark.parametrize("dtype", [np.dtype("U0"), np.dtype("S0")])
def test_texts_of_no_width_are_empty(dtype: np.dtype[Any]) -> None:
    array = StoredArray(dtype, (3,), lambda: io.BytesIO())
    fields = {"audio": StoredArray(np.dtype("f8"), (3, 2, 1), lambda: io.BytesIO(bytes(48))), "raw_text": array}
    assert describe({"test": fields}).splits["test"].raw_text == ["", "", ""]


def test_ids_of_objects_are_read_by_columns(tmp_path: Path) -> None:
    rows = [["v", 1.5 * row, 1.5 * row + 1.2] for row in range(8)]
    found = []
    for value in (np.array(rows, dtype=object), np.array(rows, dtype=object).astype(str), rows):
        tree = corpora.mmsa()
        tree["train"]["id"] = value
        draft = describe(stored(tree, tmp_path))
        assert draft.faults == []
        found.append(draft.splits["train"].ids)
    assert found[0] == found[1] == found[2]
    assert found[0][:2] == ["v$_$0.0", "v$_$1.5"]


def test_labels_of_objects_keep_their_shape(tmp_path: Path) -> None:
    tree = corpora.mmsa()
    plain = np.asarray(tree["train"]["regression_labels"])
    tree["train"]["regression_labels"] = plain.astype(object)[:, None, None]
    draft = describe(stored(tree, tmp_path))
    assert draft.faults == []
    np.testing.assert_array_equal(draft.splits["train"].labels, plain)


def test_vectors_are_sequences_of_one_step(tmp_path: Path) -> None:
    tree = corpora.without(corpora.mmsa(), "audio_lengths", "vision_lengths", "text_bert")
    for fields in tree.values():
        fields["audio"][0] = 1
        fields |= {key: fields[key].sum(1) for key in ("text", "audio", "vision")}
        fields["vision"] = np.asfortranarray(fields["vision"])
    draft = describe(stored(tree, tmp_path))
    assert (draft.faults, draft.aligned) == ([], True)
    assert draft.notes[1] == "train, valid, test: audio is one vector a sample, read as a sequence of one step"
    for key in ("text", "audio", "vision"):
        np.testing.assert_array_equal(draft.splits["train"].features[key].load(), tree["train"][key][:, None])
