"""Differences between models on the same test samples, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torchmetrics import Metric

from mer_zoo.errors import MERError
from mer_zoo.metrics.significance import paired_bootstrap
from mer_zoo.reports.groups import Group
from mer_zoo.reports.tables import ABSENT, Table, condition_title, format_value, is_availability, is_fraction
from mer_zoo.task import build_task

__all__ = ["difference_table"]


@dataclass(frozen=True)
class _Scored:
    """Logits of every run of a model under one condition, and the labels they share."""

    logits: list[Tensor]
    target: Tensor
    index: Tensor


def difference_table(groups: Sequence[Group], names: Sequence[str], metric: str, samples: int) -> Table | None:
    """Each model minus the first one, with 95 % intervals, under the conditions where nothing is missing.

    Args:
        groups: The models.
        names: The conditions.
        metric: The metric.
        samples: Number of resamplings.

    Returns:
        None where no model can be compared with the first: another task, other samples, or no scores kept.
    """
    complete = [name for name in names if not is_availability(name)]
    rows = [row for group in groups[1:] if (row := _row(groups[0], group, complete, metric, samples)) is not None]
    if not rows:
        return None
    title = f"{metric} minus that of {groups[0].label}" + (", percentage points" if is_fraction(metric) else "")
    note = f"Brackets: 95 % paired bootstrap interval over the test samples, {samples} resamplings; * excludes zero."
    return Table(title, ["model", *map(condition_title, complete)], rows, [note])


def _row(first: Group, second: Group, names: Sequence[str], metric: str, samples: int) -> list[str] | None:
    measure = _metric(first, metric)
    if measure is None or any(run.task != first.runs[0].task for run in second.runs):
        return None
    cells = []
    for name in names:
        a, b = _scored(second, name), _scored(first, name)
        if a is None or b is None or not (a.index.equal(b.index) and a.target.equal(b.target)):
            cells.append(ABSENT)
            continue
        interval = paired_bootstrap(measure, a.logits, b.logits, a.target, samples)
        low, high = (format_value(metric, end, signed=True) for end in (interval.low, interval.high))
        star = "*" if interval.significant else ""
        cells.append(f"{format_value(metric, interval.difference, signed=True)}{star} [{low}, {high}]")
    return None if set(cells) == {ABSENT} else [second.label, *cells]


def _metric(group: Group, metric: str) -> Metric | None:
    run = group.runs[0]
    try:
        found: Metric = build_task(run.task, run.convention).metrics()[metric]  # type: ignore[arg-type]
    except (MERError, KeyError):
        return None
    return found


def _scored(group: Group, condition: str) -> _Scored | None:
    """Read a condition's scores; None where a run kept none or the runs saw different samples."""
    tables = []
    for run in group.runs:
        tensors = _tensors(run.path.parent / "scores.safetensors")
        keys = [f"{condition}.{part}" for part in ("logits", "target", "index")]
        if any(key not in tensors for key in keys):
            return None
        tables.append([tensors[key] for key in keys])
    _, target, index = tables[0]
    if any(not (table[1].equal(target) and table[2].equal(index)) for table in tables):
        return None
    return _Scored([logits for logits, _, _ in tables], target, index)


def _tensors(path: Path) -> dict[str, Tensor]:
    if not path.exists():
        return {}
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise MERError(f"{path} cannot be read ({error}); delete it or write it anew with mer-zoo test") from None
