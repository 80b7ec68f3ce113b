"""Tables of the records of a study: means over seeds, and differences with their intervals.

A difference is between the same samples and seeds; its 95 % interval counts the choice of both.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from torch import Tensor

from benchmarks.studies.frame import Record
from mer_zoo.data.corpus.conversation import recordings
from mer_zoo.metrics import mean_std
from mer_zoo.metrics.resampling import resamplings
from mer_zoo.metrics.significance import interval_of
from mer_zoo.reports.tables import Table
from mer_zoo.runs.files import whole_file

NEUTRAL = 1  # of three classes
DRAWS = 2000
SCALES = {"Acc2_non0": 100, "F1_non0": 100, "Acc7": 100, "MAE": 1, "Corr": 1}  # as papers print metrics of sentiment


class Column(NamedTuple):
    """Accuracy over the same samples under one condition or several.

    Args:
        title: Its heading.
        conditions: Names of the conditions.
        left_out: A class whose samples do not count.
        is_curve: Whether the conditions are a curve, of which the area counts; otherwise their mean.
    """

    title: str
    conditions: tuple[str, ...]
    left_out: int | None = NEUTRAL
    is_curve: bool = False


class Answers:
    """What a method of several seeds says.

    Args:
        records: One a seed.
        choice: How the epoch was chosen.
    """

    def __init__(self, records: Sequence[Record], choice: str = "loss") -> None:
        self.records = {record["seed"]: record for record in records if choice in record["choices"]}
        self.choice = choice

    def has(self, column: Column) -> bool:
        """Whether every seed has the conditions of a column."""
        return all(set(column.conditions) <= record["truth"].keys() for record in self.records.values())

    def gains(self, seed: int, column: Column) -> tuple[Tensor, Tensor]:
        """Correctness (N,) of each sample and its weight, 0 for those left out."""
        record = self.records[seed]
        splits = record["choices"][self.choice]["splits"]
        truth = _classes(record["truth"][column.conditions[0]])
        right = torch.stack([(_classes(splits[name]["classes"]) == truth).double() for name in column.conditions])
        mean = torch.trapezoid(right, dim=0) / (len(right) - 1) if column.is_curve else right.mean(0)
        return mean, (truth != (-1 if column.left_out is None else column.left_out)).double()

    def names(self, seed: int, column: Column) -> list[str]:
        """Which sample is which; those of a seed of its own are nobody else's."""
        record, name = self.records[seed], column.conditions[0]
        return record["ids"].get(name) or [f"{seed}/{i}" for i in range(len(record["truth"][name]))]

    def accuracy(self, column: Column) -> list[float]:
        """Accuracy of every seed, in percent."""
        pairs = [self.gains(seed, column) for seed in self.records]
        return [100 * float((right * weight).sum() / weight.sum()) for right, weight in pairs]

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics of every condition."""
        splits = next(iter(self.records.values()))["choices"][self.choice]["splits"]
        return list(next(iter(splits.values()))["metrics"])

    def metric(self, name: str, conditions: Sequence[str]) -> list[float]:
        """A metric of every seed, averaged over conditions."""
        splits = [record["choices"][self.choice]["splits"] for record in self.records.values()]
        return [statistics.fmean(each[condition]["metrics"][name] for condition in conditions) for each in splits]

    def diagnostics(self) -> dict[str, float]:
        """Numbers that the model tells of itself, averaged over the seeds that have them."""
        found = [record["choices"][self.choice]["diagnostics"] for record in self.records.values()]
        names = dict.fromkeys(name for each in found for name in each)
        return {name: statistics.fmean(each[name] for each in found if name in each) for name in names}

    def share(self, column: Column, answer: int) -> float:
        """Share of the samples of which a class is said, in percent."""
        splits = [record["choices"][self.choice]["splits"] for record in self.records.values()]
        said = [each[name]["classes"] for each in splits for name in column.conditions]
        return 100 * statistics.fmean(text.count(str(answer)) / len(text) for text in said)

    def confusion(self, seed: int, column: Column, classes: int) -> Tensor:
        """Counts of the samples, rows true and columns predicted classes, over all conditions of a column."""
        record, counts = self.records[seed], torch.zeros(classes * classes)
        for name in column.conditions:
            predicted = _classes(record["choices"][self.choice]["splits"][name]["classes"])
            counts += (_classes(record["truth"][name]) * classes + predicted).bincount(minlength=classes * classes)
        return counts.view(classes, classes)


def _classes(text: str) -> Tensor:
    return torch.tensor([int(digit) for digit in text])


def is_shared(a: Answers, b: Answers) -> bool:
    """Whether two methods have a seed in common."""
    return bool(a.records.keys() & b.records.keys())


def difference(a: Answers, b: Answers, column: Column, draws: int = DRAWS) -> tuple[float, float, float]:
    """Mean difference of the accuracies in percent and its 95 % interval, on the seeds that both have.

    Samples whose names tell their recordings are drawn by these.
    """
    seeds = [seed for seed in a.records if seed in b.records]
    drawn = {seed: recordings(a.names(seed, column)) or a.names(seed, column) for seed in seeds}
    names = {name: place for place, name in enumerate(dict.fromkeys(n for s in seeds for n in drawn[s]))}
    counts = _counts(len(names), draws)
    found = []
    for seed in seeds:
        (right_a, weight), (right_b, _) = a.gains(seed, column), b.gains(seed, column)
        times = counts[:, [names[name] for name in drawn[seed]]]
        found.append(100 * (times @ ((right_a - right_b) * weight)) / (times @ weight))
    interval = interval_of([torch.stack(found, 1)], len(names))
    return interval.difference, interval.low, interval.high


def resampled_mean(values: Sequence[float], draws: int = 10_000) -> tuple[float, float, float]:
    """The mean of some numbers and its 95 % interval."""
    chosen = torch.randint(len(values), (draws, len(values)), generator=torch.Generator().manual_seed(0))
    return statistics.fmean(values), *_ends(torch.tensor(values, dtype=torch.float64)[chosen].mean(1))


def _ends(values: Tensor) -> tuple[float, float]:
    low, high = values.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


@lru_cache(maxsize=2)
def _counts(size: int, draws: int) -> Tensor:
    return resamplings(size, draws, seed=0).double()


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean and sample deviation; of one value the mean alone."""
    mean, deviation = mean_std(values)
    return f"{mean:.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def interval(found: tuple[float, float, float], digits: int = 1) -> str:
    """A difference and its interval."""
    mean, low, high = found
    return f"{mean:+.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def cell(answers: Answers, base: Answers | None, column: Column) -> str:
    """Mean and deviation in percent, and the difference to another method where they share seeds."""
    if not answers.has(column):
        return "-"
    text = spread(answers.accuracy(column))
    if base is None or base is answers or not is_shared(answers, base) or not base.has(column):
        return text
    return f"{text} ({interval(difference(answers, base, column))})"


def decimals(metric: str) -> int:
    """Places behind the point of a metric of sentiment."""
    return 1 if SCALES[metric] == 100 else 3


def metric_cell(answers: Answers, metric: str, condition: str = "iid") -> str:
    """Mean and deviation of a metric of sentiment."""
    return spread([SCALES[metric] * value for value in answers.metric(metric, [condition])], decimals(metric))


def accuracy_table(title: str, found: Mapping[str, Answers], columns: Sequence[Column], against: str | None) -> Table:
    """A row a method, a column of accuracies with the difference to one of the methods."""
    base = found.get(against) if against is not None else None
    rows = [
        [name, str(len(answers.records)), *(cell(answers, base, column) for column in columns)]
        for name, answers in found.items()
    ]
    return Table(title, ["model", "seeds", *(column.title for column in columns)], rows)


def write_tables(folder: Path, tables: Sequence[Table], name: str = "table.md") -> None:
    """Print tables, and write them to a file of a folder."""
    console = Console(width=200)
    for each in tables:
        each.show(console)
    with whole_file(folder / name) as part:
        part.write_text("\n\n".join(each.markdown() for each in tables) + "\n", encoding="utf-8")
