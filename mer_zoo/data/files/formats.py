"""The fields of the field's corpora: which there are, what their shapes mean, and what may be wrong with them.

Idea: MMSA, CIDer and CASP files share one set of keys, MulT files another, and nothing but the keys, ranks and padding
tells the variants apart. So there is one reader that follows the fields it finds instead of one reader a format.

More than 300 lines, because that one reader knows all fields, and what they say of one another is compared beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.batch import MODALITIES
from mer_zoo.data.corpus.arrays import StoredArray
from mer_zoo.data.corpus.checks import (
    MAX_ID,
    MAX_SAMPLES,
    MAX_SPLITS,
    MAX_TOKENS,
    NOT_IN_IDS,
    NOT_IN_TEXT,
    SPLIT_NAME,
    Fault,
    as_numbers,
    as_texts,
    plural,
    size_of,
    take_array,
    unwritable,
)
from mer_zoo.data.corpus.overlap import MAX_OVERLAPS, REMEDY, equal_splits, named_samples, overlap_faults, sharing
from mer_zoo.data.files.drafts import Draft, SplitDraft
from mer_zoo.data.files.labels import LABEL_FIELDS, read_labels
from mer_zoo.data.files.pickles import no_collection
from mer_zoo.data.files.sources import read_tree
from mer_zoo.foreign import Budget

__all__ = ["Draft", "SplitDraft", "describe", "read_draft", "row_spans"]

FIELDS = (*MODALITIES, "text_bert", "audio_lengths", "vision_lengths", "id", "raw_text", *LABEL_FIELDS)
UNUSED = {"annotations"}  # what MMSA files hold beside the labels, as words
MAX_USES = 3
MAX_HELD = 2**29  # bytes; a compressed file of a megabyte can claim a gigabyte


def read_draft(path: Path) -> Draft:
    """Open a corpus of any format and describe it, all under one budget.

    Args:
        path: A file or folder as in :func:`~mer_zoo.data.files.sources.read_tree`.

    Raises:
        MERError: If it cannot be read safely.
    """
    budget = Budget(str(path))
    with no_collection():
        return describe(read_tree(path, budget), budget)


def describe(tree: Any, budget: Budget | None = None) -> Draft:
    """Read every small field of a corpus and check all fields against each other; features are not read.

    Args:
        tree: Split -> field -> array or list, as in MMSA's and MulT's files.
        budget: Of the file; by default one of its own.

    Returns:
        What the file holds and what is wrong with it. A faulty field is left out.
    """
    draft, budget = Draft(), budget or Budget("the corpus")
    if not isinstance(tree, Mapping):
        draft.faults.append(Fault("", "", f"it holds a {type(tree).__name__}, not a dict of splits"))
        return draft
    named = {str(name): fields for name, fields in tree.items() if isinstance(fields, Mapping)}
    budget.take(4 * len(tree))
    known = [name for name in named if SPLIT_NAME.fullmatch(name)][:MAX_SPLITS]
    known.sort(key=lambda name: ("train", "valid", name).index(name))
    strange = [name for name in named if name not in set(known)] if len(named) > len(known) else []
    if strange or not known:
        found = ", ".join(str(name)[:40] or "unnamed ones" for name in list(tree)[:8]) or "nothing"
        draft.faults.append(Fault("", "", f"splits are called train, valid, test or test_NAME, but it has {found}"))
    unused: dict[str, None] = {}
    for name in _distinct(known or strange[:1], named, draft.faults):
        room = MAX_SAMPLES - sum(len(split.ids) for split in draft.splits.values())
        reader = _SplitReader(name, named[name], draft.faults, room, budget)
        draft.splits[name] = reader.read()
        unused |= dict.fromkeys(reader.unused)
    if unused:
        draft.notes.append(f"fields not used: {', '.join(list(unused)[:8])}")
    _compare(draft, named)
    _compare_samples(draft, named)
    return draft


def _distinct(names: Sequence[str], splits: Mapping[str, Mapping[Any, Any]], faults: list[Fault]) -> Iterator[str]:
    """The splits without those made of parts of several others, of which a small pickle can name many."""
    uses: Counter[int] = Counter()
    for name in names:
        parts = {key: id(splits[name][key]) for key in FIELDS if key in splits[name] and size_of(splits[name][key])}
        again = [key for key, part in parts.items() if uses[part] >= MAX_USES]
        if again:
            faults.append(Fault(name, again[0], f"{again[0]} is that of {MAX_USES} other splits", (), REMEDY))
        else:
            uses.update(set(parts.values()))
            yield name


class _SplitReader:
    """Reads one split and collects its faults."""

    def __init__(self, name: str, fields: Mapping[Any, Any], faults: list[Fault], room: int, budget: Budget) -> None:
        self.name, self.faults, self.room, self.budget = name, faults, room, budget
        self.fields = {key: fields[key] for key in FIELDS if key in fields}
        self.unused = [str(key)[:40] for key in list(fields)[:1000] if key not in FIELDS and key not in UNUSED]
        self.count = 0
        self.ids: list[str] = []

    def fault(self, key: str, message: str, wrong: npt.NDArray[np.bool_] | None = None) -> None:
        ids = () if wrong is None else tuple(self.ids[row] for row in np.flatnonzero(wrong))
        self.faults.append(Fault(self.name, key, message, ids))

    def read(self) -> SplitDraft:
        draft = SplitDraft()
        if not any(key in self.fields for key in (*MODALITIES, "text_bert")):
            found = ", ".join(self.unused[:8]) or "nothing"
            self.fault("", f"the keys text, audio and vision are missing (it has {found})")
            return draft
        self._keep_equal_sizes()
        if self.count > self.room:
            self.fault("", f"it has {self.count} samples, but all splits together can have {MAX_SAMPLES}")
            return draft
        draft.ids = self.ids = self._ids()
        draft.features = {key: self.fields[key] for key in MODALITIES if self._is_feature(key)}
        draft.lengths = {key: length for key in draft.features if (length := self._lengths(key)) is not None}
        self._tokens(draft)
        draft.raw_text = self._raw_text()
        for key in LABEL_FIELDS:
            if key in self.fields:
                labels = read_labels(key, self.fields[key], self.budget)
                for message, wrong in labels.faults:
                    self.fault(key, message, wrong)
                draft.labels = labels.values
                break
        return draft

    def _keep_equal_sizes(self) -> None:
        sizes = {key: size_of(value) for key, value in self.fields.items()}
        common = Counter(size for size in sizes.values() if size is not None).most_common(1)
        self.count = common[0][0] if common else 0
        for key, size in sizes.items():
            if size is None:
                self.fault(key, f"{key} is neither an array nor a list")
            elif size != self.count:
                self.fault(key, f"{key} has {plural(size, 'sample')} where the other fields have {self.count}")
            elif size == 0:
                self.fault(key, f"{key} has no samples")
            elif isinstance(array := self.fields[key], StoredArray) and _to_be_held(key, array) > MAX_HELD:
                self.fault(
                    key, f"{key} takes {_to_be_held(key, array) / 1e9:.1f} GB at a time; it has to fit in memory"
                )
                sizes[key] = None
        self.fields = {key: self.fields[key] for key, size in sizes.items() if size == self.count and size}

    def _raw_text(self) -> list[str] | None:
        columns = as_texts(self.fields.get("raw_text", []), self.budget)
        if columns is None:
            self.fault("raw_text", "raw_text is not one text a sample")
        if not columns:
            return None
        if (wrong := unwritable(columns[0], NOT_IN_TEXT)) is not None:
            self.fault("raw_text", "raw_text holds halves of characters or zeros, which no file can hold", wrong)
        return columns[0]

    def _ids(self) -> list[str]:
        ids = self._chosen_ids()
        if (wrong := unwritable(ids, NOT_IN_IDS)) is not None:
            self.ids = ids
            self.fault("id", "id holds line ends, control characters or halves of characters", wrong)
        return ids

    def _numbers(self) -> list[str]:
        return [f"{self.name}_{row}" for row in range(self.count)]

    def _chosen_ids(self) -> list[str]:
        columns = as_texts(self.fields.get("id", []), self.budget, columns=2)
        if columns is None or any(len(text) > MAX_ID for column in columns for text in column):
            self.fault("id", "id is not one short text a sample")
            columns = None
        if not columns:
            return self._numbers()
        # MulT's MOSI names the clip in the first column; its MOSEI only the video there, and the start in the next
        if len(set(columns[0])) < self.count and len(columns) > 1:
            return [f"{video}$_${start}" for video, start in zip(*columns, strict=True)]
        return columns[0]

    def _is_feature(self, key: str) -> bool:
        value = self.fields.get(key)
        if value is None:
            return False
        if not isinstance(value, StoredArray) or value.dtype.kind not in "biuf":
            self.fault(key, f"{key} is not one array of numbers; pad the samples to one length and stack them")
        elif value.ndim != 3 or 0 in value.shape:
            self.fault(key, f"{key} has shape {value.shape} instead of (samples, steps, features)")
        else:
            return True
        return False

    def _lengths(self, key: str) -> npt.NDArray[np.int64] | None:
        name = f"{key}_lengths"
        if name not in self.fields:
            return None
        values = as_numbers(self.fields[name], self.budget)
        if values is None or values.size != self.count or not np.all(values == np.floor(values)):
            self.fault(name, f"{name} is not one whole number a sample")
            return None
        steps = self.fields[key].shape[1]
        values = values.reshape(-1)
        wrong = (values < 0) | (values > steps)
        for row in np.flatnonzero(wrong)[:3]:
            self.fault(name, f"{name}[{row}] is {values[row]:.0f}, but {key} has {steps} steps", _only(row, wrong))
        if wrong.sum() > 3:
            self.fault(name, f"{wrong.sum()} of {name} do not fit the {steps} steps of {key}", wrong)
        return None if wrong.any() else values.astype(np.int64)

    def _tokens(self, draft: SplitDraft) -> None:
        value = self.fields.get("text_bert")
        if value is None:
            return
        if not isinstance(value, StoredArray) or value.ndim != 3 or value.shape[1] != 3 or value.shape[2] == 0:
            self.fault("text_bert", "text_bert does not have shape (samples, 3, steps): ids, mask, segments")
            return
        if "text" in draft.features and draft.features["text"].shape[1] != value.shape[2]:
            steps = draft.features["text"].shape[1]
            self.fault("text_bert", f"text_bert has {value.shape[2]} steps, but text has {steps}")
            return
        if value.dtype.kind not in "biuf":
            self.fault("text_bert", "text_bert holds no numbers")
            return
        take_array(value, self.budget)
        self.budget.hold(4 * self.count * value.shape[2])
        tokens, spans, sound = [], [], []
        for block in value.blocks(MAX_HELD // 64):
            with np.errstate(invalid="ignore"):  # NaN
                whole = (block >= 0) & (block < MAX_TOKENS) & (block == np.floor(block))
                sound.append(whole.all(axis=(1, 2)))
                tokens.append(block[:, 0].astype(np.int32))
            spans.append(row_spans(block[:, 1] > 0))
        if not all(part.all() for part in sound):
            self.fault("text_bert", "text_bert holds what is no token id", ~np.concatenate(sound))
            return
        draft.tokens, draft.token_spans = np.concatenate(tokens), np.concatenate(spans)


def _to_be_held(key: str, array: StoredArray) -> int:
    """Bytes that are in memory at a time: of features a sample, of the rest all."""
    return array.nbytes // len(array) if key in MODALITIES else array.nbytes


def row_spans(real: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Find the span from the first to the last real position.

    Args:
        real: (N, T).

    Returns:
        (N, 2) start and stop, both 0 where nothing is real.

    Example:
        >>> row_spans(np.array([[False, True, False, True], [False] * 4])).tolist()
        [[1, 4], [0, 0]]
    """
    start, stop = real.argmax(1), real.shape[1] - real[:, ::-1].argmax(1)
    spans: npt.NDArray[np.int32] = np.where(real.any(1, keepdims=True), np.stack([start, stop], 1), 0).astype(np.int32)
    return spans


