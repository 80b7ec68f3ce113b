"""Padded sequences: taking their first or last step or their mean, or other steps. Padding may stand anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from mer_zoo.batch import Modality
from mer_zoo.errors import MERError

__all__ = [
    "TextPool",
    "at_words",
    "check_lengths",
    "last_step",
    "masked_chunks",
    "masked_first",
    "masked_last",
    "masked_mean",
    "masked_resample",
    "observed_means",
    "pool_text",
    "zero_padding",
]

TextPool = Literal["first", "mean"]


def check_lengths(owner: str, x: Mapping[str, Tensor], lengths: Mapping[str, int]) -> None:
    """Refuse sequences of other lengths than a network whose size depends on them was built for.

    Args:
        owner: The network.
        x: Modality to (B, T, ...).
        lengths: Modality to the steps it was built for.

    Raises:
        MERError: For the first modality of another length.

    Example:
        >>> check_lengths("DMD", {"text": torch.zeros(1, 5, 3)}, {"text": 6})
        Traceback (most recent call last):
        mer_zoo.errors.MERError: DMD was built for 6 steps of text, but the batch has 5; pad batches to the lengths of
        the spec
    """
    for name, sequence in x.items():
        if sequence.shape[1] != lengths[name]:
            raise MERError(
                f"{owner} was built for {lengths[name]} steps of {name}, but the batch has {sequence.shape[1]};"
                " pad batches to the lengths of the spec"
            )


def last_step(mask: Tensor) -> Tensor:
    """Index (B,) of the last real step of a (B, T) mask, 0 where there is none.

    Example:
        >>> last_step(torch.tensor([[True, True, False], [False, False, False]])).tolist()
        [1, 0]
    """
    return (torch.arange(mask.shape[1], device=mask.device) * mask).amax(1)


def masked_last(x: Tensor, mask: Tensor) -> Tensor:
    """Last real step of each sample; zeros where a sample has none.

    Args:
        x: (B, T, d) sequences.
        mask: (B, T) bool.

    Returns:
        (B, d) vectors.

    Example:
        >>> masked_last(torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[True, True, False]])).item()
        2.0
    """
    taken = x[torch.arange(len(x), device=x.device), last_step(mask)]
    return torch.where(mask.any(1, keepdim=True), taken, 0.0)


def masked_first(x: Tensor, mask: Tensor) -> Tensor:
    """First real step of each sample.

    Args:
        x: (B, T, d) sequences.
        mask: (B, T) bool, True at real steps.

    Returns:
        (B, d), zero for a sample without real steps.

    Example:
        >>> x = torch.arange(6.0).view(1, 3, 2)
        >>> masked_first(x, torch.tensor([[False, True, True]]))
        tensor([[2., 3.]])
    """
    first = x[torch.arange(len(x), device=x.device), mask.int().argmax(1)]
    return torch.where(mask.any(1, keepdim=True), first, 0.0)


def zero_padding(x: Tensor, mask: Tensor) -> Tensor:
    """Put zeros at the steps that are not real, whatever stood there.

    Args:
        x: (B, T, d) sequences.
        mask: (B, T) bool.

    Returns:
        (B, T, d); without a gradient, and no NaN, from a step that is not real.

    Example:
        >>> zero_padding(torch.tensor([[[1.0], [torch.nan]]]), torch.tensor([[True, False]])).squeeze(-1).tolist()
        [[1.0, 0.0]]
    """
    return torch.where(mask[..., None], x, 0.0)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real steps of each sample; zeros where a sample has none.

    Args:
        x: (B, T, d) sequences.
        mask: (B, T) bool.

    Returns:
        (B, d) vectors.

    Example:
        >>> masked_mean(torch.tensor([[[1.0], [2.0], [9.0]]]), torch.tensor([[True, True, False]])).item()
        1.5
    """
    total = zero_padding(x, mask).sum(1)
    return total / mask.sum(1, keepdim=True).clamp(min=1)


def observed_means(given: Mapping[str, Modality], missing: Tensor) -> dict[str, Tensor]:
    """One vector of each modality: the mean over the steps that were observed.

    Args:
        given: Modality to (B, T, d) features.
        missing: (B, n) bool, of which modalities there is nothing, in their order.

    Returns:
        Modality to (B, d), zero where it is missing.

    Example:
        >>> seen = torch.tensor([[True, False], [True, False]])
        >>> audio = Modality(torch.ones(2, 2, 1), torch.ones_like(seen), seen)
        >>> observed_means({"audio": audio}, torch.tensor([[False], [True]]))["audio"].squeeze(1).tolist()
        [1.0, 0.0]
    """
    means = {}
    for name, modality in given.items():
        seen = modality.observed
        # Features are finite, and a product takes a quarter of the time of zero_padding.
        means[name] = (modality.x * seen[..., None]).sum(1) / seen.sum(1, keepdim=True).clamp(min=1)
    return {name: means[name].masked_fill(gone[:, None], 0.0) for name, gone in zip(given, missing.T, strict=True)}


