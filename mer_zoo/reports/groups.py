"""Runs that differ in their seed only are one row of a comparison."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from mer_zoo.errors import MERError
from mer_zoo.functional.metrics import DropGap, mean_std
from mer_zoo.reports.complexity import Complexity, in_gib
from mer_zoo.reports.contribution import contributions
from mer_zoo.reports.record import ConditionResult, RunResults, find_results
from mer_zoo.reports.robustness import Curve, curves_of, gaps_of
from mer_zoo.reports.tables import ordered_metrics

__all__ = ["Group", "choose_metric", "conditions_of", "curve_names", "group_runs", "named_groups", "without_draw"]

_DRAWN = re.compile(r"(SyntheticMER\(.*), seed=\d+(.*)")
_BY_SCALE = ("sims", "scale")  # conventions whose metrics are others
_MAIN = {"seven": "Acc7", "five": "Acc5", "two": "Acc2", "emotions": "F1", "classes": "F1"}


@dataclass(frozen=True)
class Group:
    """Runs of one model on one task and data, one a seed.

    Attributes:
        label: Name of the row.
        runs: The runs.
    """

    label: str
    runs: list[RunResults]

    def value(self, condition: str, metric: str) -> tuple[float, float | None]:
        """Mean and sample deviation over the runs that have it; NaN where none has, no deviation for one run."""
        found = [run.conditions[condition].metrics[metric] for run in self.runs if condition in run.conditions]
        return _summary(found)

    def majority(self, condition: str, metric: str) -> float:
        """The mean over the runs of the majority class's value; one value where they are tested on the same samples."""
        tested = [run.conditions[condition] for run in self.runs if condition in run.conditions]
        return fmean(one.majority.get(metric, math.nan) for one in tested) if tested else math.nan

    def gaps(self, metric: str, place: str = "") -> list[DropGap]:
        """The drop gap of each run tested with modalities missing, on the first test split or another ``place``."""
        return [gap for run in self.runs if (gap := gaps_of(run, metric, place)) is not None]

    def gap(self, metric: str, column: str, place: str = "") -> tuple[float, float | None]:
        """Mean and deviation over runs of one number of the drop gap: a set, ``mean`` or ``std``."""
        columns = [{**gap.gaps, "mean": gap.mean, "std": gap.std} for gap in self.gaps(metric, place)]
        return _summary([number for numbers in columns if (number := numbers.get(column)) is not None])

    @property
    def contributed(self) -> list[str]:
        """The complete conditions beside which every set of the modalities was tested."""
        return list(dict.fromkeys(name for run in self.runs for name in contributions(run)))

    def contribution(self, condition: str, column: str) -> tuple[float, float | None]:
        """Mean and deviation over the runs of a modality's contribution, or of their ``std``."""
        found = (contributions(run).get(condition, {}) for run in self.runs)
        return _summary([shares[column] for shares in found if column in shares])

    @property
    def complexities(self) -> list[Complexity]:
        """Size and cost of each run that tells of them."""
        return [run.complexity for run in self.runs if run.complexity is not None]

    @property
    def seconds(self) -> tuple[float, float | None]:
        """Mean and deviation over the runs of the seconds that a training epoch takes."""
        return _summary([one.seconds for one in self.complexities if not math.isnan(one.seconds)])

    @property
    def memory(self) -> tuple[float, float | None]:
        """Mean and deviation over the runs of the most memory that training held, in GiB."""
        return _summary([in_gib(one.memory) for one in self.complexities if one.memory is not None])

    def curves(self, name: str) -> list[Curve]:
        """The curve of each run that was tested at several missing rates of one pattern."""
        return [found[name] for run in self.runs if name in (found := curves_of(run))]

    def rates(self, name: str) -> list[float]:
        """All rates of a curve, rising."""
        return sorted({rate for curve in self.curves(name) for rate in curve.rates})

    def at_rate(self, name: str, rate: float, metric: str) -> tuple[float, float | None]:
        """Mean and deviation over the runs of a metric at one missing rate."""
        return _summary(
            [dict(zip(c.rates, c.values(metric), strict=True))[rate] for c in self.curves(name) if rate in c.rates]
        )

    def area(self, name: str, metric: str) -> tuple[float, float | None]:
        """Mean and deviation over the runs of a curve's AUILC."""
        return _summary([curve.area(metric) for curve in self.curves(name)])

    def diagnostic(self, name: str) -> tuple[float, float | None]:
        """Mean and deviation over the runs of a number that the model reports about itself."""
        return _summary([run.diagnostics[name] for run in self.runs if name in run.diagnostics])


