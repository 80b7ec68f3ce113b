"""Features of what is going on: sound and pictures come in pieces, and the last seconds are described at any time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.clips.clip import Clip, ClipFeatures
from mer_zoo.clips.extractor import Extractor
from mer_zoo.clips.media import MOST_PIXELS, RATE, Media, need_av
from mer_zoo.errors import MERError

__all__ = ["Stream"]

SLOWEST, FASTEST = 1000, 384_000  # samples a second


class Stream:
    """The last seconds of sound and pictures that come in pieces, described as a clip of them would be.

    Nothing older is kept: memory holds so many seconds of sound at 16 kHz, and of pictures no more a second than the
    extractor looks at. What comes out goes into :meth:`mer_zoo.demo.Predictor.answer`, as features of a clip do.

    Args:
        extractor: What describes them.
        seconds: How many are described, at most as many as the extractor reads of a clip.

    Raises:
        MERError: For other seconds, or where PyAV is not installed.

    Example:
        >>> from mer_zoo.clips import Settings
        >>> stream = Stream(Extractor(Settings(vision="none")), seconds=2.0)
        >>> for piece in np.split(0.1 * np.sin(np.arange(64000)), 40):
        ...     stream.hear(piece, rate=16000)
        >>> stream.now, stream.features("so good").features["audio"].shape
        (4.0, (40, 56))
    """

    def __init__(self, extractor: Extractor, seconds: float = 10.0) -> None:
        longest = extractor.settings.longest
        if not 0 < seconds <= longest:
            raise MERError(
                f"seconds is {seconds:g}; give seconds above 0, at most {longest:g}, which the extractor reads"
            )
        self._av = need_av()
        self.extractor, self.seconds = extractor, seconds
        self._most = max(extractor.settings.fps, extractor.settings.faces_fps)
        self._sound: deque[npt.NDArray[np.float32]] = deque()
        self._pictures: deque[tuple[float, npt.NDArray[np.uint8]]] = deque()
        self._held = self._heard = 0
        self._seen, self._rate = -math.inf, 0
        self._resampler: Any = None

    @property
    def now(self) -> float:
        """Seconds since the beginning, as far as anything came."""
        return max(self._heard / RATE, self._seen, 0.0)

    def hear(self, samples: npt.NDArray[Any], rate: int) -> None:
        """Take a piece of sound, which follows the one before.

        Args:
            samples: (n,) or (n, channels), int16, or floats of which 1 is the loudest.
            rate: Samples a second, the same in all pieces.

        Raises:
            MERError: For another shape or type, or a rate that changes.
        """
        x = np.asarray(samples)
        if x.ndim not in (1, 2) or x.dtype.kind not in "fi" or (x.dtype.kind == "i" and x.dtype != np.int16):
            raise MERError(f"sound is {x.dtype} of shape {x.shape}; give int16 or floats of (n,) or (n, channels)")
        if not SLOWEST <= rate <= FASTEST or self._rate not in (0, rate):
            raise MERError(f"rate is {rate}; give samples a second, the same in all pieces")
        self._rate = rate
        x = x.astype(np.float32) / (2**15 if x.dtype == np.int16 else 1)
        x = np.nan_to_num(x if x.ndim == 1 else x.mean(1), posinf=0, neginf=0)
        if not len(x):
            return
        if self._resampler is None:
            self._resampler = self._av.AudioResampler(format="flt", layout="mono", rate=RATE)
        frame = self._av.AudioFrame.from_ndarray(np.ascontiguousarray(x[None]), format="flt", layout="mono")
        frame.sample_rate = rate
        for part in self._resampler.resample(frame):
            self._sound.append(part.to_ndarray().reshape(-1))
            self._held += len(self._sound[-1])
            self._heard += len(self._sound[-1])
        self._forget()

    def see(self, picture: npt.NDArray[np.uint8], time: float) -> None:
        """Take a picture.

        Args:
            picture: (H, W, 3) uint8, red, green and blue, upright.
            time: Seconds since the beginning of the sound at which it was taken, rising.

        Raises:
            MERError: For another shape or type, or a time before the last one.
        """
        x = np.asarray(picture)
        if x.ndim != 3 or x.shape[2] != 3 or x.dtype != np.uint8 or not 0 < x.shape[0] * x.shape[1] <= MOST_PIXELS:
            raise MERError(f"a picture is {x.dtype} of shape {x.shape}; give uint8 of (H, W, 3)")
        if not (math.isfinite(time) and time >= max(0.0, self._seen)):
            raise MERError(f"a picture is of {time} s after one of {max(0.0, self._seen):g} s; give times that rise")
        self._seen = time
        if not self._pictures or time - self._pictures[-1][0] >= 0.999 / self._most:
            self._pictures.append((time, x.copy()))
        self._forget()

    def features(self, text: str | None = None) -> ClipFeatures:
        """Describe the last seconds.

        Args:
            text: What is said in them; None where that is not known.

        Raises:
            MERError: If nothing in them can be used.
        """
        clip = Clip(Path("stream"), text=text)
        return self.extractor.describe(Media(clip, self.extractor.settings.longest, self.extractor.beat, self._frames))

    def _frames(self, kind: str) -> Iterator[tuple[float, Any]]:
        """As :class:`~mer_zoo.clips.media.Media` decodes them, counted from where the last seconds begin."""
        start = max(0.0, self.now - self.seconds)
        if kind == "audio" and self._sound:
            x = np.concatenate(self._sound)
            begin = (self._heard - len(x)) / RATE
            frame = self._av.AudioFrame.from_ndarray(x[None], format="flt", layout="mono")
            frame.sample_rate = RATE
            yield begin - start, frame
        for time, picture in list(self._pictures) if kind == "video" else ():
            yield time - start, self._av.VideoFrame.from_ndarray(picture, format="rgb24")

    def _forget(self) -> None:
        """Let go of what lies before the last seconds, but for the picture that is still seen at their beginning."""
        start = self.now - self.seconds
        while self._sound and (self._heard - self._held + len(self._sound[0])) / RATE <= start:
            self._held -= len(self._sound.popleft())
        if self._sound and self._held > 2 * self.seconds * RATE:  # a piece may be longer than what is described
            rest = self._sound.popleft()
            kept = rest[max(0, self._held - round(self.seconds * RATE)) :].copy()
            self._held -= len(rest) - len(kept)
            self._sound.appendleft(kept)
        while len(self._pictures) > 1 and self._pictures[1][0] <= start:
            self._pictures.popleft()
