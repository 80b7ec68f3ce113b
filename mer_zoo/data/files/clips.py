"""Splits that are lists of clips, as the released code of MAG-BERT has them, brought into fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mer_zoo.data.corpus.arrays import ObjectArray, StoredArray
from mer_zoo.data.corpus.checks import ARRAY_OPENED, take_array
from mer_zoo.errors import MERError
from mer_zoo.foreign import Budget

__all__ = ["fields_of_clips"]

FORM = "((words, visual, acoustic), label, segment)"
MOST_LABELS = 64


def fields_of_clips(tree: Any, budget: Budget) -> Any:
    """Turn lists of clips into fields; anything else comes back as it is.

    Args:
        tree: What a file holds; with clips split -> list of ``((words, visual, acoustic), label, segment)``.
        budget: Of the file.

    Raises:
        MERError: Naming the split and the clip that has another form.

    Example:
        >>> import io, numpy
        >>> x = StoredArray(numpy.dtype("u1"), (2, 3), lambda: io.BytesIO(bytes(6)))
        >>> fields_of_clips({"dev": [((["so", "good"], x, x), 0.5, "a$_$1")]}, Budget("a list"))["dev"]["raw_text"]
        [['so', 'good']]
    """
    if not isinstance(tree, Mapping) or not any(_is_clips(value) for value in tree.values()):
        return tree
    return {
        name: _fields(str(name)[:40], value, budget) if _is_clips(value) or value == [] else value
        for name, value in tree.items()
    }


def _is_clips(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and _is_clip(value[0])


def _is_clip(clip: Any) -> bool:
    return (
        isinstance(clip, (list, tuple))
        and len(clip) == 3
        and isinstance(clip[0], (list, tuple))
        and len(clip[0]) == 3
        and all(isinstance(part, StoredArray) for part in clip[0][1:])
    )


def _fields(name: str, clips: list[Any], budget: Budget) -> dict[str, Any]:
    budget.take(10 * len(clips))
    for place, clip in enumerate(clips):
        if not _is_clip(clip):
            raise MERError(f"clip {place} of {name} is not {FORM}, as the others are; write it so")
    labels = [_label(clip[1], f"clip {place} of {name}", budget) for place, clip in enumerate(clips)]
    widths = {len(row) for row in labels}
    if len(widths) > 1:
        raise MERError(f"clips of {name} have {min(widths)} labels and {max(widths)}; give all as many")
    flat = [number for row in labels for number in row]
    width = max(widths, default=1)
    return {
        "raw_text": [clip[0][0] for clip in clips],
        "vision": [clip[0][1] for clip in clips],
        "audio": [clip[0][2] for clip in clips],
        "labels": flat if width == 1 else ObjectArray(flat, (len(clips), width)),
        "id": [clip[2] for clip in clips],
    }


def _label(value: Any, clip: str, budget: Budget) -> list[Any]:
    if not isinstance(value, StoredArray):
        return [value]
    budget.take(ARRAY_OPENED)
    take_array(value, budget)
    if value.dtype.kind not in "biuf" or not 0 < value.nbytes <= 8 * MOST_LABELS:
        raise MERError(f"the label of {clip} is not a number, nor a few; write it as {FORM}")
    found: list[Any] = value.load().reshape(-1).tolist()
    return found
