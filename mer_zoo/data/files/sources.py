"""Opening a corpus of any kind as one tree, split -> field -> array or list."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

from mer_zoo.data.corpus.arrays import READ_ERRORS, StoredArray, open_at
from mer_zoo.data.files.pickles import load_pickle
from mer_zoo.errors import MERError

__all__ = ["read_tree", "source_files"]

_ALIASES = {"dev": "valid", "val": "valid"}
MAX_MEMBERS = 10_000


def read_tree(path: Path) -> Any:
    """Open a corpus; no features are read yet.

    Args:
        path: A pickle, an .npz file with members called split/field, or a folder with files split/field.npy.

    Raises:
        MERError: If there is nothing there, or it cannot be read safely.
    """
    if not path.exists():
        raise MERError(f"{path} does not exist; give the path of a corpus file or folder (data.path)")
    try:
        if path.is_dir():
            return _tree(_folder(path), f"{path} holds no split/field.npy files, such as train/audio.npy")
        if path.suffix == ".npz":
            return _tree(_npz(path), f"{path} holds no members called split/field, such as train/audio")
        return load_pickle(path)
    except MERError:
        raise
    except READ_ERRORS as error:
        raise MERError(f"{path} cannot be read ({error}); write or copy it again") from error


def source_files(path: Path) -> list[Path]:
    """List the files that a corpus consists of, in a fixed order."""
    return sorted(path.glob("*/*.npy")) if path.is_dir() else [path]


Entry = tuple[str, str, Callable[[], IO[bytes]], int, str]


def _folder(path: Path) -> Iterator[Entry]:
    for file in source_files(path):
        yield file.parent.name, file.stem, partial(open_at, file, 0), file.stat().st_size, str(file)


def _npz(path: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise MERError(f"{path} holds {len(members)} members; a corpus has a few for each split")
    for member in members:
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise MERError(f"{path} is compressed in an unusual way; write it with numpy.savez")
        split, _, key = member.filename.removesuffix(".npy").rpartition("/")
        yield split, key, partial(_open_member, path, member.filename), member.file_size, f"{path}[{member.filename}]"


def _open_member(path: Path, name: str) -> IO[bytes]:
    return zipfile.ZipFile(path).open(name)


def _tree(entries: Iterator[Entry], empty: str) -> dict[str, dict[str, StoredArray]]:
    tree: dict[str, dict[str, StoredArray]] = {}
    written: dict[str, str] = {}
    for split, key, opener, size, name in entries:
        own = _ALIASES.get(split, split)
        if written.setdefault(own, split) != split:
            raise MERError(f"{name} belongs to split {split}, but there is {written[own]} too; keep one of them")
        tree.setdefault(own, {})[key] = StoredArray.from_npy(opener, size, name)
    if not tree:
        raise MERError(f"{empty}; see docs/data.md")
    return tree
