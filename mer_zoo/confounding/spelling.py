"""Words as numbers, and back: how the tokens of a training split are spelt, as far as its transcripts tell."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from mer_zoo.functional.language_bias import split_words

__all__ = ["PADDING", "holders", "name_number", "spell", "spellings"]

PADDING = -2  # the number of no word; -1 stands for none in a list of words


def spell(texts: Sequence[str]) -> Tensor:
    """A number for each word of each transcript, which depends on the word alone.

    Args:
        texts: N transcripts.

    Returns:
        (N, T) with -2 behind the last word.

    Example:
        >>> numbers = spell(["so good", "Good!"])
        >>> numbers.shape, bool(numbers[0, 1] == numbers[1, 0]), numbers[1, 1].item()
        (torch.Size([2, 2]), True, -2)
    """
    rows = [[name_number(word) for word in split_words(text)] for text in texts]
    longest = max([len(row) for row in rows], default=0)
    padded = [row + [PADDING] * (longest - len(row)) for row in rows]
    return torch.tensor(padded, dtype=torch.long).view(len(rows), longest)


def name_number(word: str) -> int:
    """A number for a word or a name, which is the same in every process.

    Example:
        >>> name_number("so") == name_number("so") != name_number("good")
        True
    """
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big") >> 1


def spellings(words: Tensor, rows: Sequence[Tensor], texts: Sequence[str]) -> list[str]:
    """How words are spelt: what stands most often at their places in transcripts of as many words as a sample has ids.

    Args:
        words: (V,) numbers of words.
        rows: Numbers of the words of each sample.
        texts: Their transcripts.

    Returns:
        V words; empty where no transcript tells.

    Example:
        >>> spellings(torch.tensor([8, 3]), [torch.tensor([7, 8]), torch.tensor([8])], ["so good", "film"])
        ['film', '']
    """
    found: dict[int, Counter[str]] = {word: Counter() for word in words.tolist()}
    for row, text in zip(rows, texts, strict=True):
        spelt = split_words(text)
        if len(spelt) != len(row):
            continue
        for number, word in zip(row.tolist(), spelt, strict=True):
            if number in found:
                found[number][word] += 1
    names = {number: min(count, key=lambda word: (-count[word], word), default="") for number, count in found.items()}
    return [names[number] for number in words.tolist()]


def holders(number: int, rows: Sequence[Tensor], texts: Sequence[str], most: int = 3) -> list[str]:
    """Words that a token without spelling is a piece of: they stand in no text without it, nor are tokens themselves.

    Args:
        number: The token.
        rows: Numbers of the tokens of each sample.
        texts: Their transcripts.
        most: How many at most.

    Returns:
        Words, the most frequent first.

    Example:
        >>> rows = [torch.tensor([7, 2, 5]), torch.tensor([8, 2]), torch.tensor([5])]
        >>> holders(2, rows, ["dont go", "cant", "go"])
        ['cant', 'dont']
    """
    inside: Counter[str] = Counter()
    elsewhere: set[str] = set()
    for row, text in zip(rows, texts, strict=True):
        spelt = split_words(text)
        if len(spelt) != len(row) and bool((row == number).any()):
            inside.update(set(spelt))
        else:
            elsewhere.update(spelt)
    found = sorted((-count, word) for word, count in inside.items() if word not in elsewhere)
    return [word for _, word in found[:most]]
