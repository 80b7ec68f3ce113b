"""Pictures of a corpus: how often each label is true, how long samples are, which words are said most."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mer_zoo.batch import MODALITIES
from mer_zoo.data.portrait.facts import Facts
from mer_zoo.reports.pictures.style import BAND, FAINT, GRID, INK, WIDTH, Picture, blank, headline, legend, look
from mer_zoo.text import in_picture

__all__ = ["pictures_of"]

MOST_ROWS, MOST_SPLITS, BINS = 25, 7, 30
_LEFT, _LINE, _PITCH, _PANEL = 1.7, 0.24, 0.14, 2.2  # inches


def pictures_of(facts: Facts) -> list[Picture]:
    """Draw what a corpus allows to draw.

    Args:
        facts: What was counted.
    """
    drawn = {
        "labels": (_labels(facts), "How often each label is true in each split."),
        "lengths": (_lengths(facts), "How many words and steps samples have in each split."),
        "words": (_words(facts), "The words that most samples have, and the share of samples that have them."),
    }
    return [Picture(name, caption, figure) for name, (figure, caption) in drawn.items() if figure is not None]


def _labels(facts: Facts) -> Figure | None:
    outcome = facts.finest
    if outcome is None:
        return None
    names = list(dict.fromkeys(chain.from_iterable(outcome.counts.values())))
    totals = {name: sum(counts.get(name, 0) for counts in outcome.counts.values()) for name in names}
    if len(names) > MOST_ROWS:
        names = sorted(names, key=totals.__getitem__, reverse=True)[:MOST_ROWS]
    shares = {
        split: [counts.get(name, 0) / max(facts.splits[split].samples, 1) for name in names]
        for split, counts in outcome.counts.items()
    }
    left_out = f", the {MOST_ROWS} most frequent of {len(totals)}" if len(totals) > MOST_ROWS else ""
    return _bars(
        f"Labels of {facts.source}", f"share of samples, under data.task {outcome.task}{left_out}", names, shares
    )


def _words(facts: Facts) -> Figure | None:
    if not facts.has_text:
        return None
    told = {name: split.words for name, split in facts.splits.items() if split.words}
    counts = {name: Counter(chain.from_iterable(map(set, words))) for name, words in told.items()}
    every = sum(counts.values(), Counter[str]())
    names = [word for word, _ in every.most_common(MOST_ROWS)]
    if not names:
        return None
    shares = {split: [counts[split][name] / len(told[split]) for name in names] for split in told}
    return _bars(f"Words of {facts.source}", f"share of samples, the {len(names)} words that most have", names, shares)


def _bars(title: str, below: str, names: Sequence[str], shares: Mapping[str, Sequence[float]]) -> Figure:
    """A band for each name, and in it a line for each split."""
    shares, note = _first(shares)
    height = 0.1 + _PITCH * len(shares)
    head, foot = 0.72 + _LINE * math.ceil(len(shares) / 4), 0.35
    total = head + height * len(names) + foot
    figure = blank(total)
    headline(figure, title, below + note)
    _legend(figure, list(shares))
    axes = figure.add_axes((_LEFT / WIDTH, foot / total, (WIDTH - _LEFT - 0.3) / WIDTH, height * len(names) / total))
    axes.set_ylim(height * len(names), 0)
    places = [height * (row + 0.5) for row in range(len(names))]
    axes.set_yticks(places, [in_picture(name, 22) for name in names], fontsize=9, color=INK)
    _frame(axes, "x")
    for row in range(0, len(names), 2):
        axes.axhspan(height * row, height * (row + 1), color=BAND, zorder=0, linewidth=0)
    for line, values in enumerate(shares.values()):
        colour, marker, _ = look(line)
        y = [height * row + 0.05 + _PITCH * (line + 0.5) for row in range(len(names))]
        axes.hlines(y, 0, values, color=colour, linewidth=1.2, alpha=0.45, zorder=3)
        axes.plot(values, y, linestyle="", marker=marker, color=colour, markersize=5, markeredgecolor="white", zorder=4)
    axes.set_xlim(0, None)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    return figure


def _lengths(facts: Facts) -> Figure | None:
    found: dict[str, dict[str, Sequence[int]]] = {}
    for name, split in facts.splits.items():
        if split.words is not None and facts.has_text:
            found.setdefault("words", {})[name] = [len(words) for words in split.words]
        for key in MODALITIES:
            if key in split.steps:
                found.setdefault(f"steps of {key}", {})[name] = split.steps[key].tolist()
    if not found:
        return None
    names, note = _first(dict.fromkeys(facts.splits, ()))
    columns = min(2, len(found))
    rows = math.ceil(len(found) / columns)
    head, foot = 0.85 + _LINE * math.ceil(len(names) / 4), 0.35
    total = head + rows * _PANEL + foot
    figure = blank(total)
    headline(figure, f"Lengths of {facts.source}", f"share of samples by their length{note}")
    _legend(figure, list(names))
    grid = figure.add_gridspec(
        rows, columns, left=0.09, right=0.97, top=1 - head / total, bottom=foot / total, hspace=0.45, wspace=0.2
    )
    for place, (what, counts) in enumerate(found.items()):
        axes = figure.add_subplot(grid[divmod(place, columns)])
        axes.set_title(what, fontsize=9.5, color=INK, loc="left", pad=4)
        _frame(axes, "y")
        most = max(map(max, counts.values()))
        width = math.ceil((most + 1) / BINS)
        edges = np.arange(0, most + width + 1, width)
        for line, name in enumerate(names):
            if name in counts:
                colour, _, dashes = look(line)
                height, _ = np.histogram(counts[name], edges)
                axes.stairs(height / len(counts[name]), edges, color=colour, linestyle=dashes, linewidth=1.4)
        axes.set_ylim(0, None)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    return figure


def _first(shares: Mapping[str, Sequence[float]]) -> tuple[dict[str, Sequence[float]], str]:
    """The splits that there are colours for, and what to say of the others."""
    names = list(shares)[:MOST_SPLITS]
    note = f"; the first {MOST_SPLITS} of {len(shares)} splits" if len(shares) > MOST_SPLITS else ""
    return {name: shares[name] for name in names}, note


def _legend(figure: Figure, names: Sequence[str]) -> None:
    handles = []
    for place, name in enumerate(names):
        colour, marker, dashes = look(place)
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle=dashes, markersize=5, label=name))
    legend(figure, handles, columns=4)


def _frame(axes: Axes, shares: str) -> None:
    axes.tick_params(length=0)
    axes.tick_params(axis="x", labelsize=8.5, labelcolor=FAINT)
    axes.spines[:].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis="x" if shares == "x" else "y", color=GRID, linewidth=0.8)
    axis = axes.xaxis if shares == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
    if shares == "y":
        axes.tick_params(axis="y", labelsize=8.5, labelcolor=FAINT)
