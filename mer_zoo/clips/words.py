"""Words and their times: heard ones, those of a transcript beside them, and steps of features pooled to words."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Times", "Word", "between_neighbours", "pool_to_words", "seen_during", "times_of", "times_of_transcript"]

Times = npt.NDArray[np.float64]
"""(n, 2) seconds at which words begin and end, from the beginning of a clip on; NaN where that is not known."""
BOTH, WRITTEN_ONLY, HEARD_ONLY = range(3)


class Word(NamedTuple):
    """A word and its time.

    Args:
        text: The word, with the punctuation that belongs to it.
        start: Seconds at which it begins.
        end: Seconds at which it ends.
    """

    text: str
    start: float
    end: float


def times_of(words: Sequence[Word]) -> Times:
    """(n, 2) times of heard words.

    Args:
        words: n words.
    """
    return np.array([(word.start, word.end) for word in words], np.float64).reshape(-1, 2)


def times_of_transcript(transcript: Sequence[str], heard: Sequence[Word]) -> Times:
    """Times of the words of a transcript, by the alignment with heard words that changes the fewest.

    A word in whose place another one was heard takes its time; one in whose place nothing was heard has none.

    Args:
        transcript: n words as they were written.
        heard: Words with times.

    Returns:
        (n, 2), NaN where a word has no time.

    References:
        Wagner and Fischer, "The string-to-string correction problem", Journal of the ACM 21(1), 1974.

    Example:
        >>> heard = [Word("So", 0.0, 0.2), Word("goat,", 0.5, 0.9)]
        >>> times_of_transcript(["so", "very", "good"], heard).tolist()
        [[0.0, 0.2], [nan, nan], [0.5, 0.9]]
    """
    moves = _moves([_plain(word) for word in transcript], [_plain(word.text) for word in heard])
    times = np.full((len(transcript), 2), np.nan)
    i, j = len(transcript), len(heard)
    while i and j:
        move = moves[i - 1, j - 1]
        i, j = i - (move != HEARD_ONLY), j - (move != WRITTEN_ONLY)
        if move == BOTH:
            times[i] = heard[j].start, heard[j].end
    return times


def _moves(one: Sequence[str], other: Sequence[str]) -> npt.NDArray[np.uint8]:
    """(n, m) what the last step of the cheapest way to the first so many words of both is; a byte each."""
    numbers = {word: number for number, word in enumerate({*one, *other})}
    columns, known = np.arange(len(other) + 1), np.array([numbers[word] for word in other], np.int64)
    moves = np.zeros((len(one), len(other)), np.uint8)
    before = columns
    for i, word in enumerate(one):
        both, alone = before[:-1] + (known != numbers[word]), before[1:] + 1
        row = np.concatenate([[i + 1], np.minimum(both, alone)])
        row = np.minimum.accumulate(row - columns) + columns  # what only the other has, one after the other
        moves[i] = np.where(row[1:] == both, BOTH, np.where(row[1:] == alone, WRITTEN_ONLY, HEARD_ONLY))
        before = row
    return moves


def _plain(word: str) -> str:
    """A word without what writers may do otherwise: case and punctuation."""
    letters = "".join(sign for sign in unicodedata.normalize("NFKC", word).casefold() if sign.isalnum())
    return letters or word


def between_neighbours(times: Times, seconds: float) -> Times:
    """Give words without a time what lies between their neighbours; several in a row share it equally.

    Args:
        times: (n, 2), NaN where a word has no time.
        seconds: How long the clip is.

    Returns:
        (n, 2) without NaN.

    Example:
        >>> between_neighbours(np.array([[0.0, 0.2], [np.nan, np.nan], [0.6, 0.9], [np.nan, np.nan]]), 1.0).tolist()
        [[0.0, 0.2], [0.2, 0.6], [0.6, 0.9], [0.9, 1.0]]
    """
    found: Times = times.copy()
    known = np.flatnonzero(~np.isnan(times).any(1)).tolist()
    for before, behind in zip([-1, *known], [*known, len(times)], strict=True):
        if behind - before > 1:
            left = times[before, 1] if before >= 0 else 0.0
            right = times[behind, 0] if behind < len(times) else max(seconds, left)
            edges: Times = np.linspace(left, max(left, right), behind - before)
            found[before + 1 : behind] = np.stack([edges[:-1], edges[1:]], 1)
    return found


def seen_during(times: Times, seen: npt.NDArray[np.float64], rate: float) -> npt.NDArray[np.bool_]:
    """(n,) whether something was seen during each word, where it was looked for so many times a second.

    Args:
        times: (n, 2).
        seen: (S,) seconds at which it was seen, rising.
        rate: How many times a second it was looked for.

    Example:
        >>> seen_during(np.array([[0.0, 0.4], [1.0, 1.4], [2.0, 2.4]]), np.array([0.25, 1.8]), 2.0).tolist()
        [True, False, True]
    """
    reach = 0.5 / rate
    first, stop = np.searchsorted(seen, times[:, 0] - reach, "right"), np.searchsorted(seen, times[:, 1] + reach)
    found: npt.NDArray[np.bool_] = stop > first
    return found


def pool_to_words(x: npt.NDArray[np.float32], rate: float, times: Times) -> npt.NDArray[np.float32]:
    """The mean of the steps during each word.

    A step belongs to a word that its middle lies in; a word too short for that takes the step that its own middle lies
    in. Steps that are not finite were not seen.

    Args:
        x: (T, d) steps.
        rate: Steps a second.
        times: (n, 2).

    Returns:
        (n, d), zero at words of which no step was seen; what was seen is never wholly zero.

    Example:
        >>> x = np.array([[1.0], [3.0], [5.0], [np.nan]], np.float32)
        >>> pool_to_words(x, 2.0, np.array([[0.0, 1.0], [1.1, 1.2], [1.5, 2.0]])).tolist()
        [[2.0], [5.0], [0.0]]
    """
    middles = (np.arange(len(x)) + 0.5) / rate
    first, stop = (np.searchsorted(middles, edges) for edges in (times[:, 0], times[:, 1]))
    own = np.floor(times.mean(1) * rate).astype(np.int64)
    is_short = stop <= first
    first, stop = np.where(is_short, own, first), np.where(is_short, own + 1, stop)
    pooled = np.zeros((len(times), x.shape[1]), np.float32)
    for place, (a, b) in enumerate(zip(first.tolist(), stop.tolist(), strict=True)):
        seen = x[max(a, 0) : max(b, 0)]
        seen = seen[np.isfinite(seen).all(1)]
        if len(seen):
            pooled[place] = seen.mean(0)
            if not pooled[place].any():
                pooled[place, 0] = np.finfo(np.float32).tiny
    return pooled
