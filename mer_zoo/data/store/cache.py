"""Where converted corpora are kept, under which name, and who may write there."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import re
import shutil
import stat
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from mer_zoo.data.files.sources import source_files
from mer_zoo.data.store.known import user_folder
from mer_zoo.errors import MERError

__all__ = ["cache_folder", "lock", "part_of", "remove_leftovers", "remove_parts", "sync_folder", "version_key"]

CACHE_NAME = ".mer_zoo_cache"
_NO_LOCKS = (None, errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # of some network file systems
_POLL = 0.05  # seconds
WORD = 5.0  # seconds of waiting before it is told
PATIENCE = 6 * 3600.0  # seconds of waiting, more than a conversion takes


def cache_folder(source: Path, given: str | Path | None = None) -> tuple[Path, bool]:
    """Choose and make the folder for converted corpora.

    Args:
        source: The corpus.
        given: The folder asked for; else the environment variable MER_ZOO_CACHE, else a folder beside the source,
            else, where one may not write there or the name is that of a link, the user's cache folder.

    Returns:
        The folder, and whether it is the user's own, so that no data set can have brought along what is in it.

    Raises:
        MERError: If the folder cannot be made or written to.
    """
    wanted = given or os.environ.get("MER_ZOO_CACHE")
    beside = source.resolve().parent
    # the mode is looked at because root may write everywhere, also where data are meant to stay as they are
    closed = not beside.stat().st_mode & 0o222 or not os.access(beside, os.W_OK)
    closed = closed or (beside / CACHE_NAME).is_symlink()
    folder = Path(wanted).expanduser() if wanted else user_folder() if closed else beside / CACHE_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MERError(f"the cache folder {folder} cannot be made ({error}); set MER_ZOO_CACHE to another") from error
    if not os.access(folder, os.W_OK):
        raise MERError(f"the cache folder {folder} cannot be written to; set MER_ZOO_CACHE to another")
    return folder, bool(wanted) or closed


def version_key(source: Path, nan: str, version: int, roles: Mapping[str, str] | None = None) -> tuple[str, str]:
    """Name a converted corpus: what stays the same when the source changes, and what does not.

    Args:
        source: The corpus.
        nan: The policy for NaN, which decides the content.
        version: Of what is read of sources.
        roles: Which splits are taken for others.
    """
    place = hashlib.sha256(os.fsencode(source.resolve())).hexdigest()[:8]
    state = [
        (file.name, file.parent.name, file.stat().st_size, file.stat().st_mtime_ns) for file in source_files(source)
    ]
    key = hashlib.sha256(repr((version, state)).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    if roles:  # stores of other choices stay
        place += f".{hashlib.sha256(repr(sorted(roles.items())).encode()).hexdigest()[:8]}"
    return f"{source.name[:100]}-{place}-{nan}-", key


def remove_leftovers(folder: Path, prefix: str, kept: Path) -> None:
    """Remove what older versions of a source, and killed conversions, left behind.

    Args:
        folder: The cache.
        prefix: What the names of all begin with.
        kept: What stays.
    """
    for leftover in folder.glob(f"{glob.escape(prefix)}*"):
        if leftover.is_dir() and leftover != kept:
            shutil.rmtree(leftover, ignore_errors=True)


def part_of(store: Path) -> Path:
    """Choose a name beside a store for something that is not yet, or no longer, the store."""
    return store.parent / f"{store.name}.{uuid.uuid4().hex[:8]}.part"


def remove_parts(store: Path) -> None:
    """Remove what killed conversions to a place left beside it; to be called by who holds its lock."""
    for leftover in store.parent.glob(f"{glob.escape(store.name)}.*.part"):
        if re.fullmatch(r"\.[0-9a-f]{8}\.part", leftover.name[len(store.name) :]):  # else it is not ours
            shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def lock(path: Path) -> Iterator[bool]:
    """Hold a lock file; another process waits until it is released, also by the death of its holder.

    What else lies at its place, such as a link, is neither followed nor touched; there is no lock then.

    Args:
        path: The file; its folder is made.

    Yields:
        Whether the lock excludes others, which depends on the file system too.

    Raises:
        MERError: If it is not released for hours.
    """
    held = FileLock(path)
    if not _acquire(held, path):
        yield False
        return
    try:
        yield True
    finally:
        with suppress(PermissionError):  # Windows removes no file that another process is about to open
            path.unlink(missing_ok=True)
        held.release()


def _acquire(held: FileLock, path: Path) -> bool:
    began, told = time.monotonic(), False
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = _found(path)
        if before is not None and not (stat.S_ISREG(before.st_mode) and before.st_size == 0):
            return False
        try:
            held.acquire(timeout=0)
        except Timeout:
            waited = time.monotonic() - began
            if waited > PATIENCE:
                raise MERError(
                    f"another process has held {path} for {waited / 3600:.3g} hours; end it if it hangs, then try again"
                ) from None
            if waited > WORD and not told:
                told = True
                sys.stderr.write(f"mer-zoo: waiting for another process, which holds {path}\n")
            time.sleep(_POLL)
            continue
        except NotImplementedError:  # older versions of the package say so of a file system without locks
            return False
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return False
            raise
        after = _found(path)
        if before is not None and after is not None and os.path.samestat(before, after):
            return True
        held.release()  # a holder has removed the file meanwhile, so that it excludes nobody any more


def _found(path: Path) -> os.stat_result | None:
    """What lies there itself; None for nothing."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def sync_folder(folder: Path) -> None:
    """Make a renamed entry of a folder outlast a power cut."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
