"""Samples of a batch as padded dialogues, and back."""

from __future__ import annotations

import pytest
import torch

from mer_zoo.batch import Batch, DataSpec
from mer_zoo.errors import MERError
from mer_zoo.layers.dialogues import Dialogues
from mer_zoo.task import SentimentRegression


def batch_of(dialogue: list[int], turn: list[int] | None = None, index: list[int] | None = None) -> Batch:
    size = len(dialogue)
    return Batch.random(DataSpec(), SentimentRegression(), size=size).replace(
        dialogue=torch.tensor(dialogue),
        turn=None if turn is None else torch.tensor(turn),
        index=torch.arange(size) if index is None else torch.tensor(index),
    )


def test_there_and_back() -> None:
    generator = torch.Generator().manual_seed(0)
    for size in (1, 2, 7, 30):
        dialogue = torch.randint(0, 6, (size,), generator=generator)
        turn = torch.randint(0, 100, (size,), generator=generator)
        batch = batch_of(dialogue.tolist(), turn.tolist())
        dialogues, x = Dialogues.of(batch), torch.randn(size, 3, 2)
        assert torch.equal(dialogues.flat(dialogues.pad(x)), x)
        assert not dialogues.pad(x)[~dialogues.mask].any()
        for rows, mask in zip(dialogues.rows, dialogues.mask, strict=True):
            own = rows[mask]
            assert len(set(dialogue[own].tolist())) == 1
            assert turn[own].tolist() == sorted(turn[own].tolist())
        assert dialogues.mask.sum(1).tolist() == [int((dialogue == d).sum()) for d in sorted(set(dialogue.tolist()))]


@pytest.mark.parametrize("turn", [None, [5, -1, 3, 0]])
def test_without_every_turn_the_file_tells_the_order(turn: list[int] | None) -> None:
    dialogues = Dialogues.of(batch_of([0, 0, 0, 1], turn, index=[12, 11, 10, 3]))
    assert dialogues.rows[0].tolist() == [2, 1, 0]


def test_an_unknown_turn_leaves_other_dialogues_in_order() -> None:
    dialogues = Dialogues.of(batch_of([0, 0, 1, 1], [-1, 0, 9, 2]))
    assert dialogues.rows.tolist() == [[0, 1], [3, 2]]


def test_views_of_a_batch_are_dialogues_of_their_own() -> None:
    one = batch_of([3, 3, 5], [1, 0, 0])
    dialogues = Dialogues.of(Batch.joined([one, one]))
    assert dialogues.mask.sum(1).tolist() == [2, 2, 1, 1]
    assert sorted(map(tuple, dialogues.rows[:2].tolist())) == [(1, 0), (4, 3)]


def test_speakers_are_numbers_that_an_embedding_takes() -> None:
    spoken = batch_of([0, 0, 1], [1, 0, 0]).replace(speaker=torch.tensor([1, -1, 2]))
    assert Dialogues.of(spoken).speaker.tolist() == [[0, 1], [2, 0]]
    assert Dialogues.of(batch_of([0, 0, 1])).speaker.tolist() == [[0, 0], [0, 0]]


def test_a_dialogue_in_part_is_refused() -> None:
    batch = batch_of([0, 0, 1]).replace(dialogue_size=torch.tensor([2, 2, 1]))
    assert Dialogues.of(batch).mask.sum() == 3
    with pytest.raises(MERError, match=r"set data\.batches: dialogues"):
        Dialogues.of(batch.take([0, 2]))
    assert Dialogues.of(batch.take([0, 2]), partial=True).mask.sum() == 2


def test_data_without_dialogues_are_refused() -> None:
    with pytest.raises(MERError, match="give the file a field dialogue"):
        Dialogues.of(Batch.random(DataSpec(), SentimentRegression()))
