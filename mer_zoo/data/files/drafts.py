"""A corpus as described by its file: what is small is read, features are still in the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.data.corpus.arrays import StoredArray
from mer_zoo.data.corpus.checks import Fault
from mer_zoo.data.corpus.conversation import Conversation
from mer_zoo.data.corpus.meaning import Meaning
from mer_zoo.feature_spec import FeatureSpec

__all__ = ["Draft", "HeardDraft", "SplitDraft", "row_spans"]


@dataclass
class HeardDraft:
    """What was heard instead of the text of a split, as described by its file.

    Args:
        raw_text: N transcripts.
        features: (N, T, d) in the file, of any number type, or None.
        lengths: (N,) valid steps of them, or None.
        tokens: (N, T) token ids, or None.
        token_spans: (N, 2) first and last + 1 position of the tokens' mask, or None.
    """

    raw_text: list[str]
    features: StoredArray | None = None
    lengths: npt.NDArray[np.int64] | None = None
    tokens: npt.NDArray[np.int32] | None = None
    token_spans: npt.NDArray[np.int32] | None = None


@dataclass
class SplitDraft:
    """One split as described by its file: small fields read, features still in the file.

    Args:
        ids: N sample ids.
        raw_text: N transcripts, or None.
        features: (N, T_m, d_m) arrays in the file, of any number type.
        lengths: (N,) valid steps of audio and vision, where the file has them.
        tokens: (N, T) token ids, or None.
        token_spans: (N, 2) first and last + 1 position of the tokens' mask, or None.
        labels: Float32 (N,) numbers, int64 (N,) classes or int64 (N, E) emotions; None where there are none.
        label_field: The field that they are of.
        unimodal: Float32 (N,) sentiment of modalities alone, NaN where one is missing.
        words: Numbers of classes with the words that stand beside them.
        told: What the shape of its labels says about them.
        conversation: Who says each sample, in which dialogue and turn, as far as the file tells.
        heard: What was heard instead of the text, where the file tells.
    """

    ids: list[str] = field(default_factory=list)
    raw_text: list[str] | None = None
    features: dict[str, StoredArray] = field(default_factory=dict)
    lengths: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    tokens: npt.NDArray[np.int32] | None = None
    token_spans: npt.NDArray[np.int32] | None = None
    labels: npt.NDArray[Any] | None = None
    label_field: str = "labels"
    unimodal: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    words: set[tuple[int, str]] = field(default_factory=set)
    told: Meaning | None = None
    conversation: Conversation = field(default_factory=Conversation)
    heard: HeardDraft | None = None


@dataclass
class Draft:
    """A corpus as described by its file.

    Args:
        splits: By name.
        aligned: Whether the modalities share one time axis.
        vocab_size: Number of token ids.
        notes: What was noticed, one sentence each.
        faults: What is wrong.
        sha256: Fingerprint of its source.
        told: What the file says about the meaning of its labels.
        meaning: What its labels mean, as far as it is told or shown.
        question: What has to be told of them.
        made_by: What makes the features, by modality, as far as the file tells.
    """

    splits: dict[str, SplitDraft] = field(default_factory=dict)
    aligned: bool = False
    vocab_size: int = 30522
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    sha256: str | None = None
    told: Meaning | None = None
    meaning: Meaning | None = None
    question: str = ""
    made_by: dict[str, FeatureSpec] = field(default_factory=dict)


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
