"""What stands at each step of a sample's text: words, as far as transcript and tokens tell."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mer_zoo.batch import Batch, DataSpec
from mer_zoo.confounding import spellings
from mer_zoo.data import MERDataModule
from mer_zoo.data.tokenizer import spellings_of
from mer_zoo.functional.language_bias import split_words
from mer_zoo.model import Model
from mer_zoo.wrappers.maci.language_bias import LanguageBias

__all__ = ["kept_words", "special_names", "token_names", "words_of"]

_MISSING = "[UNK]"


def special_names(spec: DataSpec) -> dict[int, str]:
    """The special tokens by their ids."""
    names = {"[PAD]": spec.pad_id, _MISSING: spec.unk_id, "[CLS]": spec.cls_id, "[SEP]": spec.sep_id}
    return {number: name for name, number in {**names, "[MASK]": spec.mask_id}.items()}


def token_names(data: MERDataModule, split: str) -> dict[int, str]:
    """How the tokens of a split are spelt: as the tokenizer has them, or where transcripts tell; empty without ids.

    Args:
        data: The corpus.
        split: The split.
    """
    found = data.corpus.split(split)
    if found.token_ids is None:
        return {}
    if by_vocabulary := spellings_of(data.tokenizer):
        return by_vocabulary
    special = torch.tensor(list(special_names(data.spec)))
    rows = [torch.as_tensor(row).long() for row in found.token_ids]
    rows = [row[~torch.isin(row, special)] for row in rows]
    known = torch.tensor(sorted({number for row in rows for number in row.tolist()}))
    return {
        number: word
        for number, word in zip(known.tolist(), spellings(known, rows, found.raw_text), strict=True)
        if word
    }


def words_of(batch: Batch, spec: DataSpec, names: Mapping[int, str] | None = None) -> list[str]:
    """What stands at each real step of the text of a batch of one sample.

    Args:
        batch: The sample.
        spec: Ids of special tokens.
        names: Spellings of tokens, from :func:`token_names`.

    Returns:
        The words of the transcript, where it has as many as there are steps beside [CLS] and [SEP]; else the spelling
        of each token, or its number as ``#2034``; for features without tokens ``step 3``. What is missing is [UNK].

    Example:
        >>> from mer_zoo.batch import Modality
        >>> spec, ids = DataSpec(tokens=True), torch.tensor([[101, 7, 8, 102]])
        >>> batch = Batch(*[Modality(ids, ids > 0)] * 3, torch.zeros(1), torch.zeros(1).long(), ["a"], ["So good."])
        >>> words_of(batch, spec)
        ['[CLS]', 'So', 'good.', '[SEP]']
    """
    text = batch.text
    real, special = text.mask[0], special_names(spec)
    count = int(real.sum())
    tokens = None if text.ids is None else text.ids[0][real].tolist()
    ends = [token if token in (spec.cls_id, spec.sep_id) else None for token in tokens or [None] * count]
    inner = sum(end is None for end in ends)
    spelt = next(
        (words for words in (batch.raw_text[0].split(), split_words(batch.raw_text[0])) if len(words) == inner), None
    )
    left = iter(spelt or [])
    words = []
    for place, end in enumerate(ends):
        word = next(left, "") if end is None else special[end]
        if end is None and not word:
            token = None if tokens is None else tokens[place]
            word = f"step {place + 1}" if token is None else special.get(token) or (names or {}).get(token, f"#{token}")
        words.append(word)
    seen = text.observed[0][real].tolist()
    return [word if is_seen else _MISSING for word, is_seen in zip(words, seen, strict=True)]


def kept_words(model: Model, batch: Batch, words: list[str]) -> str | None:
    """The counterfactual text of a wrapper that debiases the language: only its bias words, [MASK] for the others.

    Args:
        model: The model.
        batch: The sample.
        words: See :func:`words_of`.

    Returns:
        The text; None where nothing of the nest has bias words, or the batch no tokens. Where each emotion has bias
        words of its own, what any of them keeps.
    """
    bias = next((part for part in model.modules() if isinstance(part, LanguageBias) and bool(part.on)), None)
    ids = batch.text.ids
    if bias is None or ids is None:
        return None
    kept = _kept(bias, batch, ids)[0][batch.text.mask[0]].tolist()
    return " ".join(word if is_kept else "[MASK]" for word, is_kept in zip(words, kept, strict=True))


def _kept(bias: LanguageBias, batch: Batch, ids: Tensor) -> Tensor:
    """(B, T) where a counterfactual text has what was there."""
    views, _ = bias.views(batch)
    same = [view.text.ids == ids for view in views if view.text.ids is not None]
    return torch.stack(same).any(0)
