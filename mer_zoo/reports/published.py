"""Figures that the three papers printed, to stand beside ours."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["Published", "figures_about", "paper_metric", "paper_models", "published"]

_METRICS = {"Acc2_non0": "Acc2", "F1_non0": "F1", "Acc": "Acc_average", "F1": "F1_average"}
_DATASETS = {"MOSI": "CMU-MOSI", "MOSEI": "CMU-MOSEI", "IEMOCAP": "IEMOCAP"}


@dataclass(frozen=True)
class Published:
    """One printed figure.

    Attributes:
        source: The paper.
        table: Number of its table.
        model: Name of the model there.
        dataset: CMU-MOSI, CMU-MOSEI, IEMOCAP, or ``A->B`` for training on A and testing on B.
        split: IID or OOD.
        alignment: aligned or unaligned.
        pattern: What is missing.
        condition: ``full``, a rate, an availability set such as ``{l,a}``, ``AUILC``, ``mean`` or ``std`` of drops.
        metric: Name of the metric there; ``_drop`` marks a difference to complete data.
        value: Accuracies and F1 in percent, drops in percentage points.
    """

    source: str
    table: str
    model: str
    dataset: str
    split: str
    alignment: str
    pattern: str
    condition: str
    metric: str
    value: float


@cache
def _figures() -> tuple[Published, ...]:
    text = files("mer_zoo.reports").joinpath("published_results.csv").read_text(encoding="utf-8")
    figures = []
    for row in csv.DictReader(io.StringIO(text)):
        value, condition = float(row.pop("value")), _in_our_letters(row.pop("condition"))
        figures.append(Published(**row, condition=condition, value=value))
    return tuple(figures)


def _in_our_letters(condition: str) -> str:
    """CausalMER writes t for the text, the other two papers and this library l."""
    return condition.replace("t", "l") if condition.startswith("{") else condition


def published(
    model: str | None = None, dataset: str | None = None, metric: str | None = None, condition: str | None = None
) -> list[Published]:
    """Look up printed figures; what is left out matches everything.

    Args:
        model: Name of the model in the paper.
        dataset: Name of the dataset, our class name or the paper's.
        metric: Name of the metric in the paper.
        condition: Name of the condition, text written l.

    Example:
        >>> [figure.value for figure in published("MulT (reimplemented)", "MOSEI", "Acc7_drop", "mean")]
        [-4.0]
    """
    dataset = None if dataset is None else _DATASETS.get(dataset, dataset)
    wanted = {"model": model, "dataset": dataset, "metric": metric, "condition": condition}
    given = {key: value for key, value in wanted.items() if value is not None}
    return [figure for figure in _figures() if all(getattr(figure, key) == value for key, value in given.items())]


def paper_models(model: str) -> list[str]:
    """Names under which the papers list a model of ours, whatever its marks.

    Example:
        >>> paper_models("CausalMER(MulT)"), paper_models("MACI[oracle tau](DLF)"), paper_models("MSSD(MACI(CIDerNet))")
        (['MulT (reimplemented) + CausalMER'], ['DLF+MACI'], ['CIDer'])
    """
    *wrappers, inner = re.sub(r"\[[^\]]*\]", "", model).replace(")", "").split("(")
    if inner == "CIDerNet":
        whole = {("MACI", "MSSD"): ["CIDer"], ("MACI",): ["w/o MSSD"], ("MSSD",): ["w/o MACI"]}
        return whole.get(tuple(sorted(wrappers)), [model])
    if not wrappers:
        return [inner, f"{inner} (reimplemented)"]
    name = "+".join(reversed(wrappers))
    return [f"{inner} (reimplemented) + {name}"] if name == "CausalMER" else [f"{inner}+{name}"]


def figures_about(name: str) -> list[Published]:
    """Printed figures of a network or wrapper of ours, by itself and in nests.

    Args:
        name: Its name here; papers write EMT-DLFR and Self-MM, and CUMDF's own network goes by the method's name.

    Example:
        >>> {figure.model for figure in figures_about("SelfMM")}
        {'Self-MM'}
        >>> sorted({figure.model for figure in figures_about("CausalMER")})[0]
        'DMD (reimplemented) + CausalMER'
    """
    alone = {_letters(paper) for nest in (name, *_OWN_NESTS.get(name, ())) for paper in paper_models(nest)}
    return [
        figure
        for figure in _figures()
        if _letters(figure.model) in alone
        or _letters(name) in map(_letters, re.sub(r" \(.*?\)", "", figure.model).split("+"))
    ]


# Methods whose papers print them with their own network.
_OWN_NESTS = dict.fromkeys(("CIDerNet", "MACI", "MSSD"), ("MSSD(MACI(CIDerNet))",))


def _letters(model: str) -> str:
    return re.sub(r"[^a-z0-9+/]", "", model.lower())


def paper_metric(metric: str) -> str:
    """Name that the papers give a metric of ours.

    Example:
        >>> paper_metric("Acc2_non0"), paper_metric("Acc7")
        ('Acc2', 'Acc7')
    """
    return _METRICS.get(metric, metric)
