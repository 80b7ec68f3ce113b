"""SyntheticMER as a corpus: token ids, sequences and labels drawn from the structural causal model of ``scm.py``."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from mer_zoo.batch import DataSpec
from mer_zoo.data.corpus.corpus import Corpus, SplitData
from mer_zoo.data.corpus.meaning import IEMOCAP_EMOTIONS, MOSI_RANGE, Meaning
from mer_zoo.data.store.fingerprint import splits_sha256
from mer_zoo.data.synthetic.sampling import Latents, Sample, draw_latents, draw_sample, stream
from mer_zoo.data.synthetic.scm import (
    FIRST_WORD,
    SENTIMENT_WORDS,
    SPLITS,
    VOCABULARY,
    Floats,
    Ints,
    Parameters,
    SyntheticConfig,
    draw_parameters,
)
from mer_zoo.errors import MERError

__all__ = ["LabelForm", "SyntheticConfig", "generate", "latents", "made_up_word"]

LabelForm = Literal["classes", "continuous", "emotions"]

TOKENS = DataSpec(tokens=True)  # the ids of the special tokens
CONSONANTS, VOWELS = "bdfgklmnprst", "aeiou"
SYLLABLES = [consonant + vowel for consonant in CONSONANTS for vowel in VOWELS]


def generate(config: SyntheticConfig | None = None, labels: LabelForm = "classes") -> Corpus:
    """Draw all splits of SyntheticMER; the same configuration always gives the same corpus.

    Args:
        config: The causal model.
        labels: ``classes`` (0 negative, 1 neutral, 2 positive), ``continuous`` (sentiment in [-3, 3] whose sign is the
            class) or ``emotions`` (neutral, happy, sad, angry as 0/1); see docs/synthetic.md.

    Returns:
        Splits train, valid, test_iid, test_ood and test_rct: token ids (N, 26), audio (N, 40, 8) and vision
        (N, 30, 10), or all three on the text's 26 steps with ``config.aligned``.

    Raises:
        MERError: For an unknown form of labels.

    Example:
        >>> corpus = generate(SyntheticConfig(train=8, valid=4, test=4))
        >>> corpus.split("train").features["audio"].shape, corpus.split("test_ood").ids[0]
        ((8, 40, 8), 'test_ood_00000')
    """
    if labels not in get_args(LabelForm):
        raise MERError(f"labels is {labels!r}; choose from {', '.join(get_args(LabelForm))}")
    config = config or SyntheticConfig()
    parameters = draw_parameters(config.parameter_seed)
    splits = {split: _split(config, parameters, split, labels) for split in SPLITS}
    source = f"SyntheticMER(rho={config.rho:g}, sarcasm={config.sarcasm:g}, seed={config.seed}{_labels_told(config)})"
    vocab_size = FIRST_WORD + VOCABULARY
    meaning = Meaning("emotions", names=IEMOCAP_EMOTIONS) if labels == "emotions" else Meaning("sentiment", MOSI_RANGE)
    fingerprint = splits_sha256(splits)
    return Corpus(splits, config.aligned, source, vocab_size=vocab_size, sha256=fingerprint, meaning=meaning)


def latents(config: SyntheticConfig, split: str) -> Latents:
    """The hidden variables behind a split of :func:`generate`, for analysis.

    Args:
        config: The causal model that the corpus was drawn from.
        split: Name of the split.

    Returns:
        One entry a sample, in the order of the split.

    Raises:
        MERError: For an unknown split.

    Example:
        >>> hidden = latents(SyntheticConfig(), "test_ood")
        >>> bool((hidden.topic == hidden.emotion).mean() < 0.25)
        True
    """
    return draw_latents(config, split, config.size(split))


def _labels_told(config: SyntheticConfig) -> str:
    """What the name of the corpus says of P(Y), where it isn't the default."""
    share = "" if config.positive_share is None else f", positive_share={config.positive_share:g}"
    return share + (f", label_shift={config.label_shift:g}" if config.label_shift else "")


