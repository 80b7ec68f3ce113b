"""Utterances of a batch as padded dialogues, for networks that read an utterance among those around it, and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mer_zoo.batch import Batch
from mer_zoo.errors import MERError

__all__ = ["Dialogues"]


@dataclass
class Dialogues:
    """The samples of a batch, D dialogues of at most S turns each, in the order of the turns.

    Args:
        rows: (D, S) places in the batch, 0 at padding.
        mask: (D, S) True where there is a turn; padding stands at the end.
        speaker: (D, S) number of the speaker in the dialogue from 0, also where it is not told and at padding.

    Example:
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentRegression
        >>> batch = Batch.random(DataSpec(), SentimentRegression(), size=3)
        >>> batch = batch.replace(dialogue=torch.tensor([4, 7, 4]), turn=torch.tensor([1, 0, 0]))
        >>> dialogues = Dialogues.of(batch)
        >>> dialogues.rows.tolist(), dialogues.mask.tolist()
        ([[2, 0], [1, 0]], [[True, True], [True, False]])
        >>> dialogues.pad(torch.tensor([[5.0], [6.0], [7.0]]))[..., 0].tolist()
        [[7.0, 5.0], [6.0, 0.0]]
        >>> dialogues.flat(dialogues.pad(batch.target[:, None])).equal(batch.target[:, None])
        True
    """

    rows: Tensor
    mask: Tensor
    speaker: Tensor

    @classmethod
    def of(cls, batch: Batch, partial: bool = False) -> Dialogues:
        """Put the samples of a batch into the order of their dialogues.

        Where a turn of a dialogue is not told, its samples stand in the order of the file. Several views of a sample,
        as wrappers put them into one batch, are samples of as many dialogues.

        Args:
            batch: The samples.
            partial: Whether a dialogue may lack samples that its split has.

        Raises:
            MERError: If nothing tells the dialogues, or one lacks samples.
        """
        if batch.dialogue is None:
            raise MERError(
                "this network reads dialogues, but the data tell none; give the file a field dialogue, or ids such as"
                " video$_$clip"
            )
        view = _occurrences(batch.index)
        key = batch.dialogue * (len(batch) + 1) + view
        _, number, counts = torch.unique(key, return_inverse=True, return_counts=True)
        if not partial and batch.dialogue_size is not None and bool((counts[number] < batch.dialogue_size).any()):
            raise MERError(
                "a batch holds a dialogue in part, but this network reads whole ones; set data.batches: dialogues, and"
                " leave out what takes samples one by one, as mer-zoo explain does"
            )
        order = _in_turn(batch, number, len(counts))
        place = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[number[order]]
        at = (number[order], place)
        shape = (len(counts), int(counts.max()) if len(counts) else 0)
        rows = order.new_zeros(shape).index_put(at, order)
        mask = torch.zeros(shape, dtype=torch.bool, device=order.device).index_put(at, torch.ones_like(place).bool())
        spoken = torch.zeros_like(order) if batch.speaker is None else batch.speaker.clamp(min=0)
        return cls(rows, mask, torch.where(mask, spoken[rows], 0))

    @classmethod
    def alone(cls, samples: Tensor) -> Dialogues:
        """Each of the samples as a dialogue by itself.

        Args:
            samples: (B, ...), whatever is told of them, for their number and device.

        Example:
            >>> Dialogues.alone(torch.tensor([7, 9])).rows.tolist()
            [[0], [1]]
        """
        rows = torch.arange(len(samples), device=samples.device)[:, None]
        return cls(rows, torch.ones_like(rows, dtype=torch.bool), torch.zeros_like(rows))

    def pad(self, x: Tensor) -> Tensor:
        """Put rows of the batch into dialogues.

        Args:
            x: (B, ...).

        Returns:
            (D, S, ...), 0 at padding.
        """
        padded = x[self.rows]
        return padded.masked_fill(~self.mask.view(*self.mask.shape, *[1] * (x.dim() - 1)), 0)

    def flat(self, x: Tensor) -> Tensor:
        """Undo :meth:`pad`.

        Args:
            x: (D, S, ...).

        Returns:
            (B, ...) in the order of the batch.
        """
        back = self.rows[self.mask].argsort()
        return x[self.mask][back]


def _occurrences(index: Tensor) -> Tensor:
    """(B,) how many earlier samples have the same index."""
    order = index.argsort(stable=True)
    ordered = index[order]
    place = torch.arange(len(index), device=index.device)
    first = torch.searchsorted(ordered, ordered)  # the first place of an equal one
    return torch.zeros_like(index).index_put((order,), place - first)


def _in_turn(batch: Batch, number: Tensor, count: int) -> Tensor:
    """(B,) places in the batch, dialogue after dialogue, by turn where all of a dialogue's turns are told."""
    order = batch.index.argsort(stable=True)
    if batch.turn is not None:
        least = batch.turn.new_zeros(count).scatter_reduce(0, number, batch.turn, "amin", include_self=True)
        turn = torch.where(least[number] < 0, 0, batch.turn)
        order = order[turn[order].argsort(stable=True)]
    return order[number[order].argsort(stable=True)]
