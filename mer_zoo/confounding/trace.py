"""What is read of the training split as a trace of its bias: biased words, or one modality's average."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from mer_zoo.batch import Batch, BatchSource
from mer_zoo.confounding.spelling import spell
from mer_zoo.data.corpus.conversation import recordings
from mer_zoo.errors import MERError
from mer_zoo.functional.language_bias import bias_words
from mer_zoo.functional.word_choice import frequent_words, word_counts, word_shares

__all__ = [
    "LISTED",
    "PooledTrace",
    "TrainingSplit",
    "WordRule",
    "WordTrace",
    "Words",
    "group_numbers",
    "read_split",
]

Words = Literal["frequent", "maci"]
LISTED = "listed"
"""The rule of a :class:`WordRule` whose words a list names."""


class WordRule(NamedTuple):
    """Which words count as a trace of the bias, and how a model reads them.

    Args:
        words: ``frequent`` for frequent words whose presence is associated with the class, read as shares; ``maci`` for
            MACI's, words of uneven counts, read as counts; ``listed`` for those of ``listed``, read as shares.
        max_words: Most words; with ``frequent`` the most frequent ones, of which those that pass the test are biased.
        min_share: Of ``frequent``, the least share of the samples that a word occurs in.
        min_cv: Of ``maci``, the least coefficient of variation of a word's counts over the classes.
        keep_words: Words that are meant, and never count.
        listed: Of ``listed``, the words; None where they are not at hand, as in a model that only predicts.

    Example:
        >>> WordRule().read(torch.tensor([[2.0, 0.0]])), WordRule("maci").read(torch.tensor([[2.0, 0.0]]))
        (tensor([[3., 0.]]), tensor([[2., 0.]]))
    """

    words: str = "frequent"
    max_words: int = 100
    min_share: float = 0.05
    min_cv: float = 0.1
    keep_words: tuple[str, ...] = ()
    listed: tuple[str, ...] | None = ()

    def read(self, counts: Tensor) -> Tensor:
        """(..., V) counts of the biased words as the model of the labels reads them."""
        return counts if self.words == "maci" else word_shares(counts)

    def told(self) -> dict[str, Any]:
        """What a report says of the rule."""
        found = self._asdict()
        return found if self.words == LISTED else {name: found[name] for name in found if name != LISTED}


class WordTrace:
    """The words that are biased in the samples that may be looked at, as a model of the labels reads them.

    Args:
        rows: Numbers of the words of each sample, N vectors.
        y: (N,) classes.
        num_classes: C.
        rule: Which words count as biased.

    Attributes:
        vocabulary: Every word, by first occurrence.

    Example:
        >>> rows, y = [torch.tensor([7, 8]), torch.tensor([7]), torch.tensor([9])], torch.tensor([0, 0, 1])
        >>> trace = WordTrace(rows, y, 2, WordRule("maci", max_words=2))
        >>> trace(torch.arange(3)).tolist(), trace.words(torch.tensor([1, 2])).tolist()
        ([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]], [7, 9])
        >>> WordTrace(rows * 20, y.repeat(20), 2, WordRule()).words(torch.arange(60)).tolist()
        [7, 8, 9]
    """

    def __init__(self, rows: Sequence[Tensor], y: Tensor, num_classes: int, rule: WordRule) -> None:
        self.ids = torch.cat(list(rows))
        self.sample = torch.arange(len(rows)).repeat_interleave(torch.tensor([len(row) for row in rows]))
        self.y, self.num_classes, self.rule = y, num_classes, rule
        names, place = torch.unique(self.ids, return_inverse=True)
        first = torch.full_like(names, len(self.ids)).scatter_reduce(0, place, torch.arange(len(self.ids)), "amin")
        order = first.argsort()
        self.vocabulary = names[order]  # by first occurrence, which token ids and transcripts share
        pairs = torch.unique(self.sample * len(names) + order.argsort()[place])
        self._holder, self._held = pairs // max(len(names), 1), pairs % max(len(names), 1)

    def words(self, rows: Tensor) -> Tensor:
        """The most frequent biased words of these samples, at most ``max_words``; where a list says which, all."""
        if self.rule.words == LISTED:
            holders = torch.bincount(self._held, minlength=len(self.vocabulary))
            listed: Tensor = self.vocabulary[holders.argsort(descending=True, stable=True)]
            return listed
        seen = torch.zeros(len(self.y), dtype=torch.bool).index_fill(0, rows, True)
        if self.rule.words == "frequent":
            found: Tensor = self.vocabulary[self._frequent(seen)]
            return found
        kept = seen[self.sample]
        ids, classes = self.ids[kept], self.y[self.sample[kept]]
        if self.num_classes == 3:  # a word of neutral samples only says nothing of negative against positive
            polar = torch.isin(ids, ids[classes != 1])
            ids, classes = ids[polar], classes[polar]
        return bias_words(ids, classes, self.num_classes, self.rule.max_words, self.rule.min_cv).ids

    def _frequent(self, seen: Tensor) -> Tensor:
        kept, width = seen[self._holder], self.num_classes
        flat = self._held[kept] * width + self.y[self._holder[kept]]
        counts = torch.bincount(flat, minlength=len(self.vocabulary) * width).view(-1, width)
        totals = torch.bincount(self.y[seen], minlength=width)
        return frequent_words(counts, totals, self.rule.max_words, self.rule.min_share)

    def __call__(self, rows: Tensor) -> Tensor:
        """(N, V) what is read of the words that are biased in ``rows``."""
        return self.rule.read(self.count(self.words(rows)))

    def count(self, words: Tensor) -> Tensor:
        """(N, V) counts of V words."""
        return word_counts(self.ids, self.sample, words, len(self.y))


class PooledTrace:
    """Features of one modality, in deviations of the samples that may be looked at.

    Args:
        x: (N, V) one vector a sample.

    Example:
        >>> PooledTrace(torch.tensor([[1.0], [3.0], [5.0]]))(torch.tensor([0, 1])).tolist()
        [[-1.0], [1.0], [3.0]]
    """

    def __init__(self, x: Tensor) -> None:
        self.x = x.double()

    def scale(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(V,) mean and deviation; 1 where a column is constant."""
        x = self.x[rows]
        deviation = x.std(0, correction=0)
        mean = x.mean(0)
        # a constant column of single precision deviates by its rounding
        return mean, torch.where(deviation > 1e-6 * mean.abs().clamp(min=1e-3), deviation, 1.0)

    def __call__(self, rows: Tensor) -> Tensor:
        """(N, V) features in deviations of ``rows``."""
        mean, deviation = self.scale(rows)
        return (self.x - mean) / deviation