def masked_chunks(x: Tensor, mask: Tensor, count: int) -> Tensor:
    """Cut the real steps of each sample into equal chunks, and take the largest value of each channel in each.

    Chunk i of n over m steps is steps floor(i m / n) .. ceil((i + 1) m / n) - 1, whatever the padding.

    Args:
        x: (B, T, d) sequences.
        mask: (B, T) bool.
        count: Number n of chunks.

    Returns:
        (B, n, d); zeros where a sample has no real step.

    Example:
        >>> x, real = torch.tensor([[[9.0], [3.0], [1.0], [2.0]]]), torch.tensor([[False, True, True, True]])
        >>> masked_chunks(x, real, 2).squeeze(-1).tolist(), masked_chunks(x, real, 1).item()
        ([[3.0, 2.0]], 3.0)
    """
    m, step = mask.sum(1, keepdim=True), mask.cumsum(1) - 1
    largest = []
    for i in range(count):
        start, stop = i * m // count, -(-(i + 1) * m // count)
        inside = mask & (step >= start) & (step < stop)
        chunk = x.masked_fill(~inside[..., None], -torch.inf).amax(1)
        largest.append(torch.where(inside.any(1, keepdim=True), chunk, 0.0))
    return torch.stack(largest, 1)


def masked_resample(x: Tensor, mask: Tensor, target: Tensor) -> Tensor:
    """Average the real steps of a sequence into as many equal bins as another sequence has real steps.

    Bin i of n over m steps is the mean of steps floor(i m / n) .. ceil((i + 1) m / n) - 1, so that a shorter sequence
    is repeated and a longer one averaged, whatever the padding of either.

    Args:
        x: (B, S, d) sequences.
        mask: (B, S) bool, their real steps.
        target: (B, T) bool, the real steps to fill.

    Returns:
        (B, T, d) sequences, zero where ``target`` is False or a sample of ``x`` has no real step.

    Example:
        >>> x = torch.tensor([[[1.0], [3.0], [5.0], [7.0]]])
        >>> real = torch.ones(1, 4, dtype=torch.bool)
        >>> masked_resample(x, real, torch.tensor([[False, True, True]])).squeeze(-1).tolist()
        [[0.0, 2.0, 6.0]]
    """
    m, n = mask.sum(1, keepdim=True), target.sum(1, keepdim=True).clamp(min=1)
    i, step = target.cumsum(1) - 1, mask.cumsum(1) - 1
    start = (i * m).div(n, rounding_mode="floor")
    stop = ((i + 1) * m + n - 1).div(n, rounding_mode="floor")
    bins = (step[:, None] >= start[..., None]) & (step[:, None] < stop[..., None]) & mask[:, None] & target[..., None]
    weights = bins / bins.sum(2, keepdim=True).clamp(min=1)
    return weights.to(x.dtype) @ zero_padding(x, mask)


def at_words(modality: Modality, words: Tensor, aligned: bool) -> Tensor:
    """One vector of a modality for every word.

    Args:
        modality: (B, S, d) features.
        words: (B, T) bool, True at real words.
        aligned: Whether the modalities share one time axis, so that equal shapes need no search for equal masks.

    Returns:
        (B, T, d): the features as they are where their steps are the words already, else averaged by
        :func:`masked_resample`; zero at padding.

    Example:
        >>> audio = Modality(torch.tensor([[[1.0], [3.0], [5.0], [7.0]]]), torch.ones(1, 4, dtype=torch.bool))
        >>> at_words(audio, torch.tensor([[True, True, False]]), aligned=False).squeeze(-1).tolist()
        [[2.0, 6.0, 0.0]]
    """
    mask = modality.mask
    if mask.shape == words.shape and (aligned or torch.equal(mask, words)):
        return zero_padding(modality.x, mask)
    return masked_resample(modality.x, mask, words)


def pool_text(x: Tensor, mask: Tensor, pool: TextPool) -> Tensor:
    """The vector of an utterance: its first real step, which is [CLS] behind an encoder, or the mean of its real steps.

    Args:
        x: (B, T, d) words.
        mask: (B, T) bool, True at real steps.
        pool: Which of the two.

    Returns:
        (B, d).

    Example:
        >>> x, mask = torch.tensor([[[9.0], [2.0], [4.0]]]), torch.tensor([[False, True, True]])
        >>> pool_text(x, mask, "first").tolist(), pool_text(x, mask, "mean").tolist()
        ([[2.0]], [[3.0]])
    """
    return masked_first(x, mask) if pool == "first" else masked_mean(x, mask)
