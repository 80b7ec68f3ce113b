"""How much each modality contributes to right predictions, where every set of the modalities was tested."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor
from torchmetrics import MetricCollection

from mer_zoo.batch import MODALITIES
from mer_zoo.metrics.confusion import ConfusionMetric
from mer_zoo.metrics.contribution import ModalityContribution, subsets
from mer_zoo.reports.kept_scores import KeptScores, read_scores
from mer_zoo.reports.record import ConditionResult, RunResults
from mer_zoo.reports.robustness import gap_places, sets_at
from mer_zoo.reports.tables import Table, format_value
from mer_zoo.reports.tasks import task_of
from mer_zoo.task import Task

__all__ = [
    "CONTRIBUTION_NOTE",
    "contribution_table",
    "contributions",
    "contributions_from",
    "finest_accuracy",
    "right_by",
]

CONTRIBUTION_NOTE = (
    "Shapley values of right predictions from every set of the modalities, normalised to sum 1; std, their sample "
    "standard deviation, is the imbalance (CausalMER, Table 5)."
)
_FINEST = ("Acc7", "Acc5", "Acc3", "Acc2", "Acc")
_PREFIX = "contribution_"


Read = Callable[[str, tuple[int, ...]], KeptScores | None]


def finest_accuracy(task: Task) -> str | None:
    """The accuracy by which a prediction is right: in as many classes as the task can tell apart; None without any.

    Args:
        task: A task of :func:`~mer_zoo.task.build_task`.

    Example:
        >>> from mer_zoo.task import build_task
        >>> [finest_accuracy(build_task(name)) for name in ("regression", "binary", "emotions")]
        ['Acc7', 'Acc3', 'Acc']
    """
    return next((name for name in _FINEST if name in task.metrics()), None)


def contributions_from(run: RunResults, read: Read) -> dict[str, dict[str, float]]:
    """Contributions by the scores of a run.

    Args:
        run: The run.
        read: Gives the scores of a condition by its name and the shape of one sample's logits; None where there are
            none.

    Returns:
        Complete condition -> modality -> contribution, and ``std``; without the test splits of which a set of the
        modalities was not tested, or of which the metrics are not those of the scores, as an oracle's are not.
    """
    task = task_of(run)
    if task is None or finest_accuracy(task) is None:
        return {}
    used = [name for name in MODALITIES if name in (run.data.get("modalities") or MODALITIES)]
    found: dict[str, dict[str, float]] = {}
    for place in gap_places(run):
        sets, full = sets_at(run, place)
        tested = {condition.available: condition for condition in sets.values()}
        if full is None or len(used) < 2:
            continue
        tested[tuple(used)] = full
        if all(subset in tested for subset in subsets(used)):
            shares = _shares(task, {subset: tested[subset] for subset in subsets(used)}, used, read)
            found |= {} if shares is None else {full.name: shares}
    return found


def _shares(
    task: Task, tested: dict[tuple[str, ...], ConditionResult], used: Sequence[str], read: Read
) -> dict[str, float] | None:
    metrics, accuracy, correct, samples = task.metrics(), finest_accuracy(task) or "", {}, None
    for subset, condition in tested.items():
        scores = read(condition.name, task.shape)
        if scores is None or (samples is not None and not samples.equal(scores.index)):
            return None
        samples = scores.index
        right = _right(metrics, accuracy, scores, condition)
        if right is None:
            return None
        correct[subset] = right
    contribution = ModalityContribution(used)
    contribution.update(correct)
    return {name.removeprefix(_PREFIX): float(value) for name, value in contribution.compute().items()}


def _right(metrics: MetricCollection, name: str, scores: KeptScores, condition: ConditionResult) -> Tensor | None:
    """Whether each prediction that counts is right; None where the condition's metric says otherwise."""
    metric = metrics[name]
    assert isinstance(metric, ConfusionMetric)
    prediction, truth = metric.classes(scores.logits, scores.target)
    metric.reset()
    metric.update(scores.logits, scores.target)
    alike = abs(float(metric.compute()) - condition.metrics.get(name, -1.0)) < 1e-4
    return (prediction == truth)[truth >= 0] if alike else None


def contributions(run: RunResults) -> dict[str, dict[str, float]]:
    """The contributions of a run that was tested: those in results.json, or by the scores beside an older one.

    Args:
        run: The run.
    """
    return run.contributions or contributions_from(run, partial(read_scores, run.path.parent))


def right_by(run: RunResults) -> str:
    """The accuracy that says which predictions of a run are right; empty where its task is unknown."""
    task = task_of(run)
    return "" if task is None else finest_accuracy(task) or ""


def contribution_table(run: RunResults) -> Table | None:
    """The contributions of a run; None where not every set of the modalities was tested."""
    found = contributions(run)
    if not found:
        return None
    columns = list(next(iter(found.values())))
    rows = [[name, *(format_value("", shares[column]) for column in columns)] for name, shares in found.items()]
    title = f"Contribution of each modality to right predictions of {run.model}, by {right_by(run)}"
    return Table(title, ["condition", *columns], rows, [CONTRIBUTION_NOTE])
