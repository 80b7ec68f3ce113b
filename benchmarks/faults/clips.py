"""What becomes of damaged recordings and lists of clips: a table, and each that did not end as it ought to.

    python -m benchmarks.faults.clips                                          # all
    python -m benchmarks.faults.clips --only headers --only lists
    python -m benchmarks.faults.clips --csv results/faults_cpu.csv             # and the table of docs/clips.md

Recordings and lists are made by tests/damaged_clips.py, each from its name alone; those with faces need the weights of
facenet-pytorch. Each recording is extracted by mer-zoo's own processes, which are replaced when they crash or hang; of
each is told what it ended as, how long it took, and whether anything was executed: imported, compiled, a process
started, a connection opened, a file written. Lists are extracted with two sound recordings beside them. The exit code
is 1 where one did not end as it ought to.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.options import add_results_options
from mer_zoo.clips import Clip, Extractor, Settings, extract
from mer_zoo.clips.workers import Failed, run_all
from mer_zoo.errors import MERError
from mer_zoo.reports.measured import Measured, write_measured

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from damaged_clips import Damage, Listing, Sources, damages, listings, write_pair

LISTS = "lists"
PATIENCE = 10.0  # seconds beyond the length of a clip
EVENTS: tuple[str, ...] = (
    "exec",
    "compile",
    "import",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
)
EVENTS += ("socket.connect", "socket.bind", "ctypes.dlopen")
CYTHON = b"_getframe()"  # compiled by PyAV's own code for the traceback of an error
COMMAND, AS_IT_OUGHT = "python -m benchmarks.faults.clips", "as it ought to be"
OUTCOMES = ("extracted", "extracted with faults", "failed", "refused")


@dataclass(frozen=True)
class Came:
    """What came of one.

    Args:
        group: Of the table.
        name: What is wrong with it.
        outcome: What it ended as.
        told: What was said of it.
        seconds: How long it took.
        finding: What ought not to be; empty where all is as it ought to be.
    """

    group: str
    name: str
    outcome: str
    told: str
    seconds: float
    finding: str


def make(beat: Callable[[float], None]) -> Callable[[tuple[Clip, bool]], tuple[str, str, float, list[str]]]:
    """What a process does with a clip: its outcome, its faults, its length and what was executed."""
    extractors = {faces: Extractor(_settings(faces), beat) for faces in (False, True) if not faces or _has_faces()}
    events: list[str] = []
    is_watching = False

    def hear(event: str, args: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
        if is_watching and (event in EVENTS or writes) and args[:1] != (CYTHON,):
            events.append(f"{event} {str(args[0])[:60]}")

    sys.addaudithook(hear)

    def do(given: tuple[Clip, bool]) -> tuple[str, str, float, list[str]]:
        nonlocal is_watching
        clip, faces = given
        events.clear()
        is_watching = True
        try:
            found = extractors[faces](clip)
        except MERError as error:
            return "failed", str(error), 0.0, list(events)
        finally:
            is_watching = False
        return OUTCOMES[bool(found.faults)], "; ".join(found.faults), found.seconds, list(events)

    for faces in extractors:  # what is imported at the first use is imported now
        with tempfile.TemporaryDirectory() as folder:
            write_pair(Path(folder))
            do((Clip(Path(folder) / "a.wav"), faces))
    return do


def _settings(faces: bool) -> Settings:
    return Settings("none", faces="mtcnn" if faces else "none")


def _has_faces() -> bool:
    return any(damage.faces for damage in damages())


def recordings(chosen: Sequence[Damage], folder: Path) -> Iterator[Came]:
    """Extract recordings one after the other."""
    sources, clips = Sources(folder), {}
    for place, damage in enumerate(chosen):
        path = folder / "clips" / str(place) / damage.file
        path.parent.mkdir(parents=True)
        damage.make(path, sources)
        clips[place] = damage, Clip(path, start=damage.interval.get("start", 0.0), end=damage.interval.get("end"))
    things = [(clip, damage.faces) for damage, clip in clips.values()]
    by_path = {clip.path: damage for damage, clip in clips.values()}
    since = None
    for (clip, _), result in run_all(make, things, 1):
        now = time.monotonic()
        spent, since = 0.0 if since is None else now - since, now  # the first one waits for the process, too
        damage = by_path[clip.path]
        is_failed = isinstance(result, Failed)
        outcome, told, length, events = ("failed", result.reason, 0.0, []) if is_failed else result
        yield Came(
            damage.group, damage.name, outcome, told, spent, _finding(damage, outcome, told, spent - length, events)
        )
    if (folder / "executed").exists() or Path("executed").exists():
        yield Came("all", "a file that only an execution makes", "failed", "", 0.0, "it is there")


def _finding(damage: Damage, outcome: str, told: str, beyond: float, events: list[str]) -> str:
    if outcome not in damage.outcomes:
        return f"it ended as {outcome}, not as {' or '.join(damage.outcomes)}"
    if outcome != OUTCOMES[0] and (not told or not re.search(damage.told, told)):
        return f"it does not tell {damage.told!r}"
    if re.search(r"\w(Error|Exception)\b|crashed|does not go on", told):
        return "it tells of an error of Python, a crash or a hang"
    if events:
        return f"executed: {events[0]}"
    return f"{beyond:.1f} s beyond its length" if beyond > PATIENCE else ""


def lists(chosen: Sequence[Listing], folder: Path) -> Iterator[Came]:
    """Extract the clips of tables."""
    for place, listing in enumerate(chosen):
        own = folder / "lists" / str(place)
        own.mkdir(parents=True)
        write_pair(own)
        (own / "clips.csv").write_bytes(listing.data)
        begin = time.monotonic()
        outcome, told, failed = "refused", "", None
        try:
            result = extract(own / "clips.csv", own / "features.pkl", Settings(vision="none"))
        except MERError as error:
            told = str(error)
        except Exception as error:  # of any kind: it is what is looked for
            told = f"{type(error).__name__}: {error}"
            yield Came(LISTS, listing.name, outcome, told, time.monotonic() - begin, "an error of Python")
            continue
        else:
            failed = len(result.failed)
            outcome = "failed" if failed else "extracted"
            told = "; ".join(reason for _, reason in result.failed)
        spent = time.monotonic() - begin
        is_right = failed == listing.failed and bool(re.search(listing.told, told))
        finding = "" if is_right else f"{failed} failed, not {listing.failed}, or it does not tell {listing.told!r}"
        left = [path.name for path in own.iterdir() if path.name not in ("a.wav", "b.wav", "clips.csv")]
        if failed is None and left:
            finding = f"it left {left[0]}"
        yield Came(LISTS, listing.name, outcome, told, spent, finding or ("slow" if spent > PATIENCE else ""))


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    groups = [*dict.fromkeys(damage.group for damage in damages()), LISTS]
    parser = argparse.ArgumentParser(description="Extract damaged recordings, and tell what became of them.")
    parser.add_argument("--only", choices=groups, action="append", help="one group")
    add_results_options(parser)
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run, and print the table and every finding."""
    options = parser().parse_args(args)
    chosen = [damage for damage in damages() if not options.only or damage.group in options.only]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = list(recordings(chosen, folder)) if chosen else []
        if not options.only or LISTS in options.only:
            found += lists(listings(), folder)
    console = Console(width=160)
    console.print(_table(found))
    for came in found:
        if came.finding:
            console.print(f"{came.group}, {came.name}: {came.finding} ({came.told})", markup=False, soft_wrap=True)
    if options.csv is not None:
        write_measured(options.csv, list(_figures(found, options.commit)))
    return 1 if any(came.finding for came in found) else 0


def _counts(found: Sequence[Came]) -> Iterator[tuple[str, dict[str, str]]]:
    """What is counted of each group, and of all."""
    for group in [*dict.fromkeys(came.group for came in found), "all"]:
        own = [came for came in found if group in (came.group, "all")]
        counts = {outcome: sum(came.outcome == outcome for came in own) for outcome in OUTCOMES}
        counts = {"inputs": len(own), **counts, AS_IT_OUGHT: sum(not came.finding for came in own)}
        slowest = f"{max(came.seconds for came in own):.1f}"
        yield group, {key: str(count) for key, count in counts.items()} | {"slowest, s": slowest}


def _table(found: Sequence[Came]) -> Table:
    rows = dict(_counts(found))
    table = Table("damage", *rows["all"])
    for group, counts in rows.items():
        table.add_row(group, *counts.values())
    return table


def _figures(found: Sequence[Came], commit: str) -> Iterator[Measured]:
    for group, counts in _counts(found):
        for metric, value in counts.items():
            told = {"device": "CPU, 2 cores", "commit": commit, "command": COMMAND}
            yield Measured("damaged recordings", group, "", metric, value, **told)


if __name__ == "__main__":
    sys.exit(main())
