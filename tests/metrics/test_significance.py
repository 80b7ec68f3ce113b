import numpy as np
import pytest
import torch

from mer_zoo.errors import MERError
from mer_zoo.functional.metrics import auilc
from mer_zoo.metrics import (
    ClassMetric,
    ConfusionMetric,
    MeanAbsoluteError,
    bootstrap,
    mcnemar,
    mean_std,
    paired_bootstrap,
    paired_bootstrap_area,
    permutation_test,
)
from mer_zoo.task import build_task


def test_interval_is_that_of_the_paired_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(200, generator=generator)
    a, b = target + 0.5 * torch.randn(200, generator=generator), target + 0.6 * torch.randn(200, generator=generator)
    interval = paired_bootstrap(MeanAbsoluteError(), a[:, None], b[:, None], target, samples=1000)
    per_sample = ((a - target).abs() - (b - target).abs()).double()
    # of a mean, the bootstrap interval is close to the normal one
    error = per_sample.std().item() / np.sqrt(200)
    assert interval.difference == pytest.approx(per_sample.mean().item(), abs=1e-6)
    assert (interval.high - interval.low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    assert (interval.high + interval.low) / 2 == pytest.approx(interval.difference, abs=0.3 * error)


def test_pairs_stay_pairs() -> None:
    # an unpaired resampling of two equal models would have a wide interval
    logits = torch.randn(100, 3, generator=torch.Generator().manual_seed(1))
    target = torch.randint(-1, 2, (100,), generator=torch.Generator().manual_seed(2)).float()
    interval = paired_bootstrap(ClassMetric(3, 3, "f1"), logits, logits.clone(), target, samples=50)
    assert (interval.low, interval.difference, interval.high) == (0.0, 0.0, 0.0)
    assert not interval.significant


def test_deterministic_by_seed_and_metric_left_alone() -> None:
    target = torch.linspace(-3, 3, 40)
    a, b = target[:, None] + 0.3 * torch.sin(7 * target)[:, None], target[:, None] - 0.2
    metric = MeanAbsoluteError()
    metric.update(torch.tensor([[2.0]]), torch.tensor([0.0]))
    first = paired_bootstrap(metric, a, b, target, samples=30, seed=4)
    assert first == paired_bootstrap(metric, a, b, target, samples=30, seed=4)
    assert first != paired_bootstrap(metric, a, b, target, samples=30, seed=5)
    assert metric.compute() == 2.0


@pytest.mark.parametrize("name", ["regression", "binary", "emotions"])
def test_resampling_by_weights_is_resampling(name: str) -> None:
    task = build_task(name)
    generator = torch.Generator().manual_seed(5)
    logits, target = torch.randn(25, *task.shape, generator=generator), task.random_target(25, generator).round()
    draw = torch.randint(25, (25,), generator=generator)
    weights = torch.bincount(draw, minlength=25)[None]
    for key, metric in task.metrics().items():
        if isinstance(metric, ConfusionMetric):
            metric.update(logits[draw], target[draw])
            assert metric.resampled(logits, target, weights).tolist() == pytest.approx([metric.compute().item()]), key


def test_several_seeds_are_averaged() -> None:
    target = torch.linspace(-3, 3, 30)
    a, worse, b = target[:, None] + 0.25, target[:, None] + 0.75, target[:, None] + 1.0
    interval = paired_bootstrap(MeanAbsoluteError(), [a, worse], b, target, samples=10)
    # all of the spread is that of two seeds: .25 / sqrt(2) * sqrt(2), by Student's quantile at one degree of freedom
    assert (interval.difference, interval.high) == pytest.approx((-0.5, -0.5 + 12.7062 * 0.25), abs=1e-3)
    assert (interval.seeds, interval.clusters) == (1, 30)


def test_bad_input() -> None:
    metric, target = MeanAbsoluteError(), torch.zeros(3)
    with pytest.raises(MERError, match=r"scores of \[3, 2\] samples for 3 labels; compare models on the same samples"):
        paired_bootstrap(metric, torch.zeros(3, 1), torch.zeros(2, 1), target)
    with pytest.raises(MERError, match="confidence inside"):
        paired_bootstrap(metric, torch.zeros(3, 1), torch.zeros(3, 1), target, confidence=95)


def test_mean_and_deviation_over_seeds() -> None:
    assert mean_std([0.5]) == (0.5, None)
    assert mean_std([0.2, 0.4, 0.9]) == pytest.approx((0.5, np.std([0.2, 0.4, 0.9], ddof=1)))
    with pytest.raises(MERError, match="at least one seed"):
        mean_std([])


def test_area_is_the_trapezoid_rule_over_the_same_resamplings() -> None:
    generator = torch.Generator().manual_seed(3)
    target = torch.randint(-1, 2, (80,), generator=generator).float()
    rates = [0.0, 0.2, 1.0]
    a, b = ([[torch.randn(80, 3, generator=generator) for _ in range(2)] for _ in rates] for _ in range(2))
    metric = ClassMetric(3, 3, "accuracy")
    area = paired_bootstrap_area(metric, rates, a, b, target, samples=40)
    points = [paired_bootstrap(metric, x, y, target, samples=40).difference for x, y in zip(a, b, strict=True)]
    assert area.difference == pytest.approx(auilc(rates, points))
    # one resampling serves all rates, so a curve that differs by the same samples everywhere has the points' interval
    same = paired_bootstrap_area(metric, rates, [a[0]] * 3, [b[0]] * 3, target, samples=40)
    point = paired_bootstrap(metric, a[0], b[0], target, samples=40)
    assert (same.low, same.high) == pytest.approx((point.low, point.high))
    with pytest.raises(MERError, match="3 and 2 scores for 3 rates; give both models' at each"):
        paired_bootstrap_area(metric, rates, a, b[:2], target)


def nested(copies: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[int]]:
    """Two models' scores of 40 recordings, each of which comes several times as the same clip."""
    generator = torch.Generator().manual_seed(7)
    target = torch.randn(40, generator=generator)
    a, b = (target + 0.5 * torch.randn(40, generator=generator) for _ in range(2))
    clusters = [i // copies for i in range(40 * copies)]
    a, b, target = (x.repeat_interleave(copies) for x in (a, b, target))
    return a[:, None], b[:, None], target, clusters


def test_copies_of_a_clip_tell_nothing_new() -> None:
    a, b, target, clusters = nested(5)
    alone = paired_bootstrap(MeanAbsoluteError(), *nested(1)[:3], samples=400)
    drawn = paired_bootstrap(MeanAbsoluteError(), a, b, target, samples=400, clusters=clusters)
    assert (drawn.low, drawn.high, drawn.p) == pytest.approx((alone.low, alone.high, alone.p))
    assert drawn.clusters == 40
    narrow = paired_bootstrap(MeanAbsoluteError(), a, b, target, samples=400)
    assert (drawn.high - drawn.low) / (narrow.high - narrow.low) == pytest.approx(5**0.5, rel=0.15)


def test_permutation_and_mcnemar_by_clusters() -> None:
    a, b, target, clusters = nested(5)
    metric = ClassMetric(3, None, "accuracy")
    alone = permutation_test(metric, *nested(1)[:3], samples=500)
    assert permutation_test(metric, a, b, target, samples=500, clusters=clusters) == pytest.approx(alone)
    right_a, right_b = (x[:, 0].sign() == target.sign() for x in (a, b))
    few_a, few_b = right_a[::5], right_b[::5]
    only_a, only_b = int((few_a & ~few_b).sum()), int((few_b & ~few_a).sum())
    chi = (only_a - only_b) ** 2 / (only_a + only_b)
    expected = float(torch.erfc(torch.tensor((chi / 2) ** 0.5, dtype=torch.float64)))
    assert mcnemar(few_a, few_b) == pytest.approx(expected)
    assert mcnemar(right_a, right_b, clusters) == pytest.approx(expected)
    assert mcnemar(right_a, right_a) == 1.0


def test_exchangeable_models_have_uniform_p_values() -> None:
    values = []
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        target = torch.randn(30, generator=generator)
        a, b = ((target + torch.randn(30, generator=generator))[:, None] for _ in range(2))
        values.append(permutation_test(MeanAbsoluteError(), a, b, target, samples=39, seed=seed))
    assert 0.3 < sum(values) / len(values) < 0.7
    assert min(values) < 0.2


def test_more_seeds_say_more() -> None:
    generator = torch.Generator().manual_seed(3)
    target = torch.randn(500, generator=generator)
    seeds = [target[:, None] + shift for shift in (0.1, 0.3, 0.5, 0.7)]
    one = bootstrap(MeanAbsoluteError(), seeds[0], target, samples=50)
    several = bootstrap(MeanAbsoluteError(), seeds, target, samples=50)
    # a shift is the same for all samples, so that all of the spread is that of the seeds
    assert one.high - one.low == pytest.approx(0, abs=1e-6)
    error = np.std([0.1, 0.3, 0.5, 0.7], ddof=1) / 2
    assert several.high - several.difference == pytest.approx(3.1824 * error, rel=1e-3)
    assert several.seeds == 4


def test_one_cluster_has_no_interval() -> None:
    target = torch.zeros(3)
    with pytest.raises(MERError, match="one cluster, which tells nothing about others"):
        bootstrap(MeanAbsoluteError(), torch.ones(3, 1), target, clusters=["a"] * 3)
    with pytest.raises(MERError, match="2 clusters for 3 samples"):
        bootstrap(MeanAbsoluteError(), torch.ones(3, 1), target, clusters=["a"] * 2)
    with pytest.raises(MERError, match="2 and 1 seeds cannot change places"):
        permutation_test(MeanAbsoluteError(), [torch.ones(3, 1)] * 2, torch.ones(3, 1), target)


def test_where_the_metric_is_not_defined_nothing_is_significant() -> None:
    target = torch.tensor([float("nan")] * 3 + [1.0, 2.0, 3.0])  # a recording without labels
    found = bootstrap(MeanAbsoluteError(), torch.zeros(6, 1), target, samples=50, clusters=[0, 0, 0, 1, 1, 1])
    assert found.difference == 2.0
    assert np.isnan([found.low, found.high, found.p]).all()
    assert not found.significant
    nowhere = torch.full((6,), float("nan"))
    assert np.isnan(permutation_test(MeanAbsoluteError(), torch.zeros(6, 1), torch.ones(6, 1), nowhere, samples=50))


def paired_logits(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits of two models, the first the better one, and labels."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(-1, 2, (90,), generator=generator).float()
    truth = torch.nn.functional.one_hot(target.long() + 1, 3)
    a, b = (pull * truth + torch.randn(90, 3, generator=generator) for pull in (1.5, 0.7))
    return a, b, target


def test_seeds_with_samples_of_their_own_are_independent_tests() -> None:
    """Of one seed the samples are drawn; of several the interval is Student's over their differences."""
    metric = ClassMetric(3, 3, "accuracy")
    tests = [paired_logits(seed) for seed in range(3)]
    a, b, target = ([test[place] for test in tests] for place in range(3))
    alone = paired_bootstrap(metric, a[0], b[0], target[0], 400)
    assert paired_bootstrap(metric, a[:1], b[:1], target[:1], 400) == alone
    found = paired_bootstrap(metric, a, b, target)
    differences = torch.tensor([float(metric(x, t) - metric(y, t)) for x, y, t in zip(a, b, target, strict=True)])
    assert found.difference == pytest.approx(float(differences.mean()), abs=1e-6)
    assert (found.high - found.low) / 2 == pytest.approx(4.303 * float(differences.std()) / 3**0.5, rel=1e-3)
    assert (found.seeds, found.clusters) == (3, 3)


def test_seeds_of_their_own_need_scores_of_each() -> None:
    metric = ClassMetric(3, 3, "accuracy")
    a, b, target = paired_logits(0)
    with pytest.raises(MERError, match="labels of 2 seeds; give every model's scores of each"):
        paired_bootstrap(metric, [a], [b], [target, target])
    with pytest.raises(MERError, match="scores of other samples"):
        paired_bootstrap(metric, [a, a], [b, b], [target, target[1:]])
