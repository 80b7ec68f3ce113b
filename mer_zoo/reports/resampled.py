"""Values and differences of models with their intervals, from the scores that their tests have kept.

A model's scores are read once and its metric is resampled once, however many others it is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mer_zoo.metrics.resampling import Draws, area_weights, checked_draws, own_values, resampled
from mer_zoo.metrics.significance import Interval, interval_of, interval_over_seeds
from mer_zoo.reports.clusters import Clusters
from mer_zoo.reports.groups import Group
from mer_zoo.reports.scored import Scored, measure_of, same_samples, scores_of

__all__ = ["Cell", "Resampler", "note_on"]


@dataclass(frozen=True)
class Cell:
    """An interval, and what was drawn.

    Attributes:
        interval: The interval.
        clustered: Whether samples were drawn by clusters.
        own: Whether each seed has test samples of its own.
    """

    interval: Interval
    clustered: bool
    own: bool


_Names = tuple[str, ...] | None  # the cluster of each sample
_Runs = tuple[str, ...]


class Resampler:
    """Makes the intervals of one metric.

    Args:
        metric: The metric.
        samples: Number of resamplings; with 0 there is no interval.
        clusters: Which samples go together.
    """

    def __init__(self, metric: str, samples: int, clusters: Clusters) -> None:
        self.metric, self.samples, self.clusters = metric, samples, clusters
        self._scores: dict[tuple[_Runs, str, str], Scored | None] = {}
        self._draws: dict[tuple[int, _Names], Draws] = {}
        self._values: dict[tuple[_Runs, str, str, str, _Names], Tensor] = {}

    def value(self, group: Group, condition: str) -> Cell | None:
        """The value of a model under a condition; None where the scores are not kept or not those of the value.

        Args:
            group: The model.
            condition: Name of the condition.
        """
        scored = self._scored(group, condition, group)
        if scored is None:
            return None
        names = self._names(scored)
        values = self._resampled(group, condition, scored, names, group)
        return self._cell([values], scored, names, group.value(condition, self.metric)[0])

    def facts(self, group: Group, condition: str) -> list[str]:
        """What every run of a model has kept of the samples of a condition.

        Args:
            group: The model.
            condition: Name of the condition.
        """
        scored = self._scored(group, condition, group)
        every = [] if scored is None else scored.facts
        return [name for name in (every[0] if every else {}) if all(name in facts for facts in every)]

    def mean(self, group: Group, condition: str, fact: str) -> Cell | None:
        """The mean of a fact over the samples of which it is known; None where a run has not kept it.

        Args:
            group: The model.
            condition: Name of the condition.
            fact: Its name.
        """
        scored = self._scored(group, condition, group)
        if scored is None or any(fact not in facts for facts in scored.facts):
            return None
        names = self._names(scored)
        each = [facts[fact].double() for facts in scored.facts]
        if scored.own:
            found = interval_over_seeds([torch.stack([values.nanmean() for values in each])])
        else:
            draws = self._drawn(scored, names)
            times, known = draws.times.double(), [(~values.isnan()).double() for values in each]
            sums = [
                times @ values.nan_to_num() / (times @ is_known) for values, is_known in zip(each, known, strict=True)
            ]
            found = interval_of([torch.stack(sums, 1)], draws.count)
        return None if math.isnan(found.p) else Cell(found, names is not None, scored.own)

    def difference(self, model: Group, base: Group, condition: str) -> Cell | None:
        """The difference of two models under a condition; None where they were not tested alike.

        Args:
            model: The one model.
            base: The other, which is taken away.
            condition: Name of the condition.
        """
        reported = model.value(condition, self.metric)[0] - base.value(condition, self.metric)[0]
        return self._weighted(model, base, [condition], [1.0], reported)

    def area(self, model: Group, base: Group, curve: str) -> Cell | None:
        """The difference of two models in AUILC; None where they were not tested alike.

        Args:
            model: The one model.
            base: The other, which is taken away.
            curve: Name of the curve.
        """
        reported = model.area(curve, self.metric)[0] - base.area(curve, self.metric)[0]
        rates = base.rates(curve)
        if math.isnan(reported) or any(c.rates != rates for each in (model, base) for c in each.curves(curve)):
            return None
        names = [condition.name for _, condition in base.curves(curve)[0].points]
        return self._weighted(model, base, names, area_weights(rates), reported)

    def _weighted(
        self, model: Group, base: Group, conditions: Sequence[str], weights: Sequence[float], reported: float
    ) -> Cell | None:
        if math.isnan(reported) or model.runs[0].task != base.runs[0].task:
            return None
        pairs = [[self._scored(group, name, base) for group in (model, base)] for name in conditions]
        known = [[one for one in pair if one is not None] for pair in pairs]
        if any(len(pair) < 2 for pair in known) or not all(_alike(one, known[0][0]) for pair in known for one in pair):
            return None
        a, b = known[0]
        # of runs from before ids were kept the other model's ids serve: the samples are the same
        names = self._names(a) or self._names(b)
        tables = []
        for place, group in enumerate((model, base)):
            values = [
                weight * self._resampled(group, name, pair[place], names, base)
                for name, weight, pair in zip(conditions, weights, known, strict=True)
            ]
            tables.append(torch.stack(values).sum(0))
        return self._cell(tables, a, names, reported)

    def _scored(self, group: Group, condition: str, asking: Group) -> Scored | None:
        """Scores of a model, read as those of a task."""
        task, _ = measure_of(asking, self.metric)
        if task is None or not self.samples:
            return None
        key = _paths(group), condition, asking.runs[0].task
        if key not in self._scores:
            self._scores[key] = scores_of(group, condition, task)
        return self._scores[key]

    def _names(self, scored: Scored) -> _Names:
        names = None if scored.own else self.clusters.of_test(scored.tests[0])
        return None if names is None else tuple(names)

    def _drawn(self, scored: Scored, names: _Names) -> Draws:
        key = len(scored.targets[0]), names
        if key not in self._draws:
            self._draws[key] = checked_draws([[scored.logits]], scored.targets[0], names, self.samples)
        return self._draws[key]

    def _resampled(self, group: Group, condition: str, scored: Scored, names: _Names, asking: Group) -> Tensor:
        """Values of a model, by the metric of the model asked for.

        (samples + 1, seeds) in the resamplings, or (seeds,) where each has samples of its own.
        """
        key = _paths(group), condition, asking.runs[0].task, asking.runs[0].convention, names
        if key not in self._values:
            _, measure = measure_of(asking, self.metric)
            assert measure is not None
            if scored.own:
                values = own_values(measure, scored.logits, scored.targets)
            else:
                values = resampled(measure, scored.logits, scored.targets[0], self._drawn(scored, names))
            self._values[key] = values
        return self._values[key]

    def _cell(self, values: Sequence[Tensor], scored: Scored, names: _Names, reported: float) -> Cell | None:
        own = scored.own
        interval = interval_over_seeds(values) if own else interval_of(values, self._drawn(scored, names).count)
        found = Cell(interval, names is not None, own)
        return found if _agrees(found, reported) else None


def _paths(group: Group) -> _Runs:
    return tuple(str(run.path) for run in group.runs)


def _alike(a: Scored, b: Scored) -> bool:
    """Whether two were tested on the same samples."""
    return len(a.tests) == len(b.tests) and all(map(same_samples, a.tests, b.tests))


def _agrees(cell: Cell, reported: float) -> bool:
    """Whether an interval is known, and of the value that is reported."""
    return not math.isnan(cell.interval.p) and math.isclose(cell.interval.difference, reported, abs_tol=1e-4)


def note_on(cells: Sequence[Cell], samples: int, clusters: Clusters) -> str:
    """What was drawn for the intervals of a table, in a sentence.

    Args:
        cells: Those of the table.
        samples: Number of resamplings.
        clusters: Which samples go together.
    """
    told = []
    drawn = [cell for cell in cells if not cell.own]
    if drawn:
        parts = [
            clusters.note([cell.interval.clusters for cell in drawn if cell.clustered is way], way)
            for way in dict.fromkeys(cell.clustered for cell in drawn)
        ]
        seeds = min(cell.interval.seeds for cell in drawn)
        parts.append(
            "one run of a model says nothing about other seeds" if seeds == 1 else "the choice of seeds is counted in"
        )
        told.append(f"paired bootstrap of {samples} resamplings; {'; '.join(parts)}")
    if len(drawn) < len(cells):
        told.append(
            "where each seed has test samples of its own, Student's interval over the seeds, nothing being resampled"
        )
    return f"Brackets: 95 % intervals, {'; '.join(told)}."
