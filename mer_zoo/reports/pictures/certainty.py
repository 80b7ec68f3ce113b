"""Pictures of how sure models are: confidence beside accuracy, and the risk of what is predicted at each coverage."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from torch import Tensor

from mer_zoo.errors import MERError
from mer_zoo.functional.calibration import reliability
from mer_zoo.functional.selective import risk_coverage
from mer_zoo.reports.certainty import judged
from mer_zoo.reports.groups import Group
from mer_zoo.reports.pictures.style import FAINT, GRID, INK, WIDTH, blank, headline, look
from mer_zoo.text import in_picture
from mer_zoo.uncertainty import Judged

__all__ = ["reliability_plot", "risk_coverage_plot"]

_PANEL, _LINE = 4.2, 0.24  # inches: height of the panel, line of the legend
_BEFORE = "without temperature"


def reliability_plot(groups: Sequence[Group], title: str, condition: str = "iid") -> Figure | None:
    """Draw how often predictions of a confidence are right, in 15 bins of equally many samples.

    The runs of a model are pooled. Of a single model the line without its temperature is drawn as well.

    Args:
        groups: The models.
        title: Heading.
        condition: Name of the condition.

    Returns:
        A figure that belongs to no window and no global state; None where no model was calibrated, or samples are too
        few.
    """
    series = [(place, groups[place].label, _pooled(found, _calibrated)) for place, found in _found(groups, condition)]
    if len(series) == 1:
        series += [(place + 1, _BEFORE, _pooled(found, _raw)) for place, found in _found(groups, condition)]
    figure, axes = _panel(
        len(series), title, "accuracy in bins of equally many samples; dotted: as often right as sure"
    )
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (2, 2)), zorder=2)
    lowest, drawn = 1.0, False
    for place, label, pair in series:
        try:
            found = reliability(*pair)
        except MERError:
            continue
        colour, marker, dashes = look(place)
        options = {"color": colour, "marker": marker, "markersize": 4.5, "linestyle": dashes, "linewidth": 1.4}
        axes.plot(found.confidence, found.accuracy, label=in_picture(label, longest=90), zorder=3, **options)
        lowest, drawn = min(lowest, float(found.confidence.min()), float(found.accuracy.min())), True
    low = max(0.0, lowest - 0.05)
    axes.set_xlim(low, 1.02)
    axes.set_ylim(low, 1.02)
    _label(axes, "confidence", "accuracy")
    return _legend(figure, axes) if drawn else None


def risk_coverage_plot(groups: Sequence[Group], title: str, condition: str = "iid") -> Figure | None:
    """Draw the share of wrong predictions among the most confident ones, over the share that is predicted.

    Args:
        groups: The models; the line of one is the mean of its runs.
        title: Heading.
        condition: Name of the condition.

    Returns:
        A figure that belongs to no window and no global state; None where no model was calibrated.
    """
    found = _found(groups, condition)
    figure, axes = _panel(len(found), title, "share of wrong predictions among the most confident")
    for place, every in found:
        colour, marker, dashes = look(place)
        at = torch.linspace(0.02, 1, 50, dtype=torch.float64)
        risks = torch.stack([_risk_at(at, *pair) for judgement in every for pair in _problems(judgement)]).mean(0)
        label = in_picture(groups[place].label, longest=90)
        options = {"color": colour, "linestyle": dashes, "linewidth": 1.6, "marker": marker, "markersize": 4.5}
        axes.plot(at, risks, label=label, markevery=(2 * (place % 5), 10), zorder=3, **options)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(bottom=0)
    _label(axes, "coverage: share of the samples that is predicted", "wrong")
    return _legend(figure, axes) if found else None


def _found(groups: Sequence[Group], condition: str) -> list[tuple[int, list[Judged]]]:
    """Places of the models that were calibrated, which have the colours that they have in all pictures of a report."""
    return [(place, found) for place, group in enumerate(groups) if (found := judged(group, condition))]


def _calibrated(found: Judged) -> tuple[Tensor, Tensor]:
    return found.confidence.flatten(), found.right.flatten()


def _raw(found: Judged) -> tuple[Tensor, Tensor]:
    best = found.raw.max(-1)
    return best.values.flatten(), (best.indices == found.classes).flatten()


def _pooled(found: Sequence[Judged], read: Callable[[Judged], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    confidence, right = zip(*map(read, found), strict=True)
    return torch.cat(confidence), torch.cat(right)


def _problems(found: Judged) -> Sequence[tuple[Tensor, Tensor]]:
    return list(zip(found.confidence.unbind(1), found.right.unbind(1), strict=True))


def _risk_at(coverage: Tensor, confidence: Tensor, right: Tensor) -> Tensor:
    """(50,) risks at some coverages, so that runs of different sizes have a mean."""
    known, risk = risk_coverage(confidence, right)
    return risk[torch.searchsorted(known, coverage - 1e-9).clamp(max=len(risk) - 1)]


def _panel(lines: int, title: str, below: str) -> tuple[Figure, Axes]:
    head, foot = 0.72 + _LINE * lines, 0.55
    total = head + _PANEL + foot
    figure = blank(total)
    headline(figure, title, below)
    axes = figure.add_axes((0.11, foot / total, 0.86, _PANEL / total))
    axes.tick_params(length=0, labelsize=8.5, labelcolor=FAINT)
    axes.spines[:].set_visible(False)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _label(axes: Axes, across: str, up: str) -> None:
    percent = FuncFormatter(lambda value, _: f"{100 * value:.4g} %")
    axes.xaxis.set_major_formatter(percent)
    axes.yaxis.set_major_formatter(percent)
    axes.set_xlabel(across, fontsize=9, color=INK)
    axes.set_ylabel(up, fontsize=9, color=INK)


def _legend(figure: Figure, axes: Axes) -> Figure:
    place = (0.1 / WIDTH, 1 - 0.5 / figure.get_figheight())
    options = {"frameon": False, "fontsize": 9, "labelcolor": "linecolor", "handlelength": 3.2, "borderaxespad": 0.0}
    figure.legend(handles=axes.get_lines()[_diagonals(axes) :], loc="upper left", bbox_to_anchor=place, **options)
    return figure


def _diagonals(axes: Axes) -> int:
    return sum(str(line.get_label()).startswith("_") for line in axes.get_lines())
