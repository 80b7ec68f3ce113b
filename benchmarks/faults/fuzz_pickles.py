"""What becomes of hostile files: a table of many inputs of every kind, and the number of each that went wrong.

    python -m benchmarks.faults.fuzz_pickles                                   # 100,000 pickles and 41,000 others
    python -m benchmarks.faults.fuzz_pickles --count 1000000 --first 100000 --jobs 8 --only pickles
    python -m benchmarks.faults.fuzz_pickles --count 400000 --only fields --only listings --only datasets
    python tests/fuzz_process.py 30 pickles 2720 1                           # one input again

Inputs are made by tests/fuzz_targets.py and tests/reader_fuzz.py from sound files of every format, each from its
number alone; those of sequences and datasets need h5py and pyarrow. Each is read in a process that may take 2 GiB
beyond what Python and its libraries have taken before, is stopped after 2 s of processor time, and is told on by the
interpreter's audit events when it imports, compiles or executes anything, opens a file for writing, starts a process or
a connection. "Reached": for pickles, an array was built of what is in the file; for the others, as "accepted". The exit
code is 1 after any finding.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from fuzz_process import fuzz
from fuzzing import COUNTS, Tally

TWENTIETH = ("files", "forms", "fields", "listings", "datasets", "sequences", "stores", "exports")
SHARES = {"pickles": 1.0, **dict.fromkeys(TWENTIETH, 0.05), "sizes": 0.01}
HEADINGS = {"other": "other errors", "slow": "over 2 s", "memory": "over 2 GiB"}


def add(tallies: list[Tally]) -> Tally:
    """One tally of those of several processes."""
    return Tally(
        inputs=sum(tally.inputs for tally in tallies),
        counts={key: sum(tally.counts[key] for tally in tallies) for key in COUNTS},
        longest=max(tally.longest for tally in tallies),
        memory=max(tally.memory for tally in tallies),
        seconds=max(tally.seconds for tally in tallies),
        findings=[finding for tally in tallies for finding in tally.findings],
    )


def run(target: str, first: int, count: int, jobs: int) -> Tally:
    """Fuzz one target by several processes."""
    share = -(-count // jobs)
    starts = range(first, first + count, share)
    with ThreadPoolExecutor(jobs) as pool:
        tallies = pool.map(lambda start: fuzz((target, start, min(share, first + count - start))), starts)
        return add([tally for (tally,) in tallies])


def row(target: str, tally: Tally) -> list[str]:
    """A row of the table."""
    counts = [tally.counts[key] for key in COUNTS if key != "reached"]
    measured = [f"{tally.longest:.2f} s", f"{tally.memory / 2**20:.0f} MiB", f"{tally.inputs / tally.seconds:.0f}"]
    return [target, f"{tally.inputs}", f"{100 * tally.reach:.1f} %", *map(str, counts), *measured]


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description="Read many hostile files, and tell what became of them.")
    parser.add_argument("--count", type=int, default=100_000, help="pickles; of other files a twentieth")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--only", choices=SHARES, action="append", help="one kind of file")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run, and print the table and every finding."""
    options = parser().parse_args(args)
    console = Console(width=160)
    headings = [HEADINGS.get(key, key) for key in COUNTS if key != "reached"]
    table = Table("file", "inputs", "reached", *headings, "slowest", "memory", "inputs/s")
    findings = []
    for target in options.only or SHARES:
        tally = run(target, options.first, int(options.count * SHARES[target]), options.jobs)
        table.add_row(*row(target, tally))
        findings += tally.findings
    console.print(table)
    for finding in findings:
        console.print(finding, markup=False, soft_wrap=True)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
