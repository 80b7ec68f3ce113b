"""A training before the training: a copy of a model, trained plainly on the training split and tested on it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mer_zoo.batch import Batch, BatchSource
from mer_zoo.distributed import distributed_mean
from mer_zoo.errors import MERError
from mer_zoo.model import Model

__all__ = ["answers_of", "train_first"]

BUFFER = 32  # batches that are shuffled together: those of a small corpus all, and never a large one in memory


def train_first(
    owner: str, model: Model, train: BatchSource, epochs: int, lr: float, weight_decay: float = 0.0
) -> None:
    """Train a model by Adam, as the Trainer would, with its own steps and losses; the global draws go on.

    Args:
        owner: Whose ``lr`` it is, for the message.
        model: The model, prepared; its weights are changed, and it is left in training mode.
        train: The training split.
        epochs: How often it is gone through.
        lr: Learning rate.
        weight_decay: Weight decay.

    Raises:
        MERError: If a loss is not finite.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=lr, weight_decay=weight_decay)
    generator = torch.Generator().manual_seed(int(torch.randint(2**31, ()).item()))
    model.train()
    with torch.enable_grad():
        for _ in range(epochs):
            for batch in shuffled(train, generator):
                _train_batch(owner, model, batch, optimizer)


def _train_batch(owner: str, model: Model, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    for number, step in enumerate(model.steps(batch)):
        if model.num_steps > 1 and not (number and model.accumulates_stages):
            optimizer.zero_grad()
        loss = distributed_mean(model.task.weighted(step.output.logits, step.batch.target, step.task_weight))
        loss = torch.stack([part.float() for part in (loss, *step.losses.values())]).sum()
        if not loss.isfinite():
            raise MERError(f"the first training of {model.name} has a loss that is not finite; lower lr of {owner}")
        torch.autograd.backward(loss)
        if model.num_steps > 1:
            optimizer.step()
    if model.num_steps == 1:
        optimizer.step()


def shuffled(source: BatchSource, generator: torch.Generator) -> Iterator[Batch]:
    """The samples of batches in another order: shuffled among up to 32 batches, in batches of the same sizes.

    Batches of whole dialogues stay as they are, and come in another order.

    Args:
        source: The batches.
        generator: Of the order.

    Example:
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentRegression
        >>> batch = Batch.random(DataSpec(), SentimentRegression(), size=5)
        >>> parts = [batch.take([0, 1, 2]), batch.take([3, 4])]
        >>> found = list(shuffled(parts, torch.Generator().manual_seed(0)))
        >>> [len(part) for part in found], sorted(i for part in found for i in part.index.tolist())
        ([3, 2], [0, 1, 2, 3, 4])
    """
    waiting: list[Batch] = []
    for batch in source:
        waiting.append(batch)
        if len(waiting) == BUFFER:
            yield from _dealt_anew(waiting, generator)
            waiting = []
    if waiting:
        yield from _dealt_anew(waiting, generator)


def _dealt_anew(batches: list[Batch], generator: torch.Generator) -> Iterator[Batch]:
    if all(map(_is_whole, batches)):
        for place in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[place]
        return
    joined = Batch.joined(batches)
    order = torch.randperm(len(joined), generator=generator).tolist()
    at = 0
    for batch in batches:
        yield joined.take(order[at : at + len(batch)])
        at += len(batch)


def _is_whole(batch: Batch) -> bool:
    """Whether a batch holds every dialogue of which it has a sample."""
    if batch.dialogue is None or batch.dialogue_size is None:
        return False
    _, number, counts = torch.unique(batch.dialogue, return_inverse=True, return_counts=True)
    return bool((counts[number] == batch.dialogue_size).all())


def answers_of(model: Model, source: BatchSource) -> tuple[Tensor, Tensor]:
    """Test-time logits and labels of a split, by the samples' places.

    Args:
        model: The model; it is left in evaluation mode.
        source: The split.

    Returns:
        (N, *task shape) logits and the labels as they stand in a Batch, on the CPU.
    """
    model.eval()
    with torch.no_grad():
        found = [(model.predict(batch).logits.float().cpu(), batch.target.cpu(), batch.index.cpu()) for batch in source]
    logits, target, index = (torch.cat(column) for column in zip(*found, strict=True))
    order = index.argsort()
    return logits[order], target[order]
