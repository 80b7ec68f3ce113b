"""The commit that a folder is at, read from the plain files of its repository.

git itself runs what the configuration of a repository names (filters, monitors, hooks), and a folder of data may bring
a repository along.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

__all__ = ["commit_of"]

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_LARGEST = 2**24  # bytes of a file of references
_CHAIN = 5  # references that name others


def commit_of(folder: Path) -> str | None:
    """The commit of the repository around a folder; nothing of it is run, and no more than its references is read.

    Args:
        folder: A folder.

    Returns:
        The commit; None where there is no repository, no commit yet, or references in a form that is not known.

    Example:
        >>> from tempfile import mkdtemp
        >>> folder = Path(mkdtemp())
        >>> (folder / ".git").mkdir()
        >>> _ = (folder / ".git" / "HEAD").write_text("0123456789" * 4)
        >>> commit_of(folder)
        '0123456789012345678901234567890123456789'
    """
    place = next((place / ".git" for place in (folder, *folder.parents) if os.path.lexists(place / ".git")), None)
    if place is None:
        return None
    named = _text(place)  # a file of one line, in a worktree or a submodule
    if named is not None:
        place = place.parent / named.removeprefix("gitdir:").strip()
    common = place / (_text(place / "commondir") or "")
    found = _text(place / "HEAD")
    for _ in range(_CHAIN):
        if found is None or not found.startswith("ref:"):
            break
        found = _reference(found.removeprefix("ref:").strip(), place, common)
    return found if found is not None and _COMMIT.fullmatch(found) else None


def _reference(name: str, place: Path, common: Path) -> str | None:
    parts = name.split("/")
    if parts[0] != "refs" or {"", ".", ".."} & set(parts):
        return None
    loose = _text(place.joinpath(*parts)) or _text(common.joinpath(*parts))
    if loose is not None:
        return loose
    packed = (line.split(" ", 1) for line in (_text(common / "packed-refs") or "").splitlines())
    return next((line[0] for line in packed if line[1:] == [name]), None)


def _text(path: Path) -> str | None:
    """The text of a small file; None for anything else, such as a pipe, which would wait for ever."""
    try:
        if not stat.S_ISREG(path.stat().st_mode) or path.stat().st_size > _LARGEST:
            return None
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
