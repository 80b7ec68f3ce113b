"""Features of clips as one pickle in the layout of MMSA, written from files so that they need not fit in memory."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.batch import MODALITIES
from mer_zoo.clips.clip import Clip, ClipFeatures
from mer_zoo.clips.labels import Labelling
from mer_zoo.clips.parts import Parts
from mer_zoo.errors import MERError
from mer_zoo.feature_spec import FeatureSpec
from mer_zoo.runs.files import whole_file

__all__ = ["write_corpus"]

ORDER = ("train", "valid", "test")
HEARD, TIMES = "heard_text_features", "word_times"


def write_corpus(
    dest: Path,
    clips: Sequence[Clip],
    parts: Parts,
    labelling: Labelling,
    specs: Mapping[str, FeatureSpec],
    lengths: Mapping[str, int] | None = None,
) -> None:
    """Write the clips that have a part; the file is there whole or not at all.

    Args:
        dest: The pickle.
        clips: Clips with their splits.
        parts: Where their features are.
        labelling: What their labels are.
        specs: What makes the features; aligned ones have as many steps in all modalities, and no lengths.
        lengths: Steps of each modality, of which longer ones are cut; by default those of the longest clip. A modality
            that has them is there, if only as missing in all clips.
    """
    shapes = {key: [0, 0] for key in (*MODALITIES, HEARD, TIMES)}
    texts: dict[str, str] = {}
    heard: dict[str, str] = {}
    for clip in clips:
        found = _part(parts, clip)
        texts[clip.id], heard[clip.id] = found.text, found.heard
        for key, x in _arrays(found).items():
            shapes[key] = [max(shapes[key][0], len(x)), x.shape[1]]
    if is_aligned := any(spec.aligned for spec in specs.values()):
        steps = max(shapes[key][0] for key in MODALITIES)
        shapes |= {key: [steps, shape[1]] for key, shape in shapes.items() if key in MODALITIES and shape[0]}
    shapes |= {key: [length, specs[key].dim] for key, length in (lengths or {}).items() if key in specs}
    shapes = {key: shape for key, shape in shapes.items() if shape[0]}
    names = {clip.split: None for clip in clips}
    with TemporaryDirectory(dir=parts.folder) as room:
        tree: dict[str, Any] = {}
        for split in sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else 3, name)):
            own = [clip for clip in clips if clip.split == split]
            tree[split] = {
                "id": [clip.id for clip in own],
                "raw_text": [texts[clip.id] for clip in own],
                **({"heard_text": [heard[clip.id] for clip in own]} if any(heard.values()) else {}),
                **_features(Path(room), split, own, parts, shapes, is_aligned),
                **{
                    key: [getattr(clip, of) for clip in own]
                    for key, of in {"speaker": "speaker", "dialogue": "video"}.items()
                    if any(getattr(clip, of) for clip in clips)
                },
                **labelling.fields(own),
            }
        about = labelling.about() | {"features": {key: specs[key].plain() for key in shapes if key in specs}}
        with whole_file(dest) as part, part.open("wb") as file:
            # Protocol 5 writes an array from where it is; those before would make a copy of it first.
            pickle.dump({**tree, "about": about}, file, protocol=5)


def _part(parts: Parts, clip: Clip) -> ClipFeatures:
    found = parts.find(clip)
    if found is None:
        raise MERError(f"{clip.path} has changed while features were made; extract again when nothing writes to it")
    return found


def _arrays(found: ClipFeatures) -> dict[str, npt.NDArray[Any]]:
    """All that a clip has a row of in the file."""
    others = {HEARD: found.heard_features, TIMES: found.times}
    return {**found.features, **{key: x for key, x in others.items() if x is not None and len(x)}}


def _features(
    room: Path, split: str, clips: Sequence[Clip], parts: Parts, shapes: Mapping[str, Sequence[int]], is_aligned: bool
) -> dict[str, npt.NDArray[Any]]:
    arrays = {
        key: np.lib.format.open_memmap(room / f"{split}.{key}.npy", "w+", np.float32, (len(clips), *shape))
        for key, shape in shapes.items()
    }
    if TIMES in arrays:
        arrays[TIMES][:] = np.nan
    lengths = {key: np.zeros(len(clips), np.int64) for key in shapes}
    for row, clip in enumerate(clips):
        for key, x in _arrays(_part(parts, clip)).items():
            x = x[: arrays[key].shape[1]]
            arrays[key][row, : len(x)] = x
            lengths[key][row] = len(x)
    found: dict[str, npt.NDArray[Any]] = {}
    for key, array in arrays.items():
        found[key] = np.asarray(array)
        if key in ("audio", "vision") and not is_aligned:
            found[f"{key}_lengths"] = lengths[key]
    return found
