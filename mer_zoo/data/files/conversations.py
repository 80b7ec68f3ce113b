"""The fields of a file that say who speaks, in which dialogue and at which turn; what is no such field is left out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mer_zoo.data.corpus.arrays import StoredArray
from mer_zoo.data.corpus.checks import MAX_ID, NOT_IN_IDS, as_numbers, as_texts, size_of, unwritable
from mer_zoo.data.corpus.conversation import UNKNOWN, Conversation
from mer_zoo.foreign import Budget

__all__ = ["CONVERSATION_KEYS", "conversation_keys", "read_conversation"]

CONVERSATION_KEYS = {
    "speaker": ("speaker", "speaker_id"),
    "dialogue": ("dialogue", "dialogue_id"),
    "turn": ("turn", "utterance_id"),
}
"""What files of the field call them, in small letters."""
_WHOLE = re.compile(r"\d{1,15}", re.ASCII)


def conversation_keys(fields: Mapping[Any, Any]) -> dict[str, str]:
    """The keys of a split that tell the speaker, the dialogue and the turn.

    Args:
        fields: The fields of the split.

    Example:
        >>> conversation_keys({"Speaker": ["Ann"], "audio": None})
        {'speaker': 'Speaker'}
    """
    written = {key.lower(): key for key in reversed(list(fields)[:1000]) if isinstance(key, str)}
    return {
        name: written[key]
        for name, keys in CONVERSATION_KEYS.items()
        for key in reversed(keys)
        if key in written  # of several the first counts
    }


def read_conversation(fields: Mapping[Any, Any], count: int, budget: Budget) -> tuple[Conversation, list[str]]:
    """Read them; one that is not as it should be is none, since nothing that is trained needs it.

    Args:
        fields: The fields of a split.
        count: Number N of its samples.
        budget: Of the file.

    Returns:
        What is told, and notes on what is not used.

    Example:
        >>> fields = {"speaker": ["Ann ", "Bob"], "turn": ["0", "later"]}
        >>> read_conversation(fields, 2, Budget("a dict"))
        (Conversation(speaker=['Ann', 'Bob'], dialogue=None, turn=None), ['turn is not one whole number ...'])
    """
    found: dict[str, Any] = {}
    notes = []
    for name, key in conversation_keys(fields).items():
        texts = _texts(fields[key], count, budget)
        if texts is None:
            notes.append(f"{key} is not one short text or whole number a sample, so it is not used")
        elif name != "turn":
            found[name] = texts if any(texts) else None
        elif all(not text or _WHOLE.fullmatch(text) for text in texts):
            found[name] = [int(text) if text else UNKNOWN for text in texts] if any(texts) else None
        else:
            notes.append(f"{key} is not one whole number a sample, so it is not used as the turn in a dialogue")
    return Conversation(**found), notes


def _texts(value: Any, count: int, budget: Budget) -> Sequence[str] | None:
    if size_of(value) != count:
        return None
    if isinstance(value, StoredArray) and value.dtype.kind == "f":
        numbers = as_numbers(value, budget)
        if numbers is None or numbers.size != count:
            return None
        value = numbers.reshape(-1).tolist()
    columns = as_texts(value, budget, numbers=True)
    if columns is None or len(columns) != 1 or len(columns[0]) != count:
        return None
    texts = [text.strip() for text in columns[0]]
    texts = [text.removesuffix(".0") if _WHOLE.fullmatch(text[:-2]) else text for text in texts]
    if any(len(text) > MAX_ID for text in texts) or unwritable(texts, NOT_IN_IDS) is not None:
        return None
    return texts
