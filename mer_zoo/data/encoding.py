"""Token ids made of a corpus' texts, where its file has none, and the steps of other modalities that go with them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.data.corpus.checks import plural
from mer_zoo.data.corpus.corpus import Corpus, SplitData
from mer_zoo.data.corpus.heard import HeardText
from mer_zoo.data.files.heard import heard_span
from mer_zoo.errors import MERError

__all__ = ["encoded", "spelt", "with_heard_ids"]

MOST_PIECES = 512  # of a text: what BERT and RoBERTa have positions for
_WORD = re.compile(r"\S+")
_BEGINNING = ("\u2581", "\u0120")  # what a piece that begins a word starts with, in SentencePiece and byte-level BPE


def encoded(corpus: Corpus, tokenizer: Any, name: str) -> Corpus:
    """A corpus whose texts are token ids, too.

    Where audio and vision have a step a word, as in MAG-BERT's own file, each piece of a word goes with its step.

    Args:
        corpus: With texts and without token ids.
        tokenizer: Of Hugging Face.
        name: What to call it.

    Raises:
        MERError: If there is no text, or the tokenizer does not tell which word a piece is of.
    """
    texts = {split: data.raw_text for split, data in corpus.splits.items()}
    if not any(text.strip() for own in texts.values() for text in own):
        raise MERError(f"{corpus.source} has neither token ids nor texts to make them of; set data.text: features")
    by_word = corpus.aligned and all(_has_a_step_a_word(split) for split in corpus.splits.values())
    if by_word and not tokenizer.is_fast:
        raise MERError(
            f"{corpus.source} has audio and vision of each word, and tokenizer {name} does not tell which word a piece"
            " is of; take one with a tokenizer.json"
        )
    longest = min(int(tokenizer.model_max_length), MOST_PIECES)
    made = {split: _ids(tokenizer, own, longest, by_word) for split, own in texts.items()}
    width = max(len(ids) for rows, _ in made.values() for ids in rows)
    splits = {}
    for split, (rows, steps) in made.items():
        splits[split] = _with_ids(
            corpus.splits[split],
            _padded(rows, width, tokenizer.pad_token_id),
            np.array([[0, len(ids)] for ids in rows], np.int32),
            _padded(steps, width, -1) if by_word else None,
        )
    notes = [*corpus.notes, f"token ids are made of the texts by tokenizer {name}"]
    if corpus.aligned:
        others = "each piece of a word has its audio and vision" if by_word else "the text has a time axis of its own"
        notes.append(f"{others}, since these {'have' if by_word else 'do not have'} a step a word")
    if cut := sum(len(ids) == longest for rows, _ in made.values() for ids in rows):
        notes.append(f"{plural(cut, 'text')} with {longest} token ids, all that are read")
    vocabulary = max(corpus.vocab_size, len(tokenizer))
    aligned = corpus.aligned and by_word
    return dataclasses.replace(corpus, splits=splits, notes=notes, vocab_size=vocabulary, aligned=aligned)


def with_heard_ids(corpus: Corpus, tokenizer: Any) -> Corpus:
    """A corpus whose heard texts are token ids, too; a text without words has none.

    Args:
        corpus: Some of its splits tell what was heard.
        tokenizer: Of Hugging Face, that of the texts.
    """
    longest = min(int(tokenizer.model_max_length), MOST_PIECES)
    splits = dict(corpus.splits)
    for name, split in corpus.splits.items():
        if (heard := split.heard) is None or heard.token_ids is not None:
            continue
        rows, _ = _ids(tokenizer, heard.raw_text, longest, by_word=False)
        span = heard_span(np.array([[0, len(ids)] for ids in rows], np.int32), heard.raw_text)
        ids = _padded(rows, max(map(len, rows)), tokenizer.pad_token_id)
        splits[name] = dataclasses.replace(split, heard=HeardText(heard.raw_text, span, token_ids=ids))
    return dataclasses.replace(corpus, splits=splits, vocab_size=max(corpus.vocab_size, len(tokenizer)))


def _has_a_step_a_word(split: SplitData) -> bool:
    """Whether audio and vision of each sample end where its words do, or before, and there is a step for each word."""
    words = np.array([len(_WORD.findall(text)) for text in split.raw_text])
    others = [key for key in ("audio", "vision") if key in split.features]
    return bool(others) and all(
        bool((np.asarray(split.spans[key])[:, 1] <= words).all()) and int(words.max()) <= split.features[key].shape[1]
        for key in others
    )


def _ids(tokenizer: Any, texts: Sequence[str], longest: int, by_word: bool) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids of each text, and the place of the word that each is a piece of."""
    made = tokenizer(
        list(texts),
        truncation=True,
        max_length=longest,
        return_attention_mask=False,
        return_token_type_ids=False,
        return_offsets_mapping=by_word,
    )
    steps = [_places(text, own) for text, own in zip(texts, made["offset_mapping"], strict=True)] if by_word else []
    return made["input_ids"], steps


def _places(text: str, offsets: Sequence[tuple[int, int]]) -> list[int]:
    """The word that each piece ends in, -1 for special tokens; blanks belong to the word behind them."""
    at = np.full(len(text) + 1, -1)
    start = 0
    for place, word in enumerate(_WORD.finditer(text)):
        at[start : word.end()] = place
        start = word.end()
    return [int(at[end - 1]) if end > begin else -1 for begin, end in offsets]


def _padded(rows: Sequence[Sequence[int]], width: int, padding: int) -> npt.NDArray[np.int32]:
    padded = np.full((len(rows), width), padding, np.int32)
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return padded


def _with_ids(
    split: SplitData,
    ids: npt.NDArray[np.int32],
    spans: npt.NDArray[np.int32],
    steps: npt.NDArray[np.int32] | None,
) -> SplitData:
    features = {key: array for key, array in split.features.items() if key != "text"}  # on another time axis
    return dataclasses.replace(
        split, features=features, spans={**split.spans, "text": spans}, token_ids=ids, token_steps=steps
    )


def spelt(tokenizer: Any) -> dict[int, str]:
    """How each token id is spelt, by the tokenizer's own vocabulary: a piece inside a word begins with ``##``.

    Args:
        tokenizer: Of Hugging Face; WordPiece, byte-level BPE or SentencePiece.
    """
    from tokenizers import decoders

    vocabulary: dict[str, int] = tokenizer.get_vocab()
    special = set(tokenizer.all_special_tokens)
    mark = next((mark for mark in _BEGINNING if any(piece.startswith(mark) for piece in vocabulary)), "")
    readable = decoders.ByteLevel() if mark == _BEGINNING[1] else None
    names = {}
    for piece, number in vocabulary.items():
        if not mark or piece in special:
            names[number] = piece
            continue
        inner = piece.removeprefix(mark)
        text = inner if readable is None else readable.decode([inner])
        inner = inner if "\ufffd" in text else text  # part of a character
        names[number] = inner if piece.startswith(mark) else f"##{inner}"
    return names
