"""``mer-zoo convert``: a corpus of any format as a store, for good and in a place of the user's choice."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from mer_zoo.data.corpus.arrays import READ_ERRORS
from mer_zoo.data.files.features import NanPolicy
from mer_zoo.data.files.splits import check_roles
from mer_zoo.data.roles import add_split_option, chosen_splits
from mer_zoo.data.store.cache import lock, remove_parts
from mer_zoo.data.store.fingerprint import source_sha256
from mer_zoo.data.store.reader import read_index
from mer_zoo.data.store.store import META, is_store, may_be_part, write_store
from mer_zoo.errors import MERError

__all__ = ["convert", "main"]


def convert(
    source: str | Path,
    dest: str | Path,
    nan: NanPolicy = "error",
    progress: bool = True,
    overwrite: bool = False,
    roles: Mapping[str, str] | None = None,
) -> None:
    """Convert a corpus to a store; an older store of the same corpus at the same place is replaced.

    Args:
        source: A file or folder in any format of docs/data.md.
        dest: The folder to make.
        nan: Whether NaN and infinity in features are an error or become zero.
        progress: Whether to show a progress bar.
        overwrite: Whether the store of another corpus is replaced, too.
        roles: Which splits of the file are taken for train, valid or a test split instead of those of these names.

    Raises:
        MERError: If the source is faulty, the destination is something else than a store of this corpus or holds other
            files too, or there is no room.

    Example:
        >>> import numpy as np
        >>> from tempfile import mkdtemp
        >>> file, rng = Path(mkdtemp()) / "clips.npz", np.random.default_rng(0)
        >>> fields = {f"{split}/audio": rng.normal(size=(4, 5, 3)) for split in ("train", "valid", "test")}
        >>> fields |= {f"{split}/regression_labels": rng.uniform(-3, 3, 4) for split in ("train", "valid", "test")}
        >>> np.savez(file, **fields)
        >>> convert(file, file.with_name("store"), progress=False)
        >>> sorted(path.name for path in file.with_name("store").iterdir())[:2]
        ['corpus.json', 'test.audio.npy']
    """
    source, dest = Path(source).expanduser(), Path(dest).expanduser()
    if is_store(source):
        raise MERError(f"{source} is a store already; give it as data.path")
    place = dest.resolve()
    _check_place(dest, place)
    is_foreign = is_store(place) and source.exists() and _corpus_of(place) != source_sha256(source)
    if is_foreign and not overwrite:
        raise MERError(f"{dest} holds the store of another corpus; give another folder, or replace it by --overwrite")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with lock(place.parent / f".{place.name}.lock") as exclusive:
            _check_place(dest, place)  # again, since another may have held the lock for long
            if exclusive:
                remove_parts(place)
            write_store(source, place, nan, progress, replace=True, roles=check_roles(roles or {}))
    except OSError as error:
        raise MERError(f"{dest} cannot be written ({error}); give another folder") from error


def _check_place(dest: Path, place: Path) -> None:
    if place.exists() and not is_store(place):
        raise MERError(f"{dest} exists and is not a store; give a new folder, so that nothing is overwritten")
    others = [] if not place.exists() else [file.name for file in sorted(place.iterdir()) if not may_be_part(file)]
    if others:  # the folder goes as a whole
        raise MERError(f"{dest} holds {others[0]}, which is no part of a store; move it, or give another folder")


def _corpus_of(store: Path) -> str | None:
    """Fingerprint of the corpus that a store was made of; None where the store does not tell."""
    try:
        return str(read_index(store / META)["sha256"])
    except (*READ_ERRORS, KeyError):
        return None


def main(args: list[str]) -> None:
    """Convert a corpus as the command line asks.

    Args:
        args: Arguments of ``mer-zoo convert``.

    Raises:
        MERError: If it cannot be done.
    """
    parser = argparse.ArgumentParser(
        "mer-zoo convert", description="Convert a corpus to memory-mapped files.", allow_abbrev=False
    )
    parser.add_argument("source", help="a corpus file or folder, see docs/data.md")
    parser.add_argument("dest", help="the folder to make")
    parser.add_argument("--nan", choices=["error", "zero"], default="error", help="refuse NaN, or put 0 in its place")
    parser.add_argument("--overwrite", action="store_true", help="replace the store of another corpus, too")
    add_split_option(parser)
    options = parser.parse_args(args)
    convert(options.source, options.dest, options.nan, overwrite=options.overwrite, roles=chosen_splits(options))
