"""Computational sequences (.csd) of CMU-MultimodalSDK, read through h5py, an extra: nothing in them leads elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mer_zoo.data.corpus.arrays import ObjectArray, StoredArray, open_at
from mer_zoo.data.corpus.checks import ARRAY_OPENED, MAX_SAMPLES, take_array
from mer_zoo.data.files.tables import splits_of
from mer_zoo.errors import MERError
from mer_zoo.foreign import Budget, open_regular
from mer_zoo.text import told

__all__ = ["HDF5", "read_sequences", "refuse_one", "sequence_files", "sequences_in"]

HDF5 = b"\x89HDF"
SPLITS = "splits.csv"
PARTS = {
    "labels": ("label",),
    "raw_text": ("word", "transcript"),
    "text": ("glove", "bert", "text", "language"),
    "audio": ("covarep", "acoustic", "audio", "opensmile", "opensmile_is09"),
    "vision": ("facet", "visual", "vision", "openface", "video"),
}
"""What the names of sequences have in them, by the field that they become; the first that fits."""
SILENCE = {"sp", ""}
OPENED = 100  # steps that an entry of a file takes
_HOW = (
    "put one .csd of labels and one of each modality into a folder, with a splits.csv of the columns id and split that"
    " says which split each recording is of, and give the folder"
)


def sequences_in(folder: Path) -> list[Path]:
    """The sequences that lie in a folder itself."""
    return sorted(path for path in folder.glob("*.csd") if path.is_file())


def sequence_files(folder: Path) -> list[Path]:
    """The sequences of a folder and its table of splits."""
    return sequences_in(folder) + sorted(folder.glob(SPLITS))


def refuse_one(path: Path, _budget: Budget) -> Any:
    """Say what to do with a single sequence.

    Args:
        path: The file.

    Raises:
        MERError: Always.
    """
    kind = "a sequence of CMU-MultimodalSDK" if path.suffix == ".csd" else "an HDF5 file"
    raise MERError(f"{path} is {kind}, which holds one modality of a corpus; {_HOW}")


def read_sequences(folder: Path, budget: Budget) -> dict[str, dict[str, Any]]:
    """Cut the sequences of a folder into clips, by the intervals of its labels.

    A step of a modality belongs to the clip that its middle lies in.

    Args:
        folder: It holds ``*.csd`` files, whose names say what they are, and ``splits.csv``.
        budget: Of the folder.

    Returns:
        Split -> field -> list or array; features stay in their files.

    Raises:
        MERError: If a file is no such sequence, or leads to other files, or h5py is lacking.
    """
    files: dict[str, Path] = {}
    for path in sequences_in(folder):
        name = path.stem.lower()
        part = next((part for part, words in PARTS.items() if any(word in name for word in words)), None)
        if part is None or part in files:
            other = f" beside {files[part].name}" if part in files else ""
            raise MERError(f"{path} is a sequence of what its name does not tell{other}; call it labels, glove or so")
        files[part] = path
    if "labels" not in files or len(files) < 2 or not (folder / SPLITS).is_file():
        raise MERError(f"{folder} lacks a .csd of labels, or of a modality, or {SPLITS}; {_HOW}")
    splits = splits_of(folder / SPLITS, budget)
    opened = {part: _Sequence(path, budget) for part, path in files.items()}
    tree: dict[str, dict[str, list[Any]]] = {}
    for recording in opened["labels"].names:
        split = splits.get(recording)
        if split is None:
            continue
        fields = tree.setdefault(split, {key: [] for key in ("id", *files)})
        rows, times = opened["labels"].found[recording]
        take_array(rows, budget)
        labels = rows.load().reshape(len(times), -1).tolist()
        for clip, (start, stop) in enumerate(times):
            fields["id"].append(f"{recording}$_${clip}")
            fields["labels"].append(labels[clip])
            for part in files.keys() - {"labels"}:
                fields[part].append(opened[part].between(recording, start, stop))
    if not tree:
        raise MERError(f"{SPLITS} of {folder} names none of the recordings of {files['labels'].name}; mend its ids")
    return {split: _finished(fields, budget) for split, fields in tree.items()}


def _finished(fields: dict[str, list[Any]], budget: Budget) -> dict[str, Any]:
    if len(fields["id"]) > MAX_SAMPLES:
        raise MERError(f"{budget.name} has more than {MAX_SAMPLES} clips in a split; give fewer")
    flat = [number for row in fields["labels"] for number in row]
    width = len(flat) // len(fields["id"])
    labels = flat if width == 1 else ObjectArray(flat, (len(fields["id"]), width))
    found: dict[str, Any] = {**fields, "labels": labels}
    if "raw_text" in fields:
        found["raw_text"] = [_words(row) for row in fields["raw_text"]]
    return found


def _words(row: StoredArray | None) -> list[str]:
    if row is None:
        return []
    words = [word.decode("utf-8", "replace") if isinstance(word, bytes) else word for word in row.load().reshape(-1)]
    return [str(word) for word in words if str(word) not in SILENCE]


class _Sequence:
    """One file: entries with features and the intervals of their steps."""

    def __init__(self, path: Path, budget: Budget) -> None:
        self.path, self.budget = path, budget
        self.places: dict[str, int] = {}
        with open_regular(path):
            pass
        with self.open() as file:
            data = self._group(file)
            self.names = sorted(data)
            budget.take(OPENED * len(self.names))
            self.found = {name: self._entry(data, name) for name in self.names}

    def open(self) -> Any:
        """The file, opened by h5py."""
        try:
            import h5py
        except ImportError:
            raise MERError(f"{self.path} is read by h5py, which is not installed; pip install 'mer-zoo[csd]'") from None
        try:
            return h5py.File(self.path, "r", locking=False)
        except OSError as error:
            raise MERError(f"{self.path} is no sound HDF5 file ({told(str(error))}); download it again") from error

    def between(self, name: str, start: float, stop: float) -> StoredArray | None:
        """The steps whose middles lie in an interval."""
        if name not in self.found:
            return None
        rows, times = self.found[name]
        middle = times.mean(1)
        inside = np.flatnonzero((middle >= start) & (middle < stop))
        if not len(inside):
            return None
        self.budget.take(ARRAY_OPENED)
        first, count = int(inside[0]), int(inside[-1]) + 1 - int(inside[0])
        step = rows.nbytes // len(rows)
        place = self.places[name] + first * step
        return StoredArray(rows.dtype, (count, *rows.shape[1:]), partial(open_at, self.path, place), name=rows.name)

    def _group(self, file: Any) -> Mapping[str, Any]:
        names = list(file)
        if len(names) != 1 or not self._is_own(file, names[0]):
            raise MERError(f"{self.path} is no sequence of CMU-MultimodalSDK, which has one group; download it again")
        group = file[names[0]]
        if not hasattr(group, "keys") or "data" not in group or not self._is_own(group, "data"):
            raise MERError(f"{self.path} has no group of data; download it again")
        data: Mapping[str, Any] = group["data"]
        return data

    def _is_own(self, group: Any, name: str) -> bool:
        """Whether an entry lies in the file itself; links lead to other files, or around in this one."""
        import h5py

        return type(group.get(name, getlink=True)) is h5py.HardLink

    def _entry(self, data: Any, name: str) -> tuple[StoredArray, Any]:
        if not self._is_own(data, name) or not hasattr(data[name], "keys"):
            raise MERError(f"{self.path}: {told(name)} is a link, or no group; write it into the file itself")
        features, intervals = (self._dataset(data[name], name, key) for key in ("features", "intervals"))
        times = intervals.load().astype(np.float64).reshape(len(intervals), -1)
        self.budget.hold(times.nbytes)
        if times.shape[1:] != (2,) or len(times) != len(features) or not np.isfinite(times).all():
            raise MERError(f"{self.path}: intervals of {told(name)} are not a start and an end of each step; mend them")
        return features, times

    def _dataset(self, group: Any, name: str, key: str) -> StoredArray:
        if key not in group or not self._is_own(group, key) or not hasattr(group[key], "shape"):
            raise MERError(f"{self.path}: {told(name)} has no {key} of its own; write them into the file itself")
        dataset = group[key]
        elsewhere = dataset.is_virtual or dataset.external or dataset.id.get_create_plist().get_nfilters()
        size, offset = math.prod(dataset.shape) * dataset.dtype.itemsize, dataset.id.get_offset()
        if elsewhere or dataset.ndim not in (1, 2) or dataset.dtype.kind not in "biufS" or dataset.dtype.hasobject:
            raise MERError(
                f"{self.path}: {key} of {told(name)} are filtered, lie in another file, or are no numbers or words;"
                " write them plainly"
            )
        if size and (offset is None or offset + size > self.path.stat().st_size):
            raise MERError(f"{self.path}: {key} of {told(name)} do not lie in one piece in the file; write them so")
        if key == "features":
            self.places[name] = offset or 0
        return StoredArray(dataset.dtype, dataset.shape, partial(open_at, self.path, offset or 0), name=str(self.path))
