import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from mer_zoo.batch import MODALITIES
from mer_zoo.data.synthetic.bayes import Predictor, Prior, bayes_accuracy, log_posterior, log_sequence, log_text
from mer_zoo.data.synthetic.sampling import draw_sample
from mer_zoo.data.synthetic.scm import (
    EMOTION_PRIOR,
    SyntheticConfig,
    draw_parameters,
    saying_given_emotion,
    topic_given_emotion,
)

PAGE = Path(__file__).parents[3] / "docs" / "synthetic.md"
NAMES = {"l": "text", "a": "audio", "v": "vision"}


def test_sequences_against_the_joint_gaussian() -> None:
    """The density with the full covariance 0.8^|i-j|, place by place, without whitening."""
    parameters = draw_parameters(0)
    x = draw_sample(SyntheticConfig(), parameters, "train", 5).vision
    time = np.arange(30)
    precision = np.linalg.inv(0.8 ** np.abs(time[:, None] - time))

    def log_density(rest: np.ndarray) -> float:
        return float(-0.5 * np.einsum("td,ts,sd->", rest, precision, rest))

    expected = np.zeros((5, 3))
    for i in range(5):
        for y in range(3):
            ratios = []
            for start in range(21):
                shift = np.zeros((30, 10))
                shift[start : start + 10] = 0.24 * parameters.vision_mean[y]
                ratios.append(np.exp(log_density(x[i] - shift) - log_density(x[i])))
            expected[i, y] = np.log(0.3 + 0.7 * np.mean(ratios))
    assert np.allclose(log_sequence(x, parameters.vision_mean, 0.24, 0.7), expected)


def test_texts_word_by_word() -> None:
    parameters = draw_parameters(0)
    words = draw_sample(SyntheticConfig(), parameters, "train", 6).words
    table = parameters.words()
    for i in range(6):
        for s in range(4):
            for z in range(3):
                expected = np.prod([table[s, z, word] for word in words[i] if word >= 0])
                assert np.isclose(np.exp(log_text(words, parameters)[i, s, z]), expected)


@pytest.mark.parametrize("predictor", ["observational", "randomised"])
def test_posterior_sums_over_saying_and_topic(predictor: Predictor) -> None:
    config = SyntheticConfig(text_reliability=0.9, audio_reliability=0.8)
    parameters = draw_parameters(0)
    sample = draw_sample(config, parameters, "test_ood", 8)
    text = np.exp(log_text(sample.words, parameters))
    topic = topic_given_emotion(0.8, "train" if predictor == "observational" else "test_rct")
    seen = np.einsum("ys,yz,nsz->ny", saying_given_emotion(0.15, 0.9), topic, text) * EMOTION_PRIOR
    seen *= np.exp(log_sequence(sample.audio, parameters.audio_mean, 0.32, 0.8))
    score = np.exp(log_posterior(config, sample, predictor, ("text", "audio")))
    assert np.allclose(score / score.sum(1, keepdims=True), seen / seen.sum(1, keepdims=True))


def test_text_alone_has_a_closed_form() -> None:
    """Any sentiment word gives the saying away, which is then the best guess;
    without one the most frequent class is.
    """
    silent = np.mean([0.88**length for length in range(8, 25)])
    expected = (1 - silent) * 0.85 + silent * 0.45
    best = bayes_accuracy(SyntheticConfig(), "test_rct", "randomised", 40_000, ("text",))
    assert abs(best.three - expected) < 4 * best.three_error


def test_nothing_seen_leaves_the_prior() -> None:
    config = SyntheticConfig(text_reliability=0, audio_reliability=0, vision_reliability=0)
    best = bayes_accuracy(config, "test_rct", "randomised", 4000)
    assert abs(best.three - 0.45) < 4 * best.three_error


@pytest.mark.parametrize("prior", ["training", "test"])
def test_posterior_under_shifted_labels(prior: Prior) -> None:
    """The predictor that knows the test splits' P(Y) differs from the other by the ratio of the two, and only so."""
    config = SyntheticConfig(label_shift=-0.267)
    sample = draw_sample(config, draw_parameters(0), "test_iid", 8)
    plain = log_posterior(SyntheticConfig(), sample, "observational")
    ratio = np.log(np.array([0.85 * 0.737588, 0.15, 0.85 * 0.262412]) / EMOTION_PRIOR)  # .529 - .267 are positive
    expected = plain + (ratio if prior == "test" else 0)
    assert np.allclose(log_posterior(config, sample, "observational", prior=prior), expected, atol=1e-5)


@pytest.mark.parametrize(("prior", "expected"), [("training", 0.85 * 0.407), ("test", 0.85 * 0.593)])
def test_nothing_seen_leaves_the_prior_that_is_believed(prior: Prior, expected: float) -> None:
    silent = {"text_reliability": 0.0, "audio_reliability": 0.0, "vision_reliability": 0.0}
    config = SyntheticConfig(positive_share=0.674, label_shift=-0.267, **silent)  # type: ignore[arg-type]
    best = bayes_accuracy(config, "test_rct", "randomised", 4000, prior=prior)
    assert abs(best.three - expected) < 4 * best.three_error


def rows(first: str) -> list[list[str]]:
    """Cells of the page's rows whose first cell is of this kind."""
    lines = [line for line in PAGE.read_text().splitlines() if re.match(rf"\| {first} \|", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


BY_MODALITIES = rows("(observational|randomised|either)")
BY_PRIOR = rows(r"[\d.]+ to [\d.]+")


def test_the_page_has_its_tables() -> None:
    assert (len(BY_MODALITIES), len(BY_PRIOR)) == (12, 14)


def agree(cells: list[str], config: SyntheticConfig, predictor: Predictor, *rest: Any) -> None:
    for split, cell in zip(("test_iid", "test_ood", "test_rct"), cells, strict=True):
        best = bayes_accuracy(config, split, predictor, 3000, *rest)
        three, non_neutral = (float(number) / 100 for number in cell.split("/"))
        assert abs(best.three - three) < 4 * best.three_error + 0.001
        assert abs(best.non_neutral - non_neutral) < 4 * best.non_neutral_error + 0.001


@pytest.mark.parametrize("row", BY_MODALITIES, ids=lambda row: " ".join(row[:3]))
def test_documented_accuracies(row: list[str]) -> None:
    predictor: Predictor = "observational" if row[0] == "observational" else "randomised"
    modalities = [NAMES[letter] for letter in row[2].strip("{}").split(",")]
    agree(row[3:], SyntheticConfig(seed=9), predictor, modalities, row[1] == "known")


@pytest.mark.parametrize("row", BY_PRIOR, ids=lambda row: " ".join(row[:3]))
def test_documented_accuracies_where_labels_shift(row: list[str]) -> None:
    trained, tested = (float(share) / 100 for share in row[0].split(" to "))
    config = SyntheticConfig(seed=9, positive_share=trained, label_shift=tested - trained)
    agree(row[3:], config, cast("Predictor", row[2]), MODALITIES, False, row[1])
