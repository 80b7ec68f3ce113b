"""``data.tokenizer``: the special tokens of a corpus, from its tokenizer, from options or from what the data show."""

from __future__ import annotations

import dataclasses
from typing import Any

from mer_zoo.data.corpus.corpus import Corpus
from mer_zoo.data.corpus.tokens import SpecialTokens, check_tokens_of, found_tokens
from mer_zoo.data.encoding import encoded, spelt, with_heard_ids
from mer_zoo.errors import MERError

__all__ = ["TokenizerOption", "load_tokens", "spellings_of", "token_conventions", "with_token_ids"]

TokenizerOption = str | dict[str, int] | None


def token_conventions(corpus: Corpus, tokenizer: TokenizerOption, needed: bool) -> tuple[Corpus, SpecialTokens | None]:
    """Find out which token ids are special; nobody's are taken for granted.

    Args:
        corpus: The corpus.
        tokenizer: See :class:`~mer_zoo.data.datamodule.MERDataModule`.
        needed: Whether text is read as token ids.

    Returns:
        The corpus, without its token ids where nothing tells and they are only beside features, and the special tokens.

    Raises:
        MERError: If nothing tells and they are needed, or the tokenizer is another one than that of the ids.
    """
    corpus = with_token_ids(corpus, tokenizer, needed)
    parts = corpus.token_ids()
    if not parts:
        return corpus, None
    if tokenizer is not None:
        special = load_tokens(tokenizer) if isinstance(tokenizer, str) else SpecialTokens.named(tokenizer)
        check_tokens_of(special, parts, corpus.source)
        return corpus, special
    found = found_tokens(parts)
    if found is not None:
        return corpus, found
    if needed:
        raise MERError(
            f"{corpus.source}: texts do not begin with 101 ([CLS]) and end with 102 as BERT's do, nor as those of"
            " another known tokenizer; set data.tokenizer to the one that made the token ids, or to its special ids"
            " such as {pad: 0, unk: 100, cls: -1, sep: -1, mask: 103}"
        )
    splits = {name: dataclasses.replace(split, token_ids=None) for name, split in corpus.splits.items()}
    return dataclasses.replace(corpus, splits=splits), None


def with_token_ids(corpus: Corpus, tokenizer: TokenizerOption, needed: bool) -> Corpus:
    """A corpus with token ids: its own, or else those that a tokenizer makes of its texts, where they are needed.

    Args:
        corpus: The corpus.
        tokenizer: See :class:`~mer_zoo.data.datamodule.MERDataModule`.
        needed: Whether text is read as token ids.

    Raises:
        MERError: If there is no such tokenizer, or no text.
    """
    if not needed or not isinstance(tokenizer, str):
        return corpus
    if not any(split.token_ids is not None for split in corpus.splits.values()):
        corpus = encoded(corpus, _loaded(tokenizer), tokenizer)
    if any(split.heard is not None and split.heard.token_ids is None for split in corpus.splits.values()):
        corpus = with_heard_ids(corpus, _loaded(tokenizer))
    return corpus


def spellings_of(tokenizer: TokenizerOption) -> dict[int, str]:
    """How token ids are spelt; empty where no tokenizer is named that would tell.

    Args:
        tokenizer: See :class:`~mer_zoo.data.datamodule.MERDataModule`.

    Raises:
        MERError: If there is no such tokenizer.

    Example:
        >>> spellings_of({"pad": 1, "unk": 3, "cls": 0, "sep": 2, "mask": 50264})
        {}
    """
    return spelt(_loaded(tokenizer)) if isinstance(tokenizer, str) else {}


def load_tokens(tokenizer: str) -> SpecialTokens:
    """The special tokens of a tokenizer of Hugging Face.

    Args:
        tokenizer: Its name or folder. Nothing is downloaded in offline mode.

    Raises:
        MERError: If there is none, or it lacks padding.
    """
    loaded = _loaded(tokenizer)
    if loaded.pad_token_id is None or (loaded.unk_token_id is None and loaded.mask_token_id is None):
        raise MERError(
            f"tokenizer {tokenizer} has no padding, or neither a token for unknown words nor a mask; give its ids"
            " yourself, such as {pad: 1, unk: 3, cls: 0, sep: 2, mask: 50264}"
        )
    unk, mask = loaded.unk_token_id, loaded.mask_token_id
    cls, sep = loaded.cls_token_id, loaded.sep_token_id
    return SpecialTokens(
        pad=loaded.pad_token_id,
        unk=mask if unk is None else unk,
        cls=-1 if cls is None else cls,
        sep=-1 if sep is None else sep,
        mask=unk if mask is None else mask,
        vocab_size=len(loaded),
        of=f"tokenizer {tokenizer}",
    )


def _loaded(tokenizer: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)
    except Exception as error:  # of many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise MERError(
            f"tokenizer {tokenizer} can't be loaded ({reason}); give a local folder, or its special ids such as"
            " {pad: 1, unk: 3, cls: 0, sep: 2, mask: 50264}"
        ) from error
