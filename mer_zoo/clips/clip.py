"""A clip before and after its features are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["Clip", "ClipFeatures"]


@dataclass(frozen=True)
class Clip:
    """A recording, or an interval of one, and what is known of it.

    Args:
        path: The file.
        id: What it is called; the name of the file by default.
        start: Seconds from the beginning of the file where it begins.
        end: Seconds where it ends; None for the end of the file.
        text: What is said in it; None where that is not known.
        split: ``train``, ``valid``, ``test`` or ``test_NAME``; empty where that is not known.
        speaker: Who speaks; empty where that is not known.
        video: The recording that it is of; empty where that is not known.
        labels: Values by the names of their columns, as they are written.
        place: Where it was listed, for messages, as ``row 4``.
        faults: What is wrong with how it was listed, one sentence each.

    Example:
        >>> Clip(Path("hello.mp4")).id
        'hello'
    """

    path: Path
    id: str = ""
    start: float = 0.0
    end: float | None = None
    text: str | None = None
    split: str = ""
    speaker: str = ""
    video: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    place: str = ""
    faults: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", self.path.stem)


@dataclass
class ClipFeatures:
    """What became of a clip.

    Args:
        features: (T, d) float32 by modality; one that is not there was not observed.
        faults: What is wrong with the clip, one sentence each.
        text: What was said, as far as it is known.
        seconds: How long it is, as far as it was read.
        heard: What was heard in it beside its transcript.
        heard_features: (T, d) of that; None where none were made.
        pictures: Some of those that were looked at, where that is asked for.
        times: (n, 2) seconds at which its n words begin and end; None where that was not heard.
    """

    features: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    text: str = ""
    seconds: float = 0.0
    heard: str = ""
    heard_features: npt.NDArray[np.float32] | None = None
    times: npt.NDArray[np.float64] | None = None
    pictures: list[npt.NDArray[np.uint8]] = field(default_factory=list)
