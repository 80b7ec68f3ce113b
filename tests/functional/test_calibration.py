"""Calibration: each equation against a literal transcription, and estimators on data whose truth is known."""

import math

import pytest
import torch

from mer_zoo.errors import MERError
from mer_zoo.functional.calibration import (
    bin_probabilities,
    brier_score,
    debiased_calibration_error,
    expected_calibration_error,
    fit_scale,
    negative_log_likelihood,
    reliability,
    tempered,
)


def drawn(count: int, sharper: float = 1.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of three classes that are ``sharper`` times too large, and classes drawn by the true probabilities."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    classes = logits.softmax(-1).multinomial(1, generator=generator).squeeze(-1)
    return logits * sharper, classes


def confident(probabilities: torch.Tensor, classes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    found = probabilities.max(-1)
    return found.values, found.indices == classes


def test_temperature_divides_the_logits_of_each_problem() -> None:
    logits = torch.randn(5, 2, 3)
    for problem, temperature in enumerate((0.5, 2.0)):
        expected = (logits[:, problem] / temperature).exp()
        expected /= expected.sum(-1, keepdim=True)
        torch.testing.assert_close(tempered(logits, torch.tensor([0.5, 2.0]))[:, problem], expected)


def test_the_temperature_that_sharpened_logits_is_found_again() -> None:
    logits, classes = drawn(20_000, sharper=3.0)
    found = fit_scale(lambda scale: negative_log_likelihood(tempered(logits, scale), classes))
    assert found.item() == pytest.approx(3.0, abs=0.15)
    at = [negative_log_likelihood(tempered(logits, found * way), classes) for way in (0.99, 1.0, 1.01)]
    assert at[1] < min(at[0], at[2])


def test_each_problem_has_its_own_scale_and_bounds_hold() -> None:
    wanted = torch.tensor([0.5, 4.0, 1000.0], dtype=torch.float64)
    found = fit_scale(lambda scale: (scale.log() - wanted.log()).square())
    torch.testing.assert_close(found, torch.tensor([0.5, 4.0, 20.0], dtype=torch.float64), rtol=1e-6, atol=0)


def test_scores_that_are_not_finite_fit_no_scale() -> None:
    logits = torch.tensor([[math.nan, 0.0], [0.0, 1.0]])
    with pytest.raises(MERError, match="not finite; look for the samples"):
        fit_scale(lambda scale: negative_log_likelihood(tempered(logits, scale), torch.tensor([0, 1])))


def test_bins_hold_the_mass_of_the_gaussian_between_their_edges() -> None:
    score, edges = torch.tensor([-1.3, 0.2, 2.9], dtype=torch.float64), torch.arange(-2.5, 3, dtype=torch.float64)
    found = bin_probabilities(score, 0.7, edges)
    torch.testing.assert_close(found.sum(-1), torch.ones(3, dtype=torch.float64))
    for place, s in enumerate(score.tolist()):
        below = [(1 + math.erf((edge - s) / 0.7 / math.sqrt(2))) / 2 for edge in edges.tolist()]
        expected = [high - low for low, high in zip([0, *below], [*below, 1], strict=True)]
        assert found[place].tolist() == pytest.approx(expected, abs=1e-12)


def test_a_tail_of_the_gaussian_is_not_lost() -> None:
    low = bin_probabilities(torch.tensor(-9.0, dtype=torch.float64), 1.0, torch.tensor([0.0]))
    assert low[1].item() == pytest.approx(math.erfc(9 / math.sqrt(2)) / 2, rel=1e-9, abs=0)


def test_likelihood_and_brier_are_the_formulas() -> None:
    logits, classes = drawn(50)
    p = tempered(logits)
    truth = [[float(y == k) for k in range(3)] for y in classes.tolist()]
    pairs = list(zip(p.tolist(), truth, strict=True))
    likelihood = -sum(math.log(sum(q * t for q, t in zip(row, one, strict=True))) for row, one in pairs) / 50
    brier = sum((q - t) ** 2 for row, one in pairs for q, t in zip(row, one, strict=True)) / 50
    assert negative_log_likelihood(p, classes).item() == pytest.approx(likelihood)
    assert brier_score(p, classes).item() == pytest.approx(brier)


def test_errors_are_their_formulas() -> None:
    confidence, right = confident(tempered(drawn(100, 2.0)[0]), drawn(100)[1])
    order = confidence.argsort()
    plain = squared = 0.0
    for part in torch.tensor_split(order, 15):
        n, p, y = len(part), confidence[part].mean().item(), right[part].double().mean().item()
        plain += n / 100 * abs(y - p)
        squared += n / 100 * ((p - y) ** 2 - y * (1 - y) / (n - 1))
    assert expected_calibration_error(confidence, right) == pytest.approx(plain)
    assert debiased_calibration_error(confidence, right) == pytest.approx(math.sqrt(max(0, squared)))


def test_bins_hold_equally_many_samples_in_the_order_of_confidence() -> None:
    found = reliability(torch.rand(100, generator=torch.Generator().manual_seed(0)), torch.ones(100))
    assert sorted(found.count.tolist()) == [6] * 5 + [7] * 10
    assert (found.confidence.diff() > 0).all()


def test_only_the_debiased_error_of_calibrated_predictions_is_about_zero() -> None:
    plain, squared = [], []
    for seed in range(20):
        logits, classes = drawn(300, seed=seed)
        confidence, right = confident(tempered(logits), classes)
        plain.append(expected_calibration_error(confidence, right))
        squared.append(debiased_calibration_error(confidence, right) ** 2)
    assert sum(plain) / 20 > 0.06
    assert sum(squared) / 20 < 0.05**2


@pytest.mark.parametrize(("measure", "least"), [(expected_calibration_error, 15), (debiased_calibration_error, 30)])
def test_too_few_samples_are_refused(measure: object, least: int) -> None:
    with pytest.raises(MERError, match=f"give at least {least} samples"):
        measure(torch.rand(14), torch.ones(14))  # type: ignore[operator]


def test_a_confidence_that_is_nan_is_refused() -> None:
    with pytest.raises(MERError, match="confidence is NaN"):
        reliability(torch.full((15,), math.nan), torch.ones(15))
