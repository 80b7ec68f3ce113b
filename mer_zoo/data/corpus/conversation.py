"""Who says each sample of a split, in which dialogue, and at which place of it: as the file tells it, or the ids do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.data.corpus.checks import MAX_ID, NOT_IN_IDS, unwritable

__all__ = ["NAMED", "UNKNOWN", "Conversation", "beyond_ids", "recordings"]

NAMED = ("speaker", "dialogue")
UNKNOWN = -1
LARGEST = 2**53  # of turns; a larger number is none of a turn
_MULT_MOSI = re.compile(r"[\w-]{11}_\d+", re.ASCII)
_IEMOCAP = re.compile(r"((Ses\d\d)[FM]_\w+)_([FM])(?:XX)?\d+", re.ASCII)
_MELD = re.compile(r"((?:\w+_)?dia\d+)_utt(\d+)", re.ASCII)


@dataclass(frozen=True)
class Conversation:
    """What is told of N samples as turns of dialogues; None where nothing is.

    Args:
        speaker: Who says each sample, empty where it is not told.
        dialogue: The dialogue that each is of, empty where it is not told.
        turn: The place that each has in its dialogue, a number that rises; -1 where it is not told.

    Example:
        >>> told = Conversation(["Ross", "Ann", "Ross"], ["0", "0", "1"], [4, 2, 0])
        >>> told.take([2, 0]).speaker
        ['Ross', 'Ross']
        >>> {name: column.tolist() for name, column in told.numbers().items()}
        {'speaker': [1, 0, 0], 'dialogue': [0, 0, 1], 'turn': [4, 2, 0]}
    """

    speaker: list[str] | None = None
    dialogue: list[str] | None = None
    turn: list[int] | None = None

    def __iter__(self) -> Iterator[tuple[str, list[Any]]]:
        """What is told, by name."""
        return ((name, column) for name, column in vars(self).items() if column is not None)

    def names(self) -> dict[str, list[str]]:
        """What has names: speakers and dialogues, as far as they are told."""
        return {name: column for name, column in self if name in NAMED}

    def take(self, rows: Sequence[int]) -> Conversation:
        """The same of some samples.

        Args:
            rows: Their places.
        """
        return Conversation(**{name: [column[row] for row in rows] for name, column in self})

    @classmethod
    def joined(cls, parts: Sequence[tuple[int, Conversation]]) -> Conversation:
        """The same of several splits, one after the other; what some do not tell is unknown in these.

        Args:
            parts: How many samples each has, and what is told of them.

        Example:
            >>> Conversation.joined([(1, Conversation(["Ann"])), (2, Conversation())]).speaker
            ['Ann', '', '']
        """
        columns: dict[str, list[Any]] = {}
        for name in ("speaker", "dialogue", "turn"):
            told = [dict(part).get(name) for _, part in parts]
            if any(column is not None for column in told):
                unknown = UNKNOWN if name == "turn" else ""
                filled = [[unknown] * n if c is None else c for (n, _), c in zip(parts, told, strict=True)]
                columns[name] = [value for column in filled for value in column]
        return cls(**columns)

    def with_split(self, split: str, rows: Sequence[int]) -> Conversation:
        """The same where numbers of dialogues begin anew in each split, as ids do: the split joins their names.

        Args:
            split: Name of the split.
            rows: The samples whose ids it joins; the others of their dialogues follow.
        """
        if self.dialogue is None:
            return self
        anew = {self.dialogue[row] for row in rows} - {""}
        return replace(self, dialogue=[f"{split}_{name}" if name in anew else name for name in self.dialogue])

    def completed(self, ids: Sequence[str]) -> Conversation:
        """What the file tells, and where it does not, what ids of the field's corpora tell.

        Ids of CMU-MOSI and others, ``video$_$clip``, tell the video, which is taken for the dialogue, and the turn;
        ``Ses01F_impro01_M003`` of IEMOCAP dialogue and speaker, whose turns are numbered for each speaker and tell no
        order; ``dia3_utt0`` of MELD dialogue and turn.

        Args:
            ids: N sample ids.

        Example:
            >>> told = Conversation().completed(["Ses01F_impro01_M003", "Ses01F_impro01_F000"])
            >>> told.speaker, told.dialogue, told.turn
            (['Ses01_M', 'Ses01_F'], ['Ses01F_impro01', 'Ses01F_impro01'], None)
            >>> Conversation(["Ann", "Ann"]).completed(["a$_$10", "a$_$9"])
            Conversation(speaker=['Ann', 'Ann'], dialogue=['a', 'a'], turn=[10, 9])
        """
        told = _told_by(ids)
        if self.dialogue is not None:  # turns of videos say nothing of dialogues of another name
            told = replace(told, dialogue=None, turn=told.turn if self.dialogue == told.dialogue else None)
        return Conversation(**{**dict(told), **dict(self)})

    def numbers(self) -> dict[str, npt.NDArray[np.int64]]:
        """Numbers for networks, (N,) each of those that are told.

        Dialogues are numbered in the order of the samples, and one without a name is a dialogue of its own. Speakers
        are numbered within their dialogue, in the order of their names, -1 where one is not told: the first of a
        dialogue is 0 in each.
        """
        found: dict[str, npt.NDArray[np.int64]] = {}
        dialogue = None if self.dialogue is None else _numbered(self.dialogue)
        if self.speaker is not None:
            found["speaker"] = _within(self.speaker, np.zeros(len(self.speaker), int) if dialogue is None else dialogue)
        if dialogue is not None:
            found["dialogue"] = dialogue
        if self.turn is not None:
            found["turn"] = np.array(self.turn, dtype=np.int64)
        return found

    @classmethod
    def checked(cls, told: Mapping[str, Any], count: int) -> Conversation:
        """Take over what a file of someone else says.

        Args:
            told: Columns by name.
            count: How many samples there are.

        Raises:
            ValueError: Naming the column that is none.
        """
        for name in NAMED:
            column = told.get(name)
            if column is not None and not (_are_short_texts(column) and len(column) == count):
                raise ValueError(f"{name} is not one short text a sample")
        turn = told.get("turn")
        if turn is not None and not (
            isinstance(turn, list)
            and len(turn) == count
            and all(type(place) is int and UNKNOWN <= place < LARGEST for place in turn)
        ):
            raise ValueError("turn is not one number a sample")
        return cls(told.get("speaker"), told.get("dialogue"), turn)


def beyond_ids(names: Mapping[str, list[str]], ids: Sequence[str]) -> dict[str, list[str]]:
    """The names of speakers and dialogues that ids do not tell themselves.

    Args:
        names: Names of each of N samples.
        ids: Their ids.

    Example:
        >>> beyond_ids({"dialogue": ["a", "a"], "speaker": ["Ann", "Bob"]}, ["a$_$1", "a$_$2"])
        {'speaker': ['Ann', 'Bob']}
    """
    told = _told_by(ids).names()
    return {name: column for name, column in names.items() if column != told.get(name)}


def recordings(ids: Sequence[str]) -> list[str] | None:
    """The recording that each sample is a clip of; None where the ids do not tell.

    Args:
        ids: Sample ids, ``recording$_$clip``; or ``recording_clip`` as in MulT's file of CMU-MOSI, whose recordings are
            named by the eleven characters of their site.

    Example:
        >>> recordings(["a$_$1", "a$_$2", "b$_$1"]), recordings(["train_0", "train_1"])
        (['a', 'a', 'b'], None)
        >>> recordings(["_dI--eQ6qVU_1", "_dI--eQ6qVU_12"])
        ['_dI--eQ6qVU', '_dI--eQ6qVU']
    """
    if not ids:
        return None
    if all("$_$" in name for name in ids):
        return [name.rsplit("$_$", 1)[0] for name in ids]
    return [name.rsplit("_", 1)[0] for name in ids] if all(map(_MULT_MOSI.fullmatch, ids)) else None


def _are_short_texts(column: Any) -> bool:
    return (
        isinstance(column, list)
        and all(isinstance(text, str) and len(text) <= MAX_ID for text in column)
        and unwritable(column, NOT_IN_IDS) is None
    )


def _told_by(ids: Sequence[str]) -> Conversation:
    videos = recordings(ids)
    if videos is not None:
        clips = [name[len(video) :].lstrip("$_") for name, video in zip(ids, videos, strict=True)]
        return Conversation(dialogue=videos, turn=_places(clips))
    of_iemocap = [_IEMOCAP.fullmatch(name) for name in ids]
    if ids and all(of_iemocap):
        told = [match.groups() for match in of_iemocap if match is not None]
        return Conversation([f"{session}_{letter}" for _, session, letter in told], [each[0] for each in told])
    of_meld = [_MELD.fullmatch(name) for name in ids]
    if ids and all(of_meld):
        told = [match.groups() for match in of_meld if match is not None]
        return Conversation(dialogue=[each[0] for each in told], turn=_places([each[1] for each in told]))
    return Conversation()


def _places(clips: Sequence[str]) -> list[int] | None:
    """Numbers that rise as those of the clips do, which may be their starts in seconds; None where they are none."""
    try:
        numbers = [float(clip) for clip in clips]
    except ValueError:
        return None
    if not all(0 <= number < LARGEST for number in numbers):
        return None
    if all(number.is_integer() for number in numbers):
        return [int(number) for number in numbers]
    rank = {number: place for place, number in enumerate(sorted(set(numbers)))}
    return [rank[number] for number in numbers]


def _numbered(names: Sequence[str]) -> npt.NDArray[np.int64]:
    place: dict[str | int, int] = {}
    return np.array([place.setdefault(name or row, len(place)) for row, name in enumerate(names)], dtype=np.int64)


def _within(names: Sequence[str], groups: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Numbers of names within their group, in alphabetical order; -1 of an empty name."""
    known = sorted({(group, name) for group, name in zip(groups.tolist(), names, strict=True) if name})
    number: dict[tuple[int, str], int] = {}
    for place, (group, name) in enumerate(known):
        is_first = not place or known[place - 1][0] != group
        number[group, name] = 0 if is_first else number[known[place - 1]] + 1
    places = [number.get(pair, UNKNOWN) for pair in zip(groups.tolist(), names, strict=True)]
    return np.array(places, dtype=np.int64)
