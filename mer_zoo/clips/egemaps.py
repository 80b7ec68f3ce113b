"""eGeMAPS by openSMILE: an option that the user installs, as its licence allows no commercial use."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.clips import sound
from mer_zoo.clips.encoders import SILENCE, Features
from mer_zoo.errors import MERError
from mer_zoo.feature_spec import FeatureSpec

__all__ = ["Egemaps"]

SET, DIM = "eGeMAPSv02", 25
BODY, CONTEXT = 30 * sound.RATE, sound.RATE // 5  # of a window; it smooths over three frames of 60 ms


class Egemaps:
    """The 25 low-level descriptors of eGeMAPS, 20 steps a second: the mean of five of its frames.

    Loudness, slopes and flux of the spectrum, four cepstra, pitch, jitter, shimmer, harmonics and three formants.
    Jitter and shimmer depend a little on where a window of 30 s begins: periods of the voice are counted from there on.

    Raises:
        MERError: If openSMILE is not installed.

    References:
        Eyben et al., "The Geneva minimalistic acoustic parameter set (GeMAPS) for voice research and affective
        computing", IEEE Transactions on Affective Computing 7(2), 2016.
    """

    def __init__(self) -> None:
        library = _need_library()
        self._smile: Any = library.Smile(
            feature_set=getattr(library.FeatureSet, SET), feature_level=library.FeatureLevel.LowLevelDescriptors
        )
        versions = f"opensmile {library.__version__}"
        self.spec = FeatureSpec("egemaps", SET, "", "mean", sound.RATE / sound.STEP, DIM, versions)

    def encode(self, samples: Iterator[npt.NDArray[np.float32]]) -> Features:
        """See :class:`~mer_zoo.clips.encoders.SoundEncoder`."""
        found, peak = [], 0.0
        for x, lead, length in sound.windows(samples, BODY, CONTEXT, sound.STEP):
            peak = max(peak, float(np.abs(x).max(initial=0)))
            found.append(self._window(x, lead, length))
        return np.concatenate(found) if peak >= SILENCE else np.zeros((0, DIM), np.float32)

    def _window(self, x: npt.NDArray[np.float32], lead: int, length: int) -> Features:
        x = np.pad(x, (0, max(0, lead + length + CONTEXT - len(x))))  # its last frames look 60 ms ahead
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frames = self._smile.process_signal(x, sound.RATE).to_numpy(np.float32)
        own = frames[lead // sound.HOP : (lead + length) // sound.HOP]
        steps: Features = own.reshape(-1, sound.STEP // sound.HOP, DIM).mean(1)
        return steps


def _need_library() -> Any:
    try:
        import opensmile
    except ImportError:
        raise MERError(
            "audio egemaps is made by openSMILE, which is not installed; pip install opensmile, if its licence lets"
            " you: audEERING allows no commercial use"
        ) from None
    return opensmile
