"""The great table from its records: a row a method, a column a condition, differences to plain with their intervals."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from benchmarks.studies.debias_table import Shown, grouped, keep_figures, standing
from benchmarks.studies.table import DRAWS, NEUTRAL, Answers, Column, cell, interval, is_shared, spread, write_tables
from mer_zoo.metrics.resampling import resamplings
from mer_zoo.metrics.significance import interval_of
from mer_zoo.reports.tables import Table

COLUMNS = (
    Column("IID", ("iid",)),
    Column("OOD", ("ood",)),
    Column("randomised trial", ("rct",)),
    Column("without text", ("without l",)),
    Column("without audio", ("without a",)),
    Column("without vision", ("without v",)),
)
SHIFTED = ", labels "  # in the name of a setting with other shares of the labels
AIMS = ("rct", "ood", "iid")  # where groups are told apart: the first that there is
LEAST = 10  # samples of a group that counts, in a test split


def aim_of(answers: Answers) -> Column:
    """The condition that matters most."""
    record = next(iter(answers.records.values()))
    name = next(name for name in AIMS if name in record["truth"])
    return next(column for column in COLUMNS if column.conditions == (name,))


def groups_of(answers: Answers, seed: int, condition: str) -> Tensor:
    """(N,) group of label and attribute of each sample; -1 for neutral ones, and for small groups."""
    record = answers.records[seed]
    truth, attribute = (
        torch.tensor([int(digit) for digit in text])
        for text in (record["truth"][condition], record["attributes"][condition])
    )
    group = truth * 10 + attribute
    small = group.bincount(minlength=100)[group] < LEAST
    return group.masked_fill(small | (truth == NEUTRAL), -1)


def worst(answers: Answers, column: Column, draws: int = DRAWS) -> tuple[Tensor, int]:
    """Accuracy of the group that it is lowest in, in percent, where samples are drawn.

    Args:
        answers: What a method says.
        column: The condition.
        draws: How often.

    Returns:
        (draws + 1, seeds), the samples themselves last, and the number of samples.
    """
    found, size = [], 0
    for seed in answers.records:
        right, _ = answers.gains(seed, column)
        group = groups_of(answers, seed, column.conditions[0])
        times, size = _counts(len(right), draws), size + len(right)
        means = [(times[:, group == g] @ right[group == g]) / times[:, group == g].sum(1) for g in _known(group)]
        found.append(100 * torch.stack(means or [times.new_full((len(times),), float("nan"))]).amin(0))
    return torch.stack(found, 1), size


@lru_cache(maxsize=2)
def _counts(size: int, draws: int) -> Tensor:
    return resamplings(size, draws, seed=0).double()


def _known(group: Tensor) -> list[int]:
    return [int(g) for g in torch.unique(group) if g >= 0]


def worst_cell(answers: Answers, base: Answers | None, column: Column) -> str:
    """Mean and deviation, and the difference to another method of the same seeds."""
    if not all("attributes" in record for record in answers.records.values()):
        return "-"
    values, size = worst(answers, column)
    text = spread(values[-1].tolist())
    if base is None or base is answers or base.records.keys() != answers.records.keys():
        return text
    found = interval_of([values, worst(base, column)[0]], size)
    return f"{text} ({interval((found.difference, found.low, found.high))})"


def cost(answers: Answers, base: Answers) -> str:
    """Processor time of a run, as a multiple of another method's on the seeds that both have."""
    seeds = [seed for seed in answers.records if seed in base.records]
    if not seeds:
        return "-"
    own, others = (
        statistics.fmean(each.records[seed]["seconds"]["processor"] for seed in seeds) for each in (answers, base)
    )
    return f"{own / others:.1f}"


def table_of(title: str, methods: Mapping[str, Answers], shifted: Mapping[str, Answers], base: str | None) -> Table:
    """A network in one setting.

    Args:
        title: Network and setting.
        methods: By name what each says.
        shifted: The same where the labels have other shares.
        base: The row that all are compared with; the first plain one by default.
    """
    base = base or next((name for name in methods if name.startswith("plain")), next(iter(methods)))
    plain = methods[base]
    aim = aim_of(plain)
    columns = [column for column in COLUMNS if any(answers.has(column) for answers in methods.values())]
    header = ["method", "seeds", *(column.title for column in columns)]
    header += [f"{aim.title}, labels shifted", f"worst group, {aim.title}", "parameters", "cost of a run, times plain"]
    rows = []
    for name, answers in sorted(methods.items(), key=lambda row: standing(row[0])[0]):
        against = plain if is_shared(answers, plain) else None
        row = [name, str(len(answers.records)), *(cell(answers, against, column) for column in columns)]
        there = shifted.get(name)
        row.append("-" if there is None else cell(there, shifted.get(base), aim))
        row.append(worst_cell(answers, against, aim))
        row += [str(next(iter(answers.records.values()))["parameters"]), cost(answers, plain)]
        rows.append(row)
    note = (
        f"Accuracy without neutral, %: mean ± deviation over seeds; in parentheses the difference to {base} and its"
        f" 95 % interval over seeds and samples. Without a modality: {aim.title}."
        f" Worst group: of label and attribute, of"
        f" those with {LEAST} test samples or more. Cost: processor seconds of a run, as a multiple of {base}'s."
    )
    return Table(title, header, rows, [note])


def show(options: argparse.Namespace) -> None:
    """Print the tables of a folder of records, write them to its table.md, and the figures where ``--csv`` says so."""
    cells = grouped(options.folder, options.choice, options.methods, options.against)
    shown = [
        Shown(
            *key,
            aim_of(next(iter(methods.values()))).title,
            table_of(", ".join(key), methods, _shifted(cells, key), options.base),
        )
        for key, methods in sorted(cells.items())
        if SHIFTED not in key[1] and methods.keys() - {"unconfounded"}
    ]
    write_tables(options.folder, [each.table for each in shown])
    keep_figures(shown, options, "benchmarks.studies.great_table")


def _shifted(cells: Mapping[tuple[str, str], Mapping[str, Answers]], key: tuple[str, str]) -> Mapping[str, Answers]:
    backbone, setting = key
    return next(
        (
            methods
            for (name, other), methods in cells.items()
            if name == backbone and other.startswith(setting + SHIFTED)
        ),
        {},
    )
