"""A model's predictions where the modalities of different samples are put together, and its additive part by them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product

import torch
from torch import Tensor

from mer_zoo.batch import Batch
from mer_zoo.errors import MERError
from mer_zoo.functional.additive import additive_projection, marginals
from mer_zoo.model import Model
from mer_zoo.training.modes import evaluating

__all__ = ["additive_logits", "combined"]

ALL = 32  # samples of three modalities up to which every combination is predicted


def combined(batch: Batch, rows: Mapping[str, Tensor]) -> Batch:
    """Samples whose modalities are those of different ones, each with its own length and gaps.

    Args:
        batch: The samples that the modalities come from.
        rows: (B,) rows of the batch, by modality; a modality that is not named is that of the first named one.

    Returns:
        Labels, ids and transcripts are those of the first modality named.

    Example:
        >>> from mer_zoo import DataSpec, SentimentRegression
        >>> batch = Batch.random(DataSpec(), SentimentRegression(), size=3)
        >>> mixed = combined(batch, {"text": torch.tensor([0, 0]), "audio": torch.tensor([1, 2])})
        >>> mixed.ids, torch.equal(mixed.audio.x, batch.audio.x[1:])
        (['random$_$0', 'random$_$0'], True)
    """
    first = next(iter(rows.values()))
    parts = {name: batch.modality(name).take(own) for name, own in rows.items()}
    return batch.take(first.tolist()).replace(**parts, sample_weight=None, unimodal={})


def additive_logits(
    model: Model,
    batch: Batch,
    batch_size: int = 32,
    seed: int = 0,
    convert: Callable[[Batch], Batch] | None = None,
) -> tuple[Tensor, int]:
    """Logits of the best additive approximation of a model over its modalities, for samples as they are.

    Every combination of the samples' modalities is predicted where there are two of them, or three of up to 32
    samples. Beyond, the mean over the others is taken of N pairs for each sample and modality, in which each other
    sample's comes once: then an additive model still loses nothing, and 3 N^2 predictions do where all would be N^3.

    Args:
        model: The model, on the device of the samples; it is evaluated and then put back into its modes.
        batch: The samples.
        batch_size: Combinations in one batch.
        seed: Seed of the pairs.
        convert: Gives batches the precision that the model wants.

    Returns:
        (N, *task shape) float64 on the CPU, and the number of combinations that were predicted.

    Raises:
        MERError: For a single sample, or a model of a single modality, in which nothing can interact.

    Example:
        >>> from mer_zoo import DataSpec, LFLSTM, SentimentRegression
        >>> model = LFLSTM(DataSpec(), SentimentRegression(), dim=4)
        >>> logits, count = additive_logits(model, Batch.random(model.spec, model.task, size=5))
        >>> logits.shape, count
        (torch.Size([5, 1]), 125)
    """
    names, size = model.spec.modalities, len(batch)
    if len(names) < 2 or size < 2:
        raise MERError(
            f"EMAP of {size} samples of {' and '.join(names)}; it puts modalities of different samples together, so"
            " give at least two of both"
        )
    ways = len(names)
    whole = ways == 2 or size <= ALL
    rows = _all_rows(ways, size) if whole else _paired_rows(size, torch.Generator().manual_seed(seed))
    parts = []
    with torch.no_grad(), evaluating(model):
        for part in _chunks(rows, batch_size):
            mixed = combined(batch, dict(zip(names, part.to(batch.index.device).T, strict=True)))
            mixed = mixed if model.fixed_length else mixed.trim()
            logits = model.predict(mixed if convert is None else convert(mixed)).logits
            parts.append(logits.double().cpu())
    predictions = torch.cat(parts)
    shape = predictions.shape[1:]
    means = marginals(predictions.view(*[size] * ways, *shape), ways) if whole else _means(predictions, size)
    return additive_projection(means), len(predictions)


def _means(predictions: Tensor, size: int) -> Tensor:
    return predictions.view(3, size, size, *predictions.shape[1:]).mean(2)


def _all_rows(ways: int, size: int) -> Iterator[Sequence[int]]:
    return product(range(size), repeat=ways)


def _paired_rows(size: int, generator: torch.Generator) -> Iterator[Sequence[int]]:
    """By modality and sample, pairs of the other two modalities' samples, of which each comes once."""
    for own in range(3):
        for row in range(size):
            pairs = zip(range(size), torch.randperm(size, generator=generator).tolist(), strict=True)
            for pair in pairs:
                others = iter(pair)
                yield [row if place == own else next(others) for place in range(3)]


def _chunks(rows: Iterator[Sequence[int]], size: int) -> Iterator[Tensor]:
    part: list[Sequence[int]] = []
    for row in rows:
        part.append(row)
        if len(part) == size:
            yield torch.tensor(part)
            part = []
    if part:
        yield torch.tensor(part)
