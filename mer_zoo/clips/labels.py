"""What a table says about its clips, as the label fields of a corpus."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mer_zoo.clips.clip import Clip
from mer_zoo.data.corpus.meaning import MAX_CLASSES
from mer_zoo.errors import MERError

__all__ = ["Labelling", "read_labelling"]

UNIMODAL = {f"label_{letter}": f"regression_labels_{letter.upper()}" for letter in "tav"}
Kind = Literal["sentiment", "classes", "emotions"]


@dataclass(frozen=True)
class Labelling:
    """What the labels of all clips are.

    Args:
        kind: Numbers, one class each, or emotions that are present or absent; None without labels.
        names: Of the classes or emotions.
        unimodal: Columns with numbers of one modality.
    """

    kind: Kind | None = None
    names: tuple[str, ...] = ()
    unimodal: tuple[str, ...] = ()

    def is_labelled(self, clip: Clip) -> bool:
        """Whether a clip has all labels.

        Args:
            clip: One of the clips.
        """
        columns = [f"label_{name}" for name in self.names] if self.kind == "emotions" else [self._column(clip)]
        return self.kind is None or all(clip.labels.get(column) for column in (*columns, *self.unimodal))

    def fields(self, clips: Sequence[Clip]) -> dict[str, Any]:
        """The fields of a split.

        Args:
            clips: Its clips, all with labels, or all without.
        """
        if self.kind is None or not all(map(self.is_labelled, clips)):
            return {}
        found: dict[str, Any] = {
            UNIMODAL[key]: np.array([float(clip.labels[key]) for clip in clips], np.float32) for key in self.unimodal
        }
        if self.kind == "emotions":
            rows = [[float(clip.labels[f"label_{name}"]) for name in self.names] for clip in clips]
            return found | {"labels": np.array(rows).astype(np.int64)}
        words = [clip.labels[self._column(clip)] for clip in clips]
        if self.kind == "classes":
            places = [self.names.index(word) for word in words]
            return found | {"classification_labels": np.array(places), "annotations": words}
        return found | {"regression_labels": np.array(words, np.float32)}

    def about(self) -> dict[str, Any]:
        """What a file says about them; a sentiment's range is left to the reader, who knows signs of it."""
        return {} if self.kind in (None, "sentiment") else {"labels": self.kind, "names": list(self.names)}

    @staticmethod
    def _column(clip: Clip) -> str:
        return "class" if "class" in clip.labels else "label"


def read_labelling(clips: Sequence[Clip]) -> Labelling:
    """Find out what labels are: numbers are sentiment, words classes, and columns ``label_NAME`` emotions.

    Args:
        clips: All clips of a table.

    Raises:
        MERError: If they are of several kinds; the message names the row.

    Example:
        >>> from pathlib import Path
        >>> rows = [{"label": "joy"}, {"label": "anger"}, {"label": ""}]
        >>> read_labelling([Clip(Path("a.wav"), labels=labels) for labels in rows]).names
        ('anger', 'joy')
    """
    columns = list(dict.fromkeys(key for clip in clips for key in clip.labels))
    unimodal = tuple(key for key in columns if key in UNIMODAL and _filled(clips, key))
    for key in unimodal:
        _check_all(clips, key, "numbers", lambda text: _number(text) is not None)
    single = next((key for key in ("class", "label") if _filled(clips, key)), None)
    emotions = [key for key in columns if key.startswith("label_") and key not in UNIMODAL and _filled(clips, key)]
    if single is None and emotions:
        for key in emotions:
            _check_all(clips, key, "0 and 1", lambda text: _number(text) in (0, 1))
        return Labelling("emotions", tuple(key.removeprefix("label_") for key in emotions), unimodal)
    if single is None:
        return Labelling()
    values = _filled(clips, single)
    if single == "label" and any(_number(value) is not None for value in values):
        _check_all(clips, single, "numbers", lambda text: _number(text) is not None)
        return Labelling("sentiment", (), unimodal)
    names = tuple(sorted(set(values)))
    if len(names) > MAX_CLASSES:
        raise MERError(f"the labels are {len(names)} different words; classes may be {MAX_CLASSES}")
    return Labelling("classes", names, unimodal)


def _filled(clips: Sequence[Clip], key: str) -> list[str]:
    return [clip.labels[key] for clip in clips if clip.labels.get(key)]


def _check_all(clips: Sequence[Clip], key: str, wanted: str, is_sound: Any) -> None:
    for clip in clips:
        value = clip.labels.get(key)
        if value and not is_sound(value):
            raise MERError(f"{clip.place} has {value[:40]!r} in {key}, where others have {wanted}; mend it")


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
