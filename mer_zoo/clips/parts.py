"""What is done already: one small file a clip, so that an extraction that was killed goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path

import numpy as np

from mer_zoo.clips.clip import Clip, ClipFeatures
from mer_zoo.feature_spec import FeatureSpec
from mer_zoo.runs.files import whole_file

__all__ = ["Parts"]

NOTE = "note"
ARRAYS = ("heard_features", "times")  # beside the modalities
TEXTS = ("faults", "text", "seconds", "heard")


class Parts:
    """The folder of what is done, beside the file that is to become.

    A part is known by the file's name, size and time of change, the interval, the text and what makes the features: of
    anything else it is another one.

    Args:
        folder: Where the parts lie.
        specs: What makes the features.
        longest: Seconds of a clip that are read.
        beside: Whether clips with a transcript are listened to as well.

    Example:
        >>> from tempfile import mkdtemp
        >>> folder = Path(mkdtemp())
        >>> clip = Clip(folder / "hello.wav")
        >>> _ = clip.path.write_bytes(b"RIFF")
        >>> parts = Parts(folder / "parts", {}, 60.0)
        >>> parts.keep(clip, ClipFeatures({"audio": np.ones((2, 3), np.float32)}, ["no pictures"]))
        >>> parts.find(clip).faults
        ['no pictures']
    """

    def __init__(self, folder: Path, specs: Mapping[str, FeatureSpec], longest: float, beside: bool = False) -> None:
        self.folder = folder
        self.made_by = json.dumps([sorted((key, *astuple(spec)) for key, spec in specs.items()), longest, beside])

    def file(self, clip: Clip) -> Path:
        """Where a clip's part lies.

        Args:
            clip: The clip.
        """
        found = clip.path.stat()
        told = [str(clip.path.resolve()), found.st_size, found.st_mtime_ns, clip.start, clip.end, clip.text]
        key = hashlib.sha256((self.made_by + json.dumps(told)).encode()).hexdigest()
        return self.folder / f"{key[:32]}.npz"

    def keep(self, clip: Clip, found: ClipFeatures) -> None:
        """Write what became of a clip, whole or not at all.

        Args:
            clip: The clip.
            found: Its features.
        """
        note = json.dumps({name: getattr(found, name) for name in TEXTS})
        arrays = {name: x for name in ARRAYS if (x := getattr(found, name)) is not None}
        with whole_file(self.file(clip)) as part, part.open("wb") as file:
            np.savez(file, allow_pickle=False, **{NOTE: np.array(note)}, **arrays, **found.features)

    def find(self, clip: Clip) -> ClipFeatures | None:
        """What became of a clip, if that is done already.

        Args:
            clip: The clip.
        """
        try:
            with np.load(self.file(clip), allow_pickle=False) as part:
                note = json.loads(str(part[NOTE]))
                arrays = {key: part[key] for key in part.files if key != NOTE}
            others = {name: arrays.pop(name, None) for name in ARRAYS}
            return ClipFeatures(arrays, **{name: note[name] for name in TEXTS}, **others)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):  # none, or half of one: it is made anew
            return None

    def remove(self) -> None:
        """Remove all parts."""
        shutil.rmtree(self.folder, ignore_errors=True)
