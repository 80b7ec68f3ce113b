"""Drawing samples from the structural causal model of ``scm.py``: latent variables, words, sequences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mer_zoo.data.synthetic.scm import (
    AUDIO_SHAPE,
    CARRY,
    CLASSES,
    INNOVATION,
    MAX_WORDS,
    MIN_WORDS,
    SPLITS,
    VISION_SHAPE,
    VOCABULARY,
    Floats,
    Ints,
    Parameters,
    SyntheticConfig,
    burst_length,
    check_split,
    emotion_prior,
    saying_given_emotion,
    topic_given_emotion,
)

__all__ = ["Latents", "Sample", "draw_latents", "draw_sample", "stream"]

STREAMS = (
    "emotion",
    "topic",
    "saying",
    "audio start",
    "vision start",
    "words",
    "audio noise",
    "vision noise",
    "labels",
)


@dataclass(frozen=True)
class Latents:
    """The hidden variables of N samples, for analysis; no model sees them.

    Args:
        emotion: (N,) Y, in 0..2.
        topic: (N,) Z, in 0..2.
        saying: (N,) S, in 0..2, or -1 where the text says nothing.
        audio_start: (N,) first frame of the shift, or -1 where audio carries none.
        vision_start: (N,) first frame of the shift, or -1 where vision carries none.
    """

    emotion: Ints
    topic: Ints
    saying: Ints
    audio_start: Ints
    vision_start: Ints


@dataclass(frozen=True)
class Sample:
    """What can be seen of N samples, and the latent variables behind it.

    Args:
        latents: The hidden variables.
        words: (N, 24) words, counted from 0, and -1 behind the text.
        audio: (N, 40, 8) sequences.
        vision: (N, 30, 10) sequences.
    """

    latents: Latents
    words: Ints
    audio: Floats
    vision: Floats


def stream(config: SyntheticConfig, split: str, variable: str) -> np.random.Generator:
    """The random numbers of one variable of one split; changing rho, say, leaves the audio noise as it was."""
    return np.random.default_rng([config.seed, 1 + SPLITS.index(check_split(split)), STREAMS.index(variable)])


def _categorical(table: Floats, rows: Ints, rng: np.random.Generator) -> Ints:
    """Draw from row ``rows[i]`` of a (K, V) table of probabilities, for all i at once."""
    cumulative = np.cumsum(table, axis=1)
    # Laid end to end the rows form one increasing array, so that one search serves all of them.
    ends = (cumulative / cumulative[:, -1:] + np.arange(len(table))[:, None]).ravel()
    found = np.searchsorted(ends, rows + rng.random(rows.shape), side="right")
    drawn: Ints = np.minimum(found - rows * table.shape[1], table.shape[1] - 1)
    return drawn


def draw_latents(config: SyntheticConfig, split: str, size: int) -> Latents:
    """Draw Y, Z given Y, S given Y, and the places of the shifts.

    Args:
        config: The causal model.
        split: Decides P(Y), P(Z | Y) and the random stream.
        size: Number of samples.

    Returns:
        The hidden variables.
    """
    prior = emotion_prior(config, split)
    emotion = _categorical(prior[None], np.zeros(size, dtype=np.int64), stream(config, split, "emotion"))
    topics = topic_given_emotion(config.rho, split, emotion_prior(config, "train"))
    topic = _categorical(topics, emotion, stream(config, split, "topic"))
    saying = _categorical(
        saying_given_emotion(config.sarcasm, config.text_reliability), emotion, stream(config, split, "saying")
    )
    audio = _draw_start(AUDIO_SHAPE[0], config.audio_reliability, size, stream(config, split, "audio start"))
    vision = _draw_start(VISION_SHAPE[0], config.vision_reliability, size, stream(config, split, "vision start"))
    return Latents(emotion, topic, np.where(saying == CLASSES, -1, saying), audio, vision)


def _draw_start(frames: int, reliability: float, size: int, rng: np.random.Generator) -> Ints:
    start = rng.integers(0, frames - burst_length(frames) + 1, size)
    return np.where(rng.random(size) < reliability, start, -1)


def draw_sample(config: SyntheticConfig, parameters: Parameters, split: str, size: int) -> Sample:
    """Draw the latent variables of a split and what can be seen of them.

    Args:
        config: The causal model.
        parameters: What all splits share.
        split: Name of the split.
        size: Number of samples.

    Returns:
        Words, audio and vision with their latent variables.
    """
    latents = draw_latents(config, split, size)
    audio_shift = config.audio_strength * parameters.audio_mean[latents.emotion]
    vision_shift = config.vision_strength * parameters.vision_mean[latents.emotion]
    return Sample(
        latents,
        _draw_words(latents, parameters, stream(config, split, "words")),
        _draw_sequence(latents.audio_start, audio_shift, AUDIO_SHAPE[0], stream(config, split, "audio noise")),
        _draw_sequence(latents.vision_start, vision_shift, VISION_SHAPE[0], stream(config, split, "vision noise")),
    )


def _draw_words(latents: Latents, parameters: Parameters, rng: np.random.Generator) -> Ints:
    length = rng.integers(MIN_WORDS, MAX_WORDS + 1, len(latents.emotion))
    row = latents.saying % (CLASSES + 1) * CLASSES + latents.topic
    rows = np.broadcast_to(row[:, None], (len(row), MAX_WORDS))
    words = _categorical(parameters.words().reshape(-1, VOCABULARY), rows, rng)
    return np.where(np.arange(MAX_WORDS) < length[:, None], words, -1)


def _draw_sequence(start: Ints, shift: Floats, frames: int, rng: np.random.Generator) -> Floats:
    """AR(1) noise of unit variance, and ``shift`` (N, d) added to a third of the frames from ``start`` (N,) on."""
    x = rng.standard_normal((frames, *shift.shape))
    for t in range(1, frames):
        x[t] = CARRY * x[t - 1] + INNOVATION * x[t]
    time = np.arange(frames)[:, None]
    inside = (start >= 0) & (time >= start) & (time < start + burst_length(frames))
    x += inside[..., None] * shift
    samples: Floats = x.swapaxes(0, 1)
    return samples
