"""All labelled samples of a corpus, whatever split they come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mer_zoo.batch import MODALITIES
from mer_zoo.data.corpus.arrays import CHUNK
from mer_zoo.data.corpus.corpus import Corpus, SplitData
from mer_zoo.data.corpus.tokens import found_tokens
from mer_zoo.data.ood.partition import Ints
from mer_zoo.data.ood.shares import SPLITS
from mer_zoo.errors import MERError
from mer_zoo.functional.language_bias import split_words

__all__ = ["Pool", "WordKind"]

WordKind = Literal["text", "tokens"]


@dataclass(frozen=True)
class Pool:
    """The labelled samples of all splits, one after the other.

    Args:
        parts: The source's splits that have labels.
        origin: (N,) which of the new splits a sample would be in if nothing changed.
        labels: (N,) sentiment or classes, or (N, E) emotions.
        ids: N ids, each once.
    """

    parts: list[SplitData]
    origin: Ints
    labels: npt.NDArray[Any]
    ids: list[str]

    @classmethod
    def of(cls, corpus: Corpus) -> Pool:
        """Collect the samples of a corpus whose new splits are to be as large as its own.

        Args:
            corpus: The corpus.

        Raises:
            MERError: If a split or its labels are missing, or the labels are no single sentiment.
        """
        named = {name: split for name, split in corpus.splits.items() if split.labels is not None}
        missing = [name for name in SPLITS[:2] if name not in named]
        if missing or len(named) < 3:
            lacks = missing[0] if missing else "test"
            raise MERError(
                f"{corpus.source} has no labelled {lacks} split; new splits take over the sizes of train, valid and"
                f" test"
            )
        if any(split.labels is not None and split.labels.ndim != 1 for split in named.values()):
            raise MERError(f"{corpus.source} has several emotions a sample; split-ood needs one label a sample")
        return cls.labelled(corpus)

    @classmethod
    def labelled(cls, corpus: Corpus) -> Pool:
        """Collect the samples of all splits that have labels.

        Args:
            corpus: The corpus.

        Raises:
            MERError: If none has labels, or they are of several kinds.
        """
        named = {name: split for name, split in corpus.splits.items() if split.labels is not None}
        parts, labels = list(named.values()), [split.labels for split in named.values() if split.labels is not None]
        if not parts:
            raise MERError(f"{corpus.source} has no labels; give it some, since new splits are to train and test on")
        if len({(values.dtype.kind, values.shape[1:]) for values in labels}) > 1:
            raise MERError(
                f"{corpus.source} has scores in some splits and classes in others; give it one kind of labels"
            )
        place = [SPLITS.index(name) if name in SPLITS else len(SPLITS) - 1 for name in named]
        ids = _unique([name for split in parts for name in split.ids])
        return cls(parts, np.repeat(place, [len(split) for split in parts]), np.concatenate(labels), ids)

    def array(self, arrays: Sequence[npt.NDArray[Any]], rows: Ints) -> Iterator[npt.NDArray[Any]]:
        """Read rows of an array that every part has a piece of, in blocks of bounded size.

        Args:
            arrays: The pieces, one a part.
            rows: Ascending places in the pool.
        """
        start = 0
        for array in arrays:
            own = rows[(rows >= start) & (rows < start + len(array))] - start
            start += len(array)
            count = max(1, CHUNK // max(array[:1].nbytes, 1))
            for at in range(0, len(own), count):
                yield np.asarray(array[own[at : at + count]])

    def unimodal(self) -> dict[str, npt.NDArray[np.float32]]:
        """(N,) labels of modalities alone, NaN where a part has none."""
        return {
            key: np.concatenate([part.unimodal.get(key, np.full(len(part), np.nan, np.float32)) for part in self.parts])
            for key in MODALITIES
            if any(key in part.unimodal for part in self.parts)
        }

    def has_text(self) -> bool:
        """Whether most samples have a transcript."""
        texts = [text for split in self.parts for text in split.raw_text]
        return 2 * sum(bool(text.strip()) for text in texts) > len(texts)

    def words(self, kind: WordKind, source: str) -> list[set[str]]:
        """The words of each sample, without special tokens.

        Args:
            kind: Where to take them from: ``text``, in lower case, or ``tokens``, as numbers.
            source: Name of the corpus, for the message.

        Raises:
            MERError: If there are no token ids.
        """
        if kind == "text":
            texts = [text for split in self.parts for text in split.raw_text]
            return [set(split_words(text)) for text in texts]
        tokens = [split.token_ids for split in self.parts if split.token_ids is not None]
        if len(tokens) < len(self.parts):
            raise MERError(
                f"{source} has neither raw text nor token ids; take a file of it that has raw_text or text_bert"
            )
        known = found_tokens((s.token_ids, s.spans["text"]) for s in self.parts if s.token_ids is not None)
        if known is None:
            raise MERError(f"{source} has token ids of an unknown tokenizer; take words of the texts (--words text)")
        special = set(known.options().values())
        return [{str(name) for name in set(row) - special} for ids in tokens for row in ids.tolist()]


def _unique(ids: Sequence[str]) -> list[str]:
    """Number the repetitions of an id, since the guard against shared samples goes by ids."""
    seen: dict[str, int] = {}
    unique = []
    for name in ids:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}~{seen[name]}")
    return unique
