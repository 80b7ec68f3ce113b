"""Figures that the three papers printed, to stand beside ours."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from mer_zoo.reports.identities import Identity, Options, identity_of, same_nest

__all__ = ["DATASETS", "Published", "figures_about", "paper_metric", "printed_as", "published"]

_METRICS = {"Acc2_non0": "Acc2", "F1_non0": "F1", "Acc": "Acc_average", "F1": "F1_average"}
DATASETS = {"MOSI": "CMU-MOSI", "MOSEI": "CMU-MOSEI", "IEMOCAP": "IEMOCAP"}


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
    dataset = None if dataset is None else DATASETS.get(dataset, dataset)
    wanted = {"model": model, "dataset": dataset, "metric": metric, "condition": condition}
    given = {key: value for key, value in wanted.items() if value is not None}
    return [figure for figure in _figures() if all(getattr(figure, key) == value for key, value in given.items())]


def printed_as(model: str, options: Options = ()) -> list[tuple[Identity, Published]]:
    """Printed figures of a nest of ours, each with the identity that says so.

    Args:
        model: Label of the nest, see :func:`~mer_zoo.reports.identities.same_nest`.
        options: Likewise.

    Example:
        >>> sorted({(figure.source, figure.model) for _, figure in printed_as("EMTDLFR")})
        [('CIDer', 'EMT-DLFR'), ('CUMDF', 'EMT')]
    """
    wanted = set(same_nest(model, options))
    found = ((identity_of(figure.source, figure.table, figure.model), figure) for figure in _figures())
    return [(identity, figure) for identity, figure in found if identity in wanted and identity is not None]


def figures_about(name: str) -> list[Published]:
    """Printed figures of a network or wrapper of ours, by itself and in nests.

    Args:
        name: Its name here.

    Example:
        >>> sorted({figure.model for figure in figures_about("SelfMM")})
        ['GEAR', 'Self-MM']
        >>> sorted({figure.model for figure in figures_about("CausalMER")})[0]
        'DMD (reimplemented) + CausalMER'
    """
    found = ((identity_of(figure.source, figure.table, figure.model), figure) for figure in _figures())
    return [figure for one, figure in found if one is not None and name in re.findall(r"\w+", one.nest)]


def paper_metric(metric: str) -> str:
    """Name that the papers give a metric of ours.

    Example:
        >>> paper_metric("Acc2_non0"), paper_metric("Acc7")
        ('Acc2', 'Acc7')
    """
    return _METRICS.get(metric, metric)
