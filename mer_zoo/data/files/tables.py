"""Tables of clips (CSV files), beside features with one file a clip or one a split."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mer_zoo.batch import MODALITIES
from mer_zoo.data.corpus.arrays import StoredArray, open_at
from mer_zoo.data.corpus.checks import MAX_SAMPLES, SPLIT_NAME
from mer_zoo.data.files.conversations import CONVERSATION_KEYS
from mer_zoo.data.files.labels import LABEL_FIELDS
from mer_zoo.data.files.splits import ALIASES
from mer_zoo.errors import MERError
from mer_zoo.foreign import Budget, open_regular, read_regular

__all__ = [
    "columns_of",
    "fields_of_rows",
    "has_tables",
    "named_row",
    "own_name",
    "read_tables",
    "splits_of",
    "table_files",
]

SPREADSHEETS = codecs.lookup("cp1252").name  # looked up now: later, reading a file would import it
LARGEST = 64 * 2**20  # bytes of a table
LONGEST_LINE = 2**16
OPENED = 40  # steps that a file of one clip takes; a million of them is more than a corpus has
COLUMNS = {
    "id": ("id", "clip", "name", "file", "filename", "file_name"),
    "video": ("video_id", "video"),
    "clip": ("clip_id", "segment", "segment_id"),
    "split": ("split", "mode", "set", "partition", "fold"),
    "raw_text": ("raw_text", "text", "utterance", "transcript", "transcription", "sentence"),
    "classes": ("emotion", "class"),
    "label": ("label", "labels", "regression_labels", "score", "sentiment"),
    "label_T": ("label_t",),
    "label_A": ("label_a",),
    "label_V": ("label_v",),
    **CONVERSATION_KEYS,
}
"""What tables of the field call their columns, in small letters and with underscores."""
POLARITIES = ("negative", "neutral", "positive")  # of MELD's column Sentiment


def tables_in(folder: Path) -> list[Path]:
    """The tables that lie in a folder itself: those that say which split their clips are of, or all where none does."""
    found = sorted(path for path in folder.glob("*.csv") if path.is_file())
    return [path for path in found if _tells_splits(path)] or found


def has_tables(folder: Path) -> bool:
    """Whether a folder is a corpus of tables, and not of arrays under splits beside which another table lies."""
    if not folder.is_dir() or not (tables := tables_in(folder)):
        return False
    arrays = list(folder.glob("*/*.npy"))
    if any(path.stem == "id" or path.stem in LABEL_FIELDS for path in arrays):
        return False
    return any(map(_tells_splits, tables)) or not any(_split_of(path.parent.name) for path in arrays)


def _tells_splits(table: Path) -> bool:
    if _split_of(table.stem) is not None:
        return True
    with open_regular(table) as file:
        line = file.readline(LONGEST_LINE).removeprefix(codecs.BOM_UTF8).decode("latin-1")
    try:
        return "split" in columns_of(next(csv.reader(io.StringIO(line, newline="")), []))
    except csv.Error:  # told of where the table is read
        return False


def table_files(folder: Path) -> list[Path]:
    """The tables and arrays of a folder, in a fixed order."""
    return tables_in(folder) + sorted(folder.rglob("*.npy"))


def read_tables(folder: Path, budget: Budget, about: Any = None) -> dict[str, dict[str, Any]]:
    """Read a folder of tables and features.

    Args:
        folder: It holds CSV files with one row a clip: those of a split, whose names begin with its name as
            ``train_sent_emo.csv`` does, or one with a column ``split`` or ``mode``. Features are ``audio/ID.npy`` (or
            ``audio/SPLIT/ID.npy``, ``SPLIT/audio/ID.npy``) with one array a clip, or ``SPLIT/audio.npy`` with all rows
            of the table.
        budget: Of the folder.
        about: What ``about.json`` says, which chooses between MELD's emotion and its sentiment.

    Returns:
        Split -> field -> list or array.

    Raises:
        MERError: If a table or an array can't be used, or has a class that ``about.json`` does not name.
    """
    splits: dict[str, list[dict[str, str]]] = {}
    for file in tables_in(folder):
        for split, row in _rows(file, budget):
            splits.setdefault(split, []).append(row)
    arrays = {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.npy"))}
    if not any(key in MODALITIES or key in part.split("/") for part in arrays for key in MODALITIES):
        raise MERError(
            f"{folder} holds tables, but no features; put one array a clip into text/ID.npy, audio/ID.npy or"
            " vision/ID.npy, or one a split into SPLIT/audio.npy"
        )
    order, splits = _chosen(splits, about, folder)
    tree = fields_of_rows(splits, order)
    for split in splits:
        for key in MODALITIES:
            array = _features(arrays, split, key, tree[split]["id"], budget)
            if array is not None:
                tree[split][key] = array
    return tree


def _chosen(
    splits: dict[str, list[dict[str, str]]], about: Any, folder: Path
) -> tuple[Sequence[str], dict[str, list[dict[str, str]]]]:
    """The classes that ``about.json`` names, in their order, and rows without the emotion where it names sentiment."""
    told = about if isinstance(about, Mapping) else {}
    is_sentiment, names = told.get("labels") == "sentiment", told.get("names")
    order = POLARITIES if is_sentiment else names if isinstance(names, list) else ()
    found = {key: {row[key] for rows in splits.values() for row in rows if key in row} for key in ("classes", "label")}
    words = {word for word in found["label"] if _number(word) is None}
    if order and words and found["classes"] and (is_sentiment or words <= set(order)):
        splits = {
            name: [{k: v for k, v in row.items() if k != "classes"} for row in own] for name, own in splits.items()
        }
        found["classes"] = set()
    unnamed = sorted((found["classes"] or words) - set(order))
    if order and unnamed and not (is_sentiment and found["classes"]):
        raise MERError(f"{folder} has rows of class {unnamed[0]}, which about.json does not name; add it to names")
    return order, splits


def fields_of_rows(splits: Mapping[str, list[dict[str, str]]], order: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """The fields of the rows of tables, and what they say about their labels.

    Args:
        splits: Rows by split, with the keys of COLUMNS; each has an id.
        order: Classes in the order of their numbers, where that is known; else they are in the order of the alphabet.

    Example:
        >>> rows = [{"id": "a", "label": "joy"}, {"id": "b", "label": "anger"}]
        >>> tree = fields_of_rows({"test": rows})
        >>> tree["test"]["classification_labels"], tree["about"]["names"]
        ([1, 0], ['anger', 'joy'])
    """
    if any(_number(row.get("label", "")) is None for rows in splits.values() for row in rows):
        splits = {split: [{"classes": row.get("label", ""), **row} for row in rows] for split, rows in splits.items()}
    names = {row["classes"] for rows in splits.values() for row in rows if "classes" in row}
    classes = {name: place for place, name in enumerate(order if names <= set(order) else sorted(names))}
    classes = classes if names else {}
    tree = {split: _fields(rows, classes) for split, rows in splits.items()}
    if classes:
        tree["about"] = {"labels": "classes", "names": list(classes)}
    return tree


def splits_of(file: Path, budget: Budget) -> dict[str, str]:
    """Which split each recording is of.

    Args:
        file: A table with a column ``id`` or ``video`` and a column ``split``.
        budget: Of the corpus.

    Raises:
        MERError: If it can't be used.
    """
    return {row.get("video") or row["id"]: split for split, row in _rows(file, budget)}


def _rows(file: Path, budget: Budget) -> Iterator[tuple[str, dict[str, str]]]:
    data = read_regular(file, LARGEST)
    budget.hold(4 * len(data))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode(SPREADSHEETS, "replace")
    try:
        rows = csv.DictReader(io.StringIO(text, newline=""))
        columns = columns_of(rows.fieldnames or [])
        own = _split_of(file.stem)
        if "split" not in columns and own is None:
            raise MERError(
                f"{file} does not say which split its clips are of; call it train.csv, or give it a column split"
            )
        for number, row in enumerate(rows):
            budget.take(8 + 2 * len(columns))
            budget.hold(200 + 100 * len(columns))
            if number >= MAX_SAMPLES:
                raise MERError(f"{file} has more than {MAX_SAMPLES} rows; give fewer clips")
            found = {key: (row.get(column) or "").strip() for key, column in columns.items()}
            yield (own_name(found.pop("split")) if "split" in columns else own or ""), named_row(found, number)
    except csv.Error as error:
        raise MERError(f"{file} cannot be read as a CSV file ({error}); save it again") from None


def columns_of(found: Any) -> dict[str, str]:
    """What columns mean, by the keys of COLUMNS, and how they are written.

    Args:
        found: Names of columns.

    Example:
        >>> columns_of(["Utterance", "Speaker", "Sr No."])
        {'raw_text': 'Utterance', 'speaker': 'Speaker'}
    """
    written = {re.sub(r"\W+", "_", str(name).strip().lower()).strip("_"): name for name in reversed(list(found))}
    return {key: written[name] for key, names in COLUMNS.items() for name in reversed(names) if name in written}


def _split_of(stem: str) -> str | None:
    first = re.split(r"[^a-z]", stem.lower())[0]
    name = ALIASES.get(first, first)
    return name if SPLIT_NAME.fullmatch(name) else None


def own_name(split: str) -> str:
    """What a split is called here.

    Example:
        >>> own_name("Dev")
        'valid'
    """
    name = ALIASES.get(split.lower(), split)
    return name.lower() if SPLIT_NAME.fullmatch(name.lower()) else name


def named_row(row: dict[str, str], number: int) -> dict[str, str]:
    """The row with an id: its own, or that of the video and clip, or of the dialogue and turn."""
    if row.get("id"):
        return row
    if "video" in row and "clip" in row:
        return {**row, "id": f"{row['video']}$_${row['clip']}"}
    if "dialogue" in row and "turn" in row:
        return {**row, "id": f"dia{row['dialogue']}_utt{row['turn']}"}
    return {**row, "id": str(number)}


def _fields(rows: list[dict[str, str]], classes: Mapping[str, int]) -> dict[str, Any]:
    fields: dict[str, Any] = {"id": [row["id"] for row in rows]}
    for key, other in {"raw_text": "", "speaker": "", "dialogue": "video", "turn": "clip"}.items():
        column = key if key in rows[0] else other
        if column in rows[0] and (column != "clip" or all(row[column].isdigit() for row in rows)):
            fields[key] = [row[column] for row in rows]
    if classes and "classes" in rows[0]:
        fields["classification_labels"] = [classes[row["classes"]] for row in rows]
        fields["annotations"] = [row["classes"] for row in rows]
    for key, name in {"label": "regression_labels", **{f"label_{m}": f"regression_labels_{m}" for m in "TAV"}}.items():
        values = [_number(row.get(key, "")) for row in rows]
        if key in rows[0] and all(value is not None for value in values) and "classification_labels" not in fields:
            fields[name] = values
    return fields


def _number(text: str) -> float | None:
    try:
        return float(text) if text else float("nan")
    except ValueError:
        return None


def _features(
    arrays: Mapping[str, Path], split: str, key: str, ids: list[str], budget: Budget
) -> StoredArray | list[StoredArray | None] | None:
    written = [split, *(alias for alias, name in ALIASES.items() if name == split)]
    for name in written:
        if (whole := arrays.get(f"{name}/{key}")) is not None:
            return _open(whole, budget)
    places = [place for name in written for place in (f"{key}/{name}/", f"{name}/{key}/")] + [f"{key}/"]
    found = [_file_of(sample, places, arrays) for sample in ids]
    if not any(found):
        return None
    return [None if file is None else _open(file, budget) for file in found]


def _file_of(sample: str, places: list[str], arrays: Mapping[str, Path]) -> Path | None:
    # Names are looked up among those that lie there, so that an id leads nowhere else.
    for place in places:
        for name in (sample, sample.replace("$_$", "_"), sample.replace("$_$", "/")):
            if place + name in arrays:
                return arrays[place + name]
    return None


def _open(file: Path, budget: Budget) -> StoredArray:
    budget.take(OPENED)
    return StoredArray.from_npy(partial(open_at, file, 0), file.stat().st_size, str(file))
