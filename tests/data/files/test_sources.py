from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import corpora
import numpy as np
import pytest

from mer_zoo.data.files.sources import read_tree
from mer_zoo.errors import MERError

ARRAYS = {
    "text": np.arange(24.0).reshape(2, 3, 4),
    "audio": np.asfortranarray(np.arange(24.0, dtype=">f4").reshape(2, 3, 4)),
    "id": np.array(["a", "b"]),
}


def npz(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def npy(array: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_own_files_are_read_as_written(tmp_path: Path, kind: str) -> None:
    write = corpora.write_folder if kind == "folder" else corpora.write_npz
    tree = read_tree(write({"train": ARRAYS, "dev": ARRAYS}, tmp_path / f"own.{kind}"))
    assert tree.keys() == {"train", "valid"}
    for name, expected in ARRAYS.items():
        array = tree["train"][name]
        np.testing.assert_array_equal(array.load(), expected)
        np.testing.assert_array_equal(np.concatenate(list(array.blocks(limit=1))), expected)


def test_two_names_of_one_split_are_refused(tmp_path: Path) -> None:
    corpora.write_folder({"valid": ARRAYS, "dev": ARRAYS}, tmp_path / "own")
    with pytest.raises(MERError, match="belongs to split valid, but there is dev too"):
        read_tree(tmp_path / "own")


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(MERError, match=r"nowhere\.pkl does not exist; give the path"):
        read_tree(tmp_path / "nowhere.pkl")


def test_a_folder_without_arrays_is_named(tmp_path: Path) -> None:
    (tmp_path / "audio.npy").touch()
    with pytest.raises(MERError, match=r"holds no split/field\.npy files"):
        read_tree(tmp_path)


def test_an_empty_npz_is_named(tmp_path: Path) -> None:
    with pytest.raises(MERError, match="holds no members called split/field"):
        read_tree(npz(tmp_path / "own.npz", {}))


def test_python_objects_in_npy_files_are_refused(tmp_path: Path) -> None:
    corpora.write_folder({"train": {"id": np.array(["a"], dtype=object)}}, tmp_path / "own")
    with pytest.raises(MERError, match=r"id\.npy holds object elements; save numbers, or text with dtype=str"):
        read_tree(tmp_path / "own")


def test_a_cut_npy_file_is_named(tmp_path: Path) -> None:
    path = corpora.write_folder({"train": ARRAYS}, tmp_path / "own") / "train" / "text.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(MERError, match=r"text\.npy is cut short"):
        read_tree(tmp_path / "own")


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x93NUMPY\x03\x00\x10\x00\x00\x00{}"])
def test_what_is_no_npy_file_is_named(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(MERError, match=r"train/audio\.npy\] is not a \.npy array"):
        read_tree(npz(tmp_path / "own.npz", {"train/audio.npy": data}))


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2",
        "{'descr': \"\"\"<f8', 'fortran_order': False, 'shape': (2,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': " + "(" * 5000,
        "{'descr': '<f8', 'fortran_order': False, 'shape': (" + "-" * 9000 + "1,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (8, 0, 4611686018427387904), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (" + "1," * 99 + "), }",
        "{'descr': '<f8', 'fortran_order': __import__('os').system('true'), 'shape': (2,), }",
        "{'descr': '<f8'}",
        "7",
    ],
)
def test_tricks_of_headers_are_refused(tmp_path: Path, header: str) -> None:
    data = b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header) + 1) + header.encode() + b"\n" + bytes(64)
    with pytest.raises(MERError, match=r"is not a \.npy array|a shape that no array can have"):
        read_tree(npz(tmp_path / "own.npz", {"train/audio.npy": data}))


def test_what_is_no_npz_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "own.npz").write_bytes(b"nonsense")
    with pytest.raises(MERError, match=r"own\.npz cannot be read"):
        read_tree(tmp_path / "own.npz")


def test_a_damaged_npz_fails_when_it_is_read(tmp_path: Path) -> None:
    path = npz(tmp_path / "own.npz", {"train/audio.npy": npy(np.arange(1000.0))})
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    with pytest.raises(MERError, match=r"train/audio\.npy\] cannot be read"):
        read_tree(path)["train"]["audio"].load()
