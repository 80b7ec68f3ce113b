"""The fields of the field's corpora: which there are, what their shapes mean, and what may be wrong with them.

Idea: MMSA, CIDer and CASP files share one set of keys, MulT files another, and nothing but the keys, ranks and padding
tells the variants apart. So there is one reader that follows the fields it finds instead of one reader a format.

More than 300 lines, because that one reader knows all fields.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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
    Fault,
    as_numbers,
    as_texts,
    as_transcripts,
    plural,
    size_of,
    take_array,
    unwritable,
)
from mer_zoo.data.corpus.corpus import empty_note
from mer_zoo.data.corpus.meaning import LabelKind, Meaning
from mer_zoo.data.files.about import compare_labels, note_signs, without_about
from mer_zoo.data.files.conversations import conversation_keys, read_conversation
from mer_zoo.data.files.drafts import Draft, HeardDraft, SplitDraft, row_spans
from mer_zoo.data.files.heard import HEARD_BERT, HEARD_FEATURES, HEARD_FIELDS, HEARD_LENGTHS, HEARD_TEXT, check_heard
from mer_zoo.data.files.labels import LABEL_FIELDS, UNIMODAL_FIELDS, read_labels, read_unimodal
from mer_zoo.data.files.pickles import no_collection
from mer_zoo.data.files.ragged import longest_of, padded
from mer_zoo.data.files.sources import read_tree, source_files
from mer_zoo.data.files.splits import compare_fields, compare_samples, distinct_splits, named_splits
from mer_zoo.data.files.unlabelled import labelled_part
from mer_zoo.errors import MERError
from mer_zoo.foreign import Budget
from mer_zoo.foreign.budget import STEPS

__all__ = ["Draft", "SplitDraft", "describe", "read_draft"]

LENGTHS = tuple(f"{key}_lengths" for key in MODALITIES)
FIELDS = (
    *(*MODALITIES, "text_bert", *LENGTHS, "id", "raw_text"),
    *(*HEARD_FIELDS, *LABEL_FIELDS, *UNIMODAL_FIELDS.values()),
)
FEATURES = (*MODALITIES, HEARD_FEATURES)
FIELDS_OF_A_SPLIT = {*MODALITIES, "text_bert"}
UNUSED = {"annotations", "word_times"}  # what MMSA files hold beside the labels, as words; what extract writes
BYTES_A_STEP, LARGE = 16, 10  # a step more for so many bytes, since a list of words has a few instructions a word
MAX_HELD = 2**29  # bytes; a compressed file of a megabyte can claim a gigabyte


def read_draft(
    path: Path,
    told: Meaning | None = None,
    task: LabelKind | None = None,
    roles: Mapping[str, str] | None = None,
) -> Draft:
    """Open a corpus of any format and describe it, all under one budget.

    Args:
        path: A file or folder as in :func:`~mer_zoo.data.files.sources.read_tree`.
        told: What the user says about the meaning of its labels.
        task: See :func:`~mer_zoo.data.corpus.meaning.read_meaning`.
        roles: See :func:`~mer_zoo.data.files.splits.named_splits`.

    Raises:
        MERError: If it cannot be read safely.
    """
    budget = Budget(str(path), steps=STEPS + min(_size_of(path) // BYTES_A_STEP, LARGE * STEPS))
    with no_collection():
        return describe(read_tree(path, budget), budget, told, task, roles)


def _size_of(path: Path) -> int:
    """Bytes of a source; 0 where it cannot be told, of which the reader says why."""
    try:
        return sum(file.stat().st_size for file in source_files(path))
    except OSError:
        return 0


def describe(
    tree: Any,
    budget: Budget | None = None,
    told: Meaning | None = None,
    task: LabelKind | None = None,
    roles: Mapping[str, str] | None = None,
) -> Draft:
    """Read every small field of a corpus and check all fields against each other; features are not read.

    Args:
        tree: Split -> field -> array or list, as in MMSA's and MulT's files; maybe ``about`` its labels.
        budget: Of the file; by default one of its own.
        told: See :func:`read_draft`.
        task: See :func:`read_draft`.
        roles: See :func:`read_draft`.

    Returns:
        What the file holds and what is wrong with it. A faulty field is left out.
    """
    draft, budget = Draft(), budget or Budget("the corpus")
    if not isinstance(tree, Mapping):
        draft.faults.append(Fault("", "", f"it holds a {type(tree).__name__}, not a dict of splits"))
        return draft
    if FIELDS_OF_A_SPLIT & {key for key in tree if isinstance(key, str)}:
        found = ", ".join(key for key in tree if isinstance(key, str) and key in FIELDS_OF_A_SPLIT)
        message = f"it is one split without a name (it has {found}); wrap it as {{'test': ...}}"
        draft.faults.append(Fault("", "", message, (), "give each split its name: train, valid or test"))
        return draft
    budget.take(4 * len(tree))
    named = named_splits(without_about(tree, draft, budget), draft, roles)
    for name in (roles or {}).keys() & named.keys():
        named[name], left_out = labelled_part(named[name], budget)
        if left_out:
            draft.notes.append(f"{name}: {plural(left_out, 'sample')} without a label left out")
    known = sorted(named, key=lambda name: ("train", "valid", name).index(name))[:MAX_SPLITS]
    unused: dict[str, None] = {}
    noted: dict[str, list[str]] = {}
    is_too_large = False
    longest = {key: max((longest_of(named[name].get(key)) for name in known), default=0) for key in FEATURES}
    for name in distinct_splits(known, {name: _used(named[name]) for name in known}, draft.faults):
        room = MAX_SAMPLES - sum(len(split.ids) for split in draft.splits.values())
        reader = _SplitReader(name, named[name], draft, room, budget, longest)
        if reader.is_empty():
            draft.notes.append(empty_note(name))
            continue
        draft.splits[name] = reader.read()
        is_too_large |= reader.count > room
        unused |= dict.fromkeys(reader.unused)
        for note in reader.notes:
            noted.setdefault(note, []).append(name)
    draft.notes += [f"{', '.join(splits)}: {note}" for note, splits in noted.items()]
    if known and not draft.splits and not draft.faults:
        draft.faults.append(Fault("", "", f"{', '.join(known)}: no split has any samples"))
    if unused:
        draft.notes.append(f"fields not used: {', '.join(list(unused)[:8])}")
    compare_fields(draft, named)
    if not is_too_large:  # refused already, and comparing that many samples takes its time
        compare_samples(draft, [name for name in draft.splits if "id" not in named[name]])
    compare_labels(draft, told, task)
    return draft


def _used(fields: Mapping[Any, Any]) -> dict[str, Any]:
    unimodal = UNIMODAL_FIELDS.values()  # which extractors leave empty beside others
    return {key: fields[key] for key in FIELDS if key in fields and not (key in unimodal and size_of(fields[key]) == 0)}


class _SplitReader:
    """Reads one split and collects its faults."""

    def __init__(
        self,
        name: str,
        fields: Mapping[Any, Any],
        draft: Draft,
        room: int,
        budget: Budget,
        longest: Mapping[str, int],
    ) -> None:
        self.name, self.room, self.budget, self.longest = name, room, budget, longest
        self.faults = draft.faults
        self.notes: list[str] = []
        self.fields, self.annotations = _used(fields), fields.get("annotations")
        self.told = {key: fields[key] for key in conversation_keys(fields).values()}
        read = {*FIELDS, *UNUSED, *self.told}
        self.unused = [str(key)[:40] for key in list(fields)[:1000] if key not in read]
        self.count = 0
        self.ids: list[str] = []

    def fault(self, key: str, message: str, wrong: npt.NDArray[np.bool_] | None = None, remedy: str = "") -> None:
        ids = () if wrong is None else tuple(self.ids[row] for row in np.flatnonzero(wrong))
        self.faults.append(Fault(self.name, key, message, ids, remedy))

    def is_empty(self) -> bool:
        """Whether no field has a sample, as extractors write splits that they were not given."""
        return bool(self.fields) and all(size_of(value) == 0 for value in self.fields.values())

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
        draft.lengths = {
            key: length for key in draft.features if (length := self._lengths(key, f"{key}_lengths")) is not None
        }
        draft.tokens, draft.token_spans = self._tokens("text_bert", draft.features.get("text"))
        draft.raw_text = self._raw_text("raw_text")
        draft.heard = self._heard(draft)
        draft.conversation, notes = read_conversation(self.told, self.count, self.budget)
        self.notes += notes
        for key in LABEL_FIELDS:
            if key in self.fields:
                labels = read_labels(key, self.fields[key], self.budget)
                if labels.is_missing:
                    self.notes.append(f"{key} are missing in all samples, so there are no labels")
                    continue
                for message, wrong in labels.faults:
                    self.fault(key, message, wrong, labels.remedy)
                draft.labels, draft.label_field = labels.values, key
                break
        note_signs(draft, self.fields.get(draft.label_field), self.annotations, self.budget)
        self._unimodal(draft)
        return draft

    def _heard(self, draft: SplitDraft) -> HeardDraft | None:
        """The second text, without features or token ids where these have faults."""
        texts = self._raw_text(HEARD_TEXT)
        if texts is None:
            for key in HEARD_FIELDS:
                if key in self.fields and HEARD_TEXT not in self.fields:
                    self.fault(key, f"{key} is there, but {HEARD_TEXT}, the words that it is of, is not")
            return None
        heard = HeardDraft(texts)
        if self._is_feature(HEARD_FEATURES):
            heard.features = self.fields[HEARD_FEATURES]
            heard.lengths = self._lengths(HEARD_FEATURES, HEARD_LENGTHS)
        heard.tokens, heard.token_spans = self._tokens(HEARD_BERT, heard.features)
        for key, message in check_heard(heard, draft):
            self.fault(key, message)
        self.notes.append(f"there is a second text, {HEARD_TEXT}, for data.conditions asr and data.heard_share")
        return heard

    def _unimodal(self, draft: SplitDraft) -> None:
        for modality, key in UNIMODAL_FIELDS.items():
            if key not in self.fields:
                continue
            labels = read_unimodal(key, self.fields[key], self.budget)
            for message, wrong in labels.faults:
                self.fault(key, message, wrong)
            if labels.values is not None:
                draft.unimodal[modality] = labels.values
        if draft.unimodal:
            self.notes.append(f"there are labels of {', '.join(draft.unimodal)} alone, for networks that learn them")

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

    def _raw_text(self, key: str) -> list[str] | None:
        if key not in self.fields:
            return None
        read = as_transcripts(self.fields[key], self.budget)
        if read is None or len(read[0]) != self.count:
            self.fault(key, f"{key} is not one text a sample")
            return None
        texts, joined = read
        if joined:
            self.notes.append(f"{key} is lists of words, put together with spaces")
        if (wrong := unwritable(texts, NOT_IN_TEXT)) is not None:
            self.fault(key, f"{key} holds halves of characters or zeros, which no file can hold", wrong)
        return texts

    def _ids(self) -> list[str]:
        ids = self._chosen_ids()
        if (wrong := unwritable(ids, NOT_IN_IDS)) is not None:
            self.ids = ids
            self.fault("id", "id holds line ends, control characters or halves of characters", wrong)
        return ids

    def _numbers(self) -> list[str]:
        return [f"{self.name}_{row}" for row in range(self.count)]

    def _chosen_ids(self) -> list[str]:
        columns = as_texts(self.fields.get("id", []), self.budget, columns=2, numbers=True)
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
        if isinstance(value, StoredArray) and value.ndim == 2 and 0 not in value.shape and value.dtype.kind in "biuf":
            self.notes.append(f"{key} is one vector a sample, read as a sequence of one step")
            self.fields[key] = value.as_steps()
            return True
        if isinstance(value, (list, tuple)) and any(isinstance(row, StoredArray) for row in value):
            return self._is_ragged(key, value)
        if not isinstance(value, StoredArray) or value.dtype.kind not in "biuf":
            self.fault(key, f"{key} is not one array of numbers; pad the samples to one length and stack them")
        elif value.ndim != 3 or 0 in value.shape:
            self.fault(key, f"{key} has shape {value.shape} instead of (samples, steps, features)")
        else:
            return True
        return False

    def _is_ragged(self, key: str, rows: Sequence[Any]) -> bool:
        if all(isinstance(row, StoredArray) or row is None for row in rows):
            try:
                self.fields[key] = padded(rows, key, self.budget, self.longest[key])
                return True
            except MERError as error:
                self.fault(key, str(error))
                return False
        self.fault(key, f"{key} is not one array of numbers in every sample; save each clip as such a one")
        return False

    def _lengths(self, key: str, name: str) -> npt.NDArray[np.int64] | None:
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

    def _tokens(
        self, key: str, beside: StoredArray | None
    ) -> tuple[npt.NDArray[np.int32] | None, npt.NDArray[np.int32] | None]:
        """Token ids and their spans; ``beside``: features of the same text."""
        value = self.fields.get(key)
        if value is None:
            return None, None
        if not isinstance(value, StoredArray) or value.ndim != 3 or value.shape[1] != 3 or value.shape[2] == 0:
            self.fault(key, f"{key} does not have shape (samples, 3, steps): ids, mask, segments")
            return None, None
        if beside is not None and beside.shape[1] != value.shape[2]:
            of = "text" if key == "text_bert" else HEARD_FEATURES
            self.fault(key, f"{key} has {value.shape[2]} steps, but {of} has {beside.shape[1]}")
            return None, None
        if value.dtype.kind not in "biuf":
            self.fault(key, f"{key} holds no numbers")
            return None, None
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
            self.fault(key, f"{key} holds what is no token id", ~np.concatenate(sound))
            return None, None
        return np.concatenate(tokens), np.concatenate(spans)


def _to_be_held(key: str, array: StoredArray) -> int:
    """Bytes that are in memory at a time: of features a sample, of the rest all."""
    return array.nbytes // len(array) if key in FEATURES else array.nbytes


def _only(row: int, like: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    chosen: npt.NDArray[np.bool_] = np.arange(len(like)) == row
    return chosen
