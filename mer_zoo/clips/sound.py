"""Sound without weights, in numpy: log-mel energies, cepstra, loudness and pitch.

Frames of 25 ms every 10 ms, of which five make a step of 50 ms. As there are no weights, nothing has to be loaded, and
a worker needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import numpy.typing as npt

__all__ = ["DIM", "HOP", "RATE", "cepstra", "describe_sound", "mel_filters", "pitch", "windows"]

RATE = 16_000
FRAME, HOP, FRAMES = 400, 160, 5
STEP = HOP * FRAMES
REACH = (FRAMES - 1) * HOP + FRAME  # samples that a step looks at
MELS, CEPSTRA = 40, 13
DIM = MELS + CEPSTRA + 1 + 2
FLOOR = 1e-10
SLOWEST, FASTEST = 60.0, 400.0  # Hz of voices
VOICED = 0.45
VOICE_FRAME = 1024

Array = npt.NDArray[np.float32]


@cache
def mel_filters(mels: int = MELS, size: int = 512, rate: int = RATE) -> Array:
    """Triangular filters, equally wide on the mel scale m = 2595 log10(1 + f / 700).

    Args:
        mels: How many.
        size: Points of the Fourier transform.
        rate: Samples a second.

    Returns:
        (mels, size // 2 + 1).

    References:
        O'Shaughnessy, "Speech Communication: Human and Machine", 1987 (the scale).

    Example:
        >>> filters = mel_filters()
        >>> filters.shape, bool((filters.sum(1) > 0).all())
        ((40, 257), True)
    """
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, mels + 2) / 2595) - 1)
    f = np.fft.rfftfreq(size, 1 / rate)
    up = (f - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - f) / (edges[2:] - edges[1:-1])[:, None]
    filters: Array = np.maximum(0, np.minimum(up, down)).astype(np.float32)
    return filters


@cache
def _cosines(mels: int, count: int) -> Array:
    n = np.arange(mels)
    rows = np.cos(np.pi / mels * (n + 0.5) * np.arange(count)[:, None]) * np.sqrt(2 / mels)
    cosines: Array = rows.astype(np.float32)
    return cosines


def cepstra(log_mel: Array, count: int = CEPSTRA) -> Array:
    """The first coefficients of the cosine transform of log-mel energies.

    Args:
        log_mel: (..., mels).
        count: How many.

    Returns:
        (..., count).

    References:
        Davis and Mermelstein, "Comparison of parametric representations for monosyllabic word recognition", IEEE TASSP
        28(4), 1980.
    """
    found: Array = log_mel @ _cosines(log_mel.shape[-1], count).T
    return found


def pitch(x: Array, rate: int = RATE) -> tuple[Array, Array]:
    """The fundamental of each frame, by the highest peak of its autocorrelation divided by that of the window.

    Args:
        x: (T, n) frames.
        rate: Samples a second.

    Returns:
        (T,) Hz, 0 where nothing is voiced, and (T,) the height of the peak, at most 1.

    References:
        Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a
        sampled sound", IFA Proceedings 17, 1993, equation (9).

    Example:
        >>> time = np.arange(1024, dtype=np.float32) / 16000
        >>> hertz, height = pitch(np.sin(2 * np.pi * 200 * time)[None])
        >>> round(float(hertz[0])), bool(height[0] > 0.9)
        (200, True)
    """
    n = x.shape[-1]
    window = np.hanning(n)
    shortest, longest = int(rate / FASTEST), min(int(rate / SLOWEST) + 1, n // 2)
    power = np.abs(np.fft.rfft((x - x.mean(-1, keepdims=True)) * window, 2 * n)) ** 2
    r = np.fft.irfft(power)[:, : longest + 1]
    r_window = np.fft.irfft(np.abs(np.fft.rfft(window, 2 * n)) ** 2)[: longest + 1]
    height = r / np.maximum(r[:, :1], FLOOR) * (r_window[0] / r_window)
    lags = np.arange(shortest, longest + 1)
    # A period counted twice correlates as well: of equal peaks the shorter lag is the fundamental's.
    scored = height[:, shortest:] - 0.01 * np.log2(lags / shortest)
    best = scored.argmax(-1)
    peak = np.clip(height[np.arange(len(x)), shortest + best], 0, 1)
    hertz = np.where(peak > VOICED, rate / lags[best], 0)
    return hertz.astype(np.float32), peak.astype(np.float32)


def describe_sound(x: Array) -> Array:
    """Describe steps of 50 ms: mean log-mel energies and cepstra of their frames, loudness, pitch and its height.

    Args:
        x: (n,) samples at 16 kHz; behind the last whole step as many as its frames reach.

    Returns:
        (T, 56), the pitch in octaves above 100 Hz, 0 where nothing is voiced.

    Example:
        >>> time = np.arange(16000, dtype=np.float32) / 16000
        >>> low, high = (describe_sound(0.3 * np.sin(2 * np.pi * hertz * time)) for hertz in (100, 200))
        >>> low.shape, round(low[5, 54].item(), 1), round(high[5, 54].item(), 1)
        ((19, 56), 0.0, 1.0)
    """
    steps = max(0, (len(x) - REACH) // STEP + 1)
    if not steps:
        return np.zeros((0, DIM), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(x, FRAME)[::HOP][: steps * FRAMES]
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME), 512)) ** 2
    log_mel = np.log(power @ mel_filters().T + FLOOR).astype(np.float32)
    energy = np.log((frames**2).mean(-1) + FLOOR).astype(np.float32)
    starts = np.arange(steps) * STEP
    padded = np.pad(x, (0, max(0, starts[-1] + VOICE_FRAME - len(x))))
    hertz, height = pitch(padded[starts[:, None] + np.arange(VOICE_FRAME)])
    octaves = np.log2(np.maximum(hertz, FLOOR) / 100, where=hertz > 0, out=np.zeros_like(hertz))
    parts = [log_mel, cepstra(log_mel), energy[:, None]]
    pooled = [part.reshape(steps, FRAMES, -1).mean(1) for part in parts]
    described: Array = np.concatenate([*pooled, octaves[:, None], height[:, None]], 1).astype(np.float32)
    return described


def windows(samples: Iterator[Array], body: int, context: int, step: int) -> Iterator[tuple[Array, int, int]]:
    """A sound of any length in windows that overlap, so that memory does not grow with it.

    Args:
        samples: Pieces of any length.
        body: Samples of a window that are its own, a multiple of ``step``.
        context: Samples that it is shown before and behind, fewer at both ends of the sound.
        step: Samples that belong together; the last window's own ones are rounded up to them.

    Yields:
        The samples of a window, how many stand before its own, and how many these are.

    Example:
        >>> pieces = iter([np.zeros(7, np.float32), np.zeros(6, np.float32)])
        >>> [(len(x), lead, length) for x, lead, length in windows(pieces, 6, 2, 3)]
        [(8, 0, 6), (9, 2, 6), (3, 2, 3)]
    """
    held, lead = np.zeros(0, np.float32), 0
    for piece in samples:
        held = np.concatenate([held, piece])
        while len(held) >= lead + body + context:
            yield held[: lead + body + context], lead, body
            held = held[lead + body - context :]
            lead = context
    while len(held) > lead:
        length = min(body, -(-(len(held) - lead) // step) * step)
        yield held[: lead + length + context], lead, length
        held = held[max(0, lead + length - context) :]
        lead = min(context, lead + length)
