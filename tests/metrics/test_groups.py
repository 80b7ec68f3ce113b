import pytest
import torch

from mer_zoo.errors import MERError
from mer_zoo.metrics import ClassMetric, MeanAbsoluteError, bootstrap, by_group


def cases(size: int = 240) -> tuple[torch.Tensor, torch.Tensor, list[str], list[int]]:
    """Scores that are worse in group b, labels, groups and clusters of four that lie inside the groups."""
    generator = torch.Generator().manual_seed(1)
    target = torch.randn(size, generator=generator)
    names = ["a" if i < size // 2 else "b" for i in range(size)]
    spread = torch.tensor([0.3 if name == "a" else 0.9 for name in names])
    shared = torch.randn(size // 4, generator=generator).repeat_interleave(4)
    return (target + spread * shared)[:, None], target, names, [i // 4 for i in range(size)]


def test_the_worst_group_is_the_one_of_the_worst_value() -> None:
    logits, target, names, clusters = cases()
    found = by_group(MeanAbsoluteError(), logits, target, names, samples=2000, clusters=clusters)
    errors = (logits[:, 0] - target).abs()
    half = len(target) // 2
    assert found.all == pytest.approx(float(errors.mean()), abs=1e-5)
    assert found.average == pytest.approx((float(errors[:half].mean()) + float(errors[half:].mean())) / 2, abs=1e-5)
    assert found.worst is not None
    assert found.gap is not None
    assert (found.worst.name, found.worst.count, found.worst.interval.clusters) == ("b", half, half // 4)
    assert found.gap.difference == pytest.approx(found.all - found.worst.interval.difference, abs=1e-6)
    # of a group whose clusters lie inside it: the interval that it has alone
    alone = bootstrap(MeanAbsoluteError(), logits[half:], target[half:], 2000, clusters=clusters[half:])
    assert found.worst.interval.high - found.worst.interval.low == pytest.approx(alone.high - alone.low, rel=0.06)
    # all and worst share the worst group's half of the samples: the gap is half of the difference of the halves
    parts = [float(part.view(-1, 4).mean(1).var()) / (half // 4) for part in (errors[:half], errors[half:])]
    assert (found.gap.high - found.gap.low) / 2 == pytest.approx(2.0 * sum(parts) ** 0.5 / 2, rel=0.06)


def test_small_groups_are_named_and_not_ranked() -> None:
    logits, target, _, _ = cases(40)
    names = ["a"] * 21 + ["b"] * 19
    found = by_group(MeanAbsoluteError(), logits, target, names, samples=20)
    assert [one.name for one in found.ranked] == ["a"]
    assert found.small == {"b": 19}
    none = by_group(MeanAbsoluteError(), logits, target, names, samples=20, least=30)
    assert (none.worst, none.gap, none.small) == (None, None, {"a": 21, "b": 19})


def test_of_a_group_that_is_one_cluster_the_samples_are_drawn() -> None:
    logits, target, names, _ = cases()
    found = by_group(MeanAbsoluteError(), logits, target, names, samples=200, clusters=names)
    assert [one.interval.clusters for one in found.ranked] == [120, 120]
    assert all(one.interval.high > one.interval.low for one in found.ranked)


def test_seeds_and_samples_of_their_own() -> None:
    metric = ClassMetric(3, 3, "accuracy")
    generator = torch.Generator().manual_seed(0)
    target = [torch.randint(-1, 2, (60,), generator=generator).float() for _ in range(3)]
    logits = [torch.randn(60, 3, generator=generator) for _ in range(3)]
    names = [["x", "y"] * 30] * 3
    found = by_group(metric, logits, target, names)
    value = torch.tensor([float(metric(x[::2], t[::2])) for x, t in zip(logits, target, strict=True)])
    of_x = next(one for one in found.ranked if one.name == "x")
    assert of_x.interval.difference == pytest.approx(float(value.mean()))
    assert of_x.interval.seeds == 3
    shared = by_group(metric, logits, target[0], names[0], samples=50)
    assert shared.ranked[0].interval.seeds == 3


def test_bad_input() -> None:
    logits, target, names, _ = cases()
    with pytest.raises(MERError, match=r"groups of \[239\] samples for labels of \[240\]"):
        by_group(MeanAbsoluteError(), logits, target, names[1:])
    with pytest.raises(MERError, match="least is 1"):
        by_group(MeanAbsoluteError(), logits, target, names, least=1)
