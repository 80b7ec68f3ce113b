"""Words that may be a trace of the bias, as a user looks at them who is to say which are: shares, counts, examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mer_zoo.confounding.propensity import Propensity
from mer_zoo.confounding.trace import TrainingSplit
from mer_zoo.task import Task

__all__ = ["Candidate", "candidates", "class_titles"]

WIDTH = 60  # characters of an example


@dataclass(frozen=True)
class Candidate:
    """A word that goes along with the label, for one problem of a task or several.

    Args:
        word: As it is spelt, or # and a token's number.
        holders: Words that a token without a spelling is a piece of.
        count: How often it stands in the training split.
        shares: By problem its class shares, and those under the weights.
        titles: Names of the classes.
        examples: Pieces of texts that hold it.

    Example:
        >>> shares = {"": ([0.75, 0.25], [0.5, 0.5])}
        >>> Candidate("film", (), 4, shares, ("negative", "positive"), ("a film",)).row()
        {'word': 'film', 'keep': 'no', 'count': 4, 'negative': 0.75, 'positive': 0.25, 'example': 'a film'}
    """

    word: str
    holders: tuple[str, ...]
    count: int
    shares: dict[str, tuple[Sequence[float], Sequence[float]]]
    titles: tuple[str, ...]
    examples: tuple[str, ...]

    def row(self, problems: Sequence[str] = ("",)) -> dict[str, Any]:
        """A row of the file that says which words are kept: none, until the user has looked at them."""
        found: dict[str, Any] = {"word": self.word, "keep": "no", "count": self.count}
        for problem in problems:
            for place, title in enumerate(self.titles):
                told = self.shares.get(problem)
                found[f"{problem} {title}".strip()] = "" if told is None else round(told[0][place], 4)
        return {**found, "example": (self.examples or ("",))[0]}


def candidates(fitted: Propensity, split: TrainingSplit, examples: int = 1) -> list[Candidate]:
    """The biased words of fitted propensities.

    Args:
        fitted: Propensities of words, fitted on the split.
        split: What they read.
        examples: Pieces of texts for each.

    Returns:
        Each word once, in the order of the problems' lists, which begin with the most frequent.

    Example:
        >>> from mer_zoo.batch import Batch, DataSpec
        >>> from mer_zoo.task import SentimentClassification
        >>> task = SentimentClassification(2)
        >>> batch = Batch.random(DataSpec(), task, size=40)
        >>> texts = ["a dull film" if y < 0 else "a book" for y in batch.target.tolist()]
        >>> fitted, batch = Propensity(DataSpec(), task), batch.replace(raw_text=texts)
        >>> fitted.fit([batch])
        >>> [(each.word, each.examples) for each in candidates(fitted, fitted.read([batch]))]
        [('book', ('a book',)), ('dull', ('a dull film',)), ('film', ('a dull film',))]
    """
    found: dict[int, Candidate] = {}
    titles = class_titles(fitted.task)
    for problem in fitted.report["problems"]:
        for row in problem["words"]:
            pair = row["shares"], row["weighted_shares"]
            known = found.get(row["number"])
            if known is None:
                texts = _examples(row["word"], row["number"], split, examples)
                holders = tuple(row.get("piece_of", ()))
                known = found[row["number"]] = Candidate(row["word"], holders, row["count"], {}, titles, texts)
            known.shares[problem["name"]] = pair
    return list(found.values())


def class_titles(task: Task) -> tuple[str, ...]:
    """Names of the classes that propensities are of.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> class_titles(SentimentRegression())
        ('-3', '-2', '-1', '0', '1', '2', '3')
    """
    count = task.graded_shape[-1]
    if len(task.problems) > 1:
        return ("absent", "present")
    if task.is_classification and task.class_names:
        return tuple(task.class_names)
    return tuple(str(place - count // 2) for place in range(count))


def _examples(word: str, number: int, split: TrainingSplit, most: int) -> tuple[str, ...]:
    """Pieces of the first texts that hold a word."""
    found: list[str] = []
    for row, text in zip(split.words, split.texts, strict=True):
        if len(found) == most:
            break
        if text and bool(torch.any(row == number)):
            found.append(_around(word, text))
    return tuple(found)


def _around(word: str, text: str) -> str:
    """The part of a text that a word stands in the middle of."""
    flat = " ".join(text.split())
    if len(flat) <= WIDTH:
        return flat
    at = max(flat.lower().find(word.lower()), 0)
    start = min(max(0, at - (WIDTH - len(word)) // 2), len(flat) - WIDTH)
    piece = flat[start : start + WIDTH]
    return ("…" if start else "") + piece + ("…" if start + WIDTH < len(flat) else "")
