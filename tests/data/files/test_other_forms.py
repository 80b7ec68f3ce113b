"""Corpora in other forms than arrays under splits: clips in lists, tables beside features, tensors."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest
import torch

from mer_zoo.data import MOSI
from mer_zoo.data.files import formats
from mer_zoo.data.files.formats import read_draft
from mer_zoo.data.files.sources import source_files
from mer_zoo.data.files.tables import has_tables
from mer_zoo.data.store.store import open_corpus
from mer_zoo.errors import MERError

SPLITS = {"train": 5, "dev": 3, "test": 4}


def clips(split: str, count: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(count)
    found = []
    for row in range(count):
        length = int(rng.integers(2, count + 3))
        found.append(
            {
                "id": f"{split}video{row // 2}$_${row}",
                "words": [f"word{row}"] * length,
                "vision": rng.normal(size=(length, 4)).astype("f4"),
                "audio": rng.normal(size=(length, 3)),
                "label": float(np.round(rng.uniform(-3, 3), 2)),
            }
        )
    return found


CLIPS = {split: clips(split, count) for split, count in SPLITS.items()}


def check(path: Path, ids: bool = True, texts: bool = True) -> None:
    """It is the corpus of CLIPS, padded behind."""
    corpus = open_corpus(path)
    assert list(corpus.splits) == ["train", "valid", "test"]
    for name, own in CLIPS.items():
        split = corpus.split({"dev": "valid"}.get(name, name))
        assert not ids or split.ids == [clip["id"] for clip in own]
        assert not texts or split.raw_text == [" ".join(clip["words"]) for clip in own]
        np.testing.assert_allclose(np.asarray(split.labels), [clip["label"] for clip in own], rtol=1e-6)
        for key in ("audio", "vision"):
            for row, clip in enumerate(own):
                length = len(clip[key])
                np.testing.assert_array_equal(split.features[key][row, :length], clip[key].astype("f4"))
                assert not split.features[key][row, length:].any()
                assert split.spans[key][row].tolist() == [0, length]


def magbert() -> Any:
    return {
        split: [((c["words"], c["vision"], c["audio"]), np.array([[c["label"]]]), c["id"]) for c in own]
        for split, own in CLIPS.items()
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_lists_of_clips_are_read(tmp_path: Path, protocol: int) -> None:
    check(corpora.dump(magbert(), tmp_path / "mosi.pkl", protocol))


def _objects(rows: list[Any]) -> Any:
    return np.array([*rows, None], dtype=object)[:-1]


@pytest.mark.parametrize("make", [list, _objects])
def test_lists_of_arrays_are_padded(tmp_path: Path, make: Any) -> None:
    tree = {
        split: {
            "id": [clip["id"] for clip in own],
            "raw_text": [clip["words"] for clip in own],
            "labels": [clip["label"] for clip in own],
            **{key: make([clip[key] for clip in own]) for key in ("audio", "vision")},
        }
        for split, own in CLIPS.items()
    }
    check(corpora.dump(tree, tmp_path / "a.pkl"))


def test_a_large_list_of_words_may_take_as_many_steps_as_it_has_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = corpora.dump(magbert(), tmp_path / "mosi.pkl")
    monkeypatch.setattr(formats, "STEPS", 3000)
    with pytest.raises(MERError, match="more than 3,[0-9]{3} steps"):
        read_draft(path)
    monkeypatch.setattr(formats, "BYTES_A_STEP", 1)
    assert len(read_draft(path).splits["train"].ids) == 5


def test_clips_of_another_form_are_named(tmp_path: Path) -> None:
    tree = magbert()
    tree["dev"][2] = tree["dev"][2][:2]
    with pytest.raises(MERError, match=r"clip 2 of dev is not \(\(words, visual, acoustic\), label, segment\)"):
        open_corpus(corpora.dump(tree, tmp_path / "a.pkl"))
    tree = magbert()
    tree["dev"][1] = (tree["dev"][1][0], np.ones((1, 7)), "id")
    with pytest.raises(MERError, match="clips of dev have 1 labels and 7"):
        open_corpus(corpora.dump(tree, tmp_path / "b.pkl"))
    tree = magbert()
    (words, vision, _), label, name = tree["train"][0]
    tree["train"][0] = ((words, vision, np.ones((3, 9))), label, name)
    with pytest.raises(MERError, match="train: audio has samples of 3 and of 9 features; give all one width"):
        open_corpus(corpora.dump(tree, tmp_path / "c.pkl"))


def test_a_sample_that_would_make_nearly_all_padding_is_refused(tmp_path: Path) -> None:
    rows = [np.ones((1, 1))] * 6000 + [np.ones((60_000, 1))]
    tree = {"test": {"audio": rows}}
    with pytest.raises(MERError, match="audio has 60000 steps in the longest sample and 10 on average"):
        open_corpus(corpora.dump(tree, tmp_path / "a.pkl"))


def write_table(path: Path, rows: list[dict[str, Any]], encoding: str = "utf-8") -> None:
    lines = [",".join(rows[0])] + [",".join(str(value) for value in row.values()) for row in rows]
    path.write_bytes("\r\n".join(lines).encode(encoding))


def table_rows(own: list[dict[str, Any]], **more: str) -> list[dict[str, Any]]:
    found = []
    for clip in own:
        video, number = clip["id"].split("$_$")
        found.append(
            {"video_id": video, "clip_id": number, "text": " ".join(clip["words"]), "label": clip["label"], **more}
        )
    return found


@pytest.mark.parametrize("place", ["{key}/{id}", "{key}/{split}/{id}", "{split}/{key}/{id}", "{key}/{video}_{clip}"])
def test_a_table_beside_one_file_a_clip_is_read(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "own"
    rows = [row for split, own in CLIPS.items() for row in table_rows(own, mode=split)]
    for split, own in CLIPS.items():
        for clip in own:
            video, number = clip["id"].split("$_$")
            for key in ("audio", "vision"):
                name = place.format(key=key, id=clip["id"], split=split, video=video, clip=number)
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                np.save(folder / f"{name}.npy", clip[key])
    write_table(folder / "labels.csv", rows)
    check(folder)
    assert len(source_files(folder)) == 1 + 2 * sum(SPLITS.values())


def test_tables_of_splits_beside_one_file_a_split_are_read(tmp_path: Path) -> None:
    """As MELD comes, with features that someone has made of it."""
    folder = tmp_path / "meld"
    emotions = ["joy", "anger", "neutral"]
    for split, count in SPLITS.items():
        rows = [
            {
                "Sr No.": row,
                "Utterance": f'"So, it\u2019s {split} {row}"',
                "Speaker": "Ross",
                "Emotion": emotions[row % 3],
                "Sentiment": "neutral",
                "Dialogue_ID": row // 2,
                "Utterance_ID": row % 2,
            }
            for row in range(count)
        ]
        (folder / split).mkdir(parents=True)
        write_table(folder / f"{split}_sent_emo.csv", rows, "cp1252")
        np.save(folder / split / "audio.npy", np.random.default_rng(count).normal(size=(count, 6)))
    draft = read_draft(folder)
    assert draft.faults == []
    train = draft.splits["train"]
    assert train.ids[:3] == ["train_dia0_utt0", "train_dia0_utt1", "train_dia1_utt0"]
    assert train.raw_text is not None
    assert train.raw_text[0] == "So, it\u2019s train 0"
    np.testing.assert_array_equal(train.labels, [1, 0, 2, 1, 0])
    assert train.features["audio"].shape == (5, 1, 6)


SENTIMENT = ["negative", "neutral", "positive"]


@pytest.mark.parametrize(
    ("about", "names", "labels"),
    [
        (None, ("anger", "joy", "neutral"), [1, 0, 2, 1, 0]),
        ({"labels": "classes", "names": ["joy", "neutral", "anger"]}, ("joy", "neutral", "anger"), [0, 2, 1, 0, 2]),
        ({"labels": "classes", "names": SENTIMENT}, tuple(SENTIMENT), [2, 0, 1, 2, 0]),
        ({"labels": "sentiment"}, (), [2, 0, 1, 2, 0]),
        ({"labels": "classes", "names": ["joy", "anger"]}, (), []),
    ],
)
def test_what_about_names_chooses_between_emotion_and_sentiment(
    tmp_path: Path, about: Any, names: tuple[str, ...], labels: list[int]
) -> None:
    emotions, polarities = ["joy", "anger", "neutral"], ["positive", "negative", "neutral"]
    for split, count in SPLITS.items():
        rows = [
            {"id": f"{split}{row}", "Emotion": emotions[row % 3], "Sentiment": polarities[row % 3]}
            for row in range(count)
        ]
        (tmp_path / "meld" / split).mkdir(parents=True)
        write_table(tmp_path / "meld" / f"{split}_sent_emo.csv", rows)
        np.save(tmp_path / "meld" / split / "audio.npy", np.random.default_rng(count).normal(size=(count, 6)))
    if about is not None:
        (tmp_path / "meld" / "about.json").write_text(json.dumps(about))
    if not labels:
        with pytest.raises(
            MERError, match=r"has rows of class neutral, which about.json does not name; add it to names"
        ):
            open_corpus(tmp_path / "meld")
        return
    corpus = open_corpus(tmp_path / "meld")
    assert corpus.meaning is not None
    assert corpus.meaning.kind == ("sentiment" if about == {"labels": "sentiment"} else "classes")
    assert corpus.meaning.names == names
    assert np.asarray(corpus.split("train").labels).tolist() == labels
    task = "classes" if names else "binary"
    assert MOSI(str(tmp_path / "meld"), task=task, modalities=["audio"]).task.num_outputs == 3


def test_a_clip_without_a_file_lacks_the_modality(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    (folder / "audio").mkdir(parents=True)
    for clip in CLIPS["test"][1:]:
        np.save(folder / "audio" / f"{clip['id']}.npy", clip["audio"])
    write_table(folder / "test.csv", [{"id": clip["id"]} for clip in CLIPS["test"]])
    corpus = open_corpus(folder)
    assert corpus.split("test").spans["audio"][0].tolist() == [0, 0]
    assert "test: audio is absent (all zero) in 1 of 4 samples" in corpus.notes
    assert corpus.split("test").labels is None


def test_a_table_of_speakers_makes_no_other_form_of_a_folder(tmp_path: Path) -> None:
    folder = corpora.write_folder(corpora.mmsa(), tmp_path / "own")
    (folder / "speakers.csv").write_text("id,speaker\na,Ann\n")
    assert read_draft(folder).faults == []
    bare = corpora.write_folder({"test": {"audio": np.ones((2, 3, 4))}}, tmp_path / "bare")
    (bare / "speakers.csv").write_text("id,speaker\na,Ann\n")
    assert read_draft(bare).splits["test"].ids == ["test_0", "test_1"]


def test_an_id_leads_nowhere_else(tmp_path: Path) -> None:
    np.save(tmp_path / "secret.npy", np.ones((2, 3)))
    (tmp_path / "own" / "audio").mkdir(parents=True)
    np.save(tmp_path / "own" / "audio" / "a.npy", np.ones((2, 3)))
    write_table(tmp_path / "own" / "test.csv", [{"id": "a"}, {"id": "../../secret"}, {"id": str(tmp_path / "secret")}])
    spans = open_corpus(tmp_path / "own").split("test").spans["audio"]
    assert spans.tolist() == [[0, 2], [0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"labels.csv": b"id,label\na,1\n", "audio/a.npy": b""},
            "does not say which split its clips are of",
        ),
        ({"train.csv": b"id,label\na,1\n"}, "holds tables, but no features; put one array a clip into text/ID.npy"),
        ({"train.csv": b'id,label\n"' + b"a" * 200_000, "audio/a.npy": b""}, "cannot be read as a CSV file"),
        ({"train.csv": b"id\na\n", "audio/a.npy": b"nonsense"}, r"a\.npy is not a \.npy array"),
    ],
)
def test_what_is_no_such_folder_is_named(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    for name, data in files.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_bytes(data)
    with pytest.raises(MERError, match=message):
        read_draft(tmp_path / "own")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are pipes")
def test_a_pipe_among_the_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own" / "audio").mkdir(parents=True)
    os.mkfifo(tmp_path / "own" / "audio" / "a.npy")
    write_table(tmp_path / "own" / "test.csv", [{"id": "a"}])
    with pytest.raises(MERError, match="not a regular file"):
        read_draft(tmp_path / "own")


def tensors() -> Any:
    return {
        split: {
            "id": [clip["id"] for clip in own],
            "raw_text": [" ".join(clip["words"]) for clip in own],
            "labels": torch.tensor([clip["label"] for clip in own]),
            "audio": [torch.from_numpy(clip["audio"]) for clip in own],
            "vision": torch.nn.utils.rnn.pad_sequence([torch.from_numpy(c["vision"]) for c in own], batch_first=True),
        }
        for split, own in CLIPS.items()
    }


def test_tensors_are_read(tmp_path: Path) -> None:
    content = tensors()
    widest = max(fields["vision"].shape[1] for fields in content.values())
    for fields in content.values():
        fields["vision"] = torch.nn.functional.pad(fields["vision"], (0, 0, 0, widest - fields["vision"].shape[1]))
        longest = max(len(x) for own in CLIPS.values() for x in (clip["audio"] for clip in own))
        fields["audio"][0] = torch.nn.functional.pad(fields["audio"][0], (0, 0, 0, longest - len(fields["audio"][0])))
    torch.save(content, tmp_path / "corpus.pt")
    check(tmp_path / "corpus.pt")
    content["train"]["vision"] = content["train"]["vision"].transpose(1, 2).contiguous().transpose(1, 2)
    content["dev"]["vision"] = content["dev"]["vision"].double()
    torch.save(content, tmp_path / "other.pt")
    check(tmp_path / "other.pt")


def test_tensors_beside_anything_else_are_refused(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    torch.save({"test": {"audio": corpora.Evil(marker)}}, tmp_path / "evil.pt")
    with pytest.raises(MERError, match="cannot be read as tensors alone .* nothing in it was run; save a dict"):
        read_draft(tmp_path / "evil.pt")
    torch.save({"test": {"audio": torch.ones(1).expand(10**9, 3, 2)}}, tmp_path / "huge.pt")
    with pytest.raises(MERError, match="takes over .* bytes of memory; save a dict of splits"):
        read_draft(tmp_path / "huge.pt")
    assert not marker.exists()


def test_a_corpus_of_clips_trains(tmp_path: Path) -> None:
    data = MOSI(str(corpora.dump(magbert(), tmp_path / "mosi.pkl")), modalities=["audio", "vision"], batch_size=3)
    assert data.spec.aligned
    assert next(iter(data.train_dataloader())).vision.x.shape[::2] == (3, 4)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (b"id,split,text\ra,train,so\r", True),  # line ends of an old Mac
        (b"id,sp\rlit\n", False),
    ],
)
def test_first_lines_of_tables_may_have_any_line_ends(tmp_path: Path, header: bytes, found: bool) -> None:
    (tmp_path / "labels.csv").write_bytes(header)
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "text.npy").write_bytes(b"")
    assert has_tables(tmp_path) is found
