"""Reading a store, which someone else may have made: everything in it is checked before it is used."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.batch import MODALITIES
from mer_zoo.data.corpus.arrays import read_header
from mer_zoo.data.corpus.checks import (
    MAX_ID,
    MAX_SAMPLES,
    MAX_SPLITS,
    MAX_TOKENS,
    NOT_IN_IDS,
    NOT_IN_TEXT,
    SPLIT_NAME,
    Fault,
    unwritable,
)
from mer_zoo.data.corpus.conversation import Conversation
from mer_zoo.data.corpus.corpus import SplitData
from mer_zoo.data.corpus.heard import HeardText
from mer_zoo.data.corpus.meaning import Meaning
from mer_zoo.data.files.about import parse_meaning
from mer_zoo.data.files.heard import HEARD_TEXT, heard_span
from mer_zoo.data.files.labels import check_labels
from mer_zoo.errors import MERError
from mer_zoo.feature_spec import FeatureSpec, read_specs
from mer_zoo.fields import Fields
from mer_zoo.foreign import open_regular, read_json

__all__ = ["MADE_BY", "MEANING", "open_splits", "read_index", "read_made_by", "read_told"]

MEANING, MADE_BY = "meaning", "made_by"

LARGEST_INDEX = 128 * 2**20  # bytes
MAX_NUMBERS = 2**27  # of labels or token ids: a file with holes takes less room than it says
_SHA256 = re.compile("[0-9a-f]{64}")
_SPLIT = {"ids", "raw_text", "features", "tokens", "labels"}


def read_index(file: Path) -> dict[str, Any]:
    """Read the index of a store, whose entries may still be anything.

    Args:
        file: The JSON file.

    Raises:
        ValueError: If it is no index; other errors of arrays.READ_ERRORS if it can't be read.
    """
    index = read_json(file, LARGEST_INDEX)
    if not isinstance(index, dict) or "version" not in index:
        raise ValueError(f"{file.name} is no index")
    return index


def open_splits(folder: Path, index: Mapping[str, Any]) -> dict[str, SplitData]:
    """Map the arrays of a store, when its index and they agree.

    Args:
        folder: The store.
        index: Its index.

    Raises:
        ValueError: Naming what does not fit; other errors of arrays.READ_ERRORS if a file can't be read.
    """
    vocabulary, splits = index["vocab_size"], index["splits"]
    if type(vocabulary) is not int or not 0 < vocabulary <= MAX_TOKENS or type(index["aligned"]) is not bool:
        raise ValueError("vocab_size or aligned is not what it should be")
    if not _are_texts(index["notes"]) or not isinstance(index.get("sha256"), (str, type(None))):
        raise ValueError("notes or sha256 are no text")
    if unwritable(index["notes"], NOT_IN_IDS) is not None or not _SHA256.fullmatch(index.get("sha256") or "0" * 64):
        raise ValueError("notes hold line ends, control or half characters, or sha256 is none")
    if not isinstance(splits, dict) or not splits:
        raise ValueError("there are no splits")
    if len(splits) > MAX_SPLITS:
        raise ValueError(f"there are {len(splits)} splits, more than {MAX_SPLITS}")
    opened = {name: _open_split(folder, name, about, vocabulary) for name, about in splits.items()}
    if len({_outline(split) for split in opened.values()}) > 1:
        raise ValueError("the splits hold arrays of different shapes")
    return opened


def read_told(index: Mapping[str, Any]) -> Meaning | None:
    """What a store says about the meaning of its labels; stores of earlier versions say nothing.

    Args:
        index: Its index.

    Raises:
        ValueError: If it means nothing.
    """
    told = index.get(MEANING)
    if told is None:
        return None
    if not isinstance(told, dict):
        raise ValueError(f"{MEANING} is no mapping")
    try:
        return parse_meaning(told.get("kind"), told.get("range"), told.get("names", []))
    except MERError as error:
        raise ValueError(str(error)) from error


def read_made_by(index: Mapping[str, Any]) -> dict[str, FeatureSpec]:
    """What a store says makes its features; most say nothing.

    Args:
        index: Its index.

    Raises:
        ValueError: If it is odd.
    """
    told = index.get(MADE_BY)
    return {} if told is None else read_specs(Fields(told, MADE_BY, "convert again"), MODALITIES)


def _open_split(folder: Path, name: str, about: Any, vocabulary: int) -> SplitData:
    if not SPLIT_NAME.fullmatch(name):
        raise ValueError(f"a split is called {name[:50]!r}")
    if not isinstance(about, dict) or not about.keys() >= _SPLIT or not _are_texts(about["ids"]) or not about["ids"]:
        raise ValueError(f"{name} is not described")
    count, features, raw_text = len(about["ids"]), about["features"], about["raw_text"]
    if not _are_texts(features) or not (raw_text is None or (_are_texts(raw_text) and len(raw_text) == count)):
        raise ValueError(f"features or raw_text of {name} are not what they should be")
    if any(type(about[key]) is not bool for key in ("tokens", "labels")):
        raise ValueError(f"tokens or labels of {name} are neither there nor not")
    unimodal = about.get("unimodal", [])  # of which stores of earlier versions say nothing
    if not _are_texts(unimodal) or not set(unimodal) <= set(MODALITIES):
        raise ValueError(f"labels of {name} are of {str(unimodal)[:40]} alone, which is no modality")

    def array(key: str, *kinds: str) -> npt.NDArray[Any]:
        return _map(folder / f"{name}.{key}.npy", count, kinds)

    split = SplitData(
        features={key: array(key, "<f4 3") for key in MODALITIES if key in features},
        spans={key: array(f"{key}.spans", "<i4 2") for key in MODALITIES},
        token_ids=array("tokens", "<i4 2") if about["tokens"] else None,
        labels=array("labels", "<f4 1", "<i8 1", "<i8 2") if about["labels"] else None,
        ids=about["ids"],
        raw_text=[""] * count if raw_text is None else raw_text,
        unimodal={key: array(f"labels.{key}", "<f4 1") for key in MODALITIES if key in unimodal},
        conversation=Conversation.checked(about, count),
        heard=_heard(name, about.get(HEARD_TEXT), count, array),
    )
    _check_texts(name, split)
    _check_labels(name, split)
    _check_values(name, split, vocabulary)
    return split


def _heard(name: str, about: Any, count: int, array: Callable[..., npt.NDArray[Any]]) -> HeardText | None:
    """What was heard instead of the text; most stores do not tell."""
    if about is None:
        return None
    texts = about.get("raw_text") if isinstance(about, dict) else None
    if not isinstance(texts, list) or not _are_texts(texts) or len(texts) != count:
        raise ValueError(f"{HEARD_TEXT} of {name} is not one text a sample")
    if any(type(about.get(key)) is not bool for key in ("features", "tokens")):
        raise ValueError(f"features or tokens of {HEARD_TEXT} of {name} are neither there nor not")
    return HeardText(
        texts,
        heard_span(array(f"{HEARD_TEXT}.spans", "<i4 2"), texts),
        array(HEARD_TEXT, "<f4 3") if about["features"] else None,
        array(f"{HEARD_TEXT}.tokens", "<i4 2") if about["tokens"] else None,
    )


def _check_texts(name: str, split: SplitData) -> None:
    """The same as of a source: what is not refused here would be in the last line of a test."""
    if len(split) > MAX_SAMPLES:
        raise ValueError(f"{name} has {len(split)} samples, more than {MAX_SAMPLES}")
    if any(len(sample) > MAX_ID for sample in split.ids) or unwritable(split.ids, NOT_IN_IDS) is not None:
        raise ValueError(f"ids of {name} hold line ends, control or half characters, or over {MAX_ID} characters")
    heard = [] if split.heard is None else split.heard.raw_text
    if unwritable([*split.raw_text, *heard], NOT_IN_TEXT) is not None:
        raise ValueError(f"raw_text of {name} holds halves of characters or zeros")


def _check_labels(name: str, split: SplitData) -> None:
    """The same as of a source."""
    for modality, values in split.unimodal.items():
        if np.isinf(values).any():
            raise ValueError(f"labels of {modality} alone of {name} hold infinite values")
    if split.labels is None:
        return
    classes = split.labels.ndim == 1 and split.labels.dtype.kind == "i"
    found = check_labels("classification_labels" if classes else "labels", np.asarray(split.labels))
    for message, wrong in found.faults:
        ids = () if wrong is None else tuple(split.ids[row] for row in np.flatnonzero(wrong))
        raise ValueError(str(Fault(name, "labels", message, ids)))


def _map(file: Path, count: int, kinds: tuple[str, ...]) -> npt.NDArray[Any]:
    """Map an array; ``kinds``: the types and ranks that it may have."""
    if not file.is_file():  # opening a pipe would wait for ever
        raise ValueError(f"{file.name} is missing")
    with open_regular(file) as opened:
        shape, fortran, dtype, start = read_header(opened)
    if shape[:1] != (count,) or 0 in shape:
        raise ValueError(f"{file.name} has {shape[0] if shape else 'no'} samples, not {count}")
    if f"{dtype.str} {len(shape)}" not in kinds:
        raise ValueError(f"{file.name} holds {dtype} of shape {shape}")
    if len(shape) < 3 and math.prod(shape) > MAX_NUMBERS:
        raise ValueError(f"{file.name} holds {math.prod(shape):,} numbers, more than {MAX_NUMBERS:,}")
    mapped: npt.NDArray[Any] = np.memmap(file, dtype, "r", start, shape, "F" if fortran else "C")
    return mapped


def _check_values(name: str, split: SplitData, vocabulary: int) -> None:
    tokens, heard = split.token_ids, split.heard
    for ids in (tokens, None if heard is None else heard.token_ids):
        if ids is not None and (ids.min() < 0 or ids.max() >= vocabulary):
            raise ValueError(f"tokens of {name} lie outside the vocabulary")
    for key, span in split.spans.items():
        _check_span(f"{name}.{key}", span, [split.features.get(key), tokens if key == "text" else None])
    if heard is not None:
        _check_span(f"{name}.{HEARD_TEXT}", heard.span, [heard.features, heard.token_ids])
        text = split.features.get("text")
        if heard.features is not None and (text is None or text.shape[2] != heard.features.shape[2]):
            raise ValueError(f"{HEARD_TEXT} of {name} has another width than text")


def _check_span(what: str, span: npt.NDArray[np.int32], arrays: Sequence[npt.NDArray[Any] | None]) -> None:
    """The arrays are of the same sequences, and the span lies in them."""
    lengths = {array.shape[1] for array in arrays if array is not None}
    if len(lengths) > 1:
        raise ValueError(f"features and tokens of {what} have different lengths")
    is_ordered = span.shape[1] == 2 and (span[:, 0] <= span[:, 1]).all()
    if not is_ordered or span.min() < 0 or span.max() > max(lengths, default=0):
        raise ValueError(f"{what}.spans.npy holds what is no span of it")


def _outline(split: SplitData) -> tuple[Any, ...]:
    arrays = {**split.features, "tokens": split.token_ids}
    return tuple((key, None if array is None else array.shape[1:]) for key, array in arrays.items())


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
