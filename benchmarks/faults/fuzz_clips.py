"""What becomes of mutated recordings and lists of clips, and each that crashed, hung or executed something.

    python -m benchmarks.faults.fuzz_clips                                     # 8,000 recordings and 2,000 lists
    python -m benchmarks.faults.fuzz_clips --csv results/faults_cpu.csv        # the same, and keeps the counts
    python -m benchmarks.faults.fuzz_clips --count 100000 --first 10000 --jobs 8

They are made by tests/clips_fuzz.py, each from its number alone. Recordings are extracted by mer-zoo's own processes as
benchmarks/faults/clips.py does it, lists in this one. The exit code is 1 after any finding.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.faults.clips import OUTCOMES, PATIENCE, make
from benchmarks.options import add_results_options
from mer_zoo.clips import Clip, Settings, extract
from mer_zoo.clips.workers import Failed, run_all
from mer_zoo.errors import MERError
from mer_zoo.reports.layout import figures_of
from mer_zoo.reports.measured import write_measured
from mer_zoo.reports.tables import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from clips_fuzz import mutated_list, mutated_recording
from damaged_clips import Sources, write_pair

BAD = re.compile(r"\w(Error|Exception)\b|crashed|does not go on")
LISTS = 5  # one of as many inputs


def recordings(numbers: Sequence[int], folder: Path, jobs: int) -> Iterator[tuple[int, str, str]]:
    """Extract recordings: the number of each, how it ended, and what ought not to be."""
    sources = Sources(folder)

    def things() -> Iterator[tuple[Clip, bool]]:
        for number in numbers:
            name, data = mutated_recording(number, sources)
            path = folder / name
            path.write_bytes(data)
            yield Clip(path), False

    since = time.monotonic()
    for place, ((clip, _), result) in enumerate(run_all(make, things(), jobs)):
        clip.path.unlink()
        now = time.monotonic()
        spent, since = now - since, now
        is_failed = isinstance(result, Failed)
        outcome, told, length, events = ("failed", result.reason, 0.0, []) if is_failed else result
        finding = told if BAD.search(told) else f"executed: {events[0]}" if events else ""
        if place >= jobs and spent - length > PATIENCE:  # the first wait for their process, too
            finding = finding or f"{spent:.1f} s"
        yield int(clip.path.stem), outcome, finding


def lists(numbers: Sequence[int], folder: Path) -> Iterator[tuple[int, str, str]]:
    """Extract the clips of tables; the same is told of each."""
    write_pair(folder)
    table, settings = folder / "clips.csv", Settings(vision="none")
    for number in numbers:
        table.write_bytes(mutated_list(number))
        begin = time.monotonic()
        try:
            result = extract(table, folder / "features.pkl", settings, overwrite=True)
            outcome = OUTCOMES[1 if result.faulty else 0] if not result.failed else OUTCOMES[2]
            finding = next((why for _, why in result.failed if BAD.search(why)), "")
        except MERError:
            outcome, finding = OUTCOMES[3], ""
        except Exception as error:  # of any kind: it is what is looked for
            outcome, finding = OUTCOMES[3], f"{type(error).__name__}: {error}"
        spent = time.monotonic() - begin
        yield number, outcome, finding or (f"{spent:.1f} s" if spent > PATIENCE else "")


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description="Extract mutated recordings and lists, and tell what became of them.")
    parser.add_argument("--count", type=int, default=10_000, help="inputs, of which a fifth are lists")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    add_results_options(parser)
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run, and print the counts and every finding."""
    options = parser().parse_args(args)
    numbers = range(options.first, options.first + options.count)
    of_lists = [number for number in numbers if number % LISTS == 0]
    of_recordings = [number for number in numbers if number % LISTS]
    findings, rows = 0, []
    with tempfile.TemporaryDirectory() as name:
        kinds = {
            "recording": recordings(of_recordings, Path(name), options.jobs) if of_recordings else iter(()),
            "list": lists(of_lists, Path(name)),
        }
        for kind, came in kinds.items():
            outcomes: Counter[str] = Counter()
            before = findings
            for number, outcome, finding in came:
                outcomes[outcome] += 1
                if finding:
                    findings += 1
                    print(f"{kind} {number}: {finding}", flush=True)
            counts = ", ".join(f"{outcomes[outcome]} {outcome}" for outcome in OUTCOMES)
            print(f"{sum(outcomes.values())} of kind {kind}: {counts}", flush=True)
            counted = [str(outcomes[outcome]) for outcome in OUTCOMES]
            rows.append([f"{kind}s", str(sum(outcomes.values())), *counted, str(findings - before)])
    if options.csv is not None:
        table = Table("mutated inputs", ["mutated", "inputs", *OUTCOMES, "findings"], rows)
        command = f"python -m benchmarks.faults.fuzz_clips --count {options.count} --first {options.first}"
        about = {"device": "CPU, 2 cores", "commit": options.commit, "command": command}
        write_measured(options.csv, figures_of(table, "mutated recordings and lists", **about))
    print(f"{findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
