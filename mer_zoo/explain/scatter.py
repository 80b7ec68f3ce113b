"""The scatter picture of joint representations: a row per run, a column per condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from mer_zoo.reports.pictures.style import FAINT, GRID, INK, WIDTH, blank, headline, look
from mer_zoo.text import in_picture

__all__ = ["Panel", "scatter_picture"]

_HEAD, _FOOT, _PAD = 0.78, 0.1, 0.5  # inches


@dataclass(frozen=True)
class Panel:
    """Points of one run under one condition.

    Attributes:
        run: What the run is called.
        condition: The condition.
        points: (N, 2).
        classes: N classes in words.
        caption: Numbers below the points.
    """

    run: str
    condition: str
    points: Tensor
    classes: Sequence[str]
    caption: str


def scatter_picture(panels: Sequence[Panel], title: str) -> Figure:
    """Draw representations in two dimensions.

    Args:
        panels: All of them, run by run.
        title: Heading.

    Example:
        >>> import torch
        >>> panel = Panel("MulT", "RMFM 0.3", torch.eye(2), ["positive", "negative"], "silhouette +0.10")
        >>> [axes.get_xlabel() for axes in scatter_picture([panel], "t-SNE").axes]
        ['silhouette +0.10']
    """
    runs, conditions = (
        list(dict.fromkeys(names)) for names in zip(*((p.run, p.condition) for p in panels), strict=True)
    )
    classes = sorted({name for panel in panels for name in panel.classes})
    side = max(2.2, (WIDTH - 0.4) / len(conditions) - 0.15)
    side = min(side, 3.2)
    width = max(WIDTH, 0.4 + len(conditions) * (side + 0.15))
    total = _HEAD + len(runs) * (side + _PAD) + _FOOT
    figure = blank(total, width)
    headline(figure, title)
    for panel in panels:
        row, column = runs.index(panel.run), conditions.index(panel.condition)
        left = 0.3 + column * (side + 0.15)
        bottom = total - _HEAD - row * (side + _PAD) - side
        axes = figure.add_axes((left / width, bottom / total, side / width, side / total))
        _scatter(axes, panel, classes)
        if row == 0:
            axes.set_title(in_picture(panel.condition, 30), fontsize=9.5, color=INK, pad=4)
        if column == 0:
            axes.set_ylabel(in_picture(panel.run, 34), fontsize=9, color=INK, labelpad=4)
    _legend(figure, classes)
    return figure


def _scatter(axes: Axes, panel: Panel, classes: Sequence[str]) -> None:
    for place, name in enumerate(classes):
        colour, marker, _ = look(place)
        rows = [number for number, each in enumerate(panel.classes) if each == name]
        if rows:
            x, y = panel.points[rows].T.tolist()
            axes.scatter(x, y, s=9, c=colour, marker=marker, alpha=0.55, linewidths=0, rasterized=True)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(panel.caption.replace("; ", "\n"), fontsize=7, color=FAINT, labelpad=3)
    for spine in axes.spines.values():
        spine.set_color(GRID)


def _legend(figure: Figure, classes: Sequence[str]) -> None:
    handles = []
    for place, name in enumerate(classes):
        colour, marker, _ = look(place)
        handles.append(
            Line2D([], [], color=colour, marker=marker, linestyle="", markersize=5, label=in_picture(name, 30))
        )
    top = 1 - 0.36 / figure.get_figheight()
    corner = (0.1 / figure.get_figwidth(), top)
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=corner,
        ncols=min(len(handles), 7),
        frameon=False,
        fontsize=8.5,
        labelcolor="linecolor",
        handletextpad=0.1,
        columnspacing=1.0,
        borderaxespad=0.0,
    )
