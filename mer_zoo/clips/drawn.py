"""A voice and a face that are made up: what an emotion does to them is known, since nothing else is in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["draw_face", "speak"]

RATE = 16_000
PITCH, SYLLABLE, LOUDNESS = 150.0, 0.16, 0.12  # Hz, seconds, of the full scale, at mood 0
HIGHER, FASTER, LOUDER = 0.12, 0.08, 0.15  # what a mood of 1 adds, as exponents
FORMANTS = {"a": (800, 1200), "e": (500, 1900), "i": (300, 2300), "o": (500, 900), "u": (300, 700)}
BANDWIDTH, HIGHEST = 120.0, 4000.0
SIDE = 96

Samples = npt.NDArray[np.float32]
Frame = npt.NDArray[np.uint8]


def speak(words: Sequence[str], mood: float, rng: np.random.Generator) -> Samples:
    """Speak made-up words: of each syllable a burst of noise and a vowel with two formants.

    Args:
        words: Of syllables of two letters, a consonant and a vowel.
        mood: Above 0 the voice is higher, faster and louder, below 0 the opposite.
        rng: Of the small differences between syllables, and of the noise.

    Returns:
        (n,) samples at 16 kHz.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> sad, glad = (speak(["baba", "kiga"], mood, rng) for mood in (-2, 2))
        >>> len(sad) > len(glad), bool(np.abs(sad).mean() < np.abs(glad).mean())
        (True, True)
    """
    found = [np.zeros(RATE // 10)]
    for word in words:
        for at in range(0, len(word), 2):
            length = round(RATE * SYLLABLE * np.exp(-FASTER * mood) * rng.uniform(0.9, 1.1))
            burst = rng.normal(0, 0.2, length // 6) * np.hanning(length // 6)
            vowel = _vowel(FORMANTS[word[at + 1]], PITCH * np.exp(HIGHER * mood + rng.normal(0, 0.03)), length)
            found += [burst, vowel]
        found.append(np.zeros(RATE // 40))
    x = np.concatenate([*found, found[0]]) * LOUDNESS * np.exp(LOUDER * mood)
    spoken: Samples = np.clip(x + rng.normal(0, 1e-3, len(x)), -1, 1).astype(np.float32)
    return spoken


def _vowel(formants: tuple[int, int], pitch: float, length: int) -> npt.NDArray[np.float64]:
    hertz = np.arange(pitch, HIGHEST, pitch)
    gain = sum(1 / (1 + ((hertz - formant) / BANDWIDTH) ** 2) for formant in formants) + 0.5 / np.arange(
        1, len(hertz) + 1
    )
    x = (gain[:, None] * np.sin(2 * np.pi * hertz[:, None] * np.arange(length) / RATE)).sum(0)
    voiced: npt.NDArray[np.float64] = x * np.hanning(length) / gain.max()
    return voiced


def draw_face(mood: float, opened: float, rng: np.random.Generator) -> Frame:
    """Draw a face: the corners of the mouth and the inner ends of the brows go by the mood.

    Args:
        mood: Above 0 the corners of the mouth stand higher, below 0 lower, and brows the other way.
        opened: How far the mouth is open, 0 to 1.
        rng: Of the noise of the picture.

    Returns:
        (96, 96, 3).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> draw_face(2, 0.5, rng).shape
        (96, 96, 3)
    """
    y, x = np.mgrid[:SIDE, :SIDE] / (SIDE / 2) - 1  # -1 to 1, from the top and from the left
    picture = np.full((SIDE, SIDE, 3), (90.0, 110.0, 140.0))
    picture[x**2 + (y / 1.15) ** 2 < 0.7] = (225, 185, 155)
    for side in (-1, 1):
        picture[(x - 0.3 * side) ** 2 + (y + 0.2) ** 2 < 0.006] = (30, 30, 40)
        brow = -0.42 - 0.12 * mood * (0.3 - np.abs(x))
        picture[(np.abs(x - 0.3 * side) < 0.17) & (np.abs(y - brow) < 0.03)] = (60, 40, 30)
    mouth = 0.45 - 0.6 * mood * x**2
    picture[(np.abs(x) < 0.32) & (np.abs(y - mouth) < 0.025 + 0.06 * opened)] = (130, 30, 40)
    drawn: Frame = np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
    return drawn
