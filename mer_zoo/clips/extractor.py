"""From one clip to features: every modality by its encoder, and what is not there is missing, not zero."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from mer_zoo.clips.clip import Clip, ClipFeatures
from mer_zoo.clips.encoders import SoundEncoder, WordEncoder
from mer_zoo.clips.media import Media, need_av
from mer_zoo.clips.settings import NONE, Settings
from mer_zoo.clips.speech import Recogniser
from mer_zoo.clips.views import View
from mer_zoo.clips.words import (
    Times,
    Word,
    between_neighbours,
    pool_to_words,
    seen_during,
    times_of,
    times_of_transcript,
)
from mer_zoo.errors import MERError
from mer_zoo.feature_spec import FeatureSpec

__all__ = ["Extractor"]

T = TypeVar("T")
UNHEARD, UNTOLD, EMPTY = NO_WORDS = "no speech was heard", "no transcript", "no words"  # faults


class Extractor:
    """Makes features of clips, one at a time.

    Args:
        settings: Which encoders.
        beat: See :class:`~mer_zoo.clips.media.Media`.

    Raises:
        MERError: If what decodes recordings is not installed.

    Example:
        >>> from pathlib import Path
        >>> extractor = Extractor(Settings(audio="none", vision="none"))
        >>> extractor(Clip(Path("hello.mp4"), text="so good")).features["text"].shape
        (2, 128)
    """

    def __init__(self, settings: Settings | None = None, beat: Callable[[float], None] = lambda _seconds: None) -> None:
        self.settings, self.beat = settings or Settings(), beat
        if (self.settings.audio, self.settings.vision) != (NONE, NONE) or self.settings.speech is not None:
            need_av()
        self.speech = None if self.settings.speech is None else Recogniser(self.settings.speech)
        self.text = self.settings.text_encoder()
        self.audio = self.settings.audio_encoder()
        self.vision = self.settings.view()

    @property
    def specs(self) -> dict[str, FeatureSpec]:
        """What makes the features, by modality."""
        encoders: dict[str, WordEncoder | SoundEncoder | View | None] = {
            "text": self.text,
            "audio": self.audio,
            "vision": self.vision,
        }
        found = {key: encoder.spec for key, encoder in encoders.items() if encoder is not None}
        if self.speech is None:
            return found
        aligned = self.settings.aligned
        return {
            key: replace(spec, aligned=aligned and key != "text", speech=self.speech.spec)
            if aligned or key == "text"
            else spec
            for key, spec in found.items()
        }

    def __call__(self, clip: Clip) -> ClipFeatures:
        """Make the features of a clip.

        Args:
            clip: The clip.

        Returns:
            The features of all modalities that were observed, and what is wrong.

        Raises:
            MERError: If nothing in it can be used; the message has no name in front.
        """
        _check_interval(clip)
        return self.describe(Media(clip, self.settings.longest, self.beat))

    def describe(self, media: Media) -> ClipFeatures:
        """Make the features of streams.

        Args:
            media: The streams of a clip.

        Returns:
            As for a clip.

        Raises:
            MERError: If nothing in them can be used.
        """
        clip, found = media.clip, ClipFeatures()
        heard: list[Word] = []
        samples = self._undamaged(media.sound(), "sound", media, found)
        if self.speech is not None and self._is_heard(clip):
            samples = self.speech.listen(samples, heard)
        if self.audio is not None:
            x = self.audio.encode(samples)
            self._keep("audio", x, "no sound" if "audio" not in media.read else "nothing but silence", found)
        elif self.speech is not None and self._is_heard(clip):
            deque(samples, maxlen=0)
        if self.vision is not None:
            guard = partial(self._undamaged, what="pictures", media=media, found=found)
            x = self.vision.features(media, guard, found.faults)
            self._keep("vision", x, "no face" if "video" in media.read else "no pictures", found)
        found.seconds = max(media.read.values(), default=0.0)
        self._read(clip, heard, found)
        if self.settings.aligned:
            self._align(found)
        if not found.features:
            raise MERError(f"nothing in it can be used: {', '.join(found.faults)}; give another clip")
        if media.may_be_cut and media.goes_on:
            found.faults.append(f"it is cut after {media.seconds:g} s (longest)")
        if clip.end is not None and found.seconds < media.seconds - 0.5:
            found.faults.append(f"it ends {media.seconds - found.seconds:.1f} s before its stated end")
        return found

    def _is_heard(self, clip: Clip) -> bool:
        """Whether a clip is listened to."""
        hearing = self.settings.speech
        return hearing is not None and (clip.text is None or hearing.beside or self.settings.aligned)

    def _read(self, clip: Clip, heard: Sequence[Word], found: ClipFeatures) -> None:
        """The text: the transcript where there is one, else what was heard."""
        spoken = [word.text for word in heard]
        words = spoken if clip.text is None else clip.text.split()
        found.text = " ".join(spoken) if clip.text is None else clip.text
        if self._is_heard(clip):
            times = times_of(heard) if clip.text is None else times_of_transcript(words, heard)
            found.times = between_neighbours(times, found.seconds)
        if self.text is not None:
            unheard = UNHEARD if self._is_heard(clip) else UNTOLD
            self._keep("text", self.text.encode(words), unheard if clip.text is None else EMPTY, found)
        if self.settings.speech is not None and self.settings.speech.beside:
            found.heard = " ".join(spoken)
            if self.text is not None and spoken:
                found.heard_features = self.text.encode(spoken)

    def _align(self, found: ClipFeatures) -> None:
        """Pool audio and vision to the words; where there are none, the whole clip is one."""
        times: Times = np.zeros((0, 2)) if found.times is None else found.times
        if not len(times):
            times = np.array([[0.0, max(found.seconds, 1e-3)]])
        for key, encoder in (("audio", self.audio), ("vision", self.vision)):
            if encoder is not None and key in found.features:
                pooled = pool_to_words(found.features[key], encoder.spec.rate, times)
                if key == "vision" and self.vision is not None and self.vision.seen is not None:
                    pooled[~seen_during(times, *self.vision.seen)] = 0
                if pooled.any():
                    found.features[key] = pooled
                else:
                    del found.features[key]
                    found.faults.append(f"no {key} during its words")

    def _keep(self, key: str, x: npt.NDArray[np.float32], lacking: str, found: ClipFeatures) -> None:
        if not len(x):
            found.faults.append(lacking)
        elif not np.isfinite(x).all():
            found.faults.append(f"its {key} features are not finite")
        else:
            found.features[key] = x

    def _undamaged(self, pieces: Iterator[T], what: str, media: Media, found: ClipFeatures) -> Iterator[T]:
        """All pieces up to a damage, of which the faults tell."""
        av: Any = need_av()
        try:
            yield from pieces
        except MERError:
            raise
        except (av.FFmpegError, ValueError, OverflowError) as error:
            read = media.read.get("audio" if what == "sound" else "video", 0.0)
            reason = getattr(error, "strerror", None) or error
            fault = f"its {what} are damaged after {read:.1f} s ({reason})".replace("sound are", "sound is")
            if fault not in found.faults:  # of pictures that are decoded twice
                found.faults.append(fault)


def _check_interval(clip: Clip) -> None:
    if not 0 <= clip.start < 1e6 or (clip.end is not None and not clip.start < clip.end < 1e6):
        raise MERError(f"it goes from {clip.start:g} to {clip.end} s; give a start from 0 on, and an end behind it")
