"""The picture of drop gaps: how far a metric moves where only some modalities are there."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mer_zoo.reports.groups import Group
from mer_zoo.reports.pictures.style import BAND, FAINT, GRID, HALO, INK, WIDTH, blank, headline, legend, look
from mer_zoo.reports.record import ConditionResult
from mer_zoo.reports.tables import format_value, is_fraction

__all__ = ["gap_picture"]

_PITCH, _LEFT = 0.18, 0.75  # inches: from model to model, for the names of the sets


def gap_picture(
    groups: Sequence[Group], conditions: Sequence[ConditionResult], metric: str, title: str
) -> Figure | None:
    """Draw the drop gaps on the first test split that was tested with modalities missing.

    Args:
        groups: The models; those without drop gaps are left out.
        conditions: The conditions.
        metric: Name of the metric.
        title: Heading.

    Returns:
        A figure that belongs to no window and no global state; None where nothing was tested so.
    """
    available = [condition for condition in conditions if condition.available]
    place = next((condition.place for condition in available), "")
    rows = [*dict.fromkeys(one.set_name for one in available if one.place == place), "mean"]
    drawn = [(number, group) for number, group in enumerate(groups) if group.gaps(metric, place)]
    if not drawn:
        return None
    height = 0.16 + _PITCH * len(drawn)
    head, foot = 0.72 + 0.24 * math.ceil(len(drawn) / 2), 0.35
    total = head + height * len(rows) + foot
    figure = blank(total)
    unit = ", percentage points" if is_fraction(metric) else ""
    headline(figure, title, f"{metric} with only these modalities minus {metric} with all{unit}")
    handles = []
    for number, group in drawn:
        colour, marker, _ = look(number)
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle="", markersize=6, label=group.label))
    legend(figure, handles)
    inside = WIDTH - _LEFT - 0.4
    axes = figure.add_axes((_LEFT / WIDTH, foot / total, inside / WIDTH, height * len(rows) / total))
    axes.set_ylim(height * len(rows), 0)
    axes.set_yticks([height * (row + 0.5) for row in range(len(rows))], rows, fontsize=9.5, color=INK)
    axes.tick_params(length=0)
    axes.tick_params(axis="x", labelsize=8.5, labelcolor=FAINT)
    axes.spines[:].set_visible(False)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for row in range(0, len(rows), 2):
        axes.axhspan(height * row, height * (row + 1), color=BAND, zorder=0, linewidth=0)
    axes.axvline(0, color=INK, linewidth=1, zorder=2)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    if is_fraction(metric):
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}"))
    for line, (number, group) in enumerate(drawn):
        colour, marker, _ = look(number)
        for row, name in enumerate(rows):
            mean, deviation = group.gap(metric, name, place)
            if math.isnan(mean):
                continue
            y = height * row + 0.08 + _PITCH * (line + 0.5)
            axes.plot([0, mean], [y, y], color=colour, linewidth=1.2, alpha=0.45, zorder=3)
            ends = [mean - (deviation or 0.0), mean + (deviation or 0.0)]
            axes.plot(ends, [y, y], color=colour, linewidth=3, alpha=0.35, solid_capstyle="butt", zorder=3)
            axes.plot([mean], [y], marker=marker, color=colour, markersize=6, markeredgecolor="white", zorder=4)
            axes.annotate(
                format_value(metric, mean, signed=True),
                (max(ends[1], 0.0), y),
                xytext=(6, -0.5),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=colour,
                path_effects=HALO,
                zorder=5,
            )
    axes.margins(x=0.09)
    return figure
