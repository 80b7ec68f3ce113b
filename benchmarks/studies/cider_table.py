"""Table of the runs of cider.py: means over seeds, differences with their intervals, chosen taus, confusion matrices.

    python -m benchmarks.studies.cider_table runs/cider_synthetic
    python -m benchmarks.studies.cider_table runs/cider_synthetic --against "CIDerNet+MSSD+MACI paper, tau 0"

A cell is mean and deviation over the seeds, then the difference to the plain network with its 95 % interval, samples
and seeds resampled together. An oracle's cell is the mean of the best values of each seed and condition, which no
interval belongs to.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from torch import Tensor

CURVE = ["iid", *(f"RMFM {step / 10}" for step in range(1, 11))]
METRICS = {"Acc2_non0": "accuracy without neutral, %", "Acc3": "accuracy of three classes, %"}
Right = tuple[Tensor, Tensor]


def variants(folder: Path) -> dict[str, list[Path]]:
    """Result folders of every model and choice of tau, one a seed, by name."""
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("results.json")):
        model, _, *selection = file.relative_to(folder).parent.parts
        found.setdefault(" ".join([model, *selection]), []).append(file.parent)
    return found


class Answers:
    """Which samples of each condition a model of several seeds gets right."""

    def __init__(self, folders: Sequence[Path]) -> None:
        seeds = [next(part for part in folder.parts[::-1] if part.startswith("seed")) for folder in folders]
        self.results = {s: json.loads((f / "results.json").read_text()) for s, f in zip(seeds, folders, strict=True)}
        self.scores = {s: load_file(f / "scores.safetensors") for s, f in zip(seeds, folders, strict=True)}
        first = self.results[seeds[0]]
        shared = [set(result["conditions"]) for result in self.results.values()]
        self.conditions: list[str] = [name for name in first["conditions"] if all(name in names for names in shared)]
        self.is_oracle = "oracle" in first["model"]

    def classes(self, condition: str, seeds: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Predicted (seeds, N) and true (N,) classes."""
        truth = self.scores[seeds[0]][f"{condition}.target"]
        truth = (truth.sign() + 1).long() if truth.is_floating_point() else truth
        return torch.stack([self.scores[seed][f"{condition}.logits"].argmax(1) for seed in seeds]), truth

    def right(self, condition: str, metric: str, seeds: Sequence[str]) -> Right:
        """Correctness (seeds, N) and the weight (N,) of each sample."""
        predicted, truth = self.classes(condition, seeds)
        weight = torch.ones(len(truth)) if metric == "Acc3" else (truth != 1)
        return (predicted == truth).double(), weight.double()

    def measured(self, column: str, metric: str, seeds: Sequence[str]) -> Right:
        """As :meth:`right`; the column AUILC is the trapezoid over the missing rates 0 to 1."""
        if column != "AUILC":
            return self.right(column, metric, seeds)
        curve = torch.stack([self.right(name, metric, seeds)[0] for name in CURVE], -1)
        return torch.trapezoid(curve, dx=0.1), self.right("iid", metric, seeds)[1]

    def printed(self, column: str, metric: str) -> list[float]:
        """The metric of each seed as results.json has it."""
        tables = [result["conditions"] for result in self.results.values()]
        names = CURVE if column == "AUILC" else [column]
        values = [torch.tensor([table[name]["metrics"][metric] for name in names]) for table in tables]
        return [float(torch.trapezoid(v, dx=0.1) if column == "AUILC" else v) for v in values]

    def has(self, column: str) -> bool:
        """Whether the column can be filled."""
        return set(CURVE if column == "AUILC" else [column]) <= set(self.conditions)


def difference(a: Right, b: Right, draws: int = 2000) -> tuple[float, float, float]:
    """Mean difference of two models and its 95 % interval, samples and seeds resampled together."""
    (right_a, weight), (right_b, _) = a, b
    gain, generator = (right_a - right_b) * weight, torch.Generator().manual_seed(0)
    resampled = []
    for _ in range(draws):
        seeds = torch.randint(len(gain), (len(gain),), generator=generator)
        rows = torch.randint(len(weight), (len(weight),), generator=generator)
        resampled.append(float(gain[seeds][:, rows].sum(1).mean() / weight[rows].sum()))
    ends = torch.tensor(resampled).quantile(torch.tensor([0.025, 0.975])).tolist()
    return float(gain.sum(1).mean() / weight.sum()), ends[0], ends[1]


def cell(model: Answers, base: Answers | None, column: str, metric: str) -> str:
    """Mean and deviation in percent, and the difference to another model on the seeds that both have."""
    if not model.has(column):
        return "-"
    values = [100 * value for value in model.printed(column, metric)]
    text = f"{statistics.fmean(values):.1f} ± {statistics.stdev(values) if len(values) > 1 else 0:.1f}"
    if base is None or base is model or model.is_oracle:
        return text
    seeds = [seed for seed in model.results if seed in base.results]
    mean, low, high = (
        100 * v for v in difference(model.measured(column, metric, seeds), base.measured(column, metric, seeds))
    )
    return f"{text} ({mean:+.1f} [{low:.1f}, {high:.1f}])"


def confusion(model: Answers, condition: str) -> str:
    """Percent of samples, rows true negative / neutral / positive, columns predicted."""
    predicted, truth = model.classes(condition, list(model.results))
    counts = (truth * 3 + predicted).flatten().bincount(minlength=9).view(3, 3)
    return " | ".join(" ".join(f"{100 * n / counts.sum():.1f}" for n in row) for row in counts.tolist())


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--against", help="the model to compare with; the plain network when left out")
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Print the tables."""
    options = parser().parse_args(args)
    console = Console(width=220)
    found = {name: Answers(paths) for name, paths in variants(options.folder).items()}
    widest = max(found.values(), key=lambda model: len(model.conditions))
    complete = [name for name in widest.conditions if not name.startswith("RMFM")]
    columns = [*(["AUILC"] if widest.has("AUILC") else []), *complete]
    for metric, title in METRICS.items():
        shown = Table("model", "seeds", *columns, title=title)
        for name, model in found.items():
            base = found.get(options.against or name.split("+")[0])
            shown.add_row(name, str(len(model.results)), *(cell(model, base, column, metric) for column in columns))
        console.print(shown)
    for name, model in found.items():
        chosen = [result["diagnostics"] for result in model.results.values() if result.get("diagnostics")]
        taus = "; ".join(" ".join(f"{key} {value:.1f}" for key, value in numbers.items()) for numbers in chosen)
        console.print(f"[bold]{name}[/bold] {taus}")
        for condition in complete:
            console.print(f"  {condition}: {confusion(model, condition)}")


if __name__ == "__main__":
    main()
