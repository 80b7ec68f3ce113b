"""The picture of what debias_scm.py recorded: what each method costs iid, and what it gains in the randomised trial."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.studies.debias_table import SPLITS, grouped
from mer_zoo.reports.pictures.style import COLOURS, FAINT, GRID, INK, MARKERS, save_picture

LINES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))
REFERENCES = {"plain": (FAINT, "."), "unconfounded": (FAINT, "*")}  # what the methods' own colours are held against
Curve = dict[str, tuple[float, float]]  # by setting, IID and randomised trial


def write_picture(
    folder: Path, file: Path, choice: str, methods: str | None, against: str | None = None, least: float = 0.0
) -> None:
    """Draw a panel a backbone and a curve a method, the settings joined in their order.

    Args:
        folder: Folder of the records.
        file: The picture to write.
        choice: How the epochs were chosen.
        methods: Those wanted besides plain and unconfounded; all by default.
        against: How the epoch of another curve of the plain network was chosen.
        least: A method that is below this everywhere in the randomised trial is named under the picture instead, in
            percent.
    """
    panels = {
        backbone: drawn(curves, least) for backbone, curves in all_curves(folder, choice, methods, against).items()
    }
    names = list(dict.fromkeys(name for curves, _ in panels.values() for name in curves))
    styles = dict(zip(names, line_styles(names), strict=True))
    head = 0.62 + 0.2 * -(-len(names) // 3)
    width, height = max(4.3 * len(panels), 7.2), head + 4.5
    figure = Figure(figsize=(width, height), dpi=160, facecolor="white")
    FigureCanvasAgg(figure)
    title = "What a method costs on the training distribution, and what it gains in the randomised trial"
    figure.text(0.02, 1 - 0.12 / height, title, fontsize=11, fontweight="bold", color=INK, va="top")
    grid = figure.add_gridspec(1, len(panels), left=0.08, right=0.98, top=1 - head / height, bottom=1.05 / height)
    first: Axes | None = None
    for place, (backbone, (curves, _)) in enumerate(panels.items()):
        axes = figure.add_subplot(grid[0, place], sharey=first)
        first = first or axes
        _panel(axes, backbone, curves, styles)
    absent = [f"{backbone}: {', '.join(left)}" for backbone, (_, left) in panels.items() if left]
    if absent:
        note = "\n".join([f"Below {least:.4g} % everywhere in the randomised trial and not drawn:", *absent])
        figure.text(0.02, 0.08 / height, note, fontsize=7.5, color=FAINT, va="bottom", wrap=True)
    handles = {line.get_label(): line for axes in figure.axes for line in axes.lines}
    ordered = [handles[name] for name in names]
    place_below = (0.02, 1 - 0.32 / height)
    figure.legend(handles=ordered, loc="upper left", bbox_to_anchor=place_below, ncols=3, frameon=False, fontsize=8)
    save_picture(figure, file)


def all_curves(folder: Path, choice: str, methods: str | None, against: str | None) -> dict[str, dict[str, Curve]]:
    """The curves of every backbone over the settings in which labels do not shift, but an oracle's."""
    curves: dict[str, dict[str, Curve]] = {}
    for (backbone, setting), cell in sorted(grouped(folder, choice, methods, against).items()):
        if ", labels " in setting:  # a curve goes along the strengths of confounding alone
            continue
        for name, answers in cell.items():
            if "oracle" not in name:
                iid, rct = (statistics.fmean(answers.accuracy(SPLITS[split])) for split in ("iid", "rct"))
                curves.setdefault(backbone, {}).setdefault(name, {})[setting] = (iid, rct)
    return curves


def drawn(curves: Mapping[str, Curve], least: float) -> tuple[dict[str, Curve], list[str]]:
    """The curves that reach a least value in the randomised trial, or are compared with, and the others' names."""
    kept = {
        name: curve
        for name, curve in curves.items()
        if name.split()[0] in REFERENCES or max(y for _, y in curve.values()) >= least
    }
    return kept, [name for name in curves if name not in kept]


def line_styles(names: Sequence[str]) -> list[dict[str, Any]]:
    """A colour and marker for each class of methods, a kind of line for each form of it."""
    families = list(dict.fromkeys(name.split()[0] for name in names))
    wrappers = [family for family in families if family not in REFERENCES]
    looks = {name: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(wrappers)}
    looks |= REFERENCES
    forms = dict.fromkeys(families, 0)
    styles = []
    for name in names:
        family = name.split()[0]
        colour, marker = looks[family]
        styles.append({"color": colour, "marker": marker, "linestyle": LINES[forms[family] % len(LINES)]})
        forms[family] += 1
    return styles


def _panel(axes: Axes, title: str, curves: Mapping[str, Curve], styles: Mapping[str, dict[str, Any]]) -> None:
    axes.set_title(title, fontsize=9.5, color=INK, loc="left", pad=4)
    for name, points in curves.items():
        x, y = zip(*points.values(), strict=True)
        axes.plot(x, y, **styles[name], markersize=5, linewidth=1.2, label=name)
        for setting, point in points.items() if name == next(iter(curves)) else []:
            beside = {"xytext": (-5, -9), "ha": "right"} if point[0] > (min(x) + max(x)) / 2 else {"xytext": (4, -9)}
            axes.annotate(setting, point, textcoords="offset points", fontsize=7.5, color=FAINT, **beside)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=FAINT)
    axes.spines[:].set_visible(False)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g} %"))
    axes.set_xlabel("accuracy without neutral, IID test", fontsize=9, color=INK)
    axes.set_ylabel("accuracy without neutral, randomised trial", fontsize=9, color=INK)


def add_picture_options(parser: argparse.ArgumentParser) -> None:
    """Options of ``picture`` beside those of ``table``."""
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--least",
        type=float,
        default=0.0,
        help="methods below this everywhere in the randomised trial are named, not drawn; in percent",
    )
