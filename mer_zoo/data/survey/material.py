"""What an audit reads of a corpus: all that is small, and of each sample's features a summary of bounded size.

The features are passed over once, a block at a time. A limited number of samples keeps the vectors that probes are
fitted on; every sample keeps a few random projections, by which copies are found.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.batch import MODALITIES
from mer_zoo.data.corpus.arrays import StoredArray
from mer_zoo.data.corpus.checks import Fault
from mer_zoo.data.corpus.conversation import recordings
from mer_zoo.data.corpus.corpus import Corpus
from mer_zoo.data.files.drafts import Draft, SplitDraft, row_spans
from mer_zoo.data.files.features import NanPolicy, scan_split
from mer_zoo.data.survey.moments import Moments
from mer_zoo.functional.language_bias import split_words

__all__ = ["POOLINGS", "Features", "Material", "Part", "draft_of", "read_material"]

POOLINGS = ("mean", "last", "first")
PROJECTIONS = 16
KEPT = 4000  # samples of a split whose vectors are kept; of valid half as many
MOST_NUMBERS = 2**24  # of their vectors, where features are very wide
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass
class Features:
    """The features of one modality of one split, N samples, K of them kept.

    Args:
        pooled: (K, d) of each of ``POOLINGS``, in the order of ``Part.kept``.
        behind: (K, d) means of what stands behind the lengths that the file gives, None where that is zero throughout.
        projections: (N, P) random projections of each sample.
        digests: (N,) a digest of the content of each sample.
        spans: (N, 2) first and last + 1 real position.
        moments: Of the real steps.
    """

    pooled: dict[str, Floats]
    behind: Floats | None
    projections: Floats
    digests: npt.NDArray[np.uint64]
    spans: npt.NDArray[np.int32]
    moments: Moments

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """(N,) whether a sample has any."""
        there: npt.NDArray[np.bool_] = self.spans[:, 1] > self.spans[:, 0]
        return there


@dataclass
class Part:
    """One split.

    Args:
        name: Its name.
        draft: Its description, whose features are still in the file.
        kept: (K,) the places of the samples whose vectors are kept, rising.
        features: By modality.
        notes: What the reader noticed.
        faults: What it found wrong.
    """

    name: str
    draft: SplitDraft
    kept: Ints
    features: dict[str, Features] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """N ids."""
        return self.draft.ids

    @property
    def is_numbered(self) -> bool:
        """Whether the ids are mere numbers, which name nothing."""
        return all(name == f"{self.name}_{row}" for row, name in enumerate(self.ids))

    @property
    def labels(self) -> npt.NDArray[Any] | None:
        """N labels."""
        return self.draft.labels

    def steps(self) -> dict[str, Ints]:
        """(N,) number of real steps of each modality that has features."""
        return {
            key: (features.spans[:, 1] - features.spans[:, 0]).astype(np.int64)
            for key, features in self.features.items()
        }

    def words(self) -> list[list[str]] | None:
        """The words of each sample, token ids where there is no text; None without either."""
        texts = self.draft.raw_text
        if texts is not None and any(map(str.strip, texts)):
            return [_words(text) for text in texts]
        tokens, spans = self.draft.tokens, self.draft.token_spans
        if tokens is None:
            return None
        inside = spans if spans is not None else row_spans(tokens != 0)
        return [
            [str(token) for token in row[start + 1 : stop - 1].tolist()]  # between [CLS] and [SEP]
            for row, (start, stop) in zip(tokens, inside, strict=True)
        ]


@dataclass
class Material:
    """What is known of a corpus.

    Args:
        source: Its name.
        parts: Its splits.
        sha256: Fingerprint of what it was read from, where it is known.
        groups: The group of samples by their ids, such as the speaker; None where nobody told.
        aligned: Whether the modalities share one time axis.
    """

    source: str
    parts: dict[str, Part]
    sha256: str | None = None
    groups: dict[str, str] | None = None
    aligned: bool = False

    @property
    def tests(self) -> list[Part]:
        """The test splits."""
        return [part for name, part in self.parts.items() if name.startswith("test")]

    @property
    def modalities(self) -> list[str]:
        """Those that have features."""
        return [name for name in MODALITIES if any(name in part.features for part in self.parts.values())]

    def recordings(self) -> dict[str, list[str]] | None:
        """The recording of each sample, by split; None where the ids do not tell."""
        found = {name: recordings(part.ids) for name, part in self.parts.items()}
        told = {name: own for name, own in found.items() if own is not None}
        return told if len(told) == len(found) else None

    def speakers(self) -> dict[str, list[str]] | None:
        """Who says each sample, by split, empty where it is not told; None where no split tells."""
        told = {name: part.draft.conversation.completed(part.ids).speaker for name, part in self.parts.items()}
        if all(own is None for own in told.values()):
            return None
        return {name: own or [""] * len(self.parts[name].ids) for name, own in told.items()}


def _words(text: str) -> list[str]:
    words = split_words(text)
    if len(words) < 3 and len(text.strip()) > 8 and not text.isascii():  # a script without spaces
        flat = "".join(text.split())
        return [flat[place : place + 2] for place in range(len(flat) - 1)]
    return words


def draft_of(corpus: Corpus) -> Draft:
    """Describe a corpus in memory as one in a file is described.

    Args:
        corpus: The corpus.
    """
    splits = {}
    for name, split in corpus.splits.items():
        features = {key: _stored(array, f"{name} {key}") for key, array in split.features.items()}
        splits[name] = SplitDraft(
            split.ids,
            split.raw_text,
            features,
            tokens=split.token_ids,
            token_spans=split.spans["text"],
            labels=split.labels,
            conversation=split.conversation,
        )
    return Draft(splits, corpus.aligned, corpus.vocab_size, list(corpus.notes), sha256=corpus.sha256)


def _stored(array: npt.NDArray[np.float32], name: str) -> StoredArray:
    whole = np.ascontiguousarray(array)
    return StoredArray(whole.dtype, whole.shape, lambda: io.BytesIO(whole.tobytes()), name=name)


def read_material(
    draft: Draft, source: str, seed: int = 0, nan: NanPolicy = "zero", kept: int | None = None
) -> Material:
    """Pass over a corpus once.

    Args:
        draft: Its description.
        source: Its name.
        seed: Chooses the samples whose vectors are kept, where there are too many.
        nan: Whether NaN and infinity in features are faults.
        kept: How many of a split these are at the most, of ``valid`` half as many; by default 4,000.

    Raises:
        MERError: If the bytes of a feature cannot be read.

    Example:
        >>> from mer_zoo.data.synthetic.generate import SyntheticConfig, generate
        >>> material = read_material(draft_of(generate(SyntheticConfig(train=6, valid=4, test=4))), "SyntheticMER")
        >>> material.parts["train"].features["audio"].pooled["mean"].shape
        (6, 8)
    """
    widest = max((array.shape[2] for split in draft.splits.values() for array in split.features.values()), default=1)
    kept = max(1, min(kept or KEPT, MOST_NUMBERS // widest))
    parts = {
        name: _read_part(name, split, seed, nan, kept // 2 if name == "valid" else kept)
        for name, split in draft.splits.items()
        if split.ids
    }
    return Material(source, parts, draft.sha256, aligned=draft.aligned)


def _read_part(name: str, split: SplitDraft, seed: int, nan: NanPolicy, most: int) -> Part:
    count = len(split.ids)
    rng = np.random.default_rng([seed, count])
    kept = np.arange(count) if count <= most else np.sort(rng.choice(count, most, replace=False))
    part = Part(name, split, kept)
    readers: dict[str, _Reader] = {}

    def read(key: str, array: StoredArray, blocks: Iterator[Floats]) -> None:
        readers[key] = reader = _Reader(array.shape[2], kept, split.lengths.get(key))
        for block in blocks:
            reader.take(block)

    scan = scan_split(name, split, nan, read)
    part.notes, part.faults = scan.notes, scan.faults
    part.features = {key: reader.features() for key, reader in readers.items() if key in MODALITIES}
    return part


class _Reader:
    """Summarises the blocks of one modality."""

    def __init__(self, width: int, kept: Ints, lengths: npt.NDArray[np.int64] | None) -> None:
        self.kept, self.lengths, self.start = kept, lengths, 0
        self.signs = np.random.default_rng(width).choice((-1.0, 1.0), (2 * width, PROJECTIONS)).astype(np.float32)
        self.pooled: dict[str, list[Floats]] = {name: [] for name in (*POOLINGS, "behind")}
        self.whole: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in ("projections", "digests", "spans")}
        self.moments = Moments.of(np.zeros((0, width), np.float32))

    def take(self, block: Floats) -> None:
        """Take the next rows."""
        rows = slice(self.start, self.start + len(block))
        self.start = rows.stop
        spans = row_spans((block != 0).any(2))
        if self.lengths is not None:
            stop = np.where(spans[:, 1] > 0, self.lengths[rows], 0)
            spans = np.stack([np.zeros_like(stop), stop], 1).astype(np.int32)
        time = np.arange(block.shape[1])
        inside = (time >= spans[:, :1]) & (time < spans[:, 1:])
        behind = (time >= spans[:, 1:]) & (spans[:, 1:] > 0)
        self.moments = self.moments + Moments.of(block[inside])
        every, number = np.arange(len(block)), np.maximum(inside.sum(1, keepdims=True), 1)
        pooled = {
            "mean": np.where(inside[..., None], block, 0).sum(1) / number,
            "last": block[every, np.maximum(spans[:, 1] - 1, 0)],
            "first": block[every, np.minimum(spans[:, 0], block.shape[1] - 1)],
            "behind": np.where(behind[..., None], block, 0).sum(1) / np.maximum(behind.sum(1, keepdims=True), 1),
        }
        chosen = self.kept[(self.kept >= rows.start) & (self.kept < rows.stop)] - rows.start
        for name, values in pooled.items():
            self.pooled[name].append(values[chosen].astype(np.float32))
        outline = np.arcsinh(np.concatenate([pooled["mean"], pooled["last"]], 1)).astype(np.float32)
        self.whole["projections"].append(outline @ self.signs)
        self.whole["digests"].append(np.array([_digest(row) for row in block], np.uint64))
        self.whole["spans"].append(spans)

    def features(self) -> Features:
        """What was found."""
        pooled = {name: np.concatenate(values) for name, values in self.pooled.items()}
        behind = pooled.pop("behind")
        return Features(
            pooled,
            behind if behind.any() else None,
            **{name: np.concatenate(values) for name, values in self.whole.items()},
            moments=self.moments,
        )


def _digest(row: Floats) -> int:
    return int.from_bytes(hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=8).digest(), "little")
