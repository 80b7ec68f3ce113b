"""Confusion matrices of the models on complete test data, by the finest classes that their task tells apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from mer_zoo.metrics.confusion import ConfusionMetric
from mer_zoo.reports.contribution import finest_accuracy
from mer_zoo.reports.groups import Group
from mer_zoo.reports.kept_scores import read_scores
from mer_zoo.reports.pictures.style import FAINT, INK, blank, headline
from mer_zoo.reports.record import RunResults
from mer_zoo.reports.tasks import task_of
from mer_zoo.text import in_picture

__all__ = ["confusion_of", "confusion_picture"]

_PANEL, _COLUMNS, _MOST = 2.3, 3, 30  # inches; panels in a row, and in all


def confusion_of(run: RunResults, condition: str) -> Tensor | None:
    """Counts of samples, true classes in rows and predicted ones in columns.

    Args:
        run: The run.
        condition: Name of the condition.

    Returns:
        (C, C) counts; None where the run has kept no scores, or has several labels a sample.
    """
    task = task_of(run)
    scores = None if task is None else read_scores(run.path.parent, condition, task.shape)
    name = None if task is None else finest_accuracy(task)
    if task is None or scores is None or name is None or len(task.problems) > 1:
        return None
    metric = task.metrics()[name]
    assert isinstance(metric, ConfusionMetric)
    metric.update(scores.logits, scores.target)
    return metric.confusion[0]


def confusion_picture(groups: Sequence[Group], title: str) -> Figure | None:
    """Draw the confusion matrix of each model on its first complete condition, all runs together.

    Args:
        groups: The models.
        title: Heading.

    Returns:
        A figure that belongs to no window and no global state; None where no run has kept its scores.
    """
    found = []
    for group in groups[:_MOST]:
        condition = next((name for name, one in group.runs[0].conditions.items() if one.complete), "")
        matrices = [matrix for run in group.runs if (matrix := confusion_of(run, condition)) is not None]
        if matrices and len({matrix.shape for matrix in matrices}) == 1:
            found.append((group, torch.stack(matrices).sum(0)))
    if not found:
        return None
    columns = min(_COLUMNS, len(found))
    rows = math.ceil(len(found) / columns)
    head, foot = 0.85, 0.35
    total = head + rows * (_PANEL + 0.35) + foot
    figure = blank(total, max(4.2, 0.75 + columns * _PANEL))
    headline(figure, title, "percent of the samples of each true class (rows) by predicted class (columns)")
    grid = figure.add_gridspec(
        rows,
        columns,
        left=0.75 / figure.get_figwidth(),
        right=0.98,
        top=1 - head / total,
        bottom=foot / total,
        hspace=0.45,
        wspace=0.3,
    )
    for place, (group, counts) in enumerate(found):
        _panel(figure.add_subplot(grid[divmod(place, columns)]), group, counts)
    return figure


def _panel(axes: Axes, group: Group, counts: Tensor) -> None:
    shares = 100 * counts / counts.sum(1, keepdim=True).clamp(min=1)
    names = _names(group.runs[0], len(counts))
    edges = [place - 0.5 for place in range(len(names) + 1)]
    # as vectors: a picture within the picture would be fetched, which a page does not allow
    axes.pcolormesh(edges, edges, shares.numpy(), cmap="Greys", vmin=0, vmax=130, edgecolors="white", linewidth=1)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.set_title(in_picture(group.label, longest=34), fontsize=8.5, color=INK, loc="left", pad=5)
    places = range(len(names))
    axes.set_xticks(places, names, fontsize=7.5, color=INK)
    axes.set_yticks(places, names, fontsize=7.5, color=INK)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    size = 9 if len(names) < 5 else 6.5
    for row, line in enumerate(shares.tolist()):
        for column, share in enumerate(line):
            colour = "white" if share > 65 else INK if share >= 1 else FAINT
            weight = "bold" if row == column else "normal"
            axes.text(
                column, row, f"{share:.0f}", ha="center", va="center", fontsize=size, color=colour, fontweight=weight
            )


def _names(run: RunResults, size: int) -> list[str]:
    """Names of the classes; of sentiment in five or seven the score."""
    task = task_of(run)
    if task is not None and size == len(task.class_names) and size < 5:
        return [in_picture(name, longest=9) for name in task.class_names]
    return [f"{place - size // 2:+d}".replace("+0", "0") for place in range(size)]
