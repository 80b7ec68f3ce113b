"""Files that say which words are a trace of the bias, and which carry the label rightly and are kept."""

from __future__ import annotations

from pathlib import Path

from mer_zoo.data.files.groups import csv_rows
from mer_zoo.errors import MERError

__all__ = ["read_word_list"]

_ANSWERS = {"yes": True, "no": False, "true": True, "false": False, "1": True, "0": False}


def read_word_list(path: str | Path, what: str = "words") -> dict[str, bool]:
    r"""Read which words to keep.

    Args:
        path: A CSV file with the columns ``word`` and ``keep``, such as ``mer-zoo words`` writes: ``yes`` for a word
            that carries the label rightly, ``no`` for one to debias by. Other columns don't count.
        what: The option that names it, for the message.

    Returns:
        Word, in lower case, to whether it is kept.

    Raises:
        MERError: Naming the file and what is wrong.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "words.csv"
        >>> _ = path.write_text("word,keep,count\ngood,yes,31\nfilm,no,57\n")
        >>> read_word_list(path)
        {'good': True, 'film': False}
    """
    file = Path(path)
    header, *rows = csv_rows(file, what)
    if header.count("word") != 1 or header.count("keep") != 1:
        raise MERError(
            f"{what}: {file} does not begin with a line that has the columns word and keep; write one by mer-zoo words"
        )
    found: dict[str, bool] = {}
    for line, row in enumerate(rows, 2):
        if not row:
            continue
        cells = dict(zip(header, row, strict=False))
        word, keep = (cells.get(name, "").strip().lower() for name in ("word", "keep"))
        if len(row) != len(header) or word in {"", *found} or keep not in _ANSWERS:
            raise MERError(f"{what}: line {line} of {file} is not a word of its own with yes or no; mend that line")
        found[word] = _ANSWERS[keep]
    return found
