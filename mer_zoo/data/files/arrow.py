"""Folders of Hugging Face datasets (``save_to_disk``), read through pyarrow, an extra: Arrow files alone, no code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mer_zoo.data.corpus.arrays import StoredArray
from mer_zoo.data.corpus.checks import MAX_SAMPLES
from mer_zoo.data.files.arrow_blocks import Block, bytes_of, is_array, read_blocks, rows_of
from mer_zoo.data.files.tables import columns_of, fields_of_rows, named_row, own_name
from mer_zoo.errors import MERError
from mer_zoo.foreign import Budget, read_json
from mer_zoo.text import told

__all__ = ["dataset_files", "is_dataset", "is_script", "read_dataset", "refuse_script"]

SPLITS, INFO, STATE = "dataset_dict.json", "dataset_info.json", "state.json"
LARGEST = 2**20  # bytes of a JSON file
SAVE = "datasets.load_dataset(NAME).save_to_disk(FOLDER)"
FEATURES = {
    "text": ("text", "text_features", "language"),
    "audio": ("audio", "audio_features", "acoustic"),
    "vision": ("vision", "vision_features", "visual", "video"),
}
"""What columns of arrays are called, by modality."""


def is_dataset(path: Path) -> bool:
    """Whether a folder is one of ``save_to_disk``, of one split or several."""
    return path.is_dir() and any((path / name).is_file() for name in (SPLITS, INFO, STATE))


def is_script(path: Path) -> bool:
    """Whether a folder holds a data set of the Hub as it lies there: a loading script, or Parquet files."""
    return path.is_dir() and any(
        next(path.glob(pattern), None) is not None for pattern in ("*.py", "*.parquet", "data/*.parquet")
    )


def refuse_script(path: Path, _budget: Budget) -> Any:
    """Say what to do with a data set of the Hub.

    Args:
        path: The folder.

    Raises:
        MERError: Always.
    """
    script = next(path.glob("*.py"), None)
    holds = f"a script ({script.name}) that would be run" if script else "Parquet files, which are streamed"
    raise MERError(f"{path} holds {holds}; save its rows where you trust it, {SAVE}, and give that folder")


def dataset_files(folder: Path) -> list[Path]:
    """The files that a folder of ``save_to_disk`` consists of, in a fixed order."""
    return sorted(path for pattern in ("*.json", "*.arrow", "*/*.json", "*/*.arrow") for path in folder.glob(pattern))


def read_dataset(folder: Path, budget: Budget) -> dict[str, dict[str, Any]]:
    """Read a folder of ``save_to_disk``: one row a clip, whose arrays stay in their file.

    Args:
        folder: Splits with the columns that tables have, and ``text``, ``audio``, ``vision`` as arrays of (steps,
            features) or (features,) a row; or one split with a column ``split``.
        budget: Of the folder.

    Returns:
        Split -> field -> list.

    Raises:
        MERError: If a file is not what it should be, or pyarrow is lacking.
    """
    found: dict[str, _Split] = {}
    for name, place in _places(folder).items():
        for part in _split(name, place, budget):
            found.setdefault(part.name, _Split(part.name)).add(part)
    if not any(part.arrays for part in found.values()):
        raise MERError(f"{folder} has no column of arrays; call them text, audio or vision")
    order = next((part.classes for part in found.values() if part.classes), [])
    tree = fields_of_rows({name: part.rows for name, part in found.items()}, order)
    for name, part in found.items():
        tree[name] |= part.arrays
        if "labels" in tree[name]:
            tree[name]["labels"] = _stacked(tree[name]["labels"], name)
    return tree


@dataclass
class _Split:
    """Rows of a split: cells that are words or numbers, arrays by field, and the classes in their order."""

    name: str
    rows: list[dict[str, str]] = field(default_factory=list)
    arrays: dict[str, list[StoredArray | None]] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)

    def add(self, other: _Split) -> None:
        for key in {**self.arrays, **other.arrays}:
            before = self.arrays.get(key, [None] * len(self.rows))
            self.arrays[key] = before + other.arrays.get(key, [None] * len(other.rows))
        self.classes = self.classes or other.classes
        start = len(self.rows)
        self.rows += [named_row(row, start + place) for place, row in enumerate(other.rows)]


def _places(folder: Path) -> dict[str, Path]:
    """The folder of each split; that of one split alone has no name."""
    if not (folder / SPLITS).is_file():
        return {"": folder}
    index = read_json(folder / SPLITS, LARGEST)
    names = index.get("splits") if isinstance(index, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and _is_plain(name) for name in names):
        raise MERError(f"{folder / SPLITS} does not name the splits; save the data set again")
    return {name: folder / name for name in names}


def _is_plain(name: str) -> bool:
    return Path(name).name == name and name not in ("", ".", "..") and "\\" not in name


def _split(name: str, folder: Path, budget: Budget) -> Iterator[_Split]:
    """The rows of each block of a split, by their splits where a column names these."""
    for file in _arrow_files(folder):
        for block in read_blocks(file, budget):
            yield from _block(name, block, budget)


def _arrow_files(folder: Path) -> list[Path]:
    state = read_json(folder / STATE, LARGEST) if (folder / STATE).is_file() else None
    entries = state.get("_data_files") if isinstance(state, dict) else None
    names = [entry.get("filename") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    if not names or not all(isinstance(name, str) and _is_plain(name) for name in names):
        raise MERError(f"{folder} has no {STATE} that names its Arrow files, as save_to_disk writes it; {SAVE}")
    if isinstance(state, dict) and state.get("_indices_data_files"):
        raise MERError(f"{folder} holds a choice of rows; call flatten_indices() before save_to_disk")
    return [folder / str(name) for name in names]


def _block(split: str, block: Block, budget: Budget) -> Iterator[_Split]:
    batch, file = block.batch, block.file
    names = {str(name): place for place, name in reversed(list(enumerate(batch.schema.names)))}
    columns = {name: batch.column(place) for name, place in names.items()}
    used = {
        key: name
        for key, known in FEATURES.items()
        if (name := next((name for name in known if name in columns and is_array(columns[name])), None))
    }
    arrays = {key: rows_of(block, names[name], f"{name} of {file}", budget) for key, name in used.items()}
    written = {key: name for key, name in columns_of(names).items() if name not in used.values()}
    cells = {key: columns[name] for key, name in written.items()}
    if "label" in cells and is_array(cells["label"]):
        del cells["label"]
        arrays["labels"] = rows_of(block, names[written["label"]], f"labels of {file}", budget)
    budget.take((8 + 2 * len(cells)) * batch.num_rows)
    budget.hold((200 + 100 * len(cells)) * batch.num_rows)
    if batch.num_rows > MAX_SAMPLES:
        raise MERError(f"{file} has more than {MAX_SAMPLES} rows; give fewer clips")
    classes = _class_names(file.parent, columns_of(names))
    texts = {key: _texts(column, classes.get(key), f"{key} of {file}", budget) for key, column in cells.items()}
    if classes and "classes" not in texts:
        texts["classes"] = texts.pop("label")
    own = [own_name(name) for name in texts.pop("split", [split] * batch.num_rows)]
    if "" in own:
        raise MERError(f"{file} is one split without a name; save a DatasetDict, or add a column split")
    rows = [dict(zip(texts, row, strict=True)) for row in zip(*texts.values(), strict=True)] or [{} for _ in own]
    for name in dict.fromkeys(own):
        chosen = [place for place, other in enumerate(own) if other == name]
        yield _Split(
            name,
            [rows[place] for place in chosen],
            {key: [values[place] for place in chosen] for key, values in arrays.items()},
            classes.get("classes") or classes.get("label") or [],
        )


def _class_names(folder: Path, columns: Mapping[str, str]) -> dict[str, list[str]]:
    """Names of the classes of columns that have numbers for them (``ClassLabel``)."""
    about = read_json(folder / INFO, LARGEST) if (folder / INFO).is_file() else None
    features = about.get("features") if isinstance(about, dict) else None
    found = {}
    for key in ("label", "classes"):
        entry = features.get(columns.get(key)) if isinstance(features, dict) else None
        names = entry.get("names") if isinstance(entry, dict) else None
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
            found[key] = names
    return found


def _texts(column: Any, classes: list[str] | None, name: str, budget: Budget) -> list[str]:
    """The cells of a column as words."""
    if hasattr(column, "values"):
        column = _words(column)
    kind = str(column.type)
    if not kind.startswith(("string", "large_string", "int", "uint", "float", "double", "halffloat", "bool", "null")):
        raise MERError(
            f"{name} is a column of {told(kind)[:60]}, neither words nor numbers nor arrays; take it out, or extract"
            " features of it first"
        )
    budget.hold(4 * column.nbytes)
    cells = column.to_pylist()
    if classes is None:
        return ["" if cell is None else str(int(cell) if isinstance(cell, bool) else cell).strip() for cell in cells]
    if any(cell is None or not 0 <= cell < len(classes) for cell in cells):
        raise MERError(f"{name} has rows without one of its {len(classes)} classes; take them out")
    return [classes[cell] for cell in cells]


def _words(column: Any) -> Any:
    """Words of lists as one text a row."""
    import pyarrow as pa

    return pa.array([None if row is None else " ".join(filter(None, row)) for row in column.to_pylist()], pa.string())


def _stacked(rows: list[StoredArray | None], split: str) -> StoredArray:
    """Labels of several emotions as one array."""
    arrays = [row.load() for row in rows if row is not None]
    if len(arrays) < len(rows) or len({array.shape for array in arrays}) > 1:
        raise MERError(f"labels of {split} are not as many numbers in each row; give all as many")
    whole = np.stack(arrays)
    return StoredArray(whole.dtype, whole.shape, partial(bytes_of, whole), name="labels")
