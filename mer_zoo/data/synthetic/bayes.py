r"""The best possible accuracies on SyntheticMER, by Monte Carlo from its true densities.

The posterior sums over everything hidden: what the words say s, their topic z, and the place k of each shift,

.. math:: p(y \mid x) \propto p(y) \sum_z p(z \mid y) \sum_s p(s \mid y)\, p(words \mid s, z)
          \prod_{m \in \{audio, vision\}} \frac{1}{K_m} \sum_k p(x_m \mid y, k).

The *observational* predictor takes p(z | y) of the training split, the *randomised* one replaces it by p(z), as if the
topic had been drawn independently of the emotion. The latter is the aim of debiasing. Both take p(y) of the training
split, or, where labels shift, that of the split that is tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mer_zoo.batch import MODALITIES
from mer_zoo.data.synthetic.sampling import Sample, draw_sample
from mer_zoo.data.synthetic.scm import (
    CARRY,
    INNOVATION,
    Floats,
    Ints,
    Parameters,
    SyntheticConfig,
    burst_length,
    draw_parameters,
    emotion_prior,
    saying_given_emotion,
    topic_given_emotion,
)

__all__ = ["Accuracy", "Predictor", "Prior", "bayes_accuracy", "log_posterior", "log_sequence", "log_text"]

Predictor = Literal["observational", "randomised"]
Prior = Literal["training", "test"]

CHUNK = 4000  # samples held at a time
FRESH_SEED = 1_000_000  # samples are none of those that small seeds put into a corpus


@dataclass(frozen=True)
class Accuracy:
    """Accuracies of a predictor, as fractions.

    Args:
        three: Over three classes, all samples.
        non_neutral: On the samples that are not neutral; saying neutral there is an error (Acc2_non0).
        three_error: Standard error of the Monte Carlo estimate of ``three``.
        non_neutral_error: Standard error of the Monte Carlo estimate of ``non_neutral``.
    """

    three: float
    non_neutral: float
    three_error: float
    non_neutral_error: float


def _log_sum_exp(x: Floats, axis: int) -> Floats:
    top = x.max(axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        total: Floats = np.log(np.exp(x - top).sum(axis)) + top.squeeze(axis)
    return total


def log_text(words: Ints, parameters: Parameters) -> Floats:
    """Log-likelihood of the words given s and z, up to the probability of the length.

    Args:
        words: (N, L) words counted from 0, -1 behind the text.
        parameters: What all splits share.

    Returns:
        (N, C + 1, C): for each saying (the last: nothing) and each topic.
    """
    with np.errstate(divide="ignore"):
        table = np.log(parameters.words())
    silent = np.zeros((*table.shape[:2], 1))  # word -1, behind the text, changes nothing
    table = np.concatenate([table, silent], axis=2)
    total: Floats = table[:, :, words].sum(-1).transpose(2, 0, 1)
    return total


def log_sequence(x: Floats, mean: Floats, strength: float, reliability: float) -> Floats:
    """Log-likelihood ratio, emotion y against no shift, of a sequence with a third of its frames shifted somewhere.

    Args:
        x: (N, T, d) sequences.
        mean: (C, d) direction of each emotion.
        strength: Size of the shift.
        reliability: Probability that there is a shift.

    Returns:
        (N, C).
    """
    frames = x.shape[1]
    block = burst_length(frames)
    start = np.arange(frames - block + 1)[:, None]
    time = np.arange(frames)
    inside = ((time >= start) & (time < start + block)).astype(np.float64)
    profile = _whiten(inside[..., None])[..., 0]
    shift = strength * mean
    projected = np.einsum("kt,ntd->nkd", profile, _whiten(x), optimize=True) @ shift.T
    energy = (profile**2).sum(1)[:, None] * (shift**2).sum(1)
    ratio = _log_sum_exp(projected - energy / 2, axis=1) - np.log(len(start))
    with np.errstate(divide="ignore"):
        mixed: Floats = np.logaddexp(np.log(1 - reliability), np.log(reliability) + ratio)
    return mixed


def _whiten(x: Floats) -> Floats:
    """Turn (N, T, d) AR(1) noise back into its independent innovations of unit variance."""
    rest = (x[:, 1:] - CARRY * x[:, :-1]) / INNOVATION
    return np.concatenate([x[:, :1], rest], axis=1)


def log_posterior(
    config: SyntheticConfig,
    sample: Sample,
    predictor: Predictor,
    modalities: Sequence[str] = MODALITIES,
    topic_known: bool = False,
    prior: Prior = "training",
) -> Floats:
    """Joint log-probability of y and what is seen, up to a term that is the same for every y.

    Args:
        config: The causal model (``aligned`` is ignored: the sequences are seen unpooled).
        sample: What is seen.
        predictor: ``observational`` (p(z | y) of the training split) or ``randomised`` (p(z)).
        modalities: The modalities that are seen.
        topic_known: Whether the topic is seen as well, beside its words.
        prior: Whose p(y): of ``training``, or of the ``test`` splits.

    Returns:
        (N, C) scores; their argmax is the best prediction.
    """
    parameters = draw_parameters(config.parameter_seed)
    split = "train" if predictor == "observational" else "test_rct"
    with np.errstate(divide="ignore"):
        emotion = np.log(emotion_prior(config, "train" if prior == "training" else "test_iid"))
        topic = np.log(topic_given_emotion(config.rho, split, emotion_prior(config, "train")))
        saying = np.log(saying_given_emotion(config.sarcasm, config.text_reliability))
    size = len(sample.words)
    text = log_text(sample.words, parameters) if "text" in modalities else np.zeros((size, *saying.T.shape))
    joint = _log_sum_exp(saying[None, :, :, None] + text[:, None], axis=2) + topic
    known = np.take_along_axis(joint, sample.latents.topic[:, None, None], 2)[..., 0]
    score: Floats = emotion + (known if topic_known else _log_sum_exp(joint, axis=2))
    if "audio" in modalities:
        strength, reliability = config.audio_strength, config.audio_reliability
        score = score + log_sequence(sample.audio, parameters.audio_mean, strength, reliability)
    if "vision" in modalities:
        strength, reliability = config.vision_strength, config.vision_reliability
        score = score + log_sequence(sample.vision, parameters.vision_mean, strength, reliability)
    return score


def bayes_accuracy(
    config: SyntheticConfig,
    split: str,
    predictor: Predictor,
    samples: int = 100_000,
    modalities: Sequence[str] = MODALITIES,
    topic_known: bool = False,
    prior: Prior = "training",
) -> Accuracy:
    """Accuracy of the best predictor on fresh samples of a split.

    Args:
        config: The causal model.
        split: Where the samples come from.
        predictor: See :func:`log_posterior`.
        samples: Number of Monte Carlo samples.
        modalities: The modalities that are seen.
        topic_known: Whether the topic is seen as well.
        prior: See :func:`log_posterior`.

    Returns:
        The accuracies and their standard errors.

    Example:
        >>> best = bayes_accuracy(SyntheticConfig(), "test_rct", "randomised", samples=2000)
        >>> 0.6 < best.three < 1.0
        True
    """
    parameters = draw_parameters(config.parameter_seed)
    truth, right = [], []
    for start in range(0, samples, CHUNK):
        fresh = replace(config, seed=config.seed + FRESH_SEED + start)
        sample = draw_sample(fresh, parameters, split, min(CHUNK, samples - start))
        guess = log_posterior(config, sample, predictor, modalities, topic_known, prior).argmax(1)
        truth.append(sample.latents.emotion)
        right.append(guess == sample.latents.emotion)
    hits, charged = np.concatenate(right), np.concatenate(truth) != 1
    three, non_neutral = float(hits.mean()), float(hits[charged].mean())
    errors = (np.sqrt(p * (1 - p) / n) for p, n in ((three, len(hits)), (non_neutral, int(charged.sum()))))
    return Accuracy(three, non_neutral, *(float(error) for error in errors))
