"""Opening what may be something else than a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO

from mer_zoo.errors import MERError

__all__ = ["open_regular", "read_regular"]

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)


def open_regular(path: Path) -> IO[bytes]:
    """Open a file for reading; a pipe would wait for ever, and a device may never end.

    Args:
        path: The file, or a link to one.

    Raises:
        MERError: If it is a pipe, a socket, a device or a folder.
        OSError: If it can't be opened.

    Example:
        >>> open_regular(Path("/"))
        Traceback (most recent call last):
        mer_zoo.errors.MERError: / is not a regular file; give a file
    """
    _check_regular(path, path.stat())
    # Again, since a name may stand for something else a moment later.
    file = os.fdopen(os.open(path, _FLAGS), "rb")
    try:
        _check_regular(path, os.fstat(file.fileno()))
    except MERError:
        file.close()
        raise
    return file


def read_regular(path: Path, limit: int) -> bytes:
    """Read a whole file.

    Args:
        path: The file.
        limit: Bytes that it may have.

    Raises:
        MERError: If it is no regular file, or larger.
        OSError: If it can't be read.

    Example:
        >>> from tempfile import mkdtemp
        >>> file = Path(mkdtemp()) / "note.txt"
        >>> _ = file.write_bytes(b"four")
        >>> read_regular(file, 4)
        b'four'
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(min(size, limit) + 1)  # as much is set aside at once
    if max(size, len(data)) > limit:
        raise MERError(f"{path} is refused: it is larger than {limit:,} bytes; give a smaller file")
    return data


def _check_regular(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise MERError(f"{path} is not a regular file; give a file")
