"""The picture of every report: a row per condition, a dot per model, the majority class as a tick."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mer_zoo.reports.pictures.style import (
    BAND,
    FAINT,
    GRID,
    HALO,
    INK,
    WIDTH,
    axis_title,
    blank,
    headline,
    look,
)
from mer_zoo.reports.record import ConditionResult
from mer_zoo.reports.tables import condition_title, format_value, is_fraction
from mer_zoo.text import in_picture

__all__ = ["Series", "condition_picture"]

_NAMES = {"iid": "IID test", "ood": "OOD test", "rct": "randomised trial"}
_LINE = 0.24  # inches, of the legend


@dataclass(frozen=True)
class Series:
    """One model's values.

    Args:
        label: Name in the legend.
        values: One a condition, NaN where not tested.
        deviations: Over seeds; None where there is one seed.
    """

    label: str
    values: Sequence[float]
    deviations: Sequence[float] | None = None

    def ends(self) -> list[tuple[float, float]]:
        """Both ends of each whisker."""
        spread = self.deviations or [0.0] * len(self.values)
        return [(value - s, value + s) for value, s in zip(self.values, spread, strict=True)]


@dataclass(frozen=True)
class _Layout:
    """Vertical places in inches from the top of the rows: centres, section headings, end."""

    height: float
    pitch: float
    centres: list[float]
    headings: list[tuple[float, str]]
    end: float


def condition_picture(
    conditions: Sequence[ConditionResult], series: Sequence[Series], majority: Sequence[float], metric: str, title: str
) -> Figure:
    """Draw a metric under several conditions.

    Args:
        conditions: The conditions, from top to bottom.
        series: The models.
        majority: The majority class's value under each condition, NaN where unknown.
        metric: Name of the metric.
        title: Heading.

    Returns:
        A figure that belongs to no window and no global state.

    Example:
        >>> iid = ConditionResult("iid", "test", complete=True)
        >>> figure = condition_picture([iid], [Series("MulT", [0.8])], [0.55], "Acc2_non0", "MulT")
        >>> figure.axes[0].get_xlabel()
        'accuracy, negative against positive (Acc2_non0)'
    """
    layout = _lay_out(conditions, len(series))
    handles = _legend_handles(series, majority)
    columns = _legend_columns(handles)
    head = 0.42 + _LINE * math.ceil(len(handles) / columns)
    spread = any(one.deviations for one in series)
    foot = 0.72 if spread else 0.56
    total = head + layout.end + foot
    left = 0.45 + 0.075 * max([len(_row_name(condition)) for condition in conditions], default=0)
    figure = blank(total)
    axes = figure.add_axes((left / WIDTH, foot / total, (WIDTH - left - 0.3) / WIDTH, layout.end / total))
    _frame(axes, conditions, layout, metric, left)
    for place, one in enumerate(series):
        _dots(axes, [y + (place - (len(series) - 1) / 2) * layout.pitch for y in layout.centres], one, place, metric)
    _majority(axes, layout, majority)
    _limits(axes, series, majority)
    _head(figure, title, handles, columns)
    if spread:
        note = "line through a dot: standard deviation over seeds"
        figure.text(1 - 0.3 / WIDTH, 0.1 / total, note, fontsize=7.5, color=FAINT, ha="right")
    return figure


def _head(figure: Figure, title: str, handles: Sequence[Line2D], columns: int) -> None:
    total = figure.get_figheight()
    headline(figure, title)
    figure.legend(
        handles=list(handles),
        loc="upper left",
        bbox_to_anchor=(0.1 / WIDTH, 1 - 0.34 / total),
        ncols=columns,
        frameon=False,
        fontsize=9,
        labelcolor="linecolor",
        handletextpad=0.2,
        columnspacing=1.4,
        borderaxespad=0.0,
    )


def _section(condition: ConditionResult) -> str:
    if condition.available:
        return "only these modalities present"
    return "all modalities present" if condition.name in _NAMES else "other conditions"


def _row_name(condition: ConditionResult) -> str:
    place, name = condition.place, condition.name
    if condition.available and name == " ".join(filter(None, [place, condition.set_name])):
        words = " + ".join(condition.available)
        return f"{words}, {_NAMES.get(place, in_picture(place))}" if place else words
    return _NAMES.get(name, in_picture(condition_title(name), longest=40))


def _lay_out(conditions: Sequence[ConditionResult], models: int) -> _Layout:
    pitch = 0.19
    height = 0.34 if models == 1 else 0.17 + pitch * models
    several = len({_section(condition) for condition in conditions}) > 1
    centres: list[float] = []
    headings: list[tuple[float, str]] = []
    y, last = 0.05, ""
    for condition in conditions:
        if several and _section(condition) != last:
            last = _section(condition)
            headings.append((y + 0.18, last))
            y += 0.34
        centres.append(y + height / 2)
        y += height
    return _Layout(height, pitch, centres, headings, y + 0.05)


def _frame(axes: Axes, conditions: Sequence[ConditionResult], layout: _Layout, metric: str, left: float) -> None:
    axes.set_ylim(layout.end, 0)
    axes.set_yticks(layout.centres, [_row_name(condition) for condition in conditions])
    axes.tick_params(axis="y", length=0, labelsize=9.5, labelcolor=INK, pad=8)
    axes.tick_params(axis="x", length=0, labelsize=8.5, labelcolor=FAINT)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.spines[:].set_visible(False)
    axes.set_xlabel(axis_title(metric), fontsize=9, color=INK, labelpad=6)
    if is_fraction(metric):
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for y in layout.centres[::2]:
        axes.axhspan(y - layout.height / 2, y + layout.height / 2, color=BAND, zorder=0, linewidth=0)
    start = -(left - 0.2) / (WIDTH - left - 0.3)
    for y, text in layout.headings:
        heading = axes.text(
            start, y, text, transform=axes.get_yaxis_transform(), fontsize=8.5, color=FAINT, va="center"
        )
        heading.set_path_effects(HALO)


def _dots(axes: Axes, heights: Sequence[float], series: Series, place: int, metric: str) -> None:
    colour, marker, _ = look(place)
    for y, value, (low, high) in zip(heights, series.values, series.ends(), strict=True):
        if math.isnan(value):
            continue
        axes.plot([low, high], [y, y], color=colour, linewidth=1.6, alpha=0.5, zorder=3, solid_capstyle="butt")
        axes.plot([value], [y], marker=marker, color=colour, markersize=6.5, markeredgecolor="white", zorder=4)
        axes.annotate(
            format_value(metric, value),
            (high, y),
            xytext=(6, -0.5),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=colour,
            zorder=5,
            path_effects=HALO,
        )


def _majority(axes: Axes, layout: _Layout, values: Sequence[float]) -> None:
    for y, value in zip(layout.centres, values, strict=True):
        ends = [y - layout.height / 2, y + layout.height / 2]
        axes.plot([value, value], ends, color=FAINT, linewidth=1.5, zorder=2, solid_capstyle="butt")


def _limits(axes: Axes, series: Sequence[Series], majority: Sequence[float]) -> None:
    ends = [end for one in series for pair in one.ends() for end in pair]
    shown = [value for value in (*majority, *ends) if not math.isnan(value)]
    if shown:
        span = max(max(shown) - min(shown), 0.04)
        axes.set_xlim(min(shown) - 0.06 * span, max(shown) + 0.12 * span)


def _legend_handles(series: Sequence[Series], majority: Sequence[float]) -> list[Line2D]:
    handles = []
    for place, one in enumerate(series):
        colour, marker, _ = look(place)
        handles.append(
            Line2D(
                [],
                [],
                marker=marker,
                color=colour,
                linestyle="",
                markersize=6.5,
                label=in_picture(one.label, longest=90),
            )
        )
    if any(not math.isnan(value) for value in majority):
        tick = Line2D([], [], marker="|", color=FAINT, linestyle="", markersize=10, markeredgewidth=1.5)
        tick.set_label("majority class")
        handles.append(tick)
    return handles


def _legend_columns(handles: Sequence[Line2D]) -> int:
    """As many columns as fit beside each other, each as wide as the longest label."""
    longest = max([len(str(handle.get_label())) for handle in handles], default=1)
    return max(1, min(len(handles), int((WIDTH - 0.4) / (0.45 + 0.073 * longest))))
