"""Folders of Hugging Face datasets: rows with arrays are read, whatever would run or lead elsewhere is refused."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mer_zoo.data import MOSI
from mer_zoo.data.files.sources import source_files
from mer_zoo.data.store.store import open_corpus
from mer_zoo.errors import MERError

pa = pytest.importorskip("pyarrow")

SPLITS = {"train": 9, "validation": 4, "test": 5}
CLASSES = ["joy", "anger", "fear"]


def rows(split: str, count: int) -> dict[str, list[Any]]:
    rng = np.random.default_rng(count)
    lengths = rng.integers(1, 6, count)
    return {
        "id": [f"{split}_{row}" for row in range(count)],
        "text": [f"clip {row} of {split}" for row in range(count)],
        "speaker": ["Ann" if row % 2 else "Bob" for row in range(count)],
        "label": rng.uniform(-3, 3, count).tolist(),
        "audio": [None if row == 1 else rng.normal(size=(lengths[row], 3)).tolist() for row in range(count)],
        "vision": rng.normal(size=(count, 4)).tolist(),
    }


def save(folder: Path, columns: dict[str, list[Any]], types: dict[str, Any] | None = None, block: int = 3) -> Path:
    """Write one split as ``save_to_disk`` does: a stream of small blocks, and what there is in it."""
    usual = {"audio": pa.list_(pa.list_(pa.float32())), "vision": pa.list_(pa.float64())}
    types = {**usual, **(types or {})}
    table = pa.table({name: pa.array(values, types.get(name)) for name, values in columns.items()})
    folder.mkdir(parents=True)
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file,
        pa.ipc.new_stream(file, table.schema) as out,
    ):
        for batch in table.to_batches(max_chunksize=block):
            out.write_batch(batch)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}}))
    return folder


def save_all(folder: Path, change: Any = dict, types: dict[str, Any] | None = None) -> Path:
    for name, count in SPLITS.items():
        save(folder / name, change(rows(name, count)), types)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(SPLITS)}))
    return folder


def check(path: Path) -> None:
    corpus = open_corpus(path)
    for name, count in SPLITS.items():
        own, split = rows(name, count), corpus.split({"validation": "valid"}.get(name, name))
        assert split.ids == own["id"]
        assert split.raw_text == own["text"]
        np.testing.assert_allclose(np.asarray(split.labels), own["label"], rtol=1e-6)
        np.testing.assert_allclose(split.features["vision"][:, 0], own["vision"], rtol=1e-6)
        for row, audio in enumerate(own["audio"]):
            steps = 0 if audio is None else len(audio)
            assert split.spans["audio"][row].tolist() == [0, steps]
            if steps:
                np.testing.assert_allclose(split.features["audio"][row, :steps], audio, rtol=1e-6)


def test_rows_with_arrays_are_read(tmp_path: Path) -> None:
    folder = save_all(tmp_path / "set")
    check(folder)
    assert [path.name for path in source_files(folder)].count("data-00000-of-00001.arrow") == 3
    data = MOSI(str(folder), modalities=["audio", "vision"], batch_size=2)
    assert next(iter(data.train_dataloader())).audio.x.shape[::2] == (2, 3)


@pytest.mark.parametrize(
    "types",
    [
        {"audio": pa.large_list(pa.list_(pa.float64())), "vision": pa.list_(pa.float32(), 4)},
        {"audio": pa.list_(pa.list_(pa.float32(), 3)), "text": pa.large_string()},
    ],
)
def test_lists_of_other_kinds_are_read_alike(tmp_path: Path, types: dict[str, Any]) -> None:
    check(save_all(tmp_path / "set", types=types))


def test_one_split_has_to_say_which(tmp_path: Path) -> None:
    own = {name: rows(name, count) for name, count in SPLITS.items()}
    joined: dict[str, list[Any]] = {key: [cell for part in own.values() for cell in part[key]] for key in own["train"]}
    check(save(tmp_path / "set", {**joined, "split": [n for n, count in SPLITS.items() for _ in range(count)]}))
    with pytest.raises(MERError, match="is one split without a name; save a DatasetDict, or add a column split"):
        open_corpus(save(tmp_path / "other", joined))


def test_classes_keep_their_names_and_order(tmp_path: Path) -> None:
    def numbered(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {**columns, "label": [row % 3 for row in range(len(columns["id"]))]}

    folder = save_all(tmp_path / "set", numbered)
    for name in SPLITS:
        about = {"features": {"label": {"names": CLASSES, "_type": "ClassLabel"}}}
        (folder / name / "dataset_info.json").write_text(json.dumps(about))
    corpus = open_corpus(folder)
    assert corpus.meaning is not None
    assert corpus.meaning.names == tuple(CLASSES)
    assert np.asarray(corpus.split("train").labels)[:4].tolist() == [0, 1, 2, 0]

    def words(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {**columns, "label": [CLASSES[row % 3] for row in range(len(columns["id"]))]}

    named = open_corpus(save_all(tmp_path / "words", words)).meaning
    assert named is not None
    assert named.names == tuple(sorted(CLASSES))


def test_a_column_of_several_labels_is_emotions(tmp_path: Path) -> None:
    def several(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {**columns, "label": [[row % 2, 1] for row in range(len(columns["id"]))]}

    labels = open_corpus(save_all(tmp_path / "set", several)).split("test").labels
    assert np.asarray(labels).tolist() == [[row % 2, 1] for row in range(5)]


def test_without_pyarrow_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MERError, match=r"pyarrow, which is not installed; pip install 'mer-zoo\[hf\]'"):
        open_corpus(save_all(tmp_path / "set"))


def _state(folder: Path, **entries: Any) -> None:
    (folder / "train" / "state.json").write_text(json.dumps(entries))


def _compressed(folder: Path) -> None:
    table = pa.table({"id": ["a"] * 99, "audio": [[[0.0, 0.0]]] * 99})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    file = folder / "train" / "data-00000-of-00001.arrow"
    with pa.OSFile(str(file), "wb") as out, pa.ipc.new_stream(out, table.schema, options=options) as writer:
        writer.write_table(table)


def _cut(folder: Path) -> None:
    file = folder / "train" / "data-00000-of-00001.arrow"
    file.write_bytes(file.read_bytes()[:-900])


def _rewritten(**columns: Any) -> Any:
    def change(folder: Path) -> None:
        shutil.rmtree(folder / "train")
        count = len(next(iter(columns.values())))
        save(folder / "train", {"id": [str(row) for row in range(count)], **columns}, {})

    return change


FAULTS = {
    "elsewhere": (lambda f: _state(f, _data_files=[{"filename": "../../x.arrow"}]), "has no state.json that names its"),
    "no_state": (lambda f: (f / "train" / "state.json").unlink(), "has no state.json that names its Arrow files"),
    "chosen": (
        lambda f: _state(f, _data_files=[{"filename": "data-00000-of-00001.arrow"}], _indices_data_files=[{}]),
        r"holds a choice of rows; call flatten_indices\(\)",
    ),
    "missing": (lambda f: _state(f, _data_files=[{"filename": "other.arrow"}]), "cannot be read"),
    "compressed": (_compressed, "is compressed or has a dictionary"),
    "cut": (_cut, "is no sound Arrow file|cannot be read"),
    "text": (lambda f: (f / "train" / "data-00000-of-00001.arrow").write_bytes(b"<html>" * 9), "no stream of Arrow"),
    "empty": (lambda f: (f / "train" / "data-00000-of-00001.arrow").write_bytes(b""), "cannot be read"),
    "splits": (lambda f: (f / "dataset_dict.json").write_text('{"splits": ["../train"]}'), "does not name the splits"),
    "sounds": (
        _rewritten(audio=[[[0.5]], [[1.0]]], speaker=[{"bytes": b"x"}, {"bytes": b"y"}]),
        "speaker of .* is a column of .struct",
    ),
    "widths": (_rewritten(audio=[[[0.5], [1.0, 2.0]]]), "has a row of 1 and 2 features"),
    "gaps": (_rewritten(audio=[[[0.5, None]]]), "is not one array of numbers"),
    "no_arrays": (_rewritten(label=[0.5]), "audio is in one of"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_not_such_a_folder_is_said(tmp_path: Path, fault: str) -> None:
    folder = save_all(tmp_path / "set")
    change, message = FAULTS[fault]
    change(folder)
    with pytest.raises(MERError, match=message):
        open_corpus(folder)


@pytest.mark.parametrize("file", ["set.py", "data/train-00000.parquet"])
def test_a_data_set_of_the_hub_is_neither_run_nor_streamed(tmp_path: Path, file: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / file).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(MERError, match=r"holds (a script \(set.py\) that would be run|Parquet files).*save_to_disk"):
        open_corpus(tmp_path, cache_dir=tmp_path.parent / "cache")
    assert not (tmp_path / "ran").exists()


def test_what_datasets_itself_saves_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    whole = {name: datasets.Dataset.from_dict(rows(name, count)) for name, count in SPLITS.items()}
    datasets.DatasetDict(whole).save_to_disk(tmp_path / "set")
    check(tmp_path / "set")
