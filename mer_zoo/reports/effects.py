"""Effects that models report, such as CausalMER's of each modality, as means over the test samples."""

from __future__ import annotations

from collections.abc import Sequence

from mer_zoo.reports.groups import Group
from mer_zoo.reports.record import ConditionResult
from mer_zoo.reports.resampled import Cell, Resampler, note_on
from mer_zoo.reports.tables import ABSENT, Table, condition_title, format_value

__all__ = ["effect_table"]

BETWEEN = ": "  # of the model and its effect, in the name that a test keeps it under
NOTE = (
    "Means over the samples, for the true class: of an effect that is an answer, the probability of that class; of one"
    " that is a difference, how far its score stands above the mean of all classes. Above zero (or chance) it speaks"
    " for the truth. A number of its own, as an attribution, is itself."
)


def effect_table(groups: Sequence[Group], conditions: Sequence[ConditionResult], resampler: Resampler) -> Table | None:
    """Mean effects with their intervals, where nothing is missing; None where no test has kept any.

    Args:
        groups: The models.
        conditions: The conditions.
        resampler: Says the number of resamplings and which samples go together.
    """
    complete = [condition.name for condition in conditions if not condition.available]
    rows: list[tuple[str, list[Cell | None]]] = []
    for group in groups:
        kept = dict.fromkeys(name for each in complete for name in resampler.facts(group, each))
        for fact in (name for name in kept if BETWEEN in name):
            owner, _, what = fact.partition(BETWEEN)
            label = f"{group.label}{BETWEEN}{what if owner in group.label else fact}"
            rows.append((label, [resampler.mean(group, name, fact) for name in complete]))
    cells = [cell for _, row in rows for cell in row if cell is not None]
    if not cells:
        return None
    shown = [[label, *map(_ends, row)] for label, row in rows]
    notes = [NOTE, note_on(cells, resampler.samples, resampler.clusters)]
    return Table("Effects", ["effect", *map(condition_title, complete)], shown, notes)


def _ends(cell: Cell | None) -> str:
    if cell is None:
        return ABSENT
    found = cell.interval
    value, low, high = (format_value("", number) for number in (found.difference, found.low, found.high))
    return f"{value} [{low}, {high}]"
