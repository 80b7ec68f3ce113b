"""The special tokens of a text: those of the tokenizer that made its token ids, which need not be BERT's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mer_zoo.errors import MERError

__all__ = ["BERT", "SpecialTokens", "TokenIds", "check_tokens_of", "found_tokens"]

TokenIds = tuple[npt.NDArray[np.int32], npt.NDArray[Any]]
SHARE = 0.9  # of the texts, that begin with the first token of a family
ENDING = 0.5  # of the texts, that end with its last one: some tools cut texts without it


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of the tokens that are no words.

    Args:
        pad: Padding.
        unk: What stands for an unknown, or a missing, token.
        cls: The first of a text; -1 where texts have none.
        sep: The last of a text; -1 where texts have none.
        mask: What stands for a masked token.
        vocab_size: How many ids the tokenizer has; 0 if that is not known.
        of: Whose they are, for notes.
    """

    pad: int
    unk: int
    cls: int
    sep: int
    mask: int
    vocab_size: int
    of: str

    @classmethod
    def named(cls, ids: Mapping[str, Any]) -> SpecialTokens:
        """Take them from an option, such as ``{pad: 1, unk: 3, cls: 0, sep: 2, mask: 50264}``.

        Raises:
            MERError: If one is missing or no id.

        Example:
            >>> SpecialTokens.named({"pad": 1, "unk": 3, "cls": 0, "sep": 2, "mask": 50264}).cls
            0
        """
        names = {"pad", "unk", "cls", "sep", "mask"}
        if not names <= ids.keys() <= {*names, "vocab_size"} or any(type(value) is not int for value in ids.values()):
            raise MERError(
                f"tokenizer is {dict(ids)}; give the ids of pad, unk, cls, sep and mask (-1 for cls and sep where texts"
                " have none), or a name or folder of a tokenizer"
            )
        return cls(**{"vocab_size": 0, **ids}, of="data.tokenizer")

    def options(self) -> dict[str, int]:
        """As options of :class:`~mer_zoo.batch.DataSpec`, ``pad_id`` and so on."""
        return {f"{name}_id": value for name, value in asdict(self).items() if name not in ("vocab_size", "of")}


BERT: Final = SpecialTokens(0, 100, 101, 102, 103, 30522, "BERT")
FAMILIES: Final = (
    BERT,
    SpecialTokens(1, 3, 0, 2, 50264, 50265, "RoBERTa"),
    SpecialTokens(1, 3, 0, 2, 250001, 250002, "XLM-RoBERTa"),
    SpecialTokens(0, 3, 1, 2, 50264, 50265, "DeBERTa"),
    SpecialTokens(0, 3, 1, 2, 128000, 128001, "DeBERTa-v3"),
    SpecialTokens(0, 1, 2, 3, 4, 30000, "ALBERT"),
)
"""Of one first and last token, the smaller vocabulary first: the largest id tells which it is."""


def found_tokens(parts: Iterable[TokenIds]) -> SpecialTokens | None:
    """The special tokens of token ids, by what texts begin and end with and their largest id; None if unknown.

    Args:
        parts: (N, T) ids and (N, 2) spans of the texts in them, of each split.

    Example:
        >>> ids = np.array([[0, 700, 2, 1], [0, 50264, 8, 2]], np.int32)
        >>> found_tokens([(ids, np.array([[0, 3], [0, 4]]))]).of
        'RoBERTa'
    """
    first, last, largest = _edges(parts)
    if not len(first):
        return BERT  # no text has any token
    for family in FAMILIES:
        begins, ends = (first == family.cls).mean() >= SHARE, (last == family.sep).mean() >= ENDING
        # BERT's are in vocabularies of many sizes; the others share theirs, so that the largest id tells.
        if begins and ends and (family is BERT or largest < family.vocab_size):
            return family
    return None


def check_tokens_of(special: SpecialTokens, parts: Iterable[TokenIds], source: str) -> None:
    """Refuse token ids that another tokenizer has made.

    Args:
        special: What the tokenizer has.
        parts: See :func:`found_tokens`.
        source: Name of the corpus, for the message.

    Raises:
        MERError: If texts begin with another token, or have larger ids.
    """
    first, _, largest = _edges(parts)
    if len(first) and special.cls >= 0 and (share := float((first == special.cls).mean())) < SHARE:
        raise MERError(
            f"{source}: {100 * share:.0f} % of the texts begin with {special.cls}, the first token of {special.of}; set"
            " data.tokenizer to the one that made the token ids"
        )
    if 0 < special.vocab_size <= largest:
        raise MERError(
            f"{source} has token ids up to {largest}, but {special.of} has {special.vocab_size}; set data.tokenizer to"
            " the one that made them"
        )


def _edges(parts: Iterable[TokenIds]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], int]:
    """First and last token of each text that has any, and the largest id."""
    firsts, lasts, largest = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)], 0
    for ids, spans in parts:
        rows = np.flatnonzero(spans[:, 1] > spans[:, 0])
        firsts.append(ids[rows, spans[rows, 0]])
        lasts.append(ids[rows, spans[rows, 1] - 1])
        largest = max(largest, int(ids.max(initial=0)))
    return np.concatenate(firsts), np.concatenate(lasts), largest
