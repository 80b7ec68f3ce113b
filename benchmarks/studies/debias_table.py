"""Tables of what debias_scm.py and debias_mosi.py recorded."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.options import add_csv_option
from benchmarks.rows import add_rows
from benchmarks.studies.debias import CHOICES, METHODS, labels, split_names
from benchmarks.studies.frame import Record, commits_of, read_records
from benchmarks.studies.table import NEUTRAL, Answers, Column, difference, interval, is_shared, spread, write_tables
from benchmarks.studies.table import cell as cell_of
from mer_zoo.errors import MERError
from mer_zoo.reports.layout import figures_of
from mer_zoo.reports.measured import Measured, write_measured
from mer_zoo.reports.tables import Table
from mer_zoo.task import CLASS_NAMES

SPLITS = {
    "iid": Column("IID", ("iid",)),
    "ood": Column("OOD", ("ood",)),
    "rct": Column("randomised trial", ("rct",)),
}
ORDER = [label for method in METHODS for label in labels(method)]


def grouped(
    folder: Path, choice: str, methods: str | None, against: str | None = None
) -> dict[tuple[str, str], dict[str, Answers]]:
    """Answers by backbone and setting, and by method in the order of the table.

    Args:
        folder: Folder of the records.
        choice: How the epochs were chosen.
        methods: Those wanted besides plain and unconfounded; all by default.
        against: How the epoch of the plain network was chosen that comes first and all are compared with; ``choice`` by
            default.

    Raises:
        MERError: If there are no records of that choice, or of a method asked for.
    """
    cells: dict[tuple[str, str], dict[str, list[Record]]] = {}
    for record in read_records(folder):
        backbone, setting, label = record["place"]
        cells.setdefault((backbone, setting), {}).setdefault(label, []).append(record)
    wanted = None if methods is None else {"plain", "unconfounded", *_labels_asked(methods, cells)}
    found = {}
    for key, cell in cells.items():
        names = sorted(cell, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER) - 1.5, name))
        all_answers = {name: Answers(cell[name], choice) for name in names if wanted is None or name in wanted}
        if "plain" in cell and against not in (None, choice):
            all_answers = {f"plain by {against}": Answers(cell["plain"], str(against)), **all_answers}
        found[key] = {name: answers for name, answers in all_answers.items() if answers.records}
    if not any(found.values()):
        raise MERError(f"{folder} holds no records whose epoch was chosen by {choice}; run the benchmark first")
    return found


def _labels_asked(methods: str, cells: Mapping[tuple[str, str], Mapping[str, object]]) -> set[str]:
    """Methods by their labels, all of them where a method has several."""
    known, found = {label for cell in cells.values() for label in cell}, set()
    for method in split_names(methods):
        here = {method, *labels(method)} & known
        if not here:
            raise MERError(f"there are no records of {method}; choose from {', '.join(sorted(known))}")
        found |= here
    return found


def table(backbone: str, setting: str, cell: Mapping[str, Answers], choice: str, base: str | None = None) -> Table:
    """Accuracies of every method in one setting, and the differences to one of them, by default to plain."""
    any_record = next(iter(next(iter(cell.values())).records.values()))
    columns = [column for split, column in SPLITS.items() if split in any_record["truth"]]
    aim = columns[-1]
    header = ["method", "seeds", *(column.title for column in columns), "called neutral"]
    rows = []
    for name, answers in cell.items():
        row = [name, str(len(answers.records)), *(cell_of(answers, _base(cell, base), column) for column in columns)]
        row.append(f"{answers.share(aim, NEUTRAL):.1f}")
        if "unconfounded" in cell:
            row.append(_gap(answers, cell["unconfounded"], aim))
        rows.append(row)
    if "unconfounded" in cell:
        header.append("gap")
    shown = Table(f"{backbone}, {setting}: accuracy without neutral, %", header, rows)
    shown.notes.append(
        f"Mean ± deviation over seeds; in parentheses the difference to {base or 'the first plain one'} and its 95 %"
        f" interval."
        f" Epoch: {CHOICES[choice][0] or choice}."
        f" Called neutral: share of the answers, {aim.title}."
        + (" Gap: to unconfounded, in the randomised trial." if "unconfounded" in cell else "")
        + (" An oracle's tau is chosen on the test split itself." if any("oracle" in name for name in cell) else "")
    )
    return shown


def overview(backbone: str, cells: Mapping[str, Mapping[str, Answers]], choice: str, base: str | None = None) -> Table:
    """Every method in the split that matters most of each setting, a column a setting."""
    names = sorted({name for cell in cells.values() for name in cell}, key=lambda name: _place(name, cells))
    columns = {}
    for setting, cell in cells.items():
        aim = next(column for column in reversed(SPLITS.values()) if _base(cell, base).has(column))
        columns[f"{setting}, {aim.title}"] = [
            cell_of(cell[name], _base(cell, base), aim) if name in cell else "-" for name in names
        ]
    rows = [[name, *texts] for name, *texts in zip(names, *columns.values(), strict=True)]
    shown = Table(f"{backbone}: accuracy without neutral, %", ["method", *columns], rows)
    shown.notes.append(f"As below. Epoch: {CHOICES[choice][0] or choice}.")
    return shown


def _place(name: str, cells: Mapping[str, Mapping[str, Answers]]) -> int:
    return max(list(cell).index(name) for cell in cells.values() if name in cell)


def _base(cell: Mapping[str, Answers], name: str | None) -> Answers:
    """What the methods of a setting are compared with."""
    if name is not None and name in cell:
        return cell[name]
    return next((answers for name, answers in cell.items() if name.startswith("plain")), next(iter(cell.values())))


def _gap(answers: Answers, unconfounded: Answers, column: Column) -> str:
    if answers is unconfounded or not is_shared(answers, unconfounded):
        return "-"
    return interval(difference(unconfounded, answers, column))


class Shown(NamedTuple):
    """A table of one backbone in one setting, whose columns are of ``aim`` where they name no split."""

    backbone: str
    setting: str
    aim: str
    table: Table


def show_tables(
    folder: Path, choice: str, methods: str | None, against: str | None = None, base: str | None = None
) -> list[Shown]:
    """Print every table, and write them all to table.md of the folder.

    Raises:
        MERError: If there are no records of what is asked for.
    """
    cells = grouped(folder, choice, methods, against)
    if base is not None and not any(base in cell for cell in cells.values()):
        known = sorted({name for cell in cells.values() for name in cell})
        raise MERError(f"there are no records of {base} to compare with; choose from {', '.join(known)}")
    cells = {key: cell for key, cell in sorted(cells.items()) if cell.keys() - {"unconfounded"}}
    backbones: dict[str, dict[str, Mapping[str, Answers]]] = {}
    for (backbone, setting), cell in cells.items():
        backbones.setdefault(backbone, {})[setting] = cell
    shown = [overview(backbone, settings, choice, base) for backbone, settings in backbones.items()]
    each = [Shown(*key, _aim(cell).title, table(*key, cell, choice, base)) for key, cell in cells.items()]
    write_tables(folder, [*shown, *(one.table for one in each)])
    return each


def _aim(cell: Mapping[str, Answers]) -> Column:
    """The split that matters most of those that all methods have."""
    return [column for column in SPLITS.values() if all(answers.has(column) for answers in cell.values())][-1]


def show_recalls(folder: Path, choice: str, methods: str | None, against: str | None = None) -> list[Shown]:
    """Print which class the right answers are in, and write it to recalls.md of the folder."""
    cells = sorted(grouped(folder, choice, methods, against).items())
    shown = [
        Shown(*key, _aim(cell).title, recalls(*key, cell, choice))
        for key, cell in cells
        if cell.keys() - {"unconfounded"}
    ]
    write_tables(folder, [each.table for each in shown], "recalls.md")
    return shown


def keep_figures(shown: Sequence[Shown], options: argparse.Namespace, module: str) -> None:
    """Write tables to the file of results that ``--csv`` names; nothing where it names none.

    Args:
        shown: The tables.
        options: Those that they were made with.
        module: The study, as it is run.
    """
    if options.csv is None:
        return
    base = getattr(options, "base", None)  # recalls are compared with nothing
    words = {"--select": options.choice, "--against": options.against, "--base": base, "--methods": options.methods}
    given = [f"{name} {shlex.quote(word)}" for name, word in words.items() if word is not None]
    about = {
        "device": options.device,
        "commit": commits_of(options.folder),
        "command": " ".join(["python -m", module, options.command, str(options.folder), *given]),
    }
    figures = [figure for each in shown for figure in _figures(each, options.benchmark, base, about)]
    if options.add:
        add_rows(options.csv, figures, standing)
    else:
        write_measured(options.csv, figures)


def standing(name: str) -> tuple[int, str]:
    """Plain rows come first in a table, and what methods aim at last."""
    places = {"plain": 1, "unconfounded": 3}
    return 0 if name.startswith("plain by ") else places.get(name, 2), name.lower()


def _figures(shown: Shown, benchmark: str, base: str | None, about: Mapping[str, str]) -> Iterator[Measured]:
    splits, names = [column.title for column in SPLITS.values()], [row[0] for row in shown.table.rows]
    base = base if base in names else next((name for name in names if name.startswith("plain")), names[0])
    for figure in figures_of(shown.table, f"{benchmark}, {shown.backbone}", against=base, **about):
        if figure.metric in splits:
            yield replace(figure, condition=f"{shown.setting}, {figure.metric}", metric="Acc2_non0")
        elif figure.metric == "gap":
            condition = f"{shown.setting}, {shown.aim}"
            yield replace(figure, condition=condition, metric="gap to unconfounded", against="unconfounded")
        else:
            yield replace(figure, condition=f"{shown.setting}, {shown.aim}")


def recalls(backbone: str, setting: str, cell: Mapping[str, Answers], choice: str) -> Table:
    """Of the samples of a class, the share that is called so, in the split that matters most."""
    aim, rows = _aim(cell), []
    for name, answers in cell.items():
        counts = [answers.confusion(seed, aim, len(CLASS_NAMES[3])) for seed in answers.records]
        found = [[100 * float(table[label, label] / table[label].sum()) for table in counts] for label in (0, 2)]
        charged = [table[[0, 2]] for table in counts]
        called = [100 * float(table[:, 2].sum() / table.sum()) for table in charged]
        are = [100 * float(table[1].sum() / table.sum()) for table in charged]
        rows.append([name, str(len(answers.records)), *map(spread, (*found, called, are))])
    header = ["method", "seeds", "negative found", "positive found", "called positive", "are positive"]
    shown = Table(f"{backbone}, {setting}, {aim.title}: samples not neutral, %", header, rows)
    shown.notes.append(f"Mean ± deviation over seeds. Epoch: {CHOICES[choice][0] or choice}.")
    return shown


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """Options of every study's ``table``."""
    add_shown_options(parser)
    add_csv_options(parser)
    parser.add_argument("--base", help="the row that all are compared with; the first plain one when left out")


def add_shown_options(parser: argparse.ArgumentParser) -> None:
    """Options of every study's ``table``, ``recalls`` and ``picture``."""
    parser.add_argument("folder", type=Path)
    parser.add_argument("--select", dest="choice", default="loss", choices=CHOICES, help="how the epoch was chosen")
    parser.add_argument("--against", choices=CHOICES, help="how plain's was chosen that the others are compared with")
    parser.add_argument("--methods", help="the methods to show, separated by commas; all when left out")


def add_csv_options(parser: argparse.ArgumentParser) -> None:
    """Options of what writes figures to ``results/``."""
    add_csv_option(parser)
    parser.add_argument(
        "--benchmark", default="debiasing", help="their benchmark there, to which the backbone is added"
    )
    parser.add_argument("--device", default="CPU", help="what they were measured on")
    parser.add_argument("--add", action="store_true", help="leave the rows of other methods and settings as they are")
