"""The store: a corpus as a folder of memory-mapped .npy files and one JSON file, made once from any source.

A store is written beside its final place and renamed when it is complete, so that nobody ever sees half of one.

More than 300 lines, because what writes a store and what opens it have to agree in everything.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.batch import MODALITIES
from mer_zoo.data.corpus.arrays import READ_ERRORS, StoredArray
from mer_zoo.data.corpus.checks import SPLIT_NAME, fault_error
from mer_zoo.data.corpus.corpus import Corpus, with_meaning
from mer_zoo.data.corpus.meaning import LabelKind, Meaning
from mer_zoo.data.corpus.overlap import id_overlaps
from mer_zoo.data.files.drafts import HeardDraft
from mer_zoo.data.files.features import NanPolicy, Scan, scan_split
from mer_zoo.data.files.formats import Draft, read_draft
from mer_zoo.data.files.heard import HEARD_TEXT
from mer_zoo.data.files.splits import check_roles
from mer_zoo.data.store.cache import cache_folder, lock, part_of, remove_leftovers, sync_folder, version_key
from mer_zoo.data.store.files import NO_ROOM, check_room, room_error, write_arrays, write_features, write_small
from mer_zoo.data.store.fingerprint import labelling_sha256, source_sha256
from mer_zoo.data.store.known import is_known, remember, same_store, source_state
from mer_zoo.data.store.progress import progress_bar
from mer_zoo.data.store.reader import MADE_BY, MEANING, open_splits, read_index, read_made_by, read_told
from mer_zoo.errors import MERError

__all__ = [
    "META",
    "check_no_roles",
    "is_store",
    "may_be_part",
    "open_corpus",
    "open_store",
    "unfinished_store",
    "write_store",
]

VERSION = 1
READING = 5  # raised where readers find more in a source than they did, so that caches are made anew
META = "corpus.json"
LABELLING = "labelling_sha256"
_PART = re.compile(
    rf"({SPLIT_NAME.pattern})\.(({'|'.join((*MODALITIES, HEARD_TEXT))})(\.spans)?|({HEARD_TEXT}\.)?tokens"
    rf"|labels(\.({'|'.join(MODALITIES)}))?)\.npy"
)


def open_corpus(
    path: str | Path,
    cache_dir: str | Path | None = None,
    nan: NanPolicy = "error",
    progress: bool = False,
    told: Meaning | None = None,
    task: LabelKind | None = None,
    roles: Mapping[str, str] | None = None,
) -> Corpus:
    """Open a corpus, converting it to a store when it is opened for the first time or has changed.

    Args:
        path: A file or folder in any format of docs/data.md, or a store made by ``mer-zoo convert``.
        cache_dir: Where converted stores go. By default the environment variable MER_ZOO_CACHE, else a folder beside
            the source, else (the source stands where one cannot write) the user's cache folder.
        nan: Whether NaN and infinity in features are an error or become zero.
        progress: Whether to show a progress bar while converting.
        told: What labels mean, as far as the user says it; what the file says counts where he says nothing.
        task: See :func:`~mer_zoo.data.corpus.meaning.read_meaning`.
        roles: Which splits of the file are taken for train, valid or a test split instead of those of these names.

    Returns:
        The corpus, its arrays mapped read-only.

    Raises:
        MERError: If there is nothing at the path, or it is faulty, or there is no room to convert it.
    """
    path = Path(path).expanduser()
    if nan not in ("error", "zero"):
        raise MERError(f"nan is {nan!r}; choose error or zero")
    roles = check_roles(roles or {})
    if is_store(path):
        check_no_roles(path, roles)
        return with_meaning(open_store(path, str(path)), told, task)
    if not path.exists():
        raise MERError(f"{path} does not exist; give the path of a corpus file or folder (data.path)")
    folder, own = cache_folder(path, cache_dir)
    prefix, key = version_key(path, nan, READING, roles)
    store = folder / f"{prefix}{key}"
    if not _is_believed(store, path, own):
        try:
            with lock(folder / f"{prefix}lock") as exclusive:
                if not _is_believed(store, path, own):
                    if exclusive:
                        remove_leftovers(folder, prefix, store)
                    write_store(path, store, nan, progress, True, told, task, roles)
                    remember(store, path)
        except OSError as error:
            raise MERError(f"{folder} cannot be written ({error}); set MER_ZOO_CACHE to another folder") from error
        finally:
            with suppress(OSError):  # a refused source leaves nothing behind; a folder in use stays
                folder.rmdir()
    return with_meaning(open_store(store, str(path)), told, task)


def check_no_roles(store: Path, roles: Mapping[str, str]) -> None:
    """Refuse to choose splits of a store, which has those that were chosen when it was made.

    Args:
        store: The store.
        roles: See :func:`open_corpus`.

    Raises:
        MERError: If there are any.
    """
    if roles:
        raise MERError(
            f"{store} is a store, whose splits are chosen already; leave data.splits out, or convert the source with"
            " --splits"
        )


def _is_believed(store: Path, source: Path, own: bool) -> bool:
    """Whether a store in a cache is what its name says; one that lies beside the source may have come along with it."""
    if not is_store(store):
        return False
    if is_known(store, source):
        return True
    try:
        found = own and read_index(store / META).get("sha256") == source_sha256(source)
    except READ_ERRORS:
        return False
    if found:
        remember(store, source)
    return found


def is_store(path: Path) -> bool:
    """Whether a folder is a store."""
    return (path / META).is_file()


def may_be_part(file: Path) -> bool:
    """Whether a file has a name that those of a store have.

    Args:
        file: A file in a store.

    Example:
        >>> may_be_part(Path("store/train.audio.spans.npy")), may_be_part(Path("store/notes.txt"))
        (True, False)
    """
    return file.name == META or (_PART.fullmatch(file.name) is not None and not file.is_dir())


def open_store(path: Path, source: str) -> Corpus:
    """Map a store.

    Args:
        path: The folder.
        source: What to call the corpus in messages and reports.

    Raises:
        MERError: If it is damaged, or made by another version.
    """
    try:
        meta = read_index(path / META)
        if meta["version"] != VERSION:
            raise MERError(f"{path} is a store of version {str(meta['version'])[:20]}; convert the source again")
        splits = open_splits(path, meta)
        overlaps = id_overlaps({name: split.ids for name, split in splits.items()})
        if overlaps:
            raise fault_error(source, overlaps)
        # stores of earlier versions do not tell
        if meta.get(LABELLING) not in (None, labelling_sha256(path, meta["splits"], meta.get(MEANING) or {})):
            raise ValueError("labels, tokens, spans, ids or texts are others than were converted")
        told = read_told(meta), "", read_made_by(meta)
        return Corpus(splits, meta["aligned"], source, meta["notes"], meta["vocab_size"], meta.get("sha256"), *told)
    except MERError:
        raise
    except READ_ERRORS as error:
        raise MERError(f"{path} is a damaged store ({error}); delete it and convert the source again") from error


def write_store(
    source: Path,
    store: Path,
    nan: NanPolicy = "error",
    progress: bool = False,
    replace: bool = False,
    told: Meaning | None = None,
    task: LabelKind | None = None,
    roles: Mapping[str, str] | None = None,
) -> None:
    """Convert a corpus to a store; the store is there completely or not at all.

    Args:
        source: A file or folder in any format of docs/data.md.
        store: The folder to make.
        nan: Whether NaN and infinity in features are an error or become zero.
        progress: Whether to show a progress bar.
        replace: Whether an older store at the place goes, once the new one is complete.
        told: See :func:`open_corpus`. It decides what is refused, and is not written: the store is as the file is.
        task: See :func:`open_corpus`.
        roles: See :func:`open_corpus`.

    Raises:
        MERError: If the source is faulty, or there is no room for the store.
    """
    before = source_state(source) if source.exists() else []
    draft = read_draft(source, told, task, roles)
    if draft.faults:
        raise fault_error(
            str(source),
            draft.faults + [f for name, split in draft.splits.items() for f in scan_split(name, split, nan).faults],
        )
    arrays = [array for split in draft.splits.values() for array in split.features.values()]
    arrays += [s.heard.features for s in draft.splits.values() if s.heard and s.heard.features is not None]
    needed = sum(4 * math.prod(array.shape) for array in arrays)
    try:
        with unfinished_store(store, source, draft, replace) as folder:
            check_room(needed, source, folder)
            with progress_bar(f"converting {source.name}", needed, progress) as advance:
                scans = [_write_split(folder, name, draft, nan, advance) for name in draft.splits]
            faults = [fault for scan in scans for fault in scan.faults]
            if faults:
                raise fault_error(str(source), faults)
            draft.notes += [note for scan in scans for note in scan.notes]
            draft.sha256 = source_sha256(source)
            if source_state(source) != before:  # else this were the fingerprint of other bytes than those read
                raise MERError(f"{source} has changed while it was read; use it when nothing writes to it any more")
    except OSError as error:
        if error.errno in NO_ROOM:
            raise room_error(store, needed, error) from error
        raise MERError(f"{source} cannot be converted in {store.parent} ({error}); give another folder") from error


@contextmanager
def unfinished_store(store: Path, source: Path, draft: Draft, replace: bool = False) -> Iterator[Path]:
    """Hand out a folder that becomes the store when the block ends without an error, and else vanishes.

    Args:
        store: The folder to make.
        source: What it is made of.
        draft: Its content; of features the names are used.
        replace: Whether it takes the place of an older store.

    Yields:
        Where to write the arrays.
    """
    unfinished = part_of(store)
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        _write_meta(unfinished, source, draft)
        _publish(unfinished, store, replace)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write_split(folder: Path, name: str, draft: Draft, nan: NanPolicy, advance: Callable[[int], None]) -> Scan:
    split = draft.splits[name]

    def write(key: str, array: StoredArray, blocks: Iterator[npt.NDArray[np.float32]]) -> None:
        write_features(folder / f"{name}.{key}.npy", array.shape, blocks, advance)

    scan = scan_split(name, split, nan, write)
    write_small(folder, name, scan.spans, split.tokens, split.labels, split.unimodal)
    if split.heard is not None and split.heard.tokens is not None:
        write_arrays(folder, name, {f"{HEARD_TEXT}.tokens": split.heard.tokens})
    return scan


def _write_meta(folder: Path, source: Path, draft: Draft) -> None:
    splits = {
        name: {
            "ids": split.ids,
            "raw_text": split.raw_text,
            "features": list(split.features),
            "tokens": split.tokens is not None,
            "labels": split.labels is not None,
            **dict(split.conversation),
        }
        | ({"unimodal": list(split.unimodal)} if split.unimodal else {})
        | ({HEARD_TEXT: _heard_meta(split.heard)} if split.heard is not None else {})
        for name, split in draft.splits.items()
    }
    told = {} if draft.told is None else draft.told.plain()
    meta = {
        "version": VERSION,
        "source": str(source),
        "sha256": draft.sha256,
        LABELLING: labelling_sha256(folder, splits, told),
        "notes": draft.notes,
        "aligned": draft.aligned,
        "vocab_size": draft.vocab_size,
        "splits": splits,
    } | ({MEANING: told} if told else {})
    meta |= {MADE_BY: {key: spec.plain() for key, spec in draft.made_by.items()}} if draft.made_by else {}
    with (folder / META).open("x", encoding="utf-8") as file:
        json.dump(meta, file)
        file.flush()
        os.fsync(file.fileno())
    try:
        read_index(folder / META)  # a store that could not be opened is none
    except MERError as error:
        raise MERError(f"the ids and texts of {source} are too long for a store ({error}); shorten them") from error


def _heard_meta(heard: HeardDraft) -> dict[str, Any]:
    held = {"features": heard.features is not None, "tokens": heard.tokens is not None}
    return {"raw_text": heard.raw_text, **held}


def _publish(unfinished: Path, store: Path, replace: bool) -> None:
    sync_folder(unfinished)
    old = part_of(store)
    if replace and is_store(store):
        if same_store(unfinished, store, META):
            return
        store.rename(old)  # a store that is removed where it stands would be half a store for a while
    try:
        unfinished.rename(store)
    except OSError:
        if not is_store(store):  # else another process was faster, with the same content
            raise
    sync_folder(store.parent)
    shutil.rmtree(old, ignore_errors=True)
