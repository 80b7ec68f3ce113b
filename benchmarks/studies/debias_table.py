"""Tables of what debias_scm.py and debias_mosi.py recorded.

A difference is between the same samples and seeds; its 95 % interval comes of resampling seeds, and samples with them.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from benchmarks.studies.debias import CHOICES, METHODS, NEUTRAL, Record, labels, read_records, split_names
from mer_zoo.errors import MERError
from mer_zoo.reports.tables import Table
from mer_zoo.runs.files import whole_file

SPLITS = {"iid": "IID", "ood": "OOD", "rct": "randomised trial"}
ORDER = [label for method in METHODS for label in labels(method)]
DRAWS = 2000


class Answers:
    """What a method of several seeds says in one setting.

    Args:
        records: One a seed.
        choice: How the epoch was chosen.
    """

    def __init__(self, records: Sequence[Record], choice: str) -> None:
        self.records = {record["seed"]: record for record in records if choice in record["choices"]}
        self.choice = choice

    def gains(self, seed: int, split: str) -> tuple[Tensor, Tensor]:
        """Correctness (N,) of each sample and its weight, 0 for neutral ones."""
        record = self.records[seed]
        truth = _classes(record["truth"][split])
        predicted = _classes(record["choices"][self.choice]["splits"][split]["classes"])
        return (predicted == truth).double(), (truth != NEUTRAL).double()

    def names(self, seed: int, split: str) -> list[str]:
        """Which sample is which; those of a seed of its own are nobody else's."""
        known = self.records[seed]["ids"].get(split)
        return known or [f"{seed}/{i}" for i in range(len(self.records[seed]["truth"][split]))]

    def accuracy(self, split: str) -> list[float]:
        """Accuracy without neutral of every seed, in percent."""
        pairs = [self.gains(seed, split) for seed in self.records]
        return [100 * float((right * weight).sum() / weight.sum()) for right, weight in pairs]

    def neutral(self, split: str) -> float:
        """Share of the samples called neutral, in percent."""
        said = [record["choices"][self.choice]["splits"][split]["classes"] for record in self.records.values()]
        return 100 * statistics.fmean(text.count(str(NEUTRAL)) / len(text) for text in said)


def _classes(text: str) -> Tensor:
    return torch.tensor([int(digit) for digit in text])


def difference(a: Answers, b: Answers, split: str, draws: int = DRAWS) -> tuple[float, float, float]:
    """Mean difference of the accuracies in percent and its 95 % interval, on the seeds that both have."""
    seeds = [seed for seed in a.records if seed in b.records]
    names = {name: place for place, name in enumerate(dict.fromkeys(n for s in seeds for n in a.names(s, split)))}
    counts = _resamples(len(names), draws)
    found = []
    for seed in seeds:
        (right_a, weight), (right_b, _) = a.gains(seed, split), b.gains(seed, split)
        times = counts[:, [names[name] for name in a.names(seed, split)]]
        found.append(100 * (times @ ((right_a - right_b) * weight)) / (times @ weight))
    by_seed = torch.stack(found, 1)
    chosen = torch.randint(len(seeds), (draws, len(seeds)), generator=torch.Generator().manual_seed(1))
    resampled = by_seed[:-1].gather(1, chosen).mean(1)
    low, high = resampled.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return float(by_seed[-1].mean()), low, high


@lru_cache(maxsize=2)
def _resamples(size: int, draws: int) -> Tensor:
    """(draws + 1, size) how often each sample is drawn; the last row is the sample itself."""
    drawn = torch.randint(size, (draws, size), generator=torch.Generator().manual_seed(0))
    counts = torch.ones(draws + 1, size, dtype=torch.float64)
    counts[:-1] = torch.zeros(draws, size, dtype=torch.float64).scatter_add_(1, drawn, counts[:-1])
    return counts


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
        cell = cells.setdefault((record["backbone"], record["setting"]), {})
        cell.setdefault(record["method"], []).append(record)
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


