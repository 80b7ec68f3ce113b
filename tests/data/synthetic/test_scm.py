import numpy as np
import pytest

from mer_zoo.data.synthetic.scm import (
    EMOTION_PRIOR,
    SPLITS,
    SyntheticConfig,
    draw_parameters,
    emotion_prior,
    saying_given_emotion,
    topic_given_emotion,
)
from mer_zoo.errors import MERError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rho": 1.2}, "rho is 1.2; a probability"),
        ({"sarcasm": float("nan")}, "sarcasm is nan"),
        ({"audio_reliability": -0.1}, "audio_reliability is -0.1"),
        ({"valid": 0}, "valid is 0; a split needs at least 1"),
        ({"vision_strength": -1.0}, "vision_strength is -1.0; give a finite number"),
        ({"audio_strength": float("inf")}, "audio_strength is inf"),
        ({"seed": -1}, "seed is -1"),
        ({"positive_share": 1.1}, "positive_share is 1.1; a share lies in"),
        ({"positive_share": float("nan")}, "positive_share is nan"),
        ({"label_shift": 0.5}, "label_shift is 0.5; .* in training is 0.529, give a number from -0.529 to 0.471"),
        ({"label_shift": -0.3, "positive_share": 0.2}, "label_shift is -0.3; .* from -0.200 to 0.800"),
        ({"label_shift": float("nan")}, "label_shift is nan"),
    ],
)
def test_config_refuses_values_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(MERError, match=message):
        SyntheticConfig(**options)  # type: ignore[arg-type]


def test_config_refuses_an_unknown_split() -> None:
    with pytest.raises(MERError, match="no split 'test'; it has train, valid, test_iid"):
        SyntheticConfig().size("test")


@pytest.mark.parametrize("split", SPLITS)
def test_topics_are_probabilities(split: str) -> None:
    assert np.allclose(topic_given_emotion(0.8, split).sum(1), 1)


def test_ood_reverses_and_the_trial_forgets_the_emotion() -> None:
    train, ood, trial = (topic_given_emotion(0.8, split) for split in ("train", "test_ood", "test_rct"))
    assert np.allclose(ood, [[0.2, 0.4, 0.4], [0.4, 0.2, 0.4], [0.4, 0.4, 0.2]])
    assert np.array_equal(trial[0], trial[1])
    assert np.array_equal(trial[0], trial[2])
    assert np.allclose(EMOTION_PRIOR @ trial, EMOTION_PRIOR @ train), "the trial keeps the training marginal"


@pytest.mark.parametrize("split", SPLITS)
def test_labels_shift_in_the_test_splits_alone(split: str) -> None:
    assert np.array_equal(emotion_prior(SyntheticConfig(), split), [0.40, 0.15, 0.45])
    negative, neutral, positive = emotion_prior(SyntheticConfig(positive_share=0.674, label_shift=-0.267), split)
    expected = 0.407 if split.startswith("test") else 0.674
    assert (neutral, negative + neutral + positive) == (0.15, pytest.approx(1))
    assert positive / (negative + positive) == pytest.approx(expected)
    everything = SyntheticConfig(positive_share=0.2, label_shift=-0.2)
    assert (emotion_prior(everything, split)[2] == 0) == split.startswith("test")


def test_the_trial_keeps_the_topics_of_training_whatever_its_labels_are() -> None:
    config = SyntheticConfig(positive_share=0.674, label_shift=-0.267)
    prior = emotion_prior(config, "train")
    train, trial = (topic_given_emotion(0.8, split, prior) for split in ("train", "test_rct"))
    assert np.allclose(trial[0], prior @ train)
    assert not np.allclose(trial, topic_given_emotion(0.8, "test_rct"))


def test_rho_of_a_third_has_no_confounding() -> None:
    assert np.allclose(topic_given_emotion(1 / 3, "train"), 1 / 3)


def test_saying_has_a_last_column_for_silent_texts() -> None:
    table = saying_given_emotion(0.15, reliability=0.9)
    assert np.allclose(table[0], [0.9 * 0.85, 0.9 * 0.075, 0.9 * 0.075, 0.1])


def test_words_follow_the_shares_of_their_kinds() -> None:
    words = draw_parameters(3).words()
    assert words.shape == (4, 3, 1336)
    assert np.allclose(words.sum(-1), 1)
    for saying in range(3):
        for topic in range(3):
            row = words[saying, topic]
            sentiment, topics = row[:900].reshape(3, 300).sum(1), row[900:936].reshape(3, 12).sum(1)
            assert np.allclose(sentiment, 0.12 * np.eye(3)[saying])
            assert np.allclose(topics, 0.30 * np.eye(3)[topic])
            assert np.isclose(row[936:].sum(), 0.58)
    assert np.isclose(words[3, 0, 936:].sum(), 0.70), "a silent text has filler instead"


def test_word_frequencies_are_zipf() -> None:
    parameters = draw_parameters(0)
    frequent = np.sort(parameters.sentiment[1][300:600])[::-1]
    assert np.isclose(frequent[0] / frequent[99], 10)  # rank 100, exponent one half
    filler = np.sort(parameters.filler[936:])[::-1]
    assert np.isclose(filler[0] / filler[99], 100)
    assert np.allclose(parameters.topic[2][924:936], 1 / 12)


def test_parameters_depend_on_their_seed() -> None:
    a, b, c = draw_parameters(1), draw_parameters(1), draw_parameters(2)
    assert np.array_equal(a.audio_mean, b.audio_mean)
    assert not np.array_equal(a.audio_mean, c.audio_mean)
    assert not np.array_equal(a.filler, c.filler)
