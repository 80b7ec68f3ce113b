"""Who is served worst? A metric on groups of samples, such as the clips of one speaker, with intervals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric

from mer_zoo.errors import MERError
from mer_zoo.metrics.resampling import Logits, checked_clusters, own_values, resamplings, seeds_of, values_of
from mer_zoo.metrics.significance import Interval, Labels, interval_of, interval_over_seeds

__all__ = ["LEAST", "ByGroup", "GroupValue", "by_group"]

LEAST = 20  # samples, below which a group is named and not ranked


@dataclass(frozen=True)
class GroupValue:
    """A metric on the samples of one group.

    Attributes:
        name: Name of the group.
        count: Its number of samples; the smallest over the seeds where each has samples of its own.
        interval: The value and its interval. Its ``clusters`` are those of the group, and its samples where the group
            is a single one.
    """

    name: str
    count: int
    interval: Interval


@dataclass(frozen=True)
class ByGroup:
    """A metric on all samples and on each group of them.

    Attributes:
        all: The value on all samples.
        average: The mean over the ranked groups, each counting alike; NaN without one.
        ranked: The groups of enough samples, the worst first.
        gap: The value on all samples minus that of the worst group; None without one.
        small: Number of samples of each of the other groups.
    """

    all: float
    average: float
    ranked: list[GroupValue]
    gap: Interval | None
    small: dict[str, int]

    @property
    def worst(self) -> GroupValue | None:
        """The worst of the ranked groups; None where there is none."""
        return self.ranked[0] if self.ranked else None


def by_group(
    metric: Metric,
    logits: Logits,
    target: Labels,
    groups: Sequence[str] | Sequence[Sequence[str]],
    samples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    clusters: Sequence[object] | None = None,
    least: int = LEAST,
) -> ByGroup:
    """A metric on each group of samples, from the worst group on.

    The intervals hold for each group by itself. Of the worst of several they say too little: it is the one that looks
    worst, partly by chance. Clusters are drawn within a group and outside of it, so that groups keep their sizes; where
    a group is a single cluster, its samples are drawn.

    Args:
        metric: Any metric of a task; it is not changed.
        logits: (N, *task shape) logits; a list of them, one a seed, stands for their mean metric.
        target: (N, ...) labels; a list of them where each seed has samples of its own.
        groups: The group of each sample; where each seed has samples of its own, as many lists.
        samples: Number of resamplings.
        seed: Seed of the resampling.
        confidence: How often such intervals hold the truth.
        clusters: The cluster of each sample, such as its recording; None takes samples for independent.
        least: Groups of fewer samples are not ranked.

    Raises:
        MERError: Where the numbers of samples differ.

    References:
        Koh et al., "WILDS: A Benchmark of in-the-Wild Distribution Shifts", ICML 2021, whose worst-group accuracy this
        is.

    Example:
        >>> from mer_zoo.metrics import MeanAbsoluteError
        >>> target = torch.linspace(-3, 3, 60)
        >>> logits = (target + torch.tensor([0.1] * 30 + [0.4] * 27 + [2.0] * 3))[:, None]
        >>> found = by_group(MeanAbsoluteError(), logits, target, ["Ann"] * 30 + ["Bob"] * 27 + ["Cy"] * 3, samples=50)
        >>> found.worst.name, round(found.worst.interval.difference, 3), found.small
        ('Bob', 0.4, {'Cy': 3})
    """
    scored, targets = seeds_of(logits), [target] if isinstance(target, Tensor) else list(target)
    own = len(targets) > 1
    named: list[list[str]] = [list(each) for each in groups] if own else [list(groups)]  # type: ignore[arg-type]
    if [len(labels) for labels in targets] != [len(names) for names in named]:
        raise MERError(
            f"groups of {[*map(len, named)]} samples for labels of {[*map(len, targets)]}; give each its own"
        )
    if least < 2:
        raise MERError(f"least is {least}; a group to rank has 2 samples or more")
    part: _Drawn | _Own
    if own:
        part = _Own(metric, scored, targets, named, confidence)
    else:
        part = _Drawn(metric, scored, targets[0], named[0], clusters, samples, seed, confidence)
    counts = [Counter(names) for names in named]
    sizes = {name: min(count[name] for count in counts) for name in dict.fromkeys(n for names in named for n in names)}
    ranked = [GroupValue(name, size, part.value(name)) for name, size in sizes.items() if size >= least]
    ranked.sort(key=lambda one: one.interval.difference, reverse=not metric.higher_is_better)
    average = sum(one.interval.difference for one in ranked) / len(ranked) if ranked else math.nan
    gap = part.value(ranked[0].name, apart=True) if ranked else None
    return ByGroup(part.all, average, ranked, gap, {name: size for name, size in sizes.items() if size < least})


class _Drawn:
    """Groups among the samples that all seeds share."""

    def __init__(
        self,
        metric: Metric,
        logits: list[Tensor],
        target: Tensor,
        names: list[str],
        clusters: Sequence[object] | None,
        samples: int,
        seed: int,
        confidence: float,
    ) -> None:
        self.metric, self.logits, self.target, self.names = metric, logits, target, names
        self.samples, self.seed, self.confidence = samples, seed, confidence
        self.place, self.count = checked_clusters([[logits]], target, clusters, samples)
        once = torch.ones(1, len(target), dtype=torch.long)
        self.all = float(_values(metric, logits, target, once).mean())

    def value(self, name: str, apart: bool = False) -> Interval:
        """The interval of a group, or of the value on all samples less that of the group."""
        inside = torch.tensor([each == name for each in self.names])
        times, count = self._times(inside)
        table = _values(self.metric, [x[inside] for x in self.logits], self.target[inside], times[:, inside])
        if apart:
            table = _values(self.metric, self.logits, self.target, times) - table
        return interval_of([table], count, self.confidence)

    def _times(self, inside: Tensor) -> tuple[Tensor, int]:
        """(samples + 1, N) weight of each sample in each resampling, and the number of clusters inside."""
        place = self.place
        if len(set(place[inside].tolist())) < 2:  # a single cluster's samples stand for it
            place = torch.where(inside, self.count + torch.arange(len(place)), place)
        numbers = {old: new for new, old in enumerate(dict.fromkeys(place.tolist()))}
        place = torch.tensor([numbers[old] for old in place.tolist()])
        touched = torch.zeros(len(numbers), dtype=torch.bool)
        touched[place[inside]] = True
        times = torch.ones(self.samples + 1, len(touched), dtype=torch.float64)
        for part, seed in ((touched, self.seed), (~touched, self.seed + 1)):
            count = int(part.sum())
            if count > 1:
                drawn = resamplings(count, self.samples, seed).double()
                drawn[:-1] *= count / (count - 1)  # one less is drawn than there are
                times[:, part] = drawn
        return times[:, place], int(touched.sum())


class _Own:
    """Groups where each seed has samples of its own."""

    def __init__(
        self,
        metric: Metric,
        logits: list[Tensor],
        targets: list[Tensor],
        names: list[list[str]],
        confidence: float,
    ) -> None:
        self.metric, self.logits, self.targets, self.names = metric, logits, targets, names
        self.confidence = confidence
        self.values = own_values(metric, logits, targets)
        self.all = float(self.values.mean())

    def value(self, name: str, apart: bool = False) -> Interval:
        """The interval of a group, or of the value on all samples less that of the group."""
        inside = [torch.tensor([each == name for each in names]) for names in self.names]
        values = own_values(
            self.metric,
            [scores[part] for scores, part in zip(self.logits, inside, strict=True)],
            [labels[part] for labels, part in zip(self.targets, inside, strict=True)],
        )
        return interval_over_seeds([self.values, values] if apart else [values], self.confidence)


def _values(metric: Metric, logits: Sequence[Tensor], target: Tensor, times: Tensor) -> Tensor:
    """(S, seeds) values where each sample weighs so much."""
    return torch.stack([values_of(metric, scores, target, times) for scores in logits], 1)