def table(backbone: str, setting: str, cell: Mapping[str, Answers], choice: str) -> Table:
    """Accuracies of every method in one setting."""
    any_record = next(iter(next(iter(cell.values())).records.values()))
    splits = [split for split in SPLITS if split in any_record["truth"]]
    aim = splits[-1]
    header = ["method", "seeds", *(SPLITS[split] for split in splits), "called neutral"]
    rows = []
    for name, answers in cell.items():
        row = [name, str(len(answers.records)), *(_cell(answers, _base(cell), split) for split in splits)]
        row.append(f"{answers.neutral(aim):.1f}")
        if "unconfounded" in cell:
            row.append(_gap(answers, cell["unconfounded"], aim))
        rows.append(row)
    if "unconfounded" in cell:
        header.append("gap")
    shown = Table(f"{backbone}, {setting}: accuracy without neutral, %", header, rows)
    shown.notes.append(
        f"Mean ± deviation over seeds; in parentheses the difference to the first plain one and its 95 % interval."
        f" Epoch: {CHOICES[choice][0] or choice}."
        f" Called neutral: share of the answers, {SPLITS[aim]}."
        + (" Gap: to unconfounded, in the randomised trial." if "unconfounded" in cell else "")
        + (" An oracle's tau is chosen on the test split itself." if any("oracle" in name for name in cell) else "")
    )
    return shown


def overview(backbone: str, cells: Mapping[str, Mapping[str, Answers]], choice: str) -> Table:
    """Every method in the split that matters most of each setting, a column a setting."""
    names = sorted({name for cell in cells.values() for name in cell}, key=lambda name: _place(name, cells))
    columns = {}
    for setting, cell in cells.items():
        aim = next(split for split in reversed(SPLITS) if split in next(iter(_base(cell).records.values()))["truth"])
        columns[f"{setting}, {SPLITS[aim]}"] = [
            _cell(cell[name], _base(cell), aim) if name in cell else "-" for name in names
        ]
    rows = [[name, *texts] for name, *texts in zip(names, *columns.values(), strict=True)]
    shown = Table(f"{backbone}: accuracy without neutral, %", ["method", *columns], rows)
    shown.notes.append(f"As below. Epoch: {CHOICES[choice][0] or choice}.")
    return shown


def _place(name: str, cells: Mapping[str, Mapping[str, Answers]]) -> int:
    return max(list(cell).index(name) for cell in cells.values() if name in cell)


def _base(cell: Mapping[str, Answers]) -> Answers:
    """What the methods of a setting are compared with."""
    return next((answers for name, answers in cell.items() if name.startswith("plain")), next(iter(cell.values())))


def _cell(answers: Answers, base: Answers, split: str) -> str:
    values = answers.accuracy(split)
    text = f"{statistics.fmean(values):.1f} ± {statistics.stdev(values) if len(values) > 1 else 0:.1f}"
    return text if base is answers or not _shared(answers, base) else f"{text} ({_interval(answers, base, split)})"


def _gap(answers: Answers, unconfounded: Answers, split: str) -> str:
    if answers is unconfounded or not _shared(answers, unconfounded):
        return "-"
    return _interval(unconfounded, answers, split)


def _interval(a: Answers, b: Answers, split: str) -> str:
    mean, low, high = difference(a, b, split)
    return f"{mean:+.1f} [{low:.1f}, {high:.1f}]"


def _shared(a: Answers, b: Answers) -> bool:
    return bool(a.records.keys() & b.records.keys())


def write_tables(folder: Path, choice: str, methods: str | None, against: str | None = None) -> None:
    """Print every table, and write them all to table.md of the folder."""
    cells = grouped(folder, choice, methods, against)
    cells = {key: cell for key, cell in sorted(cells.items()) if cell.keys() - {"unconfounded"}}
    backbones: dict[str, dict[str, Mapping[str, Answers]]] = {}
    for (backbone, setting), cell in cells.items():
        backbones.setdefault(backbone, {})[setting] = cell
    shown = [overview(backbone, settings, choice) for backbone, settings in backbones.items()]
    shown += [table(*key, cell, choice) for key, cell in cells.items()]
    console = Console(width=200)
    for each in shown:
        each.show(console)
    with whole_file(folder / "table.md") as part:
        part.write_text("\n\n".join(each.markdown() for each in shown) + "\n", encoding="utf-8")


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """Options of every study's ``table`` and ``picture``."""
    parser.add_argument("folder", type=Path)
    parser.add_argument("--select", dest="choice", default="loss", choices=CHOICES, help="how the epoch was chosen")
    parser.add_argument("--against", choices=CHOICES, help="how plain's was chosen that the others are compared with")
    parser.add_argument("--methods", help="the methods to show, separated by commas; all when left out")
