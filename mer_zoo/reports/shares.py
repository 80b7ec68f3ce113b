"""How a metric is divided among the modalities, where every set of them was tested, and how evenly."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mer_zoo.batch import MODALITIES
from mer_zoo.functional.metrics import mean_std
from mer_zoo.functional.shapley import evenness, shapley_values
from mer_zoo.metrics.contribution import subsets
from mer_zoo.reports.groups import Group
from mer_zoo.reports.record import RunResults
from mer_zoo.reports.robustness import gap_places, sets_at
from mer_zoo.reports.tables import Table, is_fraction, with_deviation
from mer_zoo.reports.tasks import task_of

__all__ = ["EVENNESS", "share_table", "shares_of", "summarize_shares"]

EVENNESS = "evenness"
NOTE = (
    "Shapley values of the metric over every set of the modalities, the best constant prediction standing for none of"
    " them: their sum is what the model gains over it. Evenness: the entropy of the positive ones over its maximum, 1"
    " evenly, 0 one modality alone."
)


def shares_of(run: RunResults, metric: str, place: str = "") -> dict[str, float] | None:
    """What each modality adds to a metric on one test split, and ``evenness``.

    Args:
        run: The run.
        metric: The metric.
        place: The test split, as :func:`~mer_zoo.reports.robustness.gap_places` names it.

    Returns:
        Gains, also of an error, whose fall counts as one; None where a set of the modalities in use was not tested.
    """
    used = [name for name in MODALITIES if name in (run.data.get("modalities") or MODALITIES)]
    sets, full = sets_at(run, place)
    sign = _sign(run, metric)
    if full is None or len(used) < 2 or sign is None:
        return None
    tested = {condition.available: condition.metrics for condition in sets.values()}
    known = {**tested, tuple(used): full.metrics, (): full.constant}
    wanted = [(), *subsets(used)]
    values = {names: sign * known.get(names, {}).get(metric, math.nan) for names in wanted}
    if any(map(math.isnan, values.values())):
        return None
    shares = shapley_values(values, used)
    return {**shares, EVENNESS: evenness(list(shares.values()))}


def _sign(run: RunResults, metric: str) -> int | None:
    """1 for a metric whose large values are good, -1 for an error; None of an unknown one."""
    task = task_of(run)
    found = None if task is None else dict(task.metrics().items()).get(metric)
    if found is None:
        return None
    return 1 if found.higher_is_better else -1


def summarize_shares(run: RunResults) -> dict[str, dict[str, dict[str, float]]]:
    """What results.json says: complete condition -> metric -> share of each modality, and ``evenness``.

    Args:
        run: The run.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for place in gap_places(run):
        _, full = sets_at(run, place)
        shares = {metric: each for metric in run.metric_names if (each := shares_of(run, metric, place)) is not None}
        if full is not None and shares:
            found[full.name] = shares
    return found


def share_table(groups: Sequence[Group], metric: str) -> Table | None:
    """Shares of the modalities in a metric; None where no run was tested with every set of them.

    Args:
        groups: The models.
        metric: The metric.
    """
    rows = []
    for group in groups:
        for place in dict.fromkeys(place for run in group.runs for place in gap_places(run)):
            found = [shares for run in group.runs if (shares := shares_of(run, metric, place)) is not None]
            if found:
                cells = [
                    with_deviation(metric if name != EVENNESS else "", *_summary(found, name), name != EVENNESS)
                    for name in (*MODALITIES, EVENNESS)
                ]
                rows.append([" on ".join(filter(None, [group.label, place])), *cells])
    unit = ", percentage points" if is_fraction(metric) else ""
    header = ["model", *MODALITIES, EVENNESS]
    return Table(f"What each modality adds to {metric}{unit}", header, rows, [NOTE]) if rows else None


def _summary(found: Sequence[dict[str, float]], name: str) -> tuple[float, float | None]:
    values = [shares[name] for shares in found if not math.isnan(shares.get(name, math.nan))]
    return mean_std(values) if values else (math.nan, None)
