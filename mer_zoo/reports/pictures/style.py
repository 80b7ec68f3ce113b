"""What all pictures of reports share: colours, markers and dashes, words for a metric, and how they are written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import AbstractPathEffect, withStroke

from mer_zoo.runs.files import whole_file
from mer_zoo.text import in_picture

__all__ = [
    "BAND",
    "COLOURS",
    "DASHES",
    "FAINT",
    "GRID",
    "HALO",
    "INK",
    "MARKERS",
    "WIDTH",
    "Picture",
    "axis_title",
    "blank",
    "headline",
    "legend",
    "look",
    "save_picture",
    "svg",
]

# Okabe and Ito's colours, told apart with every kind of colour vision; markers and dashes differ too, for print in grey
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1)), (0, (8, 2)), "-")
INK, FAINT, GRID, BAND = "#222222", "#767676", "#E2E2E2", "#F6F6F6"
WIDTH = 7.2  # inches
HALO: list[AbstractPathEffect] = [withStroke(linewidth=2, foreground="white")]  # keeps grid lines out of the text
_NO_DATE: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
_AXIS = {
    "Acc2_non0": "accuracy, negative against positive (Acc2_non0)",
    "Acc2_has0": "accuracy, negative against the rest (Acc2_has0)",
    "F1_non0": "weighted F1, negative against positive (F1_non0)",
    "F1_has0": "weighted F1, negative against the rest (F1_has0)",
    "Acc2": "accuracy, two classes (Acc2)",
    "Acc3": "accuracy, three classes (Acc3)",
    "Acc5": "accuracy, five classes (Acc5)",
    "Acc7": "accuracy, seven classes (Acc7)",
    "Acc": "accuracy, of several emotions their average (Acc)",
    "F1": "weighted F1, of several emotions their average (F1)",
    "UAR": "unweighted average recall of the classes (UAR)",
    "MAE": "mean absolute error (MAE), lower is better",
    "Corr": "correlation (Corr)",
}


@dataclass(frozen=True)
class Picture:
    """A picture of a report.

    Attributes:
        name: Name of its files, without a suffix.
        caption: What it shows, in a sentence.
        figure: The figure.
    """

    name: str
    caption: str
    figure: Figure


def axis_title(metric: str) -> str:
    """What a metric is, in words.

    Example:
        >>> axis_title("Acc7")
        'accuracy, seven classes (Acc7)'
    """
    return _AXIS.get(metric, in_picture(metric))


def look(place: int) -> tuple[str, str, Any]:
    """Colour, marker and dashes of the model that stands at a place.

    Args:
        place: The place, from 0.

    Example:
        >>> look(1)[:2]
        ('#D55E00', 's')
    """
    return tuple(each[place % len(each)] for each in (COLOURS, MARKERS, DASHES))


def blank(height: float, width: float = WIDTH) -> Figure:
    """An empty figure that belongs to no window and no global state.

    Args:
        height: In inches.
        width: In inches.
    """
    figure = Figure(figsize=(width, height), dpi=160, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def headline(figure: Figure, title: str, below: str = "") -> None:
    """Write a heading, and in small letters what it is about.

    Args:
        figure: The figure.
        title: The heading, which may come from a file.
        below: What stands below it.
    """
    total = figure.get_figheight()
    left = 0.2 / figure.get_figwidth()
    text = in_picture(title, longest=100)
    figure.text(left, 1 - 0.12 / total, text, fontsize=11.5, fontweight="bold", color=INK, va="top")
    if below:
        figure.text(left, 1 - 0.36 / total, below, fontsize=9, color=FAINT, va="top")


def legend(figure: Figure, handles: Sequence[Line2D], columns: int = 2) -> None:
    """Write the names of the models below a headline, each in its colour.

    Args:
        figure: The figure.
        handles: A line or mark of each.
        columns: How many stand side by side, where they are short enough for that.
    """
    names = [in_picture(str(handle.get_label()), longest=90) for handle in handles]
    fits = max(1, int(figure.get_figwidth() / (0.6 + 0.075 * max(map(len, names), default=1))))
    figure.legend(
        handles,
        names,
        loc="upper left",
        bbox_to_anchor=(0.1 / figure.get_figwidth(), 1 - 0.54 / figure.get_figheight()),
        ncols=min(columns, fits),
        frameon=False,
        fontsize=9,
        labelcolor="linecolor",
        handletextpad=0.4,
        borderaxespad=0.0,
    )


def save_picture(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all; equal figures are equal files.

    Args:
        figure: What to write.
        path: Where to; its suffix says whether as png, svg or pdf.
    """
    kind = path.suffix.removeprefix(".") or "png"
    with whole_file(path) as part, matplotlib.rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(part, format=kind, metadata=_NO_DATE.get(kind))


def svg(figure: Figure, name: str) -> str:
    """A figure as an element of a page, whose ids are its own.

    Args:
        figure: The figure.
        name: What its ids begin with.

    Example:
        >>> svg(blank(1), "toy")[:12]
        '<svg xmlns:x'
    """
    file = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata=_NO_DATE["svg"])
    text = file.getvalue().decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*(?:<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->)", "", text, flags=re.DOTALL)
    return re.sub(r"(\bid=\"|\bhref=\"#|url\(#)", rf"\g<1>{name}-", text)
