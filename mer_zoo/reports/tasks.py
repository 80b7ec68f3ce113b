"""The task of a run, from what its results say."""

from __future__ import annotations

from mer_zoo.errors import MERError
from mer_zoo.reports.record import RunResults
from mer_zoo.task import Task, build_task

__all__ = ["task_of"]


def task_of(run: RunResults) -> Task | None:
    """The task of a run; None where it is one of the user's own, or unknown.

    Args:
        run: The run.
    """
    try:
        return build_task(run.task, run.convention, run.names)  # type: ignore[arg-type]  # a file's word
    except MERError:
        return None
