"""Conformal prediction and selective prediction: by hand, by literal transcription, and by simulation."""

import math

import pytest
import torch

from mer_zoo.errors import MERError
from mer_zoo.functional.conformal import conformal_quantile, fewest_samples, prediction_sets, set_scores
from mer_zoo.functional.selective import accuracy_at, area_under_risk_coverage, risk_coverage


def test_the_quantile_is_the_one_of_the_theorem() -> None:
    scores = torch.randperm(99, generator=torch.Generator().manual_seed(0)).double()
    for level in (0.01, 0.5, 0.9, 0.95, 0.99):
        assert conformal_quantile(scores, level).item() == math.ceil(round(100 * level, 9)) - 1


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_the_fewest_samples_suffice_and_one_less_does_not(level: float) -> None:
    least = fewest_samples(level)
    conformal_quantile(torch.rand(least), level)
    with pytest.raises(MERError, match=f"give at least {least}, or a lower level"):
        conformal_quantile(torch.rand(least - 1), level)


@pytest.mark.parametrize("level", [0, 1, 90, -0.5, math.nan, True])
def test_a_level_outside_is_refused(level: float) -> None:
    with pytest.raises(MERError, match="give the share of samples that is to be covered, such as 0.9"):
        conformal_quantile(torch.rand(100), level)


def test_a_class_is_as_odd_as_the_mass_before_it() -> None:
    p = torch.rand(20, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    p /= p.sum(-1, keepdim=True)
    for penalty, free in ((0.0, 1), (0.1, 2)):
        found = set_scores(p, penalty, free)
        for row in range(20):
            for y in range(5):
                before = [q for q in p[row].tolist() if q > p[row, y].item()]
                expected = sum(before) + penalty * max(0, len(before) + 1 - free)
                assert found[row, y].item() == pytest.approx(expected)


def test_the_most_probable_class_is_always_in_the_set() -> None:
    p = torch.randn(50, 7).softmax(-1)
    sets = prediction_sets(set_scores(p), torch.tensor(0.0))
    assert sets.sum(-1).eq(1).all()
    assert sets.int().argmax(-1).equal(p.argmax(-1))


def test_sets_and_intervals_cover_as_they_promise() -> None:
    # 200 draws of 40 calibrating samples and 100 new ones: the standard error of a mean coverage is about 0.4 %
    generator, covered, inside = torch.Generator().manual_seed(0), [], []
    for _ in range(200):
        logits = 2 * torch.randn(140, 7, generator=generator)
        classes = logits.softmax(-1).multinomial(1, generator=generator)
        scores = set_scores((3 * logits).softmax(-1))  # a model that is far too sure of itself
        of_truth = scores.gather(-1, classes).squeeze(-1)
        sets = prediction_sets(scores[40:], conformal_quantile(of_truth[:40], 0.9))
        covered.append(sets.gather(-1, classes[40:]).float().mean().item())
        residual = torch.randn(140, generator=generator).abs()
        inside.append((residual[40:] <= conformal_quantile(residual[:40], 0.9)).float().mean().item())
    for coverage in (covered, inside):
        assert 0.885 < sum(coverage) / 200 < 0.94  # between 0.9 and 0.9 + 1/41


def test_risk_and_coverage_by_hand() -> None:
    confidence, right = torch.tensor([0.5, 0.9, 0.7, 0.6]), torch.tensor([True, True, False, True])
    coverage, risk = risk_coverage(confidence, right)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert risk.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 4])
    assert area_under_risk_coverage(confidence, right) == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert accuracy_at(0.5, confidence, right) == 0.5
    assert accuracy_at(0.51, confidence, right) == pytest.approx(2 / 3)
    assert accuracy_at(1, confidence, right) == 0.75


def test_what_can_select_nothing_is_refused() -> None:
    with pytest.raises(MERError, match="at least one sample"):
        risk_coverage(torch.zeros(0), torch.zeros(0))
    with pytest.raises(MERError, match="NaN"):
        area_under_risk_coverage(torch.tensor([math.nan]), torch.ones(1))
    with pytest.raises(MERError, match="coverage is 80"):
        accuracy_at(80, torch.ones(2), torch.ones(2))
