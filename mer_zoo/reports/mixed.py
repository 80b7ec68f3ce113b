"""What the runs of a comparison should have in common and do not: a sentence each, with the run and the remedy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mer_zoo.errors import MERError
from mer_zoo.foreign import read_json
from mer_zoo.reports.groups import Group
from mer_zoo.reports.record import ConditionResult, RunResults
from mer_zoo.reports.tables import format_value

__all__ = ["mixture_notes"]

_PACKAGES = ("mer-zoo", "torch")
_MOST = 8  # sentences


def mixture_notes(groups: Sequence[Group], conditions: Sequence[ConditionResult], metric: str) -> list[str]:
    """Say where models differ in task, convention, test samples, seeds or versions.

    Args:
        groups: The models, of which the first is what the others are compared with.
        conditions: The conditions.
        metric: The metric.
    """
    found = [note for group in groups[1:] for note in _between(groups[0], group, conditions, metric)]
    found += _seeds(groups)
    left_out = len(found) - _MOST
    return found[:_MOST] + ([f"And {left_out} more of the kind; report fewer runs together."] if left_out > 0 else [])


def _between(first: Group, other: Group, conditions: Sequence[ConditionResult], metric: str) -> Iterator[str]:
    run, base = other.runs[0], first.runs[0]
    where, pair = run.path.parent, (other.label, first.label)
    if run.task != base.task:
        tasks = [task or "an unknown task" for task in (run.task, base.task)]
        yield (
            f"{pair[0]} was trained for {tasks[0]} and {pair[1]} for {tasks[1]}: another loss as well as another model;"
            f" leave {where} out, or train it with --data.task {base.task or 'TASK'}."
        )
    if run.convention != base.convention:
        yield (
            f"{pair[0]} was measured by {run.convention} and {pair[1]} by {base.convention}: the same predictions may"
            f" have other values; test {where} with --data.convention {base.convention}."
        )
    if (how := _other_samples(first, other, conditions, metric)) is not None:
        yield f"{pair[0]} was tested on other samples than {pair[1]} ({how}); leave {where} out, or test both alike."
    ours, theirs = _versions(base), _versions(run)
    if differing := [name for name in _PACKAGES if name in ours and name in theirs and ours[name] != theirs[name]]:
        versions = ", ".join(f"{name} {theirs[name]} instead of {ours[name]}" for name in differing)
        yield f"{pair[0]} was trained with {versions}; where a small difference matters train {where} anew."


def _other_samples(first: Group, other: Group, conditions: Sequence[ConditionResult], metric: str) -> str | None:
    """How the samples of a condition differ between runs of one seed, by number and the majority class's value."""
    by_seed = {run.seed: run for run in first.runs}
    for run in other.runs:
        base = by_seed.get(run.seed, first.runs[0])
        for name in (condition.name for condition in conditions):
            one, two = base.conditions.get(name), run.conditions.get(name)
            if one is None or two is None:
                continue
            if one.count != two.count:
                return f"{two.count} instead of {one.count} under {name}"
            values = [found.majority.get(metric) for found in (one, two)]
            if None not in values and run.seed == base.seed and abs(values[0] - values[1]) > 1e-6:  # type: ignore[operator]
                said = [format_value(metric, value) for value in values if value is not None]
                return f"under {name} the majority class has {said[1]} instead of {said[0]}"
    return None


def _versions(run: RunResults) -> Mapping[str, str]:
    try:
        found = read_json(run.path.parent / "provenance.json", limit=2**20)["packages"]
        return {name: found[name] for name in _PACKAGES if isinstance(found[name], str)}
    except (OSError, MERError, KeyError, TypeError):
        return {}


def _seeds(groups: Sequence[Group]) -> Iterator[str]:
    for group in groups:
        for run in group.runs:
            if run.seed is None:
                yield f"{group.label} does not tell its seed; train {run.path.parent} anew with --seed_everything."
    every = sorted({run.seed for group in groups for run in group.runs if run.seed is not None})
    for group in groups:
        seeds = {run.seed for run in group.runs}
        lacking = [seed for seed in every if seed not in seeds]
        if lacking and None not in seeds:
            word = "seed" if len(lacking) == 1 else "seeds"
            yield (
                f"{group.label} lacks {word} {', '.join(map(str, lacking))} of the others; train it with"
                f" --seed_everything={lacking[0]}, or leave that seed of the others out."
            )
