"""What the columns of a table of clips are, and which of them nobody reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from mer_zoo.data.files.tables import COLUMNS as TABLE_COLUMNS
from mer_zoo.errors import MERError

__all__ = ["Columns", "columns_of"]

COLUMNS = {
    "path": ("path", "file_path", "media"),
    "start": ("start", "start_time", "begin"),
    "end": ("end", "end_time", "stop"),
    "text": TABLE_COLUMNS["raw_text"],
    **{key: TABLE_COLUMNS[key] for key in ("id", "split", "speaker", "video")},
}
SINGLE_LABELS = {"label": TABLE_COLUMNS["label"], "class": TABLE_COLUMNS["classes"]}
EMOTION = "label_"  # in front of the name of an emotion, or of text, audio, vision for labels of one modality
ALIKE, SHORTEST = 0.8, 4  # names from which on, and letters from which on, a column is taken for a slip of the pen


@dataclass(frozen=True)
class Columns:
    """The columns of a table, as it calls them.

    Args:
        known: By what they hold.
        labels: By what they are labels of.
        unread: Those that hold something else.
    """

    known: dict[str, str]
    labels: dict[str, str]
    unread: tuple[str, ...]


def columns_of(written: Sequence[str], table: str) -> Columns:
    """Tell the columns of a table by their names.

    Args:
        written: The first row.
        table: What the table is called, for messages.

    Raises:
        MERError: If there are two of one name, or one has nearly the name of a column that is not there.

    Example:
        >>> columns_of(["Path", "Sentiment", "age"], "clips.csv")
        Columns(known={'path': 'Path'}, labels={'label': 'Sentiment'}, unread=('age',))
        >>> columns_of(["path", "lable"], "clips.csv")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: clips.csv has a column 'lable', which nothing reads; call it label, or ...
    """
    names = [re.sub(r"\W+", "_", name.strip().lower()).strip("_") for name in written]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise MERError(f"{table} has two columns {twice}; leave one of them out")
    places = dict(zip(names, written, strict=True))
    known, labels = (
        {key: places[name] for key, own in kinds.items() for name in own if name in places}
        for kinds in (COLUMNS, SINGLE_LABELS)
    )
    labels |= {key: name for key, name in places.items() if key.startswith(EMOTION)}
    read = {name for own in (*COLUMNS.values(), *SINGLE_LABELS.values()) for name in own}
    unread = [name for name in names if name and name not in read and not name.startswith(EMOTION)]
    lacking = {key: own for key, own in (COLUMNS | SINGLE_LABELS).items() if key not in known and key not in labels}
    for name in unread:
        near = get_close_matches(name, [each for own in lacking.values() for each in own], 1, ALIKE)
        if near and len(name) >= SHORTEST:
            raise MERError(
                f"{table} has a column {places[name]!r}, which nothing reads; call it {near[0]}, or leave it out"
            )
    return Columns(known, labels, tuple(places[name] for name in unread))
