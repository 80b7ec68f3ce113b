"""The scores that a model's tests have kept under one condition, of all its runs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torchmetrics import Metric

from mer_zoo.reports.groups import Group
from mer_zoo.reports.kept_scores import KeptScores, read_scores
from mer_zoo.reports.tasks import task_of
from mer_zoo.task import Task

__all__ = ["Scored", "measure_of", "same_samples", "scores_of"]


@dataclass(frozen=True)
class Scored:
    """Scores of every run of a model under one condition.

    Attributes:
        logits: Of each run, in the order of the seeds.
        tests: The samples that all runs were tested on; or those of each run, where they are its own.
        additive: Logits of each run's additive approximation, None where there is none.
        facts: What each run's test has kept of the samples.
    """

    logits: list[Tensor]
    tests: list[KeptScores]
    additive: list[Tensor | None]
    facts: list[dict[str, Tensor]]

    @property
    def targets(self) -> list[Tensor]:
        """Labels of the samples."""
        return [test.target for test in self.tests]

    @property
    def own(self) -> bool:
        """Whether each of several runs has samples of its own."""
        return len(self.tests) > 1


def scores_of(group: Group, condition: str, task: Task) -> Scored | None:
    """Read a condition's scores; None where a run has kept none, or some runs share samples that others lack.

    Args:
        group: The model.
        condition: Name of the condition.
        task: The task of its runs.
    """
    tables = []
    # in the order of the seeds, so that equal seeds of two models are drawn together
    for run in sorted(group.runs, key=lambda run: (run.seed is None, run.seed or 0)):
        found = read_scores(run.path.parent, condition, task.shape)
        if found is None:
            return None
        tables.append(found)
    different = list[KeptScores]()
    for table in tables:
        known = next((place for place, other in enumerate(different) if same_samples(table, other)), None)
        if known is None:
            different.append(table)
        elif different[known].ids is None:
            different[known] = table  # a run from before ids were kept
    shared = len(different) == 1 or len(different) == len(tables)
    if not shared:
        return None
    return Scored(
        [table.logits for table in tables],
        different,
        [table.additive for table in tables],
        [table.facts for table in tables],
    )


def same_samples(a: KeptScores, b: KeptScores) -> bool:
    """Whether the scores are of the same samples."""
    return a.index.equal(b.index) and a.target.equal(b.target)


def measure_of(group: Group, metric: str) -> tuple[Task, Metric] | tuple[None, None]:
    """The task of a model, and the metric by its name; None of either where one is unknown.

    Args:
        group: The model.
        metric: The metric.
    """
    task = task_of(group.runs[0])
    if task is None:
        return None, None
    try:
        return task, task.metrics()[metric]
    except KeyError:
        return None, None
