"""Speaker, dialogue and turn: from files of every kind, through the store, to batches."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest

from mer_zoo.backbones import LFDNN
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.data import MERDataModule, open_corpus
from mer_zoo.data.corpus.arrays import StoredArray
from mer_zoo.data.corpus.conversation import Conversation
from mer_zoo.data.files.conversations import read_conversation
from mer_zoo.data.files.drafts import Draft, SplitDraft
from mer_zoo.data.files.formats import read_draft
from mer_zoo.data.files.splits import compare_samples
from mer_zoo.data.ood.resplit import split_ood
from mer_zoo.data.store.store import write_store
from mer_zoo.errors import MERError
from mer_zoo.foreign import Budget
from mer_zoo.reports.predictions import on_cpu, prediction_rows
from mer_zoo.task import SentimentRegression
from mer_zoo.training.kept import prediction

FILES = {"train": "train", "valid": "dev", "test": "test"}


def told(count: int) -> dict[str, list[Any]]:
    """Dialogues of three turns, whose numbers begin anew in each split, said by two people in turn."""
    return {
        "speaker": [["Ross ", "Ann"][row % 2] for row in range(count)],
        "dialogue": [str(row // 3) for row in range(count)],
        "turn": [row % 3 for row in range(count)],
    }


def meld(folder: Path, counts: dict[str, int]) -> Path:
    """Tables as MELD has them, and features."""
    for place, (split, count) in enumerate(counts.items()):
        own = told(count)
        rows = ["Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID"]
        for row, (who, where, turn) in enumerate(zip(*own.values(), strict=True)):
            rows.append(f"{split} says {row},{who},{['joy', 'anger'][row % 2]},{where},{turn}")
        (folder / split).mkdir(parents=True)
        (folder / f"{FILES[split]}_sent_emo.csv").write_text("\n".join(rows))
        np.save(folder / split / "audio.npy", np.random.default_rng(place).normal(size=(count, 4, 3)))
    return folder


def pickled(path: Path, fields: dict[str, list[Any]], **ids: list[str]) -> Path:
    """A pickle with further fields in each split."""
    count, rng = len(next(iter(fields.values()), [0] * 6)), np.random.default_rng(0)
    tree = {
        split: {
            "audio": rng.normal(size=(count, 4, 3)),
            "regression_labels": rng.integers(-2, 3, count) * 1.0,
            "raw_text": [f"{split} {row} so good so bad" for row in range(count)],
            **fields,
            **({"id": ids[split]} if ids else {}),
        }
        for split in ("train", "valid", "test")
    }
    return corpora.dump(tree, path)


def batch_of(path: Path, split: str = "train", **options: Any) -> Batch:
    data = MERDataModule(str(path), modalities=["audio"], **options)
    return next(iter(data.batch_source(split)))


def _stored(x: Any) -> StoredArray:
    return StoredArray(x.dtype, x.shape, lambda: io.BytesIO(x.tobytes()))


def test_tables_of_meld_reach_the_batch(tmp_path: Path) -> None:
    batch = batch_of(meld(tmp_path / "meld", {"train": 6, "valid": 3, "test": 3}), task="classes")
    assert batch.names["speaker"] == ["Ross", "Ann"] * 3
    assert batch.names["dialogue"] == ["train_0"] * 3 + ["train_1"] * 3  # numbers that begin anew, as ids do
    columns = {name: getattr(batch, name).tolist() for name in ("dialogue", "turn", "speaker")}
    assert columns == {"dialogue": [0, 0, 0, 1, 1, 1], "turn": [0, 1, 2] * 2, "speaker": [1, 0] * 3}  # by name


@pytest.mark.parametrize("keys", [("speaker", "dialogue", "turn"), ("Speaker", "Dialogue_ID", "Utterance_ID")])
@pytest.mark.parametrize("kind", [list, np.array, lambda x: np.array(x, object), lambda x: np.array(x)[:, None]])
def test_keys_and_types_of_pickles(tmp_path: Path, keys: tuple[str, ...], kind: Any) -> None:
    fields = {key: kind(column) for key, column in zip(keys, told(6).values(), strict=True)}
    split = open_corpus(pickled(tmp_path / "a.pkl", fields)).split("test")
    dialogues = [f"test_{number}" for number in told(6)["dialogue"]]  # since they begin anew in each split
    assert split.conversation == Conversation(["Ross", "Ann"] * 3, dialogues, told(6)["turn"])


@pytest.mark.parametrize(
    ("fields", "joined"),
    [
        (("dialogue", "turn"), True),
        (("dialogue",), False),  # samples of one dialogue may have been dealt out to splits
    ],
)
def test_numbers_of_dialogues_that_begin_anew_are_joined_where_ids_do_not(
    tmp_path: Path, fields: tuple[str, ...], joined: bool
) -> None:
    ids = {split: [f"{split}{row}" for row in range(6)] for split in FILES}
    corpus = open_corpus(pickled(tmp_path / "a.pkl", {name: told(6)[name] for name in fields}, **ids))
    dialogues = {name: split.conversation.dialogue for name, split in corpus.splits.items()}
    assert (dialogues["train"], dialogues["test"]) == (
        (["train_0"] * 3 + ["train_1"] * 3, ["test_0"] * 3 + ["test_1"] * 3) if joined else (told(6)["dialogue"],) * 2
    )
    assert any("dialogues begin anew in each split (turn 0 of 0 is" in note for note in corpus.notes) == joined


def test_a_dialogue_whose_turns_were_dealt_out_to_splits_stays_one(tmp_path: Path) -> None:
    tree = {
        split: {
            "audio": np.random.default_rng(place).normal(size=(6, 4, 3)),
            "regression_labels": np.linspace(-2, 2, 6),
            "dialogue": ["a"] * 6,
            "turn": list(range(place, 18, 3)),
        }
        for place, split in enumerate(FILES)
    }
    corpus = open_corpus(corpora.dump(tree, tmp_path / "a.pkl"))
    assert {name for split in corpus.splits.values() for name in split.conversation.dialogue or ()} == {"a"}


def drafted(**splits: tuple[list[str], list[int]]) -> Draft:
    """Splits of unlike samples with these dialogues and turns, as read."""
    draft, rng = Draft(), np.random.default_rng(0)
    for name, (dialogue, turn) in splits.items():
        count = len(turn)
        ids = [f"{name}{row}" for row in range(count)]
        features = {"audio": _stored(rng.normal(size=(count, 2, 2)))}
        draft.splits[name] = SplitDraft(ids, features=features, conversation=Conversation(None, dialogue, turn))
    compare_samples(draft, [])
    return draft


def test_long_dialogues_of_few_turns_in_common_are_joined() -> None:
    draft = drafted(train=(["0", "0", "1"], [0, 1, 0]), test=(["0"] * 30, list(range(30))))
    assert draft.splits["test"].conversation.dialogue == ["test_0"] * 30
    assert draft.splits["train"].conversation.dialogue == ["train_0", "train_0", "train_1"]


def test_only_the_split_whose_dialogues_begin_anew_is_joined() -> None:
    draft = drafted(train=(["0"] * 3, [0, 2, 4]), valid=(["0"] * 2, [1, 3]), test=(["0"] * 5, list(range(5))))
    found = {name: set(split.conversation.dialogue or ()) for name, split in draft.splits.items()}
    assert found == {"train": {"0"}, "valid": {"0"}, "test": {"test_0"}}
    assert any("in train and in test), so the split joins their names: test_0" in note for note in draft.notes)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ((["0"] * 4, [0, 0, 1, 1]), (["0"] * 2, [0, 1])),  # turns that are counted for each speaker
        ((["0"] * 2, [-1, -1]), (["0"] * 2, [-1, -1])),
        ((["", ""], [0, 1]), (["", ""], [0, 1])),
        ((["0", "1", "2"], [0, 0, 0]), (["0", "1", "2"], [0, 1, 1])),  # one slip
    ],
)
def test_dialogues_that_nothing_tells_apart_keep_their_names(
    train: tuple[list[str], list[int]], test: tuple[list[str], list[int]]
) -> None:
    draft = drafted(train=train, test=test)
    assert [split.conversation.dialogue for split in draft.splits.values()] == [train[0], test[0]]
    assert not [note for note in draft.notes if "dialogues begin anew" in note]


def test_the_same_samples_under_other_conditions_stay_of_one_dialogue(tmp_path: Path) -> None:
    tree = {
        split: {
            "audio": np.random.default_rng(place).normal(size=(6, 4, 3)),
            "regression_labels": np.linspace(-2, 2, 6),
            "raw_text": [f"{split[:4]} says {row}" for row in range(6)],
            "dialogue": [f"{split[:4]}{row // 3}" for row in range(6)],
            "turn": [row % 3 for row in range(6)],
        }
        for place, split in enumerate(("train", "valid", "test", "test_noisy"))
    }
    corpus = open_corpus(corpora.dump(tree, tmp_path / "a.pkl"))
    assert corpus.split("test_noisy").conversation.dialogue == ["test0"] * 3 + ["test1"] * 3


def test_without_fields_nothing_is_told(tmp_path: Path) -> None:
    batch = batch_of(pickled(tmp_path / "a.pkl", {}))
    assert (batch.speaker, batch.dialogue, batch.turn, batch.names) == (None, None, None, {})


@pytest.mark.parametrize(
    ("given", "wanted", "note"),
    [
        ({"turn": [0.0, 1.0, float("nan")]}, Conversation(turn=[0, 1, -1]), ""),
        ({"turn": np.array([2.0, 1.0, 0.0])}, Conversation(turn=[2, 1, 0]), ""),
        ({"utterance_id": ["a_1", "a_2", "b_1"]}, Conversation(), "utterance_id is not one whole number"),
        ({"turn": [0.5, 1.0, 2.0]}, Conversation(), "turn is not one whole number"),
        ({"speaker": ["Ann", None, "Bob"]}, Conversation(["Ann", "", "Bob"]), ""),
        ({"speaker": [0, 1, 0]}, Conversation(["0", "1", "0"]), ""),
        ({"speaker": ["", " ", None]}, Conversation(), ""),
        ({"speaker": ["Ann", "Bob"]}, Conversation(), "speaker is not one short text"),
        ({"speaker": ["Ann", "\x1b[2J", "Bob"]}, Conversation(), "speaker is not one short text"),
        ({"speaker": ["Ann", "B" * 1001, "Bob"]}, Conversation(), "speaker is not one short text"),
        ({"dialogue": [{}, 1, 2]}, Conversation(), "dialogue is not one short text"),
        ({"speaker": "Ann"}, Conversation(), "speaker is not one short text"),
    ],
)
def test_what_is_no_such_field_is_left_out(given: dict[str, Any], wanted: Conversation, note: str) -> None:
    given = {key: _stored(value) if isinstance(value, np.ndarray) else value for key, value in given.items()}
    found, notes = read_conversation(given, 3, Budget("a dict"))
    assert found == wanted
    assert [each[: len(note)] for each in notes] == ([note] if note else [])


def test_dialogues_of_distinct_ids_and_names_keep_their_names(tmp_path: Path) -> None:
    tree = {
        split: {
            "audio": np.random.default_rng(place).normal(size=(6, 4, 3)),
            "regression_labels": np.linspace(-2, 2, 6),
            "id": [f"{split}{row}" for row in range(6)],
            "dialogue": [f"{place}{row // 3}" for row in range(6)],
            "turn": [row % 3 for row in range(6)],
        }
        for place, split in enumerate(FILES)
    }
    corpus = open_corpus(corpora.dump(tree, tmp_path / "a.pkl"))
    names = {name for split in corpus.splits.values() for name in split.conversation.dialogue or ()}
    assert names == {f"{place}{dialogue}" for place in range(3) for dialogue in range(2)}


def test_new_splits_keep_what_is_told(tmp_path: Path) -> None:
    ids = {split: [f"{split}{row}" for row in range(60)] for split in FILES}
    source = pickled(tmp_path / "a.pkl", told(60), **ids)
    split_ood(source, tmp_path / "ood", "binary", steps=10, min_count=1, min_per_class=1)
    found: dict[str, list[Any]] = {}
    for split in open_corpus(tmp_path / "ood").splits.values():
        columns = dict(split.conversation).values()
        found |= {name: row for name, *row in zip(split.ids, *columns, strict=True)}
    assert found == {
        f"{split}{row}": [["Ross", "Ann"][row % 2], f"{split}_{row // 3}", row % 3]  # joined when read, and once
        for split in FILES
        for row in range(60)
    }


def test_store_that_others_changed_is_refused(tmp_path: Path) -> None:
    write_store(pickled(tmp_path / "a.pkl", told(6)), tmp_path / "store")
    index = tmp_path / "store" / "corpus.json"
    text = index.read_text()
    for old, new, why in [
        ('"turn": [0,', '"turn": [-7,', "turn"),
        ('"turn": [0,', '"turn": [true,', "turn"),
        ('"speaker": ["Ross",', '"speaker": ["\\u001b",', "speaker"),
        ('"speaker": ["Ross",', '"speaker": [', "speaker"),
        ('"speaker": ["Ross",', '"speaker": ["Ben",', "others than were converted"),
    ]:
        assert old in text
        index.write_text(text.replace(old, new, 1))
        with pytest.raises(MERError, match=why):
            open_corpus(tmp_path / "store")
    index.write_text(text)
    assert open_corpus(tmp_path / "store").split("train").conversation.speaker == ["Ross", "Ann"] * 3


def test_notes_name_what_is_not_used_once(tmp_path: Path) -> None:
    notes = read_draft(pickled(tmp_path / "a.pkl", {"turn": ["first"] * 6, "mood": [0] * 6})).notes
    assert [note for note in notes if note.startswith("train, valid, test: turn is not one whole number")]
    assert "fields not used: mood" in notes


def test_videos_of_a_table_with_ids_of_its_own_are_dialogues(tmp_path: Path) -> None:
    rows = ["id,video_id,clip_id,split,label", *(f"c{row},v{row // 2},{row},train,0.5" for row in range(4))]
    (tmp_path / "own" / "audio").mkdir(parents=True)
    (tmp_path / "own" / "labels.csv").write_text("\n".join(rows))
    for row in range(4):
        np.save(tmp_path / "own" / "audio" / f"c{row}.npy", np.ones((2, 3)))
    (split,) = read_draft(tmp_path / "own").splits.values()
    assert split.conversation == Conversation(None, ["v0", "v0", "v1", "v1"], [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("ids", "wanted"),
    [
        (["_dI--eQ6qVU_1", "_dI--eQ6qVU_12"], Conversation(None, ["_dI--eQ6qVU"] * 2, [1, 12])),
        (["a$_$3.5", "a$_$1.25", "b$_$3.5"], Conversation(None, ["a", "a", "b"], [1, 0, 1])),  # starts in seconds
        (["a$_$x", "a$_$y"], Conversation(None, ["a", "a"])),
        (["a$_$inf", "a$_$nan"], Conversation(None, ["a", "a"])),
        (["Ses05M_script01_1b_MXX0"], Conversation(["Ses05_M"], ["Ses05M_script01_1b"])),
        (["dia3_utt0", "test_dia3_utt11"], Conversation(None, ["dia3", "test_dia3"], [0, 11])),
        (["train_0", "train_1"], Conversation()),
        (["dia3_utt0", "other"], Conversation()),
        ([], Conversation()),
    ],
)
def test_what_ids_tell(ids: list[str], wanted: Conversation) -> None:
    assert Conversation().completed(ids) == wanted


def test_the_file_says_more_than_ids() -> None:
    own = Conversation(dialogue=["d", "d"]).completed(["a$_$1", "b$_$0"])
    assert own == Conversation(dialogue=["d", "d"])  # clips of two videos have no common order


def test_samples_without_a_dialogue_are_each_their_own() -> None:
    numbers = Conversation(["B", "", "A", "B"], ["", "x", "x", ""]).numbers()
    assert numbers["dialogue"].tolist() == [0, 1, 1, 2]
    assert numbers["speaker"].tolist() == [0, -1, 0, 0]


def test_predictions_have_columns_of_what_ids_do_not_tell(tmp_path: Path) -> None:
    batch = batch_of(pickled(tmp_path / "a.pkl", told(6)))
    spec = DataSpec(audio_dim=3, audio_len=4, modalities=["audio"])
    found = prediction(LFDNN(spec, SentimentRegression()).eval(), batch)
    rows = prediction_rows([on_cpu(found)])
    assert [list(row)[:3] for row in rows] == [["id", "speaker", "dialogue"]] * 6
    assert [row["speaker"] for row in rows] == ["Ross", "Ann"] * 3
    clips = batch.replace(ids=[f"{name}$_${row}" for row, name in enumerate(batch.names["dialogue"])])
    assert "dialogue" not in prediction_rows([prediction(LFDNN(spec, SentimentRegression()).eval(), clips)])[0]
