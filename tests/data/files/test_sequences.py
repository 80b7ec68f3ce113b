"""Folders of computational sequences, written as CMU-MultimodalSDK writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mer_zoo.data.files.formats import read_draft
from mer_zoo.data.store.store import open_corpus
from mer_zoo.errors import MERError

h5py = pytest.importorskip("h5py")

RECORDINGS = {"aaa": "train", "bbb": "dev", "ccc": "test"}
CLIPS = [(0.0, 2.0), (2.0, 4.0), (4.0, 5.0)]


def write(path: Path, name: str, content: dict[str, tuple[Any, Any]], **options: Any) -> None:
    with h5py.File(path, "w") as file:
        data = file.create_group(name).create_group("data")
        file[name].create_group("metadata")
        for recording, (features, intervals) in content.items():
            group = data.create_group(recording)
            group.create_dataset("features", data=features, **options)
            group.create_dataset("intervals", data=intervals)


def steps(count: int, length: float = 5.0) -> np.ndarray[Any, Any]:
    edges = np.linspace(0, length, count + 1)
    return np.stack([edges[:-1], edges[1:]], 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "sdk"
    folder.mkdir()
    rng = np.random.default_rng(0)
    labels = {name: (rng.uniform(-3, 3, (3, 1)), np.array(CLIPS)) for name in RECORDINGS}
    audio = {name: (rng.normal(size=(50, 4)).astype("f4"), steps(50)) for name in RECORDINGS}
    words = {name: (np.array([[b"so"], [b"sp"], [b"good"], [b"now"], [b"yes"]]), steps(5)) for name in RECORDINGS}
    write(folder / "CMU_MOSI_Opinion_Labels.csd", "Opinion Segment Labels", labels)
    write(folder / "CMU_MOSI_COVAREP.csd", "COVAREP", audio)
    write(folder / "CMU_MOSI_TimestampedWords.csd", "words", words)
    (folder / "splits.csv").write_text(
        "id,split\n" + "".join(f"{name},{split}\n" for name, split in RECORDINGS.items())
    )
    return folder


def test_sequences_are_cut_into_clips(folder: Path) -> None:
    corpus = open_corpus(folder)
    assert list(corpus.splits) == ["train", "valid", "test"]
    train = corpus.split("train")
    assert train.ids == ["aaa$_$0", "aaa$_$1", "aaa$_$2"]
    assert train.raw_text == ["so", "good now", "yes"]
    assert train.spans["audio"].tolist() == [[0, 20], [0, 20], [0, 10]]
    with h5py.File(folder / "CMU_MOSI_COVAREP.csd") as file:
        np.testing.assert_array_equal(train.features["audio"][1], file["COVAREP/data/aaa/features"][20:40])
    with h5py.File(folder / "CMU_MOSI_Opinion_Labels.csd") as file:
        expected = file["Opinion Segment Labels/data/aaa/features"][:, 0]
    np.testing.assert_allclose(np.asarray(train.labels), expected, rtol=1e-6)


def test_filters_and_links_are_refused(folder: Path, tmp_path: Path) -> None:
    path = folder / "CMU_MOSI_COVAREP.csd"
    sound = path.read_bytes()
    content = {name: (np.ones((50, 4)), steps(50)) for name in RECORDINGS}
    write(path, "COVAREP", content, compression="gzip")
    with pytest.raises(MERError, match="features of 'aaa' are filtered, lie in another file"):
        read_draft(folder)
    write(path, "COVAREP", content, chunks=(10, 4))
    with pytest.raises(MERError, match="do not lie in one piece"):
        read_draft(folder)
    secret = tmp_path / "secret.h5"
    write(secret, "COVAREP", content)
    for link in (h5py.ExternalLink(str(secret), "COVAREP/data/aaa"), h5py.SoftLink("/COVAREP/data/bbb")):
        path.write_bytes(sound)
        with h5py.File(path, "a") as file:
            del file["COVAREP/data/aaa"]
            file["COVAREP/data"]["aaa"] = link
        with pytest.raises(MERError, match="'aaa' is a link"):
            read_draft(folder)
    path.write_bytes(sound)
    with h5py.File(path, "a") as file:
        group = file["COVAREP/data/aaa"]
        del group["features"]
        layout = h5py.VirtualLayout(shape=(50, 4), dtype="f8")
        layout[:] = h5py.VirtualSource(str(secret), "COVAREP/data/aaa/features", shape=(50, 4))
        group.create_virtual_dataset("features", layout)
    with pytest.raises(MERError, match="filtered, lie in another file"):
        read_draft(folder)
    path.write_bytes(sound)
    with h5py.File(path, "a") as file:
        group = file["COVAREP/data/aaa"]
        del group["features"]
        group.create_dataset("features", shape=(50, 4), dtype="f8", external=[(str(secret), 0, 1600)])
    with pytest.raises(MERError, match="filtered, lie in another file"):
        read_draft(folder)


def test_what_is_lacking_is_named(folder: Path) -> None:
    with pytest.raises(MERError, match=r"a sequence of CMU-MultimodalSDK, which holds one modality.*splits\.csv"):
        read_draft(folder / "CMU_MOSI_COVAREP.csd")
    (folder / "CMU_MOSI_COVAREP.csd").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 1000)
    with pytest.raises(MERError, match="no sound HDF5 file"):
        read_draft(folder)
    (folder / "CMU_MOSI_COVAREP.csd").rename(folder / "unheard.csd")
    with pytest.raises(MERError, match="a sequence of what its name does not tell"):
        read_draft(folder)
    (folder / "unheard.csd").unlink()
    (folder / "splits.csv").unlink()
    with pytest.raises(MERError, match=r"lacks a \.csd of labels, or of a modality, or splits\.csv; put one \.csd"):
        read_draft(folder)
