"""The bars of an explanation: one panel for each block."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mer_zoo.explain.explanation import Block, Explanation
from mer_zoo.reports.pictures.style import COLOURS, FAINT, GRID, HALO, INK, WIDTH, blank, headline
from mer_zoo.text import in_picture

__all__ = ["bar_picture"]

_LINE, _GAP, _HEAD, _LEFT = 0.24, 0.62, 0.72, 2.6  # inches: row, space around a panel, heading, names
_MOST = 40  # words
LEAST = 0.05  # the least width of an axis, so that next to nothing looks like it


def bar_picture(explanation: Explanation) -> Figure:
    """Draw the numbers of a sample as bars, from 0 to the right where they speak for the prediction.

    Args:
        explanation: The explanation.

    Example:
        >>> from mer_zoo.explain.explanation import Row
        >>> block = Block("Without a modality", "lost", [Row("without text", bar=0.25)])
        >>> one = Explanation("a", "iid", "so good", ["so", "good"], "positive", "positive", {}, [block])
        >>> bar_picture(one).axes[0].get_title(loc="left")
        'Without a modality: lost'
    """
    panels = [(block, _drawn(block)) for block in explanation.blocks]
    panels = [(block, rows) for block, rows in panels if rows]
    total = _HEAD + sum(_LINE * len(rows) + _GAP for _, rows in panels)
    figure = blank(total)
    label = f", label {explanation.label}" if explanation.label else ""
    headline(
        figure, explanation.id, in_picture(f"{explanation.condition}: predicted {explanation.predicted}{label}", 100)
    )
    top = _HEAD
    for place, (block, rows) in enumerate(panels):
        height = _LINE * len(rows)
        box = (_LEFT / WIDTH, 1 - (top + height + 0.1) / total, (WIDTH - _LEFT - 0.35) / WIDTH, height / total)
        _bars(figure.add_axes(box), block, rows, COLOURS[place % len(COLOURS)])
        top += height + _GAP
    return figure


def _drawn(block: Block) -> list[tuple[str, float]]:
    """Names and lengths of the bars; of many words those that matter most, in their order, and no [UNK] without one."""
    rows = [(row.name, row.bar) for row in block.rows if row.bar is not None]
    rows = [(name, value) for name, value in rows if value or not name.startswith("[")]
    if len(rows) > _MOST:
        least = sorted((abs(value) for _, value in rows), reverse=True)[_MOST - 1]
        rows = [row for row in rows if abs(row[1]) >= least][:_MOST]
    return rows


def _bars(axes: Axes, block: Block, rows: Sequence[tuple[str, float]], colour: str) -> None:
    places, values = range(len(rows)), [value for _, value in rows]
    axes.barh(places, values, height=0.62, color=colour, zorder=2)
    axes.axvline(0, color=INK, linewidth=0.8, zorder=3)
    axes.set_yticks(places, [in_picture(name, 42) for name, _ in rows], fontsize=8.5, color=INK)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    reach = max(LEAST, *map(abs, values))
    low, high = min(0.0, *values), max(0.0, *values)
    high = max(high, low + LEAST)
    axes.set_xlim(low - 0.2 * reach * (low < 0) - 0.02 * reach, high + 0.2 * reach * (high > 0) + 0.02 * reach)
    for place, value in zip(places, values, strict=True):
        side = "left" if value >= 0 else "right"
        offset = 0.015 * reach * (1 if value >= 0 else -1)
        text = axes.text(
            value + offset, place, f"{value:+.3f}", fontsize=7.5, color=INK, va="center", ha=side, zorder=4
        )
        text.set_path_effects(HALO)
    axes.set_title(in_picture(f"{block.title}: {block.bar}", 90), loc="left", fontsize=9.5, color=INK, pad=4)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.tick_params(length=0, labelsize=8, labelcolor=FAINT)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
