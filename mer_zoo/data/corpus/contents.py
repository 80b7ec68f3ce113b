"""What samples hold, compared whatever they are called: splits of equal content, and ids that name equal samples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.data.corpus.arrays import StoredArray
from mer_zoo.data.corpus.corpus import SplitData

__all__ = ["Contents", "equal_splits", "really_shared"]

Array = StoredArray | npt.NDArray[Any]
Arrays = Mapping[str, Array | None]
Rows = tuple[npt.NDArray[np.int64], ...]
BLOCK = 2**20
SMALL = 2**23  # bytes of an array that is compared as a whole


def equal_splits(splits: Mapping[str, Arrays]) -> list[tuple[str, str]]:
    """The pairs of splits that hold equal arrays in the same order, whatever their ids.

    Args:
        splits: Labels, tokens and features of each split, in memory or in their file; None for what one lacks. Of each
            array the beginning is read, and the rest, once, only where all beginnings of another split are equal.

    Example:
        >>> x = np.ones((2, 3))
        >>> equal_splits({"a": {"audio": x}, "b": {"audio": x.copy(), "labels": None}, "c": {"audio": 2 * x}})
        [('a', 'b')]
    """
    arrays = {name: {key: array for key, array in split.items() if array is not None} for name, split in splits.items()}
    outlines = {name: tuple(sorted((key, array.shape) for key, array in own.items())) for name, own in arrays.items()}
    pairs = set()
    for group in _parted([name for name, own in arrays.items() if own], outlines.__getitem__):
        groups = [group]
        for whole in (False, True):
            # Small arrays first: where splits differ, these tell already.
            for key in sorted(arrays[group[0]], key=lambda key: len(arrays[group[0]][key].shape)):
                marks = {name: _digest(arrays[name][key], whole) for part in groups for name in part}
                groups = [part for whole_part in groups for part in _parted(whole_part, marks.__getitem__)]
        pairs |= {pair for part in groups for pair in combinations(part, 2)}
    return [pair for pair in combinations(splits, 2) if pair in pairs]


def _parted(names: Iterable[str], mark: Callable[[str], Hashable]) -> list[list[str]]:
    """Those of the same mark together, as far as they are several."""
    parts: dict[Hashable, list[str]] = {}
    for name in names:
        parts.setdefault(mark(name), []).append(name)
    return [part for part in parts.values() if len(part) > 1]


def _digest(array: Array, whole: bool) -> bytes:
    digest = hashlib.blake2b()
    for block in _blocks(array):
        digest.update((np.asarray(block, dtype=np.float64) + 0.0).tobytes())  # of the two zeros one
        if not whole:
            break
    return digest.digest()


@dataclass(frozen=True)
class Contents:
    """What tells samples of a split from others, whatever their ids.

    Args:
        ids: N ids.
        texts: N transcripts, or None.
        arrays: Labels, tokens and features, in memory or in their file; None for what there is not.
    """

    ids: Sequence[str]
    texts: Sequence[str] | None
    arrays: Arrays

    @cached_property
    def places(self) -> dict[str, int]:
        """Where each id stands, the last time."""
        return {name: row for row, name in enumerate(self.ids)}

    @classmethod
    def of(cls, split: SplitData) -> Contents:
        """Those of a split of a store."""
        return cls(split.ids, split.raw_text, {"labels": split.labels, "tokens": split.token_ids, **split.features})


def really_shared(one: Contents, other: Contents, names: Collection[str]) -> set[str]:
    """Of the ids that stand in both splits, those under which both have the same sample.

    Ids can begin anew in each split or corpus. Where transcripts (or token ids) are the same under half of the ids or
    more, they name the samples, also where features were extracted in another way; else a sample is shared if its
    labels and features are the same too. What can't be compared says nothing against it.

    Args:
        one: A split.
        other: Another one.
        names: Ids that each of them has once.

    Example:
        >>> x = np.arange(8.0).reshape(2, 2, 2)
        >>> one = Contents(["0", "1"], ["so", "good"], {"audio": x})
        >>> sorted(really_shared(one, Contents(["1", "0"], ["good", "so"], {"audio": 2 * x}), {"0", "1"}))
        ['0', '1']
        >>> really_shared(one, Contents(["0", "1"], ["so", "what"], {"audio": x + 1, "labels": None}), {"1"})
        set()
    """
    wanted = list(names)
    rows = tuple(np.fromiter(map(side.places.__getitem__, wanted), np.int64) for side in (one, other))
    told = _equal_texts(one, other, rows)
    if told is None:
        told = _equal_rows(one, other, "tokens", rows)
    if told is not None and 2 * told.sum() >= len(wanted):
        return {name for name, same in zip(wanted, told, strict=True) if same}
    same = np.ones(len(wanted), dtype=bool) if told is None else told
    features_tell = False
    sizes = {key: getattr(array, "nbytes", 0) for key, array in one.arrays.items() if array is not None}
    for key in sorted(sizes.keys() - {"tokens"}, key=lambda key: (key != "labels", sizes[key], key)):
        equal = _equal_rows(one, other, key, tuple(own[same] for own in rows)) if same.any() else None
        if equal is not None:
            same[np.flatnonzero(same)[~equal]] = False
            features_tell |= key != "labels"
    if not features_tell:
        # Of few classes, many are the same by chance: alone, labels tell if most of them are others, or most are not.
        same[:] = told is None and 2 * same.sum() >= len(wanted)
    return set(names) if same.all() else {name for name, equal in zip(wanted, same.tolist(), strict=True) if equal}


def _equal_texts(one: Contents, other: Contents, rows: Rows) -> npt.NDArray[np.bool_] | None:
    if one.texts is None or other.texts is None:
        return None
    pairs = [(one.texts[own].strip(), other.texts[its].strip()) for own, its in zip(*rows, strict=True)]
    if 2 * sum(bool(own and its) for own, its in pairs) <= len(pairs):
        return None
    return np.array([own == its for own, its in pairs])


def _equal_rows(one: Contents, other: Contents, key: str, rows: Rows) -> npt.NDArray[np.bool_] | None:
    own, its = one.arrays.get(key), other.arrays.get(key)
    if own is None or its is None or own.shape[1:] != its.shape[1:]:
        return None
    if max(own.nbytes, its.nbytes) <= SMALL:
        a, b = (array if isinstance(array, np.ndarray) else array.load() for array in (own, its))
        a, b = a[rows[0]].reshape(len(rows[0]), -1), b[rows[1]].reshape(len(rows[0]), -1)
        same: npt.NDArray[np.bool_] = ((a == b) | ((a != a) & (b != b))).all(1)
        return same
    return np.array([a == b for a, b in zip(_row_marks(own, rows[0]), _row_marks(its, rows[1]), strict=True)])


def _row_marks(array: Array, rows: npt.NDArray[np.int64]) -> list[bytes]:
    """A digest of each of these rows."""
    found: dict[int, bytes] = {}
    start = 0
    for block in _blocks(array):
        for row in rows[(rows >= start) & (rows < start + len(block))]:
            numbers = np.asarray(block[row - start], dtype=np.float64) + 0.0
            found[int(row)] = hashlib.blake2b(numbers.tobytes(), digest_size=16).digest()
        start += len(block)
    return [found[int(row)] for row in rows]


def _blocks(array: Array) -> Iterator[npt.NDArray[Any]]:
    if not isinstance(array, np.ndarray):
        yield from array.blocks(BLOCK)
        return
    rows = max(1, BLOCK // max(array[:1].nbytes, 1))
    for start in range(0, len(array), rows):
        yield array[start : start + rows]
