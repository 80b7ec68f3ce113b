"""Training curves: the losses of every run over its epochs, a panel a model, with the epoch that was kept."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mer_zoo.errors import MERError
from mer_zoo.foreign import read_regular, read_yaml
from mer_zoo.monitors import AUTO, direction
from mer_zoo.reports.groups import Group
from mer_zoo.reports.pictures.style import COLOURS, FAINT, GRID, INK, blank, headline, legend
from mer_zoo.reports.tasks import task_of
from mer_zoo.task import Task
from mer_zoo.text import in_picture

__all__ = ["History", "history", "training_picture"]

_PANEL, _COLUMNS, _MOST = 2.35, 3, 30  # inches; panels in a row, and in all
_LARGEST = 16 * 2**20  # bytes of a metrics.csv
_LOSSES = ("train/loss", "val/loss")


class History(NamedTuple):
    """What a run logged of its training.

    Attributes:
        values: Metric -> epoch -> value, those that are finite.
        best: The epoch that was kept; None where it is not known.
    """

    values: Mapping[str, Mapping[int, float]]
    best: int | None


def history(folder: Path, task: Task | None = None) -> History | None:
    r"""Read metrics.csv of a run, and by which metric its configuration keeps an epoch.

    Args:
        folder: The run's folder.
        task: The run's task, whose own metric keeps an epoch where the configuration leaves it to the task.

    Returns:
        None where there is no such file that can be read.

    Example:
        >>> from tempfile import mkdtemp
        >>> folder = Path(mkdtemp())
        >>> _ = (folder / "metrics.csv").write_text("epoch,val/loss,step\n0,0.9,1\n1,0.7,2\n2,0.8,3\n")
        >>> _ = (folder / "config.yaml").write_text("checkpoint: {monitor: val/loss}\n")
        >>> history(folder).best
        1
    """
    try:
        text = read_regular(folder / "metrics.csv", _LARGEST).decode("utf-8")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, MERError, UnicodeDecodeError, csv.Error):
        return None
    values: dict[str, dict[int, float]] = {}
    for row in rows:
        epoch = _number(row.get("epoch"))
        for name, cell in row.items() if epoch is not None else ():
            value = _number(cell)
            if value is not None and name is not None:
                values.setdefault(name, {})[int(epoch or 0)] = value
    return History(values, _best(values, folder, task))


def _number(cell: Any) -> float | None:
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _best(values: Mapping[str, Mapping[int, float]], folder: Path, task: Task | None) -> int | None:
    try:
        kept = read_yaml(folder / "config.yaml")["checkpoint"]
        monitor, mode = kept["monitor"], kept.get("mode", AUTO)
    except (OSError, MERError, KeyError, TypeError, AttributeError):
        return None
    if monitor == AUTO and task is not None:
        monitor, mode = task.monitor
    found = values.get(monitor) if isinstance(monitor, str) else None
    way = mode if mode in {"min", "max"} else direction(monitor, task) if found else None
    if not found or way is None:
        return None
    return (min if way == "min" else max)(found, key=lambda epoch: found[epoch])


def training_picture(groups: Sequence[Group], title: str) -> Figure | None:
    """Draw the losses in training and validation over the epochs, a line a run.

    Args:
        groups: The models.
        title: Heading.

    Returns:
        A figure that belongs to no window and no global state; None where no run has logged a loss.
    """
    found = []
    for group in groups[:_MOST]:
        runs = [one for run in group.runs if (one := history(run.path.parent, task_of(run))) is not None]
        runs = [one for one in runs if any(name in one.values for name in _LOSSES)]
        if runs:
            found.append((group, runs))
    if not found:
        return None
    columns = min(_COLUMNS, len(found))
    rows = math.ceil(len(found) / columns)
    head, foot = 1.2, 0.55
    total = head + rows * _PANEL + foot
    figure = blank(total, max(4.2, 0.8 + 2.25 * columns))
    headline(figure, title, "loss over the epochs, a line a run; that of training with the terms that a method adds")
    handles = [
        Line2D([], [], color=COLOURS[0], linestyle=(0, (4, 1.5)), linewidth=1.3, label="training"),
        Line2D([], [], color=COLOURS[1], linewidth=1.3, label="validation"),
        Line2D([], [], color=COLOURS[1], marker="o", linestyle="", markersize=6, label="epoch that was kept"),
    ]
    legend(figure, handles, columns=3)
    left = 0.6 / figure.get_figwidth()
    grid = figure.add_gridspec(
        rows, columns, left=left, right=0.975, top=1 - head / total, bottom=foot / total, hspace=0.42, wspace=0.24
    )
    for place, (group, runs) in enumerate(found):
        axes = figure.add_subplot(grid[divmod(place, columns)])
        _panel(axes, group, runs)
        if place + columns >= len(found):
            axes.set_xlabel("epoch", fontsize=9, color=INK)
    return figure


def _panel(axes: Axes, group: Group, runs: Sequence[History]) -> None:
    axes.set_title(in_picture(group.label, longest=34), fontsize=8.5, color=INK, loc="left", pad=4)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=FAINT)
    axes.spines[:].set_visible(False)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    for run in runs:
        for name, colour, dashes in zip(_LOSSES, COLOURS, ((0, (4, 1.5)), "-"), strict=False):
            values = run.values.get(name, {})
            axes.plot(list(values), list(values.values()), color=colour, linestyle=dashes, linewidth=1.3, alpha=0.8)
        losses = run.values.get("val/loss", {})
        if run.best is not None and run.best in losses:
            axes.plot(
                [run.best],
                [losses[run.best]],
                marker="o",
                color=COLOURS[1],
                markersize=6,
                markeredgecolor="white",
                zorder=4,
            )