def _summary(values: Sequence[float]) -> tuple[float, float | None]:
    return mean_std(values) if values else (math.nan, None)


def _data_label(data: Mapping[str, Any]) -> str:
    corpus, source = str(data.get("corpus", "")), str(data.get("source") or "")
    modalities = data.get("modalities")
    chosen = f"[{','.join(modalities)}]" if isinstance(modalities, list) and len(modalities) < 3 else ""
    return " ".join(part for part in (corpus, Path(source).name, chosen) if part)


def group_runs(runs: Sequence[RunResults]) -> list[Group]:
    """Gather the runs into rows, labelled by what tells them apart.

    Args:
        runs: All runs, in the order of the rows.

    Returns:
        One group for each model with its options, task, convention and corpus, plain models before wrapped ones; a
        corpus that is drawn anew for every seed counts as one. Where a seed comes twice the settings must differ in
        something that results.json does not name, so those runs stand alone, labelled by their folders.
    """
    sets: list[list[RunResults]] = []
    for members in _gathered(runs, without_draw):
        corpora = _gathered(members, _all)
        # each seed with a corpus of its own, or each corpus for itself
        for same in [members] if len(corpora) == len(members) == len({run.seed for run in members}) else corpora:
            is_one = len({run.seed for run in same}) == len(same)
            sets += [same] if is_one else [[run] for run in same]
    parts = [_label_parts(members) for members in sets]
    differing = [len({part[place] for part in parts}) > 1 for place in range(3)]
    groups = []
    for members, part in zip(sets, parts, strict=True):
        words = [members[0].model, *(text for text, differs in zip(part, differing, strict=True) if differs)]
        groups.append(Group(" · ".join(words), members))
    return sorted(_tell_apart(groups), key=lambda group: group.runs[0].model.count("("))


def _gathered(runs: Sequence[RunResults], of_data: Callable[[RunResults], dict[str, Any]]) -> list[list[RunResults]]:
    """Runs with the same settings, whose data are alike as far as told."""
    found: dict[str, list[RunResults]] = {}
    for run in runs:
        options = [(name, {k: v for k, v in given.items() if not _goes_with_seed(k, v)}) for name, given in run.nest]
        told = [run.model, run.task, run.convention, run.parameters, of_data(run), options]
        found.setdefault(json.dumps(told, sort_keys=True, default=str), []).append(run)
    return list(found.values())


def _all(run: RunResults) -> dict[str, Any]:
    return {key: value for key, value in run.data.items() if key != "notes"}


def without_draw(run: RunResults) -> dict[str, Any]:
    """The description of the data without what says which draw of a made-up corpus they are.

    Args:
        run: The run.
    """
    data = _all(run)
    drawn = _DRAWN.fullmatch(str(data.get("source")))
    return data if drawn is None else {**data, "source": drawn[1] + drawn[2], "sha256": None}


def _goes_with_seed(option: str, value: object) -> bool:
    """Whether an option differs between the seeds of one model: a seed, or a file such as a teacher's checkpoint."""
    return option == "seed" or (isinstance(value, str) and ("/" in value or "\\" in value or value.endswith(".ckpt")))


