"""What a run says about missing data: curves over the missing rate with their areas, and drop gaps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from mer_zoo.functional.metrics import DropGap, auilc, drop_gap
from mer_zoo.reports.record import ConditionResult, RunResults
from mer_zoo.reports.tables import ordered_metrics

__all__ = ["Curve", "curves_of", "gap_places", "gaps_of", "sets_at", "summarize"]


@dataclass(frozen=True)
class Curve:
    """One pattern's conditions on one test split by rising missing rate, the complete split first.

    Attributes:
        name: The pattern, with the test split in front where that is not the first.
        points: Rate and condition.
    """

    name: str
    points: list[tuple[float, ConditionResult]]

    @property
    def rates(self) -> list[float]:
        """The rates tested."""
        return [rate for rate, _ in self.points]

    def values(self, metric: str) -> list[float]:
        """The metric at each rate."""
        return [condition.metrics.get(metric, math.nan) for _, condition in self.points]

    def area(self, metric: str) -> float:
        """AUILC of the metric; NaN where the rates do not reach from 0 to 1, as other areas do not compare."""
        if (self.rates[0], self.rates[-1]) != (0.0, 1.0):
            return math.nan
        return auilc(self.rates, self.values(metric))


def curves_of(run: RunResults) -> dict[str, Curve]:
    """The curves of a run by name; a pattern tested at one rate alone is none.

    Args:
        run: The run.
    """
    points: dict[str, dict[float, ConditionResult]] = {}
    for condition in run.conditions.values():
        if condition.curve is not None and condition.rate is not None:
            full = run.full(condition)
            points.setdefault(condition.curve, {} if full is None else {0.0: full})[condition.rate] = condition
    return {
        name: Curve(name, sorted(found.items()))
        for name, found in points.items()
        if sum(not condition.complete for condition in found.values()) > 1
    }


def gap_places(run: RunResults) -> list[str]:
    """The test splits that were tested with modalities missing: an empty name for the first, ``ood`` and the like."""
    return list(dict.fromkeys(condition.place for condition in run.conditions.values() if condition.available))


def sets_at(run: RunResults, place: str) -> tuple[dict[str, ConditionResult], ConditionResult | None]:
    """The availability conditions of one test split by set, and the complete condition beside them.

    Args:
        run: The run.
        place: The test split, as :func:`gap_places` names it.
    """
    sets = {c.set_name: c for c in run.conditions.values() if c.available and c.place == place}
    return sets, next((run.full(condition) for condition in sets.values()), None)


def gaps_of(run: RunResults, metric: str, place: str = "") -> DropGap | None:
    """The drop gap of a metric on one test split; None where it was not tested complete and with modalities missing.

    Args:
        run: The run.
        metric: The metric.
        place: The test split, as :func:`gap_places` names it.
    """
    sets, full = sets_at(run, place)
    if full is None:
        return None
    return drop_gap({name: condition.metrics[metric] for name, condition in sets.items()}, full.metrics[metric])


def summarize(run: RunResults) -> dict[str, Any]:
    """The summary in results.json.

    Args:
        run: The run.

    Returns:
        ``auilc``: curve -> metric -> area; ``drop_gap``: complete condition -> metric -> gap of each set, ``mean``,
        and ``std``, the sample deviation, None for a single set.
    """
    metrics = ordered_metrics(run.metric_names)
    areas = {name: {metric: curve.area(metric) for metric in metrics} for name, curve in curves_of(run).items()}
    gaps: dict[str, dict[str, dict[str, float | None]]] = {}
    for place in gap_places(run):
        _, full = sets_at(run, place)
        found = {metric: gap for metric in metrics if (gap := gaps_of(run, metric, place)) is not None}
        if full is not None:
            gaps[full.name] = {metric: {**gap.gaps, "mean": gap.mean, "std": gap.std} for metric, gap in found.items()}
    return {"auilc": areas, "drop_gap": gaps}