def made_up_word(word: int) -> str:
    """Spell a word, counted from 0, in two syllables.

    Example:
        >>> made_up_word(0), made_up_word(1335)
        ('baba', 'kiga')
    """
    first, second = divmod(word, len(SYLLABLES))
    return SYLLABLES[first] + SYLLABLES[second]


def _split(config: SyntheticConfig, parameters: Parameters, split: str, labels: LabelForm) -> SplitData:
    size = config.size(split)
    sample = draw_sample(config, parameters, split, size)
    length = (sample.words >= 0).sum(1)
    sequences = {"audio": sample.audio, "vision": sample.vision}
    if config.aligned:
        sequences = {name: _pool_to_words(x, length) for name, x in sequences.items()}
    stops = {name: np.full(size, x.shape[1]) for name, x in sequences.items()}
    stops = {"text": length + 2} | (dict.fromkeys(stops, length + 2) if config.aligned else stops)
    vocabulary = np.array([made_up_word(word) for word in range(VOCABULARY)], dtype=object)
    return SplitData(
        # a sample in one piece: batches gather samples, while the drawing went step by step
        features={name: np.ascontiguousarray(x, dtype=np.float32) for name, x in sequences.items()},
        spans={name: np.stack([np.zeros(size), stop], 1).astype(np.int32) for name, stop in stops.items()},
        token_ids=_token_ids(sample.words, length),
        labels=_labels(labels, sample, stream(config, split, "labels")),
        ids=[f"{split}_{i:05d}" for i in range(size)],
        raw_text=[" ".join(vocabulary[row[row >= 0]]) for row in sample.words],
    )


def _token_ids(words: Ints, length: Ints) -> npt.NDArray[np.int32]:
    ids = np.full((len(words), words.shape[1] + 2), TOKENS.pad_id, dtype=np.int32)
    ids[:, 0] = TOKENS.cls_id
    ids[:, 1:-1] = np.where(words >= 0, FIRST_WORD + words, TOKENS.pad_id)
    ids[np.arange(len(words)), length + 1] = TOKENS.sep_id
    return ids


def _pool_to_words(x: Floats, length: Ints) -> Floats:
    """Mean of each word's equal share of the frames; [CLS], [SEP] and padding get zeros.

    Args:
        x: (N, T, d) sequences.
        length: (N,) words, at most T.

    Returns:
        (N, 26, d) sequences on the text's steps.
    """
    frames, longest = x.shape[1], length.max(initial=1)
    steps = np.minimum(np.arange(longest + 1), length[:, None])
    edges = steps * frames // length[:, None]
    sums = np.pad(x.cumsum(1), ((0, 0), (1, 0), (0, 0)))
    at_edges = np.take_along_axis(sums, edges[..., None], 1)
    means = np.diff(at_edges, axis=1) / np.maximum(np.diff(edges, axis=1), 1)[..., None]
    return np.pad(means, ((0, 0), (1, 25 - longest), (0, 0)))


def _labels(form: LabelForm, sample: Sample, rng: np.random.Generator) -> npt.NDArray[np.generic]:
    emotion = sample.latents.emotion
    if form == "classes":
        return emotion
    if form == "continuous":
        noise = rng.uniform(-1, 1, len(emotion))
        # Neutral stays exactly 0: the sign of a score is its class in every metric convention.
        return np.where(emotion == 1, 0.0, 2.0 * (emotion - 1) + noise).astype(np.float32)
    half = SENTIMENT_WORDS // 2
    sad = ((sample.words >= 0) & (sample.words < half)).sum(1)
    angry = ((sample.words >= half) & (sample.words < SENTIMENT_WORDS)).sum(1)
    negative = emotion == 0
    columns = [emotion == 1, emotion == 2, negative & (sad >= angry), negative & (angry >= sad)]
    return np.stack(columns, 1).astype(np.int64)