def _label_parts(runs: Sequence[RunResults]) -> tuple[str, str, str]:
    run = runs[0]
    several = len({_data_label(run.data) for run in runs}) > 1
    data = _data_label(without_draw(run) if several else run.data)
    return run.task or "unknown task", data, run.convention


def _tell_apart(groups: list[Group]) -> list[Group]:
    """Add to labels that are still equal what differs in their folders."""
    told = []
    for group in groups:
        alike = [other.runs[0].path.parent for other in groups if other.label == group.label]
        place = _own_part(group.runs[0].path.parent, alike)
        told.append(Group(f"{group.label} · {place}", group.runs) if len(alike) > 1 else group)
    return told


def _own_part(folder: Path, folders: Sequence[Path]) -> str:
    """A folder's path without the parts that all of the folders begin and end with; one is left in any case."""
    parts = [each.parts for each in folders]
    shortest = min(map(len, parts))
    first = next((n for n in range(shortest) if len({each[n] for each in parts}) > 1), shortest - 1)
    rest = shortest - first
    last = next((n for n in range(1, rest) if len({each[-n] for each in parts}) > 1), rest)
    return "/".join(folder.parts[first : len(folder.parts) - last + 1])


def named_groups(paths: Sequence[Path], names: Sequence[str]) -> list[Group]:
    """Gather the runs below each path into rows that are called by its name.

    Args:
        paths: Run folders, results.json files, or folders that hold runs.
        names: A name for each; where several models lie below one path, theirs stand behind it.

    Raises:
        MERError: If there are more names than paths or fewer, or a name comes twice or is empty.
    """
    names = [name.strip() for name in names]
    if len(names) != len(paths) or "" in names or len(set(names)) < len(names):
        raise MERError(
            f"--names gives {', '.join(map(repr, names))} to {len(paths)} paths; give each path a name of its own, in"
            " their order"
        )
    groups = []
    for path, name in zip(paths, names, strict=True):
        below = group_runs(find_results([path]))
        groups += [Group(name if len(below) == 1 else f"{name} · {group.label}", group.runs) for group in below]
    return groups


def choose_metric(runs: Sequence[RunResults], metric: str | None = None) -> str:
    """The metric that a comparison is about: the one asked for, the task's own, or one that all runs have.

    Args:
        runs: The runs.
        metric: The name asked for.

    Raises:
        MERError: Where a run lacks it, or no metric is common to all.
    """
    common = ordered_metrics(name for name in runs[0].metric_names if all(name in run.metric_names for run in runs))
    if metric is None:
        own = {"MAE" if run.convention in _BY_SCALE else _MAIN.get(run.task, "Acc2_non0") for run in runs}
        candidates = [*(own if len(own) == 1 else []), *common]
        metric = next((name for name in candidates if name in common), None)
    if metric is None:
        other = next((run for run in runs if run.task != runs[0].task), runs[-1])
        tasks = " and ".join(f"{run.path.parent} is of {run.task or 'an unknown task'}" for run in (runs[0], other))
        raise MERError(f"the runs have no metric in common, {tasks}; report runs of the same task together")
    if metric not in common:
        raise MERError(f"not every run has the metric {metric!r}; choose from {', '.join(common)}")
    return metric


def conditions_of(runs: Sequence[RunResults]) -> list[ConditionResult]:
    """All conditions in order of first appearance, availability sets last, those on curves left out."""
    found = {name: condition for run in reversed(runs) for name, condition in run.conditions.items()}
    names = dict.fromkeys(name for run in runs for name in run.conditions)
    on_curves = {
        condition.name
        for run in runs
        for curve in curves_of(run).values()
        for _, condition in curve.points
        if not condition.complete
    }
    return sorted((found[name] for name in names if name not in on_curves), key=lambda one: bool(one.available))


def curve_names(runs: Sequence[RunResults]) -> list[str]:
    """Names of all curves in the order of their first appearance."""
    return list(dict.fromkeys(name for run in runs for name in curves_of(run)))
