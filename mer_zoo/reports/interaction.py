"""What interactions between modalities add: a model beside its best additive approximation (EMAP)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mer_zoo.data.corpus.conversation import recordings
from mer_zoo.metrics.significance import Interval, paired_bootstrap
from mer_zoo.reports.groups import Group
from mer_zoo.reports.record import ConditionResult
from mer_zoo.reports.resampled import Resampler
from mer_zoo.reports.scored import measure_of, scores_of
from mer_zoo.reports.tables import Table, condition_title, format_value, is_fraction
from mer_zoo.task import Task

__all__ = ["interaction_table", "told_of_additive"]

NOTE = (
    "EMAP: the nearest sum of functions of one modality each (Hessel and Lee, EMNLP 2020), from predictions in which"
    " modalities of different samples are put together. Where nothing is lost by it, the model has learnt no"
    " interaction that counts. Brackets: 95 % intervals, samples and seeds counted in."
)


def told_of_additive(
    task: Task, logits: Tensor, target: Tensor, additive: Tensor, ids: Sequence[str] | None
) -> dict[str, Any]:
    """What results.json says of a model and its additive approximation, on the samples that it was made for.

    Args:
        task: The task.
        logits: (N, *task shape) logits of the model.
        target: (N, ...) labels.
        additive: (N, *task shape) logits of the approximation, NaN for other samples.
        ids: Ids of the samples, whose recordings go together.

    Returns:
        ``samples``, metrics of ``model`` and ``additive``, and of their ``difference`` value, low and high.
    """
    chosen = _chosen(additive)
    names = None if ids is None else recordings([name for name, is_in in zip(ids, chosen, strict=True) if is_in])
    logits, target, additive = (
        each[chosen].float() if each.is_floating_point() else each[chosen] for each in (logits, target, additive)
    )
    sides = []
    for scores in (logits, additive):
        metrics = task.metrics()
        metrics.update(scores, target)
        sides.append({name: float(value) for name, value in metrics.compute().items()})
    apart = {}
    for name, metric in task.metrics().items():
        found = paired_bootstrap(metric, logits, additive, target, clusters=names)
        apart[name] = {"value": found.difference, "low": found.low, "high": found.high}
    return {"samples": int(chosen.sum()), "model": sides[0], "additive": sides[1], "difference": apart}


def interaction_table(
    groups: Sequence[Group], conditions: Sequence[ConditionResult], resampler: Resampler
) -> Table | None:
    """Models beside their additive approximations; None where no test has made any.

    Args:
        groups: The models.
        conditions: The conditions.
        resampler: Says the metric, the number of resamplings, and which samples go together.
    """
    metric, rows = resampler.metric, []
    for group in groups:
        for condition in conditions:
            found = None if condition.available else _difference(group, condition.name, resampler)
            if found is not None:
                count, interval, value = found
                on = f"{group.label} on {condition_title(condition.name)}"
                numbers = [format_value(metric, each) for each in (value, value - interval.difference)]
                ends = [
                    format_value(metric, each, signed=True)
                    for each in (interval.difference, interval.low, interval.high)
                ]
                rows.append([on, str(count), *numbers, f"{ends[0]} [{ends[1]}, {ends[2]}]"])
    unit = ", percent" if is_fraction(metric) else ""
    header = ["model", "samples", "as it is", "additive", "interaction adds"]
    return Table(f"What interaction adds to {metric}{unit}", header, rows, [NOTE]) if rows else None


def _chosen(additive: Tensor) -> Tensor:
    """(N,) for which samples there is an approximation."""
    return ~additive.flatten(1).isnan().any(1)


def _difference(group: Group, condition: str, resampler: Resampler) -> tuple[int, Interval, float] | None:
    """Number of samples, what interaction adds there, and the model's own value there."""
    task, measure = measure_of(group, resampler.metric)
    scored = None if task is None else scores_of(group, condition, task)
    if task is None or measure is None or scored is None:
        return None
    pairs = [(logits, given) for logits, given in zip(scored.logits, scored.additive, strict=True) if given is not None]
    if len(pairs) < len(scored.logits) or not resampler.samples:
        return None
    chosen = [_chosen(given) for _, given in pairs]
    if not scored.own and any(not each.equal(chosen[0]) for each in chosen):
        return None
    targets = [labels[each] for labels, each in zip(scored.targets, chosen, strict=False)]
    names = None if scored.own else resampler.clusters.of_test(scored.tests[0])
    logits, additive = ([each[place][where] for each, where in zip(pairs, chosen, strict=True)] for place in (0, 1))
    interval = paired_bootstrap(
        measure,
        logits,
        additive,
        targets if scored.own else targets[0],
        resampler.samples,
        clusters=names and [name for name, is_in in zip(names, chosen[0].tolist(), strict=True) if is_in],
    )
    values = []
    for place, scores in enumerate(logits):
        measure.reset()
        measure.update(scores, targets[place if scored.own else 0])
        values.append(float(measure.compute()))
    return int(chosen[0].sum()), interval, sum(values) / len(values)
