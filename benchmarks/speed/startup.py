"""What commands cost before their work begins, beside importing Lightning.

    python -m benchmarks.speed.startup unaligned_50.pkl --csv results/speed_cpu.csv
    python -m benchmarks.speed.startup unaligned_50.pkl --before ../c69c587 --rounds 3

A file of CMU-MOSI (MMSA's ``unaligned_50.pkl``). Seconds of processor of whole processes with one thread, each command
once a round, in turn, after a round that does not count; medians over the rounds of seconds and of their ratios to
``import lightning.pytorch.cli`` in the same round. With another checkout of the zoo, the fit is also run by it, just
before or just after, and compared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.options import add_results_options
from benchmarks.rows import add_rows
from mer_zoo.reports.layout import figures_of
from mer_zoo.reports.tables import Table

MODULE, TITLE, FILE = "benchmarks.speed.startup", "what starting costs", "unaligned_50.pkl"
ROOT = Path(__file__).parents[2]
ZOO = [sys.executable, "-m", "mer_zoo"]
LIGHTNING, THREE, REFUSED = "import of Lightning", "fit, three epochs", "validate-data of no file"
FIT = ["fit", "--model.backbone=LFLSTM", "--trainer.accelerator=cpu"]


def commands(path: Path) -> dict[str, list[str]]:
    """What is measured, and its command line.

    Args:
        path: A corpus.
    """
    data = ["--data=MOSI", f"--data.path={path.resolve()}"]
    return {
        LIGHTNING: [sys.executable, "-c", "import lightning.pytorch.cli"],
        f"{LIGHTNING}, without collection": [
            sys.executable,
            "-c",
            "import gc; gc.disable(); import lightning.pytorch.cli",
        ],
        f"{LIGHTNING}, kept as a command does": [
            sys.executable,
            "-c",
            "import gc; gc.disable(); import lightning.pytorch.cli; gc.freeze(); gc.enable()",
        ],
        "import of PyTorch": [sys.executable, "-c", "import torch"],
        "--help": [*ZOO, "--help"],
        REFUSED: [*ZOO, "validate-data", "nowhere.pkl"],
        "fit, one batch": [*ZOO, *FIT, "--data=SyntheticMER", "--trainer.fast_dev_run=true"],
        THREE: [*ZOO, *FIT, *data, "--trainer.max_epochs=3"],
    }


def seconds(command: Sequence[str], tree: Path, code: int = 0) -> float:
    """Seconds of processor of a process, to its end.

    Args:
        command: Its command line.
        tree: The checkout whose package it imports.
        code: What it ends with.

    Raises:
        RuntimeError: If it ends with another code.
    """
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    before = os.times()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(tree.resolve()), **threads}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != code:
        raise RuntimeError(done.stderr[-2000:])
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def measure(path: Path, before: Path | None, rounds: int) -> list[list[str]]:
    """Rows of what is measured, seconds, times Lightning's import, and times what another checkout takes.

    Args:
        path: A corpus.
        before: The other checkout.
        rounds: How often each is run.
    """
    found: dict[str, list[float]] = {}
    other = []
    for place in range(rounds + 1):
        for name, command in commands(path).items():
            both = before is not None and name == THREE
            if both and place % 2:
                other.append(seconds(command, before or ROOT))
            found.setdefault(name, []).append(seconds(command, ROOT, code=int(name == REFUSED)))
            if both and not place % 2:
                other.append(seconds(command, before or ROOT))
    found, other = {name: values[1:] for name, values in found.items()}, other[1:]
    rows = []
    for name, values in found.items():
        compared = f"{_ratio(values, other):.2f}" if name == THREE and other else "-"
        rows.append([name, f"{statistics.median(values):.2f}", f"{_ratio(values, found[LIGHTNING]):.2f}", compared])
    return rows


def _ratio(these: Sequence[float], those: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(these, those, strict=True))


def _command(options: argparse.Namespace) -> str:
    before = "" if options.before is None else f" --before {options.before.name}"
    return f"python -m {MODULE} {FILE}{before} --rounds {options.rounds}"


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--before", type=Path, help="another checkout of the zoo, in a folder called by its commit")
    parser.add_argument("--rounds", type=int, default=5)
    add_results_options(parser)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Measure, print, and write figures."""
    options = parser().parse_args(args)
    header = ["process", "seconds of processor", "times importing Lightning", "times the other checkout"]
    table = Table("whole processes", header, measure(options.path, options.before, options.rounds))
    sys.stdout.write(f"{table.markdown()}\n")
    about = {"device": "CPU, one thread", "commit": options.commit, "command": _command(options)}
    add_rows(options.csv, figures_of(table, TITLE, **about))


if __name__ == "__main__":
    main()