def _only(row: int, like: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    chosen: npt.NDArray[np.bool_] = np.arange(len(like)) == row
    return chosen


def _compare(draft: Draft, tree: Mapping[str, Mapping[Any, Any]]) -> None:
    """Compare the splits with each other, and find what holds for all of them."""
    if not draft.splits:
        return
    (first, reference), *others = draft.splits.items()
    for name, split in others:
        for key in (*MODALITIES, "text_bert"):
            if (key in tree[name]) != (key in tree[first]):
                draft.faults.append(Fault(name, key, f"{key} is in one of {first} and {name}, but not in the other"))
                continue
            ours, theirs = _shape(split, key), _shape(reference, key)
            if ours and theirs and ours != theirs:
                draft.faults.append(Fault(name, key, f"a sample of {key} has shape {ours}, but in {first} {theirs}"))
    largest = [int(split.tokens.max()) + 1 for split in draft.splits.values() if split.tokens is not None]
    draft.vocab_size = max([draft.vocab_size, *largest])
    steps = {shape[0] for key in (*MODALITIES, "text_bert") if (shape := _shape(reference, key))}
    lengths = any(split.lengths for split in draft.splits.values())
    draft.aligned = not lengths and len(reference.features) > 1 and len(steps) == 1


def _shape(split: SplitDraft, key: str) -> tuple[int, ...]:
    array = split.tokens if key == "text_bert" else split.features.get(key)
    return () if array is None else array.shape[1:]


def _compare_samples(draft: Draft, tree: Mapping[str, Mapping[Any, Any]]) -> None:
    """Find samples that occur twice: noted within a split, a fault between splits."""
    numbered = [name for name in draft.splits if "id" not in tree[name]]
    if numbered:
        draft.notes.append(f"{', '.join(numbered)}: there are no ids, so samples are numbered")
    ids = {name: split.ids for name, split in draft.splits.items() if name not in numbered}
    for name, own in ids.items():
        repeated = len(own) - len(set(own))
        if repeated:
            draft.notes.append(f"{name}: {plural(repeated, 'sample')} with an id that another one has")
    named = {name: named_samples(name, own) for name, own in ids.items()}
    overlapping = sharing(named)
    draft.faults += overlap_faults(ids, named, overlapping)
    distinct = {name: set(split.ids) for name, split in draft.splits.items()}
    repeating = [name for name, own in distinct.items() if len(own) > len(named.get(name, ()))]
    pairs = sharing(distinct) if repeating else []
    for one, other in [pair for pair in pairs if pair not in set(overlapping)][:MAX_OVERLAPS]:
        shared = len(distinct[one] & distinct[other])
        draft.notes.append(f"{plural(shared, 'id')} both in {one} and in {other}")
    contents = {n: {"labels": s.labels, "tokens": s.tokens, **s.features} for n, s in draft.splits.items()}
    for one, other in equal_splits(contents):
        if (one, other) not in overlapping:
            draft.faults.append(Fault("", "", f"{one} and {other} hold the same data", (), REMEDY))
