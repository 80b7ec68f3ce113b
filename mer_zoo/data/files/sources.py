"""Opening a corpus of any kind as one tree, split -> field -> array or list."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from typing_extensions import override

from mer_zoo.data.corpus.arrays import READ_ERRORS, StoredArray, open_at
from mer_zoo.data.files.arrow import dataset_files, is_dataset, is_script, read_dataset, refuse_script
from mer_zoo.data.files.clips import fields_of_clips
from mer_zoo.data.files.pickles import load_pickle
from mer_zoo.data.files.sequences import HDF5, read_sequences, refuse_one, sequence_files, sequences_in
from mer_zoo.data.files.tables import has_tables, read_tables, table_files
from mer_zoo.data.files.tensors import TENSORS, read_tensors
from mer_zoo.errors import MERError
from mer_zoo.foreign import Budget, open_regular, read_json

__all__ = ["read_tree", "source_files"]

_ALIASES = {"dev": "valid", "val": "valid"}
ABOUT_FILE = "about.json"  # of a folder: what its labels mean
LARGEST_ABOUT = 2**16
MAX_MEMBERS = 2_000
LARGEST_DIRECTORY = 2**20
STEPS_OPENED = 300


class Reader(NamedTuple):
    """A form in which corpora come.

    Args:
        takes: Whether a path, with its first bytes (none of a folder), has the form.
        files: The files that such a corpus consists of, in a fixed order.
        tree: Its splits and fields.
    """

    takes: Callable[[Path, bytes], bool]
    files: Callable[[Path], list[Path]]
    tree: Callable[[Path, Budget], Any]


def read_tree(path: Path, budget: Budget | None = None) -> Any:
    """Open a corpus; no features are read yet.

    Args:
        path: A file or folder in any form of docs/data.md.
        budget: Of what is read; by default one of its own.

    Raises:
        MERError: If there is nothing there, or it cannot be read safely.
    """
    if not path.exists():
        raise MERError(f"{path} does not exist; give the path of a corpus file or folder (data.path)")
    budget = budget or Budget(str(path))
    try:
        return fields_of_clips(_reader(path).tree(path, budget), budget)
    except MERError:
        raise
    except READ_ERRORS as error:
        raise MERError(f"{path} cannot be read ({error}); write or copy it again") from error


def source_files(path: Path) -> list[Path]:
    """List the files that a corpus consists of, in a fixed order."""
    return _reader(path).files(path)


def _reader(path: Path) -> Reader:
    head = b""
    if not path.is_dir():
        with open_regular(path) as file:
            head = file.read(16)
    return next(reader for reader in READERS if reader.takes(path, head))


def _itself(path: Path) -> list[Path]:
    return [path]


def _split_files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*/*.npy"), *folder.glob(ABOUT_FILE)])


def _read_folder(path: Path, budget: Budget) -> dict[str, Any]:
    tree = _tree(_folder(path), budget, f"{path} holds no split/field.npy files, such as train/audio.npy")
    return _with_about(path, tree)


def _about(path: Path) -> Any:
    about = path / ABOUT_FILE
    return read_json(about, LARGEST_ABOUT) if about.is_file() else None


def _with_about(path: Path, tree: dict[str, Any]) -> dict[str, Any]:
    about = _about(path)
    return tree if about is None else {**tree, "about": about}


Entry = tuple[str, str, Callable[[], IO[bytes]], int, str]


def _folder(path: Path) -> Iterator[Entry]:
    for file in sorted(path.glob("*/*.npy")):
        yield file.parent.name, file.stem, partial(open_at, file, 0), file.stat().st_size, str(file)


def _npz(path: Path) -> Iterator[Entry]:
    archive = _open_archive(path)
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise MERError(f"{path} holds {len(members)} members; a corpus has a few for each split")
    for member in members:
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise MERError(f"{path} is compressed in an unusual way; write it with numpy.savez")
        split, _, key = member.filename.removesuffix(".npy").rpartition("/")
        yield split, key, partial(archive.open, member), member.file_size, f"{path}[{member.filename}]"


class _Archived(io.BufferedReader):
    """The file of an archive, which is open for as long as arrays are read from it."""

    listing = True

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        # An archive's directory is read at once, and a thousand times its size is made of it.
        if self.listing and size is not None and size > LARGEST_DIRECTORY:
            raise ValueError("it lists too many members, where a corpus has a few for each split")
        return super().read(size)

    def __del__(self) -> None:
        self.close()


def _open_archive(path: Path) -> zipfile.ZipFile:
    with open_regular(path) as file:
        opened = _Archived(io.FileIO(os.dup(file.fileno())))
    archive = zipfile.ZipFile(opened)
    opened.listing = False
    return archive


def _tree(entries: Iterator[Entry], budget: Budget, empty: str) -> dict[str, dict[str, StoredArray]]:
    tree: dict[str, dict[str, StoredArray]] = {}
    written: dict[str, str] = {}
    for split, key, opener, size, name in entries:
        budget.take(STEPS_OPENED)
        own = _ALIASES.get(split, split)
        if written.setdefault(own, split) != split:
            raise MERError(f"{name} belongs to split {split}, but there is {written[own]} too; keep one of them")
        tree.setdefault(own, {})[key] = StoredArray.from_npy(opener, size, name)
    if not tree:
        raise MERError(f"{empty}; see docs/data.md")
    return tree


READERS = (
    Reader(lambda path, _: is_dataset(path), dataset_files, read_dataset),
    Reader(lambda path, _: path.is_dir() and bool(sequences_in(path)), sequence_files, read_sequences),
    Reader(
        lambda path, _: has_tables(path),
        lambda path: table_files(path) + sorted(path.glob(ABOUT_FILE)),
        lambda path, budget: _with_about(path, read_tables(path, budget, _about(path))),
    ),
    Reader(lambda path, _: is_script(path) and not _split_files(path), lambda _: [], refuse_script),
    Reader(lambda path, _: path.is_dir(), _split_files, _read_folder),
    Reader(
        lambda path, _: path.suffix == ".npz",
        _itself,
        lambda path, budget: _tree(
            _npz(path), budget, f"{path} holds no members called split/field, such as train/audio"
        ),
    ),
    Reader(lambda path, head: path.suffix in TENSORS and head.startswith(b"PK"), _itself, read_tensors),
    Reader(lambda _, head: head.startswith(HDF5), _itself, refuse_one),
    Reader(lambda *_: True, _itself, load_pickle),
)
"""Every form that is recognised, the first that fits."""
