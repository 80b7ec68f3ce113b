from dataclasses import replace

import numpy as np
import pytest

from mer_zoo.data.synthetic.sampling import Sample, draw_latents, draw_sample
from mer_zoo.data.synthetic.scm import EMOTION_PRIOR, SPLITS, SyntheticConfig, draw_parameters, topic_given_emotion

SIZE = 40_000
CONFIG = SyntheticConfig()


@pytest.fixture(scope="module")
def sample() -> Sample:
    return draw_sample(CONFIG, draw_parameters(0), "train", 6000)


def within(observed: float, expected: float, size: int) -> bool:
    """Within four standard errors of a share."""
    return bool(abs(observed - expected) <= 4 * np.sqrt(expected * (1 - expected) / size))


@pytest.mark.parametrize("split", SPLITS)
def test_emotions_and_topics_have_their_probabilities(split: str) -> None:
    latents = draw_latents(CONFIG, split, SIZE)
    for emotion in range(3):
        chosen = latents.topic[latents.emotion == emotion]
        assert within(len(chosen) / SIZE, EMOTION_PRIOR[emotion], SIZE)
        for topic in range(3):
            assert within(float((chosen == topic).mean()), topic_given_emotion(0.8, split)[emotion, topic], len(chosen))


def test_sarcasm_and_reliability_have_their_probabilities() -> None:
    config = replace(CONFIG, sarcasm=0.3, text_reliability=0.9, audio_reliability=0.5, vision_reliability=0.0)
    latents = draw_latents(config, "train", SIZE)
    speaks = latents.saying >= 0
    assert within(float(speaks.mean()), 0.9, SIZE)
    assert within(float((latents.saying != latents.emotion)[speaks].mean()), 0.3, int(speaks.sum()))
    assert within(float((latents.audio_start >= 0).mean()), 0.5, SIZE)
    assert (latents.vision_start == -1).all()


def test_shifts_start_anywhere_they_fit() -> None:
    latents = draw_latents(CONFIG, "train", SIZE)
    assert (latents.audio_start.min(), latents.audio_start.max()) == (0, 27)
    assert (latents.vision_start.min(), latents.vision_start.max()) == (0, 20)


def test_labels_shift_and_nothing_else() -> None:
    """P(Y) is the only table that changes: what is given the emotion keeps its probabilities, and its randomness."""
    shifted = replace(CONFIG, positive_share=0.674, label_shift=-0.267)
    before, after = (draw_latents(replace(shifted, label_shift=shift), "test_ood", SIZE) for shift in (0.0, -0.267))
    share = after.emotion[after.emotion != 1].mean() / 2
    assert within(float(share), 0.407, int((after.emotion != 1).sum()))
    assert within(float((after.emotion == 1).mean()), 0.15, SIZE)
    kept = before.emotion == after.emotion
    assert 0.6 < kept.mean() < 1, "one uniform number decides, whatever P(Y) is"
    assert np.array_equal(before.topic[kept], after.topic[kept])
    assert np.array_equal(before.saying[kept], after.saying[kept])
    assert np.array_equal(before.audio_start, after.audio_start)
    for emotion in range(3):
        chosen = after.topic[after.emotion == emotion]
        for topic in range(3):
            assert within(
                float((chosen == topic).mean()), topic_given_emotion(0.8, "test_ood")[emotion, topic], len(chosen)
            )


def test_one_variable_leaves_the_others_alone(sample: Sample) -> None:
    other = draw_sample(replace(CONFIG, rho=0.5, sarcasm=0.5), draw_parameters(0), "train", 6000)
    assert np.array_equal(other.latents.emotion, sample.latents.emotion)
    assert np.array_equal(other.audio, sample.audio)
    assert not np.array_equal(other.latents.topic, sample.latents.topic)


def test_splits_and_seeds_differ(sample: Sample) -> None:
    valid = draw_sample(CONFIG, draw_parameters(0), "valid", 6000)
    again = draw_sample(replace(CONFIG, seed=1), draw_parameters(0), "train", 6000)
    for other in (valid, again):
        assert not np.array_equal(other.words, sample.words)
        assert not np.array_equal(other.audio, sample.audio)


def test_words_say_what_is_hidden(sample: Sample) -> None:
    words, latents = sample.words, sample.latents
    length = (words >= 0).sum(1)
    assert (length.min(), length.max()) == (8, 24)
    sentiment, topic = (words >= 0) & (words < 900), (words >= 900) & (words < 936)
    total = int(length.sum())
    assert within(sentiment.sum() / total, 0.12, total)
    assert within(topic.sum() / total, 0.30, total)
    rows = np.nonzero(sentiment)[0]
    assert np.array_equal(words[sentiment] // 300, latents.saying[rows])
    assert np.array_equal((words[topic] - 900) // 12, latents.topic[np.nonzero(topic)[0]])


def test_sequences_are_stationary_noise_with_a_shift(sample: Sample) -> None:
    parameters = draw_parameters(0)
    for x, start, mean, strength in (
        (sample.audio, sample.latents.audio_start, parameters.audio_mean, 0.32),
        (sample.vision, sample.latents.vision_start, parameters.vision_mean, 0.24),
    ):
        time = np.arange(x.shape[1])
        inside = (time >= start[:, None]) & (time < start[:, None] + x.shape[1] // 3)
        noise = x - inside[..., None] * strength * mean[sample.latents.emotion][:, None]
        assert np.abs(noise.mean((0, 2))).max() < 0.05
        assert np.abs(noise.var((0, 2)) - 1).max() < 0.05
        assert abs((noise[:, 1:] * noise[:, :-1]).mean() - 0.8) < 0.02
        assert abs((noise[:, 0] * noise[:, -1]).mean()) < 0.05
