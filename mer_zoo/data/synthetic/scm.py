r"""The structural causal model behind SyntheticMER: its numbers, its tables of probabilities, its parameters.

The graph, with emotion Y, topic Z and what the words say S::

    Z <~~> Y        correlated, no arrow between them
    Z -> words      S -> words      Y -> S      Y -> audio      Y -> vision

Every number in this module is fixed by the definition of the corpus (docs/synthetic.md); what may be varied stands in
:class:`SyntheticConfig`. ``sampling.py`` draws from the model, ``bayes.py`` inverts it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mer_zoo.errors import MERError

__all__ = [
    "SPLITS",
    "Parameters",
    "SyntheticConfig",
    "draw_parameters",
    "emotion_prior",
    "saying_given_emotion",
    "topic_given_emotion",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SPLITS = ("train", "valid", "test_iid", "test_ood", "test_rct")
EMOTION_PRIOR = np.array([0.40, 0.15, 0.45])  # negative, neutral, positive
POSITIVE_SHARE = float(EMOTION_PRIOR[2] / (EMOTION_PRIOR[0] + EMOTION_PRIOR[2]))  # of the samples not neutral
CLASSES = 3

FIRST_WORD = 200  # token id of word 0
SENTIMENT_WORDS, TOPIC_WORDS, FILLER_WORDS = 300, 12, 400  # a class, a topic, in all
VOCABULARY = CLASSES * (SENTIMENT_WORDS + TOPIC_WORDS) + FILLER_WORDS
SENTIMENT_SHARE, TOPIC_SHARE = 0.12, 0.30
MIN_WORDS, MAX_WORDS = 8, 24

AUDIO_SHAPE, VISION_SHAPE = (40, 8), (30, 10)
CARRY, INNOVATION = 0.8, 0.6  # 0.8^2 + 0.6^2 = 1: the noise has unit variance


@dataclass(frozen=True)
class SyntheticConfig:
    """What may be varied in SyntheticMER; the defaults are the corpus that figures are quoted for.

    Args:
        rho: Probability that the topic agrees with the emotion in train, valid and test_iid, and that it disagrees in
            test_ood. At 1/3 the training splits have no confounding.
        sarcasm: Probability that the words say another class than the emotion.
        train: Samples of the training split.
        valid: Samples of the validation split.
        test: Samples of each of the three test splits.
        audio_strength: Size of the emotion's shift in audio, in deviations of the noise.
        vision_strength: Size of the emotion's shift in vision.
        text_reliability: Probability that a text has sentiment words at all (filler stands in their place otherwise).
        audio_reliability: Probability that audio carries the shift.
        vision_reliability: Probability that vision carries the shift.
        aligned: Pool audio and vision to the words of the text.
        seed: Seed of the samples.
        parameter_seed: Seed of the class means and of the word frequencies, which all splits share.
        positive_share: Share of positive samples among those that are not neutral; that of P(Y) = .40, .15, .45, which
            is .529, when left out. The share of neutral samples stays .15.
        label_shift: What the test splits have more of it than training and validation, which are the same whatever it
            is; everything given the emotion stays, too.

    Raises:
        MERError: For a probability outside [0, 1], a size below 1, a negative seed or a negative strength, or a label
            shift that leaves no share in [0, 1].

    Example:
        >>> SyntheticConfig(rho=0.9).size("test_ood")
        1000
    """

    rho: float = 0.8
    sarcasm: float = 0.15
    train: int = 2000
    valid: int = 400
    test: int = 1000
    audio_strength: float = 0.32
    vision_strength: float = 0.24
    text_reliability: float = 1.0
    audio_reliability: float = 1.0
    vision_reliability: float = 1.0
    aligned: bool = False
    seed: int = 0
    parameter_seed: int = 0
    positive_share: float | None = None
    label_shift: float = 0.0

    def __post_init__(self) -> None:
        for name in ("rho", "sarcasm", "text_reliability", "audio_reliability", "vision_reliability"):
            if not 0 <= getattr(self, name) <= 1:
                raise MERError(f"{name} is {getattr(self, name)}; a probability lies in [0, 1]")
        for name in ("train", "valid", "test"):
            if getattr(self, name) < 1:
                raise MERError(f"{name} is {getattr(self, name)}; a split needs at least 1 sample")
        for name in ("audio_strength", "vision_strength", "seed", "parameter_seed"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise MERError(f"{name} is {getattr(self, name)}; give a finite number that is not negative")
        share = POSITIVE_SHARE if self.positive_share is None else self.positive_share
        if not 0 <= share <= 1:
            raise MERError(f"positive_share is {share}; a share lies in [0, 1]")
        if not -share <= self.label_shift <= 1 - share:
            raise MERError(
                f"label_shift is {self.label_shift}; the positive share in training is {share:.3f}, give a number from"
                f" {-share:.3f} to {1 - share:.3f}"
            )

    def size(self, split: str) -> int:
        """Number of samples of a split."""
        return {"train": self.train, "valid": self.valid}.get(check_split(split), self.test)


@dataclass(frozen=True)
class Parameters:
    """What all splits share; V words, C = 3 classes.

    Args:
        sentiment: (C, V) frequencies of the sentiment words of each class.
        topic: (C, V) frequencies of the topic words of each topic.
        filler: (V,) frequencies of the filler words.
        audio_mean: (C, 8) direction of each emotion in audio.
        vision_mean: (C, 10) direction of each emotion in vision.
    """

    sentiment: Floats
    topic: Floats
    filler: Floats
    audio_mean: Floats
    vision_mean: Floats

    def words(self) -> Floats:
        """(C + 1, C, V) frequencies of the words given what they say and the topic; the last row says nothing."""
        filler = (1 - SENTIMENT_SHARE - TOPIC_SHARE) * self.filler
        says = np.vstack([SENTIMENT_SHARE * self.sentiment, SENTIMENT_SHARE * self.filler])
        words: Floats = says[:, None] + TOPIC_SHARE * self.topic[None] + filler
        return words


def check_split(split: str) -> str:
    """Return the name of a split, or refuse it."""
    if split not in SPLITS:
        raise MERError(f"SyntheticMER has no split {split!r}; it has {', '.join(SPLITS)}")
    return split


def emotion_prior(config: SyntheticConfig, split: str) -> Floats:
    """P(Y) of a split.

    Args:
        config: The causal model.
        split: Name of the split.

    Returns:
        (C,) probabilities.

    Example:
        >>> shifted = SyntheticConfig(label_shift=-0.2)
        >>> emotion_prior(shifted, "train").tolist(), emotion_prior(shifted, "test_ood").round(2).tolist()
        ([0.4, 0.15, 0.45], [0.57, 0.15, 0.28])
    """
    shift = config.label_shift if check_split(split).startswith("test") else 0.0
    if config.positive_share is None and not shift:
        same: Floats = EMOTION_PRIOR.copy()  # to the last bit: the default does not hang on how a share is rounded
        return same
    share = min(max((POSITIVE_SHARE if config.positive_share is None else config.positive_share) + shift, 0.0), 1.0)
    neutral = EMOTION_PRIOR[1]
    prior: Floats = np.array([(1 - neutral) * (1 - share), neutral, (1 - neutral) * share])
    return prior


def topic_given_emotion(rho: float, split: str, prior: Floats = EMOTION_PRIOR) -> Floats:
    """P(Z | Y) of a split.

    Args:
        rho: See :class:`SyntheticConfig`.
        split: Name of the split.
        prior: (C,) P(Y) of the training split, whose P(Z) test_rct has.

    Returns:
        (C, C) probabilities, one row an emotion.

    Example:
        >>> topic_given_emotion(0.8, "train").round(2).tolist()
        [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]
        >>> topic_given_emotion(0.8, "test_rct")[0].round(3).tolist()
        [0.38, 0.205, 0.415]
    """
    agree = 1 - rho if check_split(split) == "test_ood" else rho
    table: Floats = np.full((CLASSES, CLASSES), (1 - agree) / (CLASSES - 1))
    np.fill_diagonal(table, agree)
    if split == "test_rct":
        return np.tile(prior @ table, (CLASSES, 1))
    return table


def saying_given_emotion(sarcasm: float, reliability: float = 1.0) -> Floats:
    """P(S | Y), the last column for a text that says nothing.

    Args:
        sarcasm: See :class:`SyntheticConfig`.
        reliability: The text's reliability.

    Returns:
        (C, C + 1) probabilities, one row an emotion.
    """
    table: Floats = np.full((CLASSES, CLASSES), sarcasm / (CLASSES - 1))
    np.fill_diagonal(table, 1 - sarcasm)
    return np.hstack([reliability * table, np.full((CLASSES, 1), 1 - reliability)])


def burst_length(frames: int) -> int:
    """Number of frames, a third of all, that carry the emotion."""
    return frames // 3


def draw_parameters(seed: int) -> Parameters:
    """Draw the class means and which words are frequent.

    Args:
        seed: The parameter seed.

    Example:
        >>> draw_parameters(0).words().sum(-1).round(6).min().item()
        1.0
    """
    rng = np.random.default_rng([seed, 0])
    sentiment, topic = np.zeros((CLASSES, VOCABULARY)), np.zeros((CLASSES, VOCABULARY))
    for c in range(CLASSES):
        start = c * SENTIMENT_WORDS
        sentiment[c, start : start + SENTIMENT_WORDS] = rng.permutation(_zipf(SENTIMENT_WORDS, 0.5))
        start = CLASSES * SENTIMENT_WORDS + c * TOPIC_WORDS
        topic[c, start : start + TOPIC_WORDS] = _zipf(TOPIC_WORDS, 0.0)
    filler = np.zeros(VOCABULARY)
    filler[-FILLER_WORDS:] = rng.permutation(_zipf(FILLER_WORDS, 1.0))
    means = (rng.standard_normal((CLASSES, shape[1])) for shape in (AUDIO_SHAPE, VISION_SHAPE))
    return Parameters(sentiment, topic, filler, *means)


def _zipf(size: int, exponent: float) -> Floats:
    weights = np.arange(1, size + 1, dtype=np.float64) ** -exponent
    shares: Floats = weights / weights.sum()
    return shares
