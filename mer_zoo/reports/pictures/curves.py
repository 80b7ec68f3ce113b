"""Pictures of a metric over the missing rate: a panel per pattern, a line per model."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mer_zoo.reports.groups import Group, curve_names
from mer_zoo.reports.pictures.style import FAINT, GRID, INK, WIDTH, axis_title, blank, headline, look
from mer_zoo.reports.tables import is_fraction, with_deviation
from mer_zoo.text import in_picture

__all__ = ["curve_picture"]

_PANEL, _LINE = 2.5, 0.24  # inches: height of a panel, line of the legend
_MOST = 40  # panels


def curve_picture(groups: Sequence[Group], metric: str, title: str) -> Figure:
    """Draw a metric over the missing rate.

    Args:
        groups: The models; those without curves are left out of the panels. Of very many curves the first are drawn,
            which the picture says.
        metric: Name of the metric.
        title: Heading.

    Returns:
        A figure that belongs to no window and no global state.
    """
    every = curve_names([run for group in groups for run in group.runs])
    names = every[:_MOST]
    left_out = f"; the first {_MOST} of {len(every)} patterns" if len(every) > _MOST else ""
    columns = min(2, len(names))
    rows = math.ceil(len(names) / columns)
    head, foot = 0.72 + _LINE * len(groups), 0.55
    total = head + rows * _PANEL + foot
    figure = blank(total)
    headline(figure, title, axis_title(metric) + left_out)
    _legend(figure, groups, total)
    grid = figure.add_gridspec(
        rows, columns, left=0.09, right=0.97, top=1 - head / total, bottom=foot / total, hspace=0.35, wspace=0.2
    )
    first: Axes | None = None
    for place, name in enumerate(names):
        axes = figure.add_subplot(grid[divmod(place, columns)], sharey=first)
        first = first or axes
        _frame(axes, name, metric)
        _lines(axes, groups, name, metric)
        if place + columns >= len(names):
            axes.set_xlabel("share missing", fontsize=9, color=INK)
    return figure


def _legend(figure: Figure, groups: Sequence[Group], total: float) -> None:
    handles = []
    for place, group in enumerate(groups):
        colour, marker, dashes = look(place)
        label = in_picture(group.label, longest=90)
        handles.append(Line2D([], [], color=colour, marker=marker, markersize=4, linestyle=dashes, label=label))
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.1 / WIDTH, 1 - 0.5 / total),
        frameon=False,
        fontsize=9,
        labelcolor="linecolor",
        handlelength=3.2,
        borderaxespad=0.0,
    )


def _frame(axes: Axes, name: str, metric: str) -> None:
    axes.set_title(in_picture(name, longest=40), fontsize=9.5, color=INK, loc="left", pad=4)
    axes.set_xlim(-0.03, 1.03)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=FAINT)
    axes.spines[:].set_visible(False)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    if is_fraction(metric):
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))


def _lines(axes: Axes, groups: Sequence[Group], name: str, metric: str) -> None:
    areas = []
    for place, group in enumerate(groups):
        rates = group.rates(name)
        if not rates:
            continue
        colour, marker, dashes = look(place)
        values = [group.at_rate(name, rate, metric) for rate in rates]
        means = [mean for mean, _ in values]
        axes.plot(rates, means, color=colour, marker=marker, markersize=4, linestyle=dashes, linewidth=1.4, zorder=3)
        low = [mean - (deviation or 0.0) for mean, deviation in values]
        high = [mean + (deviation or 0.0) for mean, deviation in values]
        axes.fill_between(rates, low, high, color=colour, alpha=0.15, linewidth=0, zorder=2)
        areas.append((colour, with_deviation(metric, *group.area(name, metric))))
    axes.text(0.02, 0.03 + 0.09 * len(areas), "AUILC", transform=axes.transAxes, fontsize=8, color=FAINT)
    for line, (colour, area) in enumerate(reversed(areas)):
        axes.text(0.02, 0.03 + 0.09 * line, area, transform=axes.transAxes, fontsize=8, color=colour)
