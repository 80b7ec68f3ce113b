"""The corpora that a reproduction reads: which file is which, and whether it is what a table was made from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mer_zoo.errors import MERError
from mer_zoo.reports.published import DATASETS

__all__ = ["check_file", "given_files", "placeholders"]

NAMED = re.compile(r"(\w+)(?::(\w+))?=(.+)")
READING = re.compile(r"--data\.(nan|cache_dir)=(.+)")
ALIGNMENTS = ("aligned", "unaligned")


def given_files(given: Sequence[str], needed: Sequence[str]) -> dict[str, Path]:
    """Which file each kind of corpus is read from.

    Args:
        given: ``FILE``, ``CORPUS=FILE`` or ``CORPUS:ALIGNMENT=FILE``.
        needed: All kinds that the rows read, such as ``MOSI:aligned``.

    Returns:
        Kind -> file, of the kinds that were given.

    Raises:
        MERError: If it is not clear what a file is, or nothing reads it.

    Example:
        >>> given_files(["mosi.pkl"], ["MOSI:aligned"])
        {'MOSI:aligned': PosixPath('mosi.pkl')}
        >>> given_files(["mosi.pkl"], ["MOSI:aligned", "MOSEI:aligned"])
        Traceback (most recent call last):
        mer_zoo.errors.MERError: --data.path mosi.pkl could be any of MOSI:aligned, MOSEI:aligned; say which, as in ...
    """
    files: dict[str, Path] = {}
    for word in given:
        named = None if Path(word).exists() else NAMED.fullmatch(word)
        wanted, file = (None, word) if named is None else (_kind(named[1], named[2]), named[3])
        fitting = [kind for kind in needed if wanted in (None, kind, kind.partition(":")[0])]
        if not fitting:
            raise MERError(f"--data.path {word}: nothing here reads {wanted}; what is read is {', '.join(needed)}")
        if len(fitting) > 1:
            example = f"--data.path {fitting[0]}={file}"
            raise MERError(
                f"--data.path {word} could be any of {', '.join(fitting)}; say which, as in {example},"
                " and give each of the others likewise or leave it out"
            )
        files[fitting[0]] = Path(file)
    return files


def placeholders(needed: Iterable[str]) -> dict[str, Path]:
    """Names that stand for files where commands are shown and none was given.

    Args:
        needed: The kinds of corpora.

    Example:
        >>> placeholders(["MOSI:aligned"])
        {'MOSI:aligned': PosixPath('MOSI_aligned.pkl')}
    """
    return {kind: Path(f"{kind.replace(':', '_')}.pkl") for kind in needed}


def check_file(kind: str, file: Path, target: str, extra: Sequence[str] = ()) -> None:
    """Refuse a file that is not of its kind, before anything is trained.

    Args:
        kind: What it was given as.
        file: The file.
        target: What reads it.
        extra: Options of every fit, of which some tell how a file is read.

    Raises:
        MERError: If the file can't be read, has other labels, or is aligned where the table is not, or the reverse.
    """
    from mer_zoo.data import IEMOCAP, MOSEI, MOSI

    corpus, _, alignment = kind.partition(":")
    reading: dict[str, Any] = {found[1]: found[2] for word in extra if (found := READING.fullmatch(word))}
    data = {"IEMOCAP": IEMOCAP, "MOSEI": MOSEI, "MOSI": MOSI}[corpus](str(file), **reading)
    data.train_dataloader()  # looks at the labels
    own = ALIGNMENTS[not data.spec.aligned]
    if own != alignment:
        raise MERError(f"{file} is {own}, and {target} is {alignment}; give --data.path {kind}=FILE")


def _kind(corpus: str, alignment: str | None) -> str:
    names = {name.lower(): name for name in DATASETS}
    if corpus.lower() not in names:
        close = get_close_matches(corpus.lower(), names, 1)
        guess = f", did you mean {names[close[0]]}" if close else ""
        raise MERError(f"--data.path: there is no corpus {corpus!r}{guess}; choose from {', '.join(DATASETS)}")
    if alignment is not None and alignment.lower() not in ALIGNMENTS:
        raise MERError(f"--data.path: {alignment!r} is no alignment; choose from {', '.join(ALIGNMENTS)}")
    return ":".join(filter(None, (names[corpus.lower()], alignment and alignment.lower())))
