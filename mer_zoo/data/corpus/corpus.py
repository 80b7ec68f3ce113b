"""A corpus in memory or mapped from disk: the one form that readers produce and datamodules consume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.batch import MODALITIES, DataSpec
from mer_zoo.data.corpus.checks import Fault, fault_error
from mer_zoo.data.corpus.conversation import Conversation
from mer_zoo.data.corpus.heard import HeardText
from mer_zoo.data.corpus.mapped import attach, detach
from mer_zoo.data.corpus.meaning import REMEDY, LabelKind, Meaning, converted, outside, read_meaning
from mer_zoo.data.corpus.tokens import BERT, SpecialTokens, TokenIds, found_tokens
from mer_zoo.errors import MERError
from mer_zoo.feature_spec import FeatureSpec, differing

__all__ = ["Corpus", "SplitData", "check_compatible", "empty_note", "shortened", "with_meaning"]


@dataclass(frozen=True)
class SplitData:
    """The arrays of one split, N samples, padded to the corpus' lengths.

    Args:
        features: Float32 (N, T_m, d_m) of each modality that the file has, keyed by text, audio, vision.
        spans: Int32 (N, 2) for each modality: the real positions are start <= t < stop. An empty span is a missing one.
        token_ids: Int32 (N, T_text) token ids of the text, or None.
        labels: Float32 (N,) sentiment, int64 (N,) classes, int64 (N, E) emotions, or None without labels.
        ids: N sample ids.
        raw_text: N transcripts, empty strings where the file has none.
        unimodal: Float32 (N,) sentiment of modalities alone, as CH-SIMS has them, NaN where one is missing.
        conversation: Who says each sample, in which dialogue and turn, as far as the file tells.
        token_steps: Int32 (N, T_text) which step of audio and vision each token goes with, -1 for none, where tokens
            were made of words that each have a step; None where all share one time axis, or none do.
        heard: What was heard instead of the text; None where the file does not tell.

    Example:
        >>> spans = {"audio": np.array([[0, 5], [1, 4]], np.int32)}
        >>> audio = {"audio": np.zeros((2, 5, 3), np.float32)}
        >>> len(SplitData(audio, spans, None, np.array([0.5, -1.0]), ["a", "b"], ["", ""]))
        2
    """

    features: dict[str, npt.NDArray[np.float32]]
    spans: dict[str, npt.NDArray[np.int32]]
    token_ids: npt.NDArray[np.int32] | None
    labels: npt.NDArray[np.generic] | None
    ids: list[str]
    raw_text: list[str]
    unimodal: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    conversation: Conversation = field(default_factory=Conversation)
    token_steps: npt.NDArray[np.int32] | None = None
    heard: HeardText | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __getstate__(self) -> dict[str, Any]:
        return {name: detach(value) for name, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({name: attach(value) for name, value in state.items()})


@dataclass(frozen=True)
class Corpus:
    """All splits of a corpus.

    Args:
        splits: Arrays by split name; ``train`` and ``valid`` and any number of test splits.
        aligned: Whether the modalities share one time axis.
        source: Where it came from, for reports.
        notes: What the reader changed or noticed, one sentence each, for reports and logs.
        vocab_size: Number of token ids, where there are any.
        sha256: Fingerprint of what it was read from, where it is known.
        meaning: What the labels mean; None without labels, or where ``question`` asks for it.
        question: What has to be told before the labels are used, see :mod:`mer_zoo.data.corpus.meaning`.
        made_by: What makes the features, by modality, as far as the file tells.

    Example:
        >>> from mer_zoo.data.synthetic.generate import SyntheticConfig, generate
        >>> corpus = generate(SyntheticConfig(train=4, valid=2, test=2))
        >>> len(corpus.split("train")), corpus.spec(tokens=True).text_len
        (4, 26)
    """

    splits: dict[str, SplitData]
    aligned: bool
    source: str
    notes: list[str] = field(default_factory=list)
    vocab_size: int = 30522
    sha256: str | None = None
    meaning: Meaning | None = None
    question: str = ""
    made_by: Mapping[str, FeatureSpec] = field(default_factory=dict)

    def split(self, name: str) -> SplitData:
        """Return the split called ``name``.

        Raises:
            MERError: If there is none.
        """
        if empty_note(name) in self.notes:
            raise MERError(f"{name} is empty in {self.source}; give a file with samples in it, or use predict alone")
        if name not in self.splits:
            raise MERError(f"{self.source} has no split {name!r}; it has {', '.join(self.splits)}")
        return self.splits[name]

    def token_ids(self) -> list[TokenIds]:
        """Token ids, and the spans of the texts in them, of train and valid; of others only where there is neither."""
        known = self.fitting().values()
        return [(s.token_ids, np.asarray(s.spans["text"])) for s in known if s.token_ids is not None]

    def fitting(self) -> Mapping[str, SplitData]:
        """Train and valid, by which everything is fitted and chosen; all splits where there is neither."""
        return {name: self.splits[name] for name in ("train", "valid") if name in self.splits} or self.splits

    def spec(
        self, modalities: Sequence[str] = MODALITIES, tokens: bool = False, special: SpecialTokens | None = None
    ) -> DataSpec:
        """Describe the shapes of the corpus.

        Args:
            modalities: The modalities to use.
            tokens: Whether text is to be read as token ids.
            special: The special tokens of the tokenizer; when left out, those that the token ids show, or BERT's.

        Raises:
            MERError: If a modality, or the token ids, are not in the corpus.
        """
        first = next(iter(self.splits.values()))
        special = special or found_tokens(self.token_ids()) or BERT
        if tokens and first.token_ids is None:
            raise MERError(
                f"{self.source} has no token ids; set data.text: features, or data.tokenizer to the name or folder of"
                " a tokenizer that makes them of its texts"
            )
        shapes: dict[str, int] = {}
        for name in MODALITIES:
            array = first.features.get(name)
            if name in modalities and array is None and not (name == "text" and tokens):
                have = ", ".join(first.features) or "none"
                like = ", or make it by mer-zoo extract --like CHECKPOINT" if self.made_by else ""
                raise MERError(
                    f"{self.source} has no {name} features (it has {have}); set data.modalities to what it has{like}"
                )
            shapes[f"{name}_len"], shapes[f"{name}_dim"] = (1, 1) if array is None else array.shape[1:]
        if tokens and first.token_ids is not None:
            shapes["text_len"] = first.token_ids.shape[1]
            if first.token_steps is not None:
                shapes |= dict.fromkeys(("audio_len", "vision_len"), shapes["text_len"])
        # BERT's special tokens stand in vocabularies of many sizes, that of the corpus among them.
        known = special.mask + 1 if special is BERT else max(special.vocab_size, special.mask + 1)
        return DataSpec(
            **shapes,
            aligned=self.aligned,
            modalities=modalities,
            tokens=tokens,
            vocab_size=max(self.vocab_size, known),
            **special.options(),
        )


def empty_note(split: str) -> str:
    """What a corpus notes of a split without samples, which is left out."""
    return f"{split} is empty"


def check_compatible(other: Corpus, corpus: Corpus, spec: DataSpec) -> None:
    """Refuse to test on a corpus what was built for another one with other features.

    Lengths may differ; sequences are cut or padded to those of ``spec``.

    Args:
        other: The corpus to test on.
        corpus: The corpus that ``spec`` describes.
        spec: Shapes that the model was built for.

    Raises:
        MERError: If a modality has another width, the text more token ids, or the modalities no common time axis where
            the model counts on one.
    """
    theirs = other.spec(spec.modalities, spec.tokens)
    for name in spec.modalities:
        if theirs.dim(name) != spec.dim(name):
            raise MERError(
                f"{other.source} has {name} of width {theirs.dim(name)}, {corpus.source} of {spec.dim(name)};"
                " cross-dataset tests need equal features"
            )
    found = differing(*({key: c.made_by[key] for key in spec.modalities if key in c.made_by} for c in (corpus, other)))
    if found is not None:
        raise MERError(f"{corpus.source} and {other.source} have {found}; extract the features of both alike")
    if spec.tokens and (theirs.cls_id, theirs.sep_id, theirs.pad_id) != (spec.cls_id, spec.sep_id, spec.pad_id):
        raise MERError(
            f"texts of {other.source} begin with {theirs.cls_id} and end with {theirs.sep_id}, those of {corpus.source}"
            f" with {spec.cls_id} and {spec.sep_id}; cross-dataset tests need the same tokenizer"
        )
    if spec.tokens and theirs.vocab_size > spec.vocab_size:
        raise MERError(
            f"{other.source} has token ids up to {theirs.vocab_size - 1}, {corpus.source} up to {spec.vocab_size - 1};"
            " cross-dataset tests need the same tokenizer"
        )
    if spec.aligned and not theirs.aligned:
        raise MERError(
            f"{other.source} is unaligned, {corpus.source} aligned; cross-dataset tests need both files of one kind"
        )


def shortened(spec: DataSpec, max_lengths: Mapping[str, int]) -> DataSpec:
    """Shapes of a corpus of which the first so many steps of a modality are read.

    Args:
        spec: Shapes of the whole corpus.
        max_lengths: The most steps by modality; those that it does not name stay as they are.

    Raises:
        MERError: For an unknown modality, a length below 1, or modalities that share one time axis.

    Example:
        >>> spec = shortened(DataSpec(text_len=50, audio_len=375), {"text": 25, "audio": 500})
        >>> spec.text_len, spec.audio_len
        (25, 375)
    """
    for name, length in max_lengths.items():
        if name not in MODALITIES or length < 1:
            raise MERError(
                f"max_lengths has {name}: {length}; give a number of steps, at least 1, for {', '.join(MODALITIES)}"
            )
    if spec.aligned and max_lengths:
        raise MERError("max_lengths would part modalities that share one time axis; take unaligned files, or leave it")
    lengths = {f"{name}_len": min(length, spec.length(name)) for name, length in max_lengths.items()}
    return DataSpec(**{**dict(spec), **lengths})


def with_meaning(
    corpus: Corpus, told: Meaning | None = None, task: LabelKind | None = None, sealed: bool = False
) -> Corpus:
    """Decide what the labels of a corpus mean, and bring them into the form that such labels have.

    Args:
        corpus: The corpus, with what its file says about its labels.
        told: What the user says.
        task: See :func:`~mer_zoo.data.corpus.meaning.read_meaning`.
        sealed: Whether train and valid decide it alone; labels of other splits are read only where those of these
            have another form.

    Raises:
        MERError: If labels are not what they are told to be.
    """
    parts = corpus.fitting() if sealed else corpus.splits
    known = {name: None if split.labels is None else np.asarray(split.labels) for name, split in parts.items()}
    reading = read_meaning(known, (told or Meaning()).over(corpus.meaning), task)
    wrongs = [(name, "labels", message, wrong) for name, message, wrong in reading.faults]
    limits = None if reading.meaning is None else reading.meaning.range
    wrongs += [
        (name, f"labels of {modality}", message, wrong)
        for name, split in parts.items()
        for modality, values in split.unimodal.items()
        for message, wrong in (() if limits is None else outside(np.asarray(values), limits))
    ]
    if wrongs:
        faults = [
            Fault(name, key, f"{key} {message}", tuple(parts[name].ids[row] for row in np.flatnonzero(wrong)), REMEDY)
            for name, key, message, wrong in wrongs
        ]
        raise fault_error(corpus.source, faults)
    splits, meaning = corpus.splits, reading.meaning
    if meaning is not None and any(_with_labels(split, meaning) is not split for split in parts.values()):
        splits = {name: _with_labels(split, meaning) for name, split in splits.items()}
    return replace(corpus, splits=splits, meaning=meaning, question=reading.question)


def _with_labels(split: SplitData, meaning: Meaning) -> SplitData:
    if split.labels is None:
        return split
    labels = converted(split.labels, meaning)
    return split if labels is split.labels else replace(split, labels=labels)
