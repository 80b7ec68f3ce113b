"""Batches of whole dialogues, for networks that read a sample among those around it.

Idea: a batch is filled with whole dialogues, in the order of their turns, as long as they fit. In training dialogues
are dealt out anew in each epoch, to the same number of batches, since trainers count them before the first one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from typing_extensions import override

from mer_zoo.data.corpus.conversation import Conversation
from mer_zoo.data.draws import EpochBatches
from mer_zoo.errors import MERError

__all__ = ["BatchKind", "DialogueBatches", "check_dialogues", "dealt_out", "first_fit", "rows_of_dialogues"]

BatchKind = Literal["samples", "dialogues", "lengths"]
ROOM = 1.1  # batches for each that is needed, so that chance has some room


def check_dialogues(conversation: Conversation, where: str) -> None:
    """Refuse to make batches of dialogues that nothing tells.

    Args:
        conversation: What is told of a split.
        where: Name of the split and its file, for the message.

    Raises:
        MERError: If nothing tells the dialogues.
    """
    if conversation.dialogue is None:
        raise MERError(
            f"{where} does not tell dialogues, of which batches are to be made; give it a field dialogue, or ids such"
            " as video$_$clip, or set data.batches: samples"
        )


def rows_of_dialogues(conversation: Conversation) -> list[list[int]]:
    """The samples of each dialogue, in the order of their turns.

    Args:
        conversation: What is told of a split, dialogues among it.

    Returns:
        Places in the split; in the order of the file where a turn of the dialogue is not told.

    Example:
        >>> rows_of_dialogues(Conversation(None, ["a", "b", "a"], [1, 0, 0]))
        [[2, 0], [1]]
    """
    numbers = conversation.numbers()
    found: list[list[int]] = []
    for row, dialogue in enumerate(numbers["dialogue"].tolist()):
        if dialogue == len(found):
            found.append([])
        found[dialogue].append(row)
    turn = numbers.get("turn")
    if turn is None:
        return found
    return [rows if min(turn[rows]) < 0 else sorted(rows, key=lambda row: int(turn[row])) for rows in found]


def first_fit(sizes: Sequence[int], most: int, order: Sequence[int]) -> list[list[int]]:
    """Fill batches: each dialogue goes into the first that has room, a new one where none has.

    Args:
        sizes: Samples of each dialogue.
        most: Samples of a batch that holds several.
        order: The dialogues, as they are to be put in.

    Example:
        >>> first_fit([3, 9, 4, 2], most=6, order=range(4))
        [[0, 3], [1], [2]]
    """
    batches: list[list[int]] = []
    room: list[int] = []
    for dialogue in order:
        place = next((place for place, left in enumerate(room) if left >= sizes[dialogue]), len(batches))
        if place == len(batches):
            batches.append([])
            room.append(most)
        batches[place].append(dialogue)
        room[place] -= sizes[dialogue]
    return batches


def dealt_out(sizes: Sequence[int], most: int, generator: torch.Generator) -> list[list[int]]:
    """Deal dialogues out to batches by chance; how many batches there are does not depend on it.

    Args:
        sizes: Samples of each dialogue.
        most: Samples of a batch that holds several.
        generator: Of the chance.

    Example:
        >>> one, other = (dealt_out([3, 9, 4, 2], 6, torch.Generator().manual_seed(seed)) for seed in (0, 1))
        >>> len(one) == len(other), sorted(dialogue for batch in one for dialogue in batch)
        (True, [0, 1, 2, 3])
    """
    order = torch.randperm(len(sizes), generator=generator).tolist()
    falling = first_fit(sizes, most, sorted(order, key=lambda dialogue: -sizes[dialogue]))
    wanted = min(len(sizes), math.ceil(ROOM * len(falling)))
    batches = first_fit(sizes, most, order)
    if len(batches) > wanted:
        batches = falling
    while len(batches) < wanted:
        fullest = max(batches, key=len)
        batches.append([fullest.pop() for _ in range(len(fullest) // 2)])
    return [batches[place] for place in torch.randperm(wanted, generator=generator).tolist()]


class DialogueBatches(EpochBatches):
    """Places of the samples of each batch, for a loader without batches of its own (``batch_size=None``).

    Lightning leaves a sampler of this kind as it is: each of several processes has its share of the batches, all as
    many, for which the first ones repeat.

    Args:
        dialogues: Places of each dialogue's samples.
        batch_size: Samples of a batch that holds several dialogues; a longer dialogue is a batch of its own.
        shuffle: Whether dialogues are dealt out by chance, which seed and epoch tell, or in their order.
        seed: Of the chance, alike on all processes.
        processes: How many there are.
        rank: Which this is.

    Example:
        >>> list(DialogueBatches([[0, 2], [1], [3, 4, 5]], batch_size=3))
        [[0, 2, 1], [3, 4, 5]]
        >>> [list(DialogueBatches([[0], [1], [2]], 1, processes=2, rank=rank)) for rank in (0, 1)]
        [[[0], [2]], [[1], [0]]]
    """

    def __init__(
        self,
        dialogues: Sequence[Sequence[int]],
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        processes: int = 1,
        rank: int = 0,
    ) -> None:
        self.dialogues, self.batch_size = dialogues, batch_size
        self.sizes = [len(rows) for rows in dialogues]
        batches = self._batches(shuffle, torch.Generator())
        super().__init__(batches, processes, rank, shuffle, seed)  # type: ignore[arg-type]  # of which it takes the length

    def _batches(self, shuffle: bool, generator: torch.Generator) -> list[list[int]]:
        if shuffle:
            batches = dealt_out(self.sizes, self.batch_size, generator)
        else:
            batches = first_fit(self.sizes, self.batch_size, range(len(self.sizes)))
        return [[row for dialogue in batch for row in self.dialogues[dialogue]] for batch in batches]

    @override
    def batches(self, generator: torch.Generator) -> list[list[int]]:
        return self._batches(self.shuffle, generator)
