"""Sentences as CMU-MOSI spells them, what is wrong in those that were heard, and what a recogniser is told of them."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

SHORT, LONG = 5, 20  # words of a sentence that a recogniser is told


def spelt(text: str) -> str:
    """A text as the corpus spells: lower case, without apostrophes, punctuation or signs.

    Example:
        >>> spelt("Well, I don't... like it!")
        'well i dont like it'
    """
    return " ".join(re.sub(r"[^a-z0-9 ]", " ", text.lower().replace("'", "").replace("\u2019", "")).split())


def word_errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """The fewest words to insert, delete and replace.

    References:
        Wagner and Fischer, "The string-to-string correction problem", Journal of the ACM 21(1), 1974.

    Example:
        >>> word_errors("so very good".split(), "a goat so good".split())
        3
    """
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        before, row = row, [i]
        for j, other in enumerate(heard, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (word != other)))
    return row[-1]


def training_prompt(texts: Sequence[str], words: int = 55) -> str:
    """Some sentences of the training split, as what a recogniser is told to have heard before.

    Args:
        texts: All its sentences.
        words: How many at most, about 60 tokens.

    Example:
        >>> training_prompt(["no", "one two three four five", "six seven eight nine ten"], 8)
        'six seven eight nine ten'
    """
    drawn = list(texts)
    random.Random(0).shuffle(drawn)  # a draw, not a secret
    found: list[str] = []
    for text in drawn:
        own = text.split()
        if not SHORT <= len(own) <= LONG:
            continue
        if len(found) + len(own) > words:
            break
        found += own
    return " ".join(found)