def group_numbers(ids: Sequence[str]) -> Tensor:
    """(N,) number of the recording that each sample is from; where ids do not tell, samples of one id share a number.

    Example:
        >>> group_numbers(["a$_$1", "b$_$1", "a$_$2"]).tolist(), group_numbers(["train_0", "train_1"]).tolist()
        ([0, 1, 0], [0, 1])
    """
    found = recordings(ids) or ids
    place = {name: at for at, name in enumerate(dict.fromkeys(found))}
    return torch.tensor([place[name] for name in found], dtype=torch.long)


class TrainingSplit(NamedTuple):
    """What is read of a training split, in its order.

    Args:
        words: Numbers of the words of each of N samples; empty where one vector each is read instead.
        by_token: Whether these are token ids, and not spelt.
        pooled: (N, V), or None.
        classes: (N, G) class in each problem.
        ids: N ids.
        texts: N transcripts.

    Example:
        >>> TrainingSplit([torch.tensor([7])], True, None, torch.tensor([[0]]), ["a"], ["so"]).words[0].tolist()
        [7]
    """

    words: list[Tensor]
    by_token: bool
    pooled: Tensor | None
    classes: Tensor
    ids: list[str]
    texts: list[str]


def read_split(
    train: BatchSource,
    classes: Callable[[Batch], Tensor],
    tokens: Callable[[Batch], Tensor | None],
    pool: Callable[[Batch], Tensor] | None = None,
) -> TrainingSplit:
    """Read the training split once.

    Args:
        train: Its batches, in any order.
        classes: Gives the (B, *problems) classes of a batch.
        tokens: Gives its (B, T) token ids, negative where there is no word, or None.
        pool: Gives (B, V) vectors, to be read in place of words.

    Raises:
        MERError: If the samples are not numbered, words are to be read where there are none, or vectors are not finite.

    Example:
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentClassification
        >>> task = SentimentClassification(3)
        >>> batch = Batch.random(DataSpec(), task, size=3).replace(raw_text=["so", "so good", ""])
        >>> split = read_split([batch], lambda batch: task.encode(batch.target), lambda batch: None)
        >>> [len(row) for row in split.words], split.by_token
        ([1, 2, 0], False)
    """
    token_rows: list[Tensor] = []
    rows: list[Tensor] = []
    labels: list[Tensor] = []
    index: list[int] = []
    names: list[tuple[str, str]] = []
    for batch in train:
        texts = batch.raw_text or [""] * len(batch)
        if pool is None:
            found = tokens(batch)
            token_rows += [] if found is None else list(found.cpu())
        rows += list(spell(texts) if pool is None else pool(batch).cpu())
        labels += list(classes(batch).view(len(batch), -1).cpu())
        index += batch.index.tolist()
        names += zip(batch.ids or [""] * len(batch), texts, strict=True)
    if sorted(index) != list(range(len(index))):
        raise MERError("Batch.index does not number the samples of the training split from 0; give each its place")
    # in the order of the split: of words that are equally frequent the first one counts
    order = sorted(range(len(index)), key=index.__getitem__)
    by_token = pool is None and len(token_rows) == len(index)
    ordered = [(token_rows if by_token else rows)[place] for place in order]
    words = [row[row >= 0] for row in ordered] if pool is None else []
    if pool is None and not any(len(row) for row in words):
        raise MERError(
            "the training split has neither token ids nor transcripts, so there are no biased words to go by; give a"
            " file that has"
            " them"
        )
    pooled = None if pool is None else torch.stack(ordered)
    ids, texts = ([names[place][column] for place in order] for column in (0, 1))
    if pooled is not None and not pooled.isfinite().all():
        name = ids[int((~pooled.isfinite().all(1)).nonzero()[0])]
        raise MERError(
            f"features of sample {name!r} are not finite, so they tell no bias; find such samples with `mer-zoo"
            f" validate-data`"
        )
    return TrainingSplit(words, by_token, pooled, torch.stack([labels[place] for place in order]), ids, texts)
