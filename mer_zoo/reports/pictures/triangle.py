"""The contribution triangle: each model where its three modalities' shares in right predictions put it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mer_zoo.batch import MODALITIES
from mer_zoo.reports.contribution import contributions
from mer_zoo.reports.groups import Group
from mer_zoo.reports.pictures.style import FAINT, GRID, HALO, INK, blank, headline, legend, look

__all__ = ["position", "triangle_picture"]

_SIZE, _HEIGHT = 5.4, math.sqrt(3) / 2  # inches: width of the figure; of a triangle of side 1
_CORNERS = dict(zip(MODALITIES, ((0.0, 0.0), (1.0, 0.0), (0.5, _HEIGHT)), strict=True))


def position(shares: Mapping[str, float]) -> tuple[float, float]:
    """Where shares that sum to 1 lie in the triangle of side 1; outside of it where one is negative.

    Args:
        shares: Modality -> share.

    Example:
        >>> position({"text": 1.0, "audio": 0.0, "vision": 0.0}), position({"text": 0.5, "audio": 0.5, "vision": 0.0})
        ((0.0, 0.0), (0.5, 0.0))
    """
    x, y = (sum(shares[name] * corner[axis] for name, corner in _CORNERS.items()) for axis in (0, 1))
    return x, y


def triangle_picture(groups: Sequence[Group], title: str) -> Figure | None:
    """Draw the contributions of three modalities on the first complete condition, small for runs, large for means.

    Args:
        groups: The models; those without contributions of all three are left out.
        title: Heading.

    Returns:
        A figure that belongs to no window and no global state; None where no model has such contributions.
    """
    found = [(number, group, shares) for number, group in enumerate(groups) if (shares := _shares(group))]
    if not found:
        return None
    head = 0.72 + 0.24 * len(found)
    total = head + 4.4
    figure = blank(total, _SIZE)
    headline(figure, title, "share of each modality in right predictions (Shapley values)")
    axes = figure.add_axes((0.06, 0.01, 0.88, (total - head) / total - 0.01))
    _frame(axes)
    handles = []
    for number, group, shares in found:
        colour, marker, _ = look(number)
        points = [position(each) for each in shares]
        for x, y in points if len(points) > 1 else []:
            axes.plot([x], [y], marker=marker, color=colour, markersize=4, alpha=0.45, linestyle="", zorder=3)
        x, y = (sum(values) / len(points) for values in zip(*points, strict=True))
        axes.plot([x], [y], marker=marker, color=colour, markersize=9, markeredgecolor="white", linestyle="", zorder=4)
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle="", markersize=6, label=group.label))
    legend(figure, handles, columns=1)
    return figure


def _shares(group: Group) -> list[Mapping[str, float]]:
    """Of each run, on the first complete condition that the group has contributions on."""
    condition = next(iter(group.contributed), "")
    runs = (contributions(run).get(condition, {}) for run in group.runs)
    return [shares for shares in runs if all(name in shares for name in MODALITIES)]


def _frame(axes: Axes) -> None:
    axes.set_aspect("equal")
    axes.axis("off")
    for step in (0.2, 0.4, 0.6, 0.8):
        for one, other, third in (MODALITIES, MODALITIES[1:] + MODALITIES[:1], MODALITIES[2:] + MODALITIES[:2]):
            ends = [
                position({one: step, other: 1 - step, third: 0.0}),
                position({one: step, other: 0.0, third: 1 - step}),
            ]
            axes.plot(*zip(*ends, strict=True), color=GRID, linewidth=0.8, zorder=1)
            (x, y), _ = ends
            shift = {"text": (0, -9), "audio": (13, 0), "vision": (-13, 2)}[one]
            axes.annotate(
                f"{100 * step:.0f} %",
                (x, y),
                shift,
                textcoords="offset points",
                fontsize=7,
                color=FAINT,
                ha="center",
                va="center",
            )
    outline = [*_CORNERS.values(), _CORNERS["text"]]
    axes.plot(*zip(*outline, strict=True), color=INK, linewidth=1.1, zorder=2)
    middle = position(dict.fromkeys(MODALITIES, 1 / 3))
    axes.plot(*middle, marker="+", color=FAINT, markersize=9, zorder=2)
    for name, corner in _CORNERS.items():
        shift = {"text": (-6, -16), "audio": (6, -16), "vision": (0, 12)}[name]
        axes.annotate(
            name,
            corner,
            shift,
            textcoords="offset points",
            fontsize=10,
            color=INK,
            ha="center",
            va="center",
            path_effects=HALO,
        )
    axes.margins(0.09)
