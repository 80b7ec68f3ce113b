"""Feature arrays on their way to the store: cleaned block by block, with the span of every sample found on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from mer_zoo.batch import MODALITIES
from mer_zoo.data.corpus.arrays import StoredArray
from mer_zoo.data.corpus.checks import Fault, plural
from mer_zoo.data.corpus.corpus import Corpus
from mer_zoo.data.files.drafts import SplitDraft, row_spans
from mer_zoo.data.files.heard import HEARD_TEXT, heard_span
from mer_zoo.errors import MERError

__all__ = ["NanPolicy", "Scan", "Write", "check_present", "scan_split"]

SHOWN_ROWS = 3
NanPolicy = Literal["error", "zero"]
Blocks = Iterator[npt.NDArray[np.float32]]
Write = Callable[[str, StoredArray, Blocks], None]
"""Takes the modality, or ``heard_text``, its array and the clean blocks, and uses all of them up."""


@dataclass
class Scan:
    """What a pass over the features of a split found.

    Args:
        spans: (N, 2) first and last + 1 real position of each sample, per modality and of ``heard_text``.
        faults: What is wrong.
        notes: What was changed or noticed.
    """

    spans: dict[str, npt.NDArray[np.int32]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class _Cleaner:
    """Turns blocks of any number type into finite float32, counting what it replaces by zero."""

    def __init__(self, array: StoredArray, minus_inf: bool) -> None:
        self.array, self.minus_inf = array, minus_inf
        self.replaced = 0
        self.bad = np.zeros(len(array), dtype=np.int64)
        self.spans = np.zeros((len(array), 2), dtype=np.int32)

    def __iter__(self) -> Blocks:
        start = 0
        for block in self.array.blocks():
            with np.errstate(over="ignore", invalid="ignore"):
                x = np.array(block, dtype=np.float32, order="C")
            rows = slice(start, start + len(x))
            start += len(x)
            if np.isfinite(x).all():
                self.spans[rows] = row_spans((x != 0).any(axis=2))
            else:
                self._clean(x, rows)
            yield x

    def _clean(self, x: npt.NDArray[np.float32], rows: slice) -> None:
        minus = (x == -np.inf) if self.minus_inf else np.zeros_like(x, dtype=bool)
        bad = ~np.isfinite(x) & ~minus
        self.replaced += int(minus.sum())
        self.bad[rows] = bad.sum((1, 2))
        x[bad] = 0
        self.spans[rows] = row_spans((x != 0).any(axis=2))  # log(0) is a measurement, NaN is none
        x[minus] = 0


def _discard(_key: str, _array: StoredArray, blocks: Blocks) -> None:
    for _ in blocks:
        pass


def scan_split(name: str, split: SplitDraft, nan: NanPolicy, write: Write = _discard) -> Scan:
    """Pass over the features of a split once.

    Args:
        name: Name of the split.
        split: The split as described by its file.
        nan: Whether NaN and infinity are faults or become zero; -inf in audio always becomes zero.
        write: What to do with the clean blocks.
    """
    scan = Scan()
    for part in _parts(name, split):
        if part.array is not None:
            cleaner = _Cleaner(part.array, minus_inf=part.key == "audio")
            write(part.key, part.array, iter(cleaner))
            _report_values(part, cleaner, nan, scan)
            scan.spans[part.key] = _spans(part, part.array.shape[1], cleaner.spans, scan)
        elif part.token_span is not None:
            scan.spans[part.key] = part.token_span
        else:
            scan.spans[part.key] = np.zeros((len(split.ids), 2), dtype=np.int32)
    if split.heard is not None:
        scan.spans[HEARD_TEXT] = heard_span(scan.spans[HEARD_TEXT], split.heard.raw_text)
    return scan


class _Part(NamedTuple):
    """A modality of a split, or what was heard; its features, lengths and the spans of its token ids, if any."""

    split: str
    ids: list[str]
    key: str
    array: StoredArray | None
    lengths: npt.NDArray[np.int64] | None
    token_span: npt.NDArray[np.int32] | None


def _parts(name: str, split: SplitDraft) -> Iterator[_Part]:
    for key in MODALITIES:
        span = split.token_spans if key == "text" else None
        yield _Part(name, split.ids, key, split.features.get(key), split.lengths.get(key), span)
    if (heard := split.heard) is not None:
        yield _Part(name, split.ids, HEARD_TEXT, heard.features, heard.lengths, heard.token_spans)


def _report_values(part: _Part, cleaner: _Cleaner, nan: NanPolicy, scan: Scan) -> None:
    name, key = part.split, part.key
    if cleaner.replaced:
        scan.notes.append(f"{name}: {plural(cleaner.replaced, '-inf value')} in {key} set to 0")
    bad = np.flatnonzero(cleaner.bad)
    if not len(bad):
        return
    values = plural(int(cleaner.bad.sum()), "NaN or infinite value")
    if nan == "zero":
        scan.notes.append(f"{name}: {values} in {key} of {plural(len(bad), 'sample')} set to 0")
        return
    message = f"{key} holds {values}"
    remedy = "set data.nan: zero (on the command line --data.nan zero, or --nan zero for convert) to put 0 there"
    scan.faults.append(Fault(name, key, message, tuple(part.ids[row] for row in bad), remedy))


def _spans(part: _Part, steps: int, found: npt.NDArray[np.int32], scan: Scan) -> npt.NDArray[np.int32]:
    """Choose between what the file says about lengths and what the zero rows say."""
    name, key, lengths = part.split, part.key, part.lengths
    if part.token_span is not None:
        return part.token_span
    absent = int((found[:, 1] == 0).sum())
    if absent:
        scan.notes.append(f"{name}: {key} is absent (all zero) in {absent} of {len(found)} samples")
    if lengths is None:
        return found
    wrong = np.flatnonzero((lengths == 0) & (found[:, 1] > 0))
    for row in wrong[:SHOWN_ROWS]:
        message = f"{key}_lengths[{row}] is 0, but the sample has steps that are not zero"
        scan.faults.append(Fault(name, f"{key}_lengths", message, (part.ids[row],)))
    if len(wrong) > SHOWN_ROWS:
        message = f"{len(wrong)} of {key}_lengths are 0, but the samples have steps that are not zero"
        scan.faults.append(Fault(name, f"{key}_lengths", message, tuple(part.ids[row] for row in wrong)))
    behind, before = found[:, 1] > lengths, (found[:, 0] < steps - lengths) & (found[:, 1] > 0)
    in_front = bool(behind.sum() > before.sum())
    if in_front:
        scan.notes.append(
            f"{name}: {key} of {plural(int(behind.sum()), 'sample')} stands behind {key}_lengths, so the padding is"
            " taken to be in front"
        )
    cut = int((before if in_front else behind).sum())
    if cut:
        side = "begins before" if in_front else "goes on behind"
        scan.notes.append(f"{name}: {key} {side} {key}_lengths in {plural(cut, 'sample')}; the rest is not used")
    stop = np.where(found[:, 1] > 0, lengths, 0)
    start = np.zeros_like(stop)
    if in_front:
        start = np.where(stop > 0, steps - stop, 0)
        stop = start + stop
    return np.stack([start, stop], 1).astype(np.int32)


def check_present(corpus: Corpus, modalities: Sequence[str], tokens: bool = False) -> None:
    """Refuse a modality that is asked for, but zero in every sample of the training split (or of all, without one).

    Clips that were extracted for predictions, without a training split, may all lack one: it was not observed.

    Args:
        corpus: The corpus.
        modalities: The modalities in use.
        tokens: Whether text is read as token ids.

    Raises:
        MERError: Naming the modality and the remedy.
    """
    if corpus.made_by and "train" not in corpus.splits:
        return
    splits = [corpus.splits["train"]] if "train" in corpus.splits else list(corpus.splits.values())
    for key in modalities:
        if key == "text" and tokens:
            present = any(bool(split.spans["text"].any()) for split in splits)
        else:
            present = any(_any_nonzero(split.features[key]) for split in splits if key in split.features)
        if not present:
            rest = ", ".join(name for name in modalities if name != key) or "another modality"
            raise MERError(f"{corpus.source} has no {key}: it is zero in every sample; set data.modalities: [{rest}]")


def _any_nonzero(features: npt.NDArray[np.float32], rows: int = 256) -> bool:
    return any(bool(features[start : start + rows].any()) for start in range(0, len(features), rows))
