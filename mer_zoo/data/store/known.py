"""Which converted corpora were made here, of which files: a name is no proof, since a data set can bring it along.

A record for each store lies in the user's own cache folder. It says what the files of the source and of the store
looked like when the one was made of the other, so that a look at the files tells whether both still are what they were.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from mer_zoo.data.files.sources import source_files
from mer_zoo.errors import MERError
from mer_zoo.foreign import read_json
from mer_zoo.runs.files import whole_file

__all__ = ["is_known", "remember", "same_store", "source_state", "user_folder"]

State = list[list[str | int]]
LARGEST = 2**20  # bytes of a record


def user_folder() -> Path:
    """The user's own folder for what can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mer_zoo"


def source_state(source: Path) -> State:
    """What the files of a source look like: whoever changes their content changes this, also with a set-back clock.

    Args:
        source: A file or folder.

    Example:
        >>> from tempfile import mkdtemp
        >>> file = Path(mkdtemp()) / "a.pkl"
        >>> _ = file.write_bytes(b"a")
        >>> before = source_state(file)
        >>> file.unlink()
        >>> _ = file.write_bytes(b"b")
        >>> source_state(file) == before
        False
    """
    return _state(source_files(source))


def is_known(store: Path, source: Path) -> bool:
    """Whether a store was made, or found to be sound, here, and neither it nor its source has changed since.

    Args:
        store: The folder.
        source: What it should be made of.
    """
    try:
        return bool(read_json(_record(store), LARGEST) == _about(store, source))
    except (OSError, MERError):
        return False


def remember(store: Path, source: Path) -> None:
    """Note that a store is made of a source; where the user has no folder to write to, nothing is noted.

    Args:
        store: The folder.
        source: What it is made of.
    """
    with suppress(OSError), whole_file(_record(store)) as part:
        part.write_text(json.dumps(_about(store, source)), encoding="utf-8")


def same_store(one: Path, other: Path, index: str) -> bool:
    """Whether two stores hold the same, whatever they call their source.

    Args:
        one: A folder.
        other: Another one.
        index: Name of the index in both.
    """
    names = [sorted(file.name for file in folder.iterdir()) for folder in (one, other)]
    if names[0] != names[1] or any(file.is_symlink() for file in other.iterdir()):
        return False
    try:
        ours, theirs = ({**read_json(folder / index), "source": None} for folder in (one, other))
    except (MERError, TypeError):
        return False
    return ours == theirs and all(
        filecmp.cmp(one / name, other / name, shallow=False) for name in names[0] if name != index
    )


def _record(store: Path) -> Path:
    place = hashlib.sha256(os.fsencode(store.resolve())).hexdigest()[:32]
    return user_folder().with_name("mer_zoo_known") / f"{place}.json"


def _about(store: Path, source: Path) -> dict[str, State]:
    return {"source": source_state(source), "store": _state(sorted(store.iterdir()))}


def _state(files: Iterable[Path]) -> State:
    found = [(file, file.stat()) for file in files]
    return [[os.fsencode(file).hex(), s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns] for file, s in found]
