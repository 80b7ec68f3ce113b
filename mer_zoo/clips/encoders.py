"""What makes steps of features: the contract, and encoders without weights that always work."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mer_zoo.clips import pictures, sound
from mer_zoo.feature_spec import FeatureSpec

__all__ = ["FrameStatistics", "HashedWords", "Mel", "PictureEncoder", "SoundEncoder", "WordEncoder"]

Features = npt.NDArray[np.float32]
PIECE = 30 * sound.RATE  # samples that are described at a time
SILENCE = 1e-4  # of the full scale, about 3 steps of 16 bits


class WordEncoder(Protocol):
    """Turns what was said into steps."""

    spec: FeatureSpec

    def encode(self, words: Sequence[str]) -> Features:
        """(T, d), one step a word.

        Args:
            words: T words.
        """
        ...


class SoundEncoder(Protocol):
    """Turns sound into steps."""

    spec: FeatureSpec

    def encode(self, samples: Iterator[npt.NDArray[np.float32]]) -> Features:
        """(T, d) of a sound; T is 0 where nothing is heard.

        Args:
            samples: Pieces of any length, at 16 kHz.
        """
        ...


class PictureEncoder(Protocol):
    """Turns pictures into steps.

    Attributes:
        size: Height and width of the pictures that it takes.
    """

    spec: FeatureSpec
    size: int

    def encode(self, frames: Iterator[npt.NDArray[np.uint8]]) -> Features:
        """(T, d) of pictures; T is 0 where there are none.

        Args:
            frames: (size, size, 3), ``spec.rate`` a second.
        """
        ...


class Mel:
    """Log-mel energies, cepstra, loudness and pitch, 20 steps a second; see :mod:`mer_zoo.clips.sound`.

    Example:
        >>> wave = 0.1 * np.sin(np.arange(16000, dtype=np.float32))
        >>> Mel().encode(iter([wave[:700], wave[700:]])).shape
        (20, 56)
    """

    def __init__(self) -> None:
        versions = f"numpy {np.__version__}"
        self.spec = FeatureSpec("mel", "1", "", "mean", sound.RATE / sound.STEP, sound.DIM, versions)

    def encode(self, samples: Iterator[npt.NDArray[np.float32]]) -> Features:
        """See :class:`SoundEncoder`."""
        held: list[npt.NDArray[np.float32]] = []
        found: list[Features] = []
        count = peak = 0.0
        for piece in samples:
            held.append(piece)
            count += len(piece)
            peak = max(peak, float(np.abs(piece).max(initial=0)))
            if count >= PIECE + sound.REACH:
                x = np.concatenate(held)
                found.append(sound.describe_sound(x))
                held = [x[len(found[-1]) * sound.STEP :]]
                count = len(held[0])
        if peak < SILENCE:
            return np.zeros((0, sound.DIM), np.float32)
        rest = np.concatenate(held)
        whole = -(-len(rest) // sound.STEP) * sound.STEP + sound.REACH - sound.STEP
        found.append(sound.describe_sound(np.pad(rest, (0, max(0, whole - len(rest))))))
        return np.concatenate(found)


class FrameStatistics:
    """Brightness, contrast, movement and colour of whole pictures; see :mod:`mer_zoo.clips.pictures`.

    Args:
        rate: Pictures a second.

    Example:
        >>> FrameStatistics().encode(iter([np.zeros((64, 64, 3), np.uint8)])).shape
        (1, 50)
    """

    size = 64

    def __init__(self, rate: float = 5.0) -> None:
        self.spec = FeatureSpec("frame", "1", "", "none", rate, pictures.DIM, f"numpy {np.__version__}")

    def encode(self, frames: Iterator[npt.NDArray[np.uint8]]) -> Features:
        """See :class:`PictureEncoder`."""
        found: list[Features] = []
        before = None
        for frame in frames:
            found.append(pictures.describe_frame(frame, before))
            before = frame
        return np.stack(found) if found else np.zeros((0, pictures.DIM), np.float32)


class HashedWords:
    """Words as the sum of their letter groups, each with a random sign in a place that its hash chooses.

    Words that are spelt alike are alike; nothing is known of what they mean.

    References:
        Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009; groups of letters as in
        Bojanowski et al., "Enriching word vectors with subword information", TACL 5, 2017.

    Example:
        >>> one, two, three = HashedWords().encode(["liked", "likes", "nothing"])
        >>> bool(one @ two > one @ three)
        True
    """

    dim = 128
    groups = range(3, 6)

    def __init__(self) -> None:
        self.spec = FeatureSpec("hash", "1", "", "none", 0.0, self.dim, f"numpy {np.__version__}")

    def encode(self, words: Sequence[str]) -> Features:
        """See :class:`WordEncoder`."""
        return np.stack([self._word(w.lower()) for w in words]) if words else np.zeros((0, self.dim), np.float32)

    def _word(self, word: str) -> Features:
        whole = f"<{word}>"
        parts = {whole, *(whole[at : at + n] for n in self.groups for at in range(len(whole) - n + 1))}
        x = np.zeros(self.dim, np.float32)
        for part in sorted(parts):
            place = zlib.crc32(part.encode("utf-8", "replace"))
            x[place % self.dim] += 1 if place >> 31 else -1
        norm = np.linalg.norm(x)
        if not norm:  # all groups of a word met another with the other sign
            x[zlib.crc32(whole.encode("utf-8", "replace")) % self.dim] = norm = np.float32(1)
        scaled: Features = x / norm
        return scaled
