"""Texts of which some words are left: which words of the training split, and batches with all others masked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.errors import MERError
from mer_zoo.functional.language_bias import bias_words, counterfactual_ids, uneven_words
from mer_zoo.task import Task

__all__ = ["BiasRule", "KeptWords", "TrainTokens", "biased_words", "special_ids", "with_ids"]

BiasRule = Literal["maci", "muldef"]


def special_ids(spec: DataSpec) -> tuple[int, ...]:
    """Ids that are no words."""
    return (spec.pad_id, spec.unk_id, spec.cls_id, spec.sep_id, spec.mask_id)


def with_ids(text: Modality, ids: Tensor, changed: Tensor) -> Modality:
    """The text with other token ids; features of those that differ become zero vectors."""
    if text.is_tokens:
        return text.replace(x=changed)
    return text.replace(x=text.x.masked_fill((changed != ids)[..., None], 0.0), token_ids=changed)


class TrainTokens(NamedTuple):
    """The words of a training split, in its order.

    Args:
        ids: (M,) token ids, without special ones.
        classes: (M, P) class in each problem of the sample that each stands in.
        neutral: (M,) whether that sample has a score of exactly 0.

    Example:
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(tokens=True, vocab_size=110), SentimentClassification(2)
        >>> found = TrainTokens.read([Batch.random(spec, task, size=2)], task, spec)
        >>> len(found.ids) == len(found.classes) == len(found.neutral)
        True
    """

    ids: Tensor
    classes: Tensor
    neutral: Tensor

    @classmethod
    def read(cls, train: Iterable[Batch], task: Task, spec: DataSpec) -> TrainTokens | None:
        """Read them; None where a sample of text has no token ids.

        Args:
            train: Batches of the training split.
            task: Whose classes; a single real-valued output is rounded.
            spec: Says which ids are special.
        """
        if "text" not in spec.modalities:
            return None
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        for batch in train:
            if batch.text.ids is None:
                return None
            special = torch.tensor(special_ids(spec), device=batch.text.ids.device)
            real = (batch.text.mask & ~torch.isin(batch.text.ids, special)).cpu()
            classes, times = task.grades(batch.target).view(len(batch), -1).cpu(), real.sum(1)
            scored = batch.target.dim() == 1 and batch.target.is_floating_point()
            neutral = (batch.target == 0).cpu() if scored else torch.zeros(len(batch), dtype=torch.bool)
            ids = batch.text.ids.cpu()[real]
            parts.append((ids, classes.repeat_interleave(times, 0), neutral.repeat_interleave(times)))
        return cls(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def biased_words(
    tokens: TrainTokens, num_classes: int, rule: BiasRule, num_words: int, threshold: float, min_count: int
) -> Tensor:
    """Words that are biased in any problem of a task.

    Args:
        tokens: The words of the training split.
        num_classes: Classes of each problem.
        rule: ``maci`` for the frequent ones of those whose counts vary over the classes, as MACI finds them; ``muldef``
            for all of at least ``min_count`` occurrences whose counts vary at all, of two or three classes between
            negative and positive.
        num_words: Of ``maci``, the most words.
        threshold: Of ``maci``, the least variation.
        min_count: Of ``muldef``, the fewest occurrences.

    Returns:
        (K,) token ids, each once.

    Example:
        >>> tokens = TrainTokens(torch.tensor([7, 8, 7]), torch.tensor([[0], [0], [1]]), torch.zeros(3).bool())
        >>> biased_words(tokens, 2, "maci", 5, 0.1, 1).tolist()
        [8]
    """
    found = []
    for column in tokens.classes.T:
        if rule == "maci":
            found.append(bias_words(tokens.ids, column, num_classes, num_words, threshold).ids)
        else:
            found.append(uneven_words(tokens.ids, *_polar(column, tokens.neutral, num_classes), min_count).ids)
    return torch.tensor(list(dict.fromkeys(torch.cat(found).tolist())), dtype=torch.long)


def _polar(classes: Tensor, neutral: Tensor, num_classes: int) -> tuple[Tensor, int]:
    """Classes of which two or three are negative and positive alone, with -1 for neutral, and how many they are."""
    if num_classes == 3:
        return torch.where(classes == 1, -1, classes // 2), 2
    return (classes.masked_fill(neutral, -1) if num_classes == 2 else classes), num_classes


class KeptWords(nn.Module):
    """The words that a text keeps, in buffers of fixed shape.

    Args:
        owner: The wrapper, for messages.
        spec: The ids of special tokens, which are always kept.
        capacity: Most words.

    Attributes:
        on: Whether words were found at all; otherwise texts stay as they are.
        words: Token ids, -1 where there are fewer.

    Example:
        >>> kept = KeptWords("MulDeF", DataSpec(tokens=True), capacity=2)
        >>> kept.fit(torch.tensor([7]))
        >>> kept.on.item(), kept.words.tolist()
        (True, [7, -1])
    """

    on: Tensor
    words: Tensor

    def __init__(self, owner: str, spec: DataSpec, capacity: int) -> None:
        super().__init__()
        self.owner, self.special, self.mask_id = owner, special_ids(spec), spec.mask_id
        self.register_buffer("on", torch.tensor(False))
        self.register_buffer("words", torch.full((capacity,), -1))

    def fit(self, words: Tensor) -> None:
        """Keep these words, (K,) token ids, of which those beyond the capacity are left out."""
        words = words[: len(self.words)]
        self.words.fill_(-1)
        self.words[: len(words)] = words.to(self.words)
        self.on.fill_(True)

    def view(self, batch: Batch) -> Batch:
        """The batch with every other word of its text masked.

        Raises:
            MERError: If the batch has no token ids.
        """
        ids = batch.text.ids
        if ids is None:
            raise MERError(
                f"this batch has text features without token ids, but {self.owner} was prepared with them; give a file"
                " with both"
            )
        changed = counterfactual_ids(ids, self.words, self.special, self.mask_id)
        return batch.replace(text=with_ids(batch.text, ids, changed))
