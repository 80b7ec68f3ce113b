import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from report_toys import SETS

from mer_zoo.reports.pictures.conditions import Series, condition_picture
from mer_zoo.reports.pictures.style import save_picture
from mer_zoo.reports.record import ConditionResult, parse_results


def conditions(*names: str) -> list[ConditionResult]:
    """Conditions whose names say what is missing."""
    entries: dict[str, Any] = {name: {"pattern": "SMM()" if "{" in name else None, "metrics": {}} for name in names}
    return list(parse_results({"model": "M", "conditions": entries}, Path("results.json")).conditions.values())


CONDITIONS = conditions("iid", "ood", *SETS)


def dots(axes: Axes) -> list[tuple[float, float]]:
    marked = [line for line in axes.lines if line.get_marker() not in ("None", None, "")]
    return [(float(np.ravel(line.get_xdata())[0]), float(np.ravel(line.get_ydata())[0])) for line in marked]


def test_every_value_is_drawn_in_its_row() -> None:
    first, second = np.linspace(0.5, 0.8, 8).tolist(), np.linspace(0.9, 0.4, 8).tolist()
    second[3] = math.nan
    figure = condition_picture(CONDITIONS, [Series("A", first), Series("B", second)], [0.5] * 8, "Acc3", "title")
    axes = figure.axes[0]
    drawn = dots(axes)
    assert sorted(x for x, _ in drawn) == pytest.approx(sorted([*first, *second[:3], *second[4:]]))
    rows = axes.get_yticks()
    assert [min(range(8), key=lambda row: abs(rows[row] - y)) for x, y in drawn[:8]] == list(range(8))
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [
        "IID test",
        "OOD test",
        "text",
        "audio",
        "vision",
        "text + audio",
        "text + vision",
        "audio + vision",
    ]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["A", "B", "majority class"]
    assert "70 %" in [label.get_text() for label in axes.get_xticklabels()]


def test_many_models_and_odd_conditions(tmp_path: Path) -> None:
    series = [Series(f"Wrapper{n}(Backbone)", [0.5 + 0.01 * n], [0.02]) for n in range(9)]
    figure = condition_picture(conditions("RMFM 0.3"), series, [math.nan], "MAE", "title")
    assert len(dots(figure.axes[0])) == 9
    assert "majority class" not in [text.get_text() for text in figure.legends[0].get_texts()]
    save_picture(figure, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_sets_on_another_split() -> None:
    given = conditions("iid", "{l,a}", "ood {v}")
    given += [replace(given[1], name="without a face")]  # a name of the user's own is no set's
    figure = condition_picture(given, [Series("A", [0.7, 0.6, 0.5, 0.6])], [0.1] * 4, "Acc3", "title")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["IID test", "text + audio", "vision, OOD test", "without a face"]


def test_whiskers_and_majority_stay_inside_the_frame() -> None:
    figure = condition_picture(conditions("iid"), [Series("A", [0.7], [0.2])], [0.1], "Acc3", "title")
    low, high = figure.axes[0].get_xlim()
    assert low < 0.1
    assert high > 0.9


def test_no_global_state() -> None:
    condition_picture(conditions("iid"), [Series("A", [0.7])], [0.5], "Acc3", "title")
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()
