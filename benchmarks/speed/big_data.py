"""A corpus as large as CMU-MOSEI: memory of its conversion, pages shared by two processes, speed of its loader.

    python -m benchmarks.speed.big_data all SCRATCH --samples 8000

`make` writes a pickle in MMSA's format (float64, unaligned, random numbers), `convert` converts it in a fresh process,
`share` lets two processes read the whole store, `loader` compares epochs; `all` does these in turn, leaves out what
SCRATCH holds already, and removes the large files once it is through, as `clean` does. SCRATCH/report.json keeps the
figures. Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.speed.big_corpus import MOSEI, SHAPES, split_sizes, write_corpus
from benchmarks.speed.timing import in_fresh_process, resident
from mer_zoo.data.convert import convert
from mer_zoo.data.store.progress import progress_bar
from mer_zoo.data.store.store import is_store, open_store

CONSOLE = Console()
MODULE = "benchmarks.speed.big_data"
STEPS = sum(steps * width for steps, width in SHAPES.values())


def make(folder: Path, samples: int, full: bool) -> None:
    """Write the pickle, unless it is there."""
    source, sizes = folder / "corpus.pkl", split_sizes(samples)
    needed = STEPS * 12 * samples
    free = shutil.disk_usage(folder).free
    if source.exists():
        return
    if needed > free:
        sys.exit(f"{folder} has {free / 1e9:.1f} GB left, pickle and store take {needed / 1e9:.1f} GB; lower --samples")
    part = folder / "corpus.part"
    with progress_bar("writing the pickle", STEPS * 8 * sum(sizes.values()), CONSOLE.is_terminal) as advance:
        write_corpus(part, sizes, full=full, advance=advance)
    part.rename(source)
    largest = 8 * max(sizes.values()) * max(steps * width for steps, width in SHAPES.values())
    note(folder, "make", {"sizes": sizes, "bytes": source.stat().st_size, "largest_array": largest})


def measure_conversion(folder: Path, *_: Any) -> None:
    """Convert in a fresh process and compare its memory with the largest array."""
    if is_store(folder / "store"):
        return
    figures = json.loads(in_fresh_process(MODULE, "conversion", str(folder)))
    largest = report(folder)["make"]["largest_array"]
    growth = figures["peak"] - figures["rest"]
    figures |= {"growth": growth, "growth_ratio": growth / largest, "peak_ratio": figures["peak"] / largest}
    note(folder, "convert", figures)


def conversion(folder: Path) -> None:
    """What the fresh process does: convert, and tell its memory at rest (all imported) and at most."""
    rest, start = resident("VmRSS"), time.perf_counter()
    convert(folder / "corpus.pkl", folder / "store", progress=False)
    figures = {"rest": rest, "peak": resident("VmHWM"), "seconds": time.perf_counter() - start}
    sys.stdout.write(json.dumps(figures))


def share(folder: Path, *_: Any) -> None:
    """Let two processes hold the whole store at once and look at how its pages are accounted for."""
    command = [sys.executable, "-m", MODULE, "reader", str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    readers = [subprocess.Popen(command, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    try:
        sums = [reader.stdout.readline() for reader in readers]
        pages = [_pages(reader.pid, str(folder / "store")) for reader in readers]
    finally:
        for reader in readers:
            reader.communicate("\n")
    if len(set(sums)) != 1 or not sums[0]:
        sys.exit("the readers saw different numbers")
    note(folder, "share", {"readers": pages})


def reader(folder: Path) -> None:
    """What each of the two does: map, read every number, say so, wait."""
    corpus = open_store(folder / "store", "store")
    arrays = [array for split in corpus.splits.values() for array in split.features.values()]
    total = sum(float(array[row : row + 64].sum()) for array in arrays for row in range(0, len(array), 64))
    sys.stdout.write(f"{total}\n")
    sys.stdout.flush()
    sys.stdin.readline()


def _pages(pid: int, prefix: str) -> dict[str, int]:
    """Bytes of the mappings of a process that belong to files under a folder, and of its memory of no file."""
    total = dict.fromkeys(("Rss", "Pss", "Shared_Clean", "Private_Clean", "Private_Dirty"), 0)
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        key, _, rest = line.partition(" ")
        if not key.endswith(":"):
            inside = prefix in rest
        elif inside and key[:-1] in total:
            total[key[:-1]] += 1024 * int(rest.split()[0])
    status = Path(f"/proc/{pid}/status").read_text()
    return total | {"anonymous": 1024 * int(status.split("RssAnon:")[1].split()[0])}


def loader(folder: Path, *_: Any) -> None:
    """Compare epochs in a fresh process with one thread."""
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    rows = json.loads(in_fresh_process("benchmarks.speed.big_loader", str(folder / "store"), **threads))
    note(folder, "loader", {"rows": rows})


def clean(folder: Path, *_: Any) -> None:
    """Remove pickle and store; the report stays."""
    for name in ("corpus.pkl", "corpus.part"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "store", ignore_errors=True)


def everything(folder: Path, samples: int, full: bool) -> None:
    """Do all of it and clean up; after a failure the files stay, for the next run to go on with."""
    for step in (make, measure_conversion, share, loader, clean, show):
        step(folder, samples, full)


def report(folder: Path) -> dict[str, Any]:
    """The figures so far."""
    file = folder / "report.json"
    figures: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return figures


def note(folder: Path, step: str, figures: dict[str, Any]) -> None:
    """Keep the figures of a step."""
    (folder / "report.json").write_text(json.dumps(report(folder) | {step: figures}, indent=1))


def show(folder: Path, *_: Any) -> None:
    """Print the figures so far as tables."""
    figures = report(folder)
    if "make" in figures and "convert" in figures:
        _show_conversion(figures["make"], figures["convert"])
    if "share" in figures:
        table = Table(
            "reader", "resident GB of the store", "shared GB", "private GB", "its share (Pss) GB", "anonymous GB"
        )
        for place, pages in enumerate(figures["share"]["readers"]):
            private = pages["Private_Clean"] + pages["Private_Dirty"]
            sizes = (pages["Rss"], pages["Shared_Clean"], private, pages["Pss"], pages["anonymous"])
            table.add_row(str(place), *(f"{size / 1e9:.3f}" for size in sizes))
        CONSOLE.print(table)
    if "loader" in figures:
        table = Table(
            "corpus", "kB a sample", "batch", "standardised", "time", "plain ms", "zoo ms", "ratio", "copy alone ms"
        )
        for row in figures["loader"]["rows"]:
            times = [row["plain"], row["zoo"], row["plain"] / row["zoo"], row["copy"]]
            values = [
                row["corpus"],
                f"{row['bytes'] / 1e3:.1f}",
                str(row["batch"]),
                str(row["standardize"]),
                row["clock"],
            ]
            table.add_row(*values, *(f"{value:.2f}" for value in times))
        CONSOLE.print(table)


def _show_conversion(made: dict[str, Any], figures: dict[str, Any]) -> None:
    samples, largest = sum(made["sizes"].values()), made["largest_array"]
    table = Table("", "samples", "pickle GB", "largest array GB", "growth GB", "ratio", "peak GB", "ratio ")
    growth, peak = figures["growth"], figures["peak"]
    values = [made["bytes"], largest, growth, growth / largest, peak, peak / largest]
    table.add_row(f"measured, {figures['seconds']:.0f} s", str(samples), *(f"{_giga(value):.3f}" for value in values))
    times = sum(MOSEI.values()) / samples
    values = [made["bytes"] * times, largest * times, growth, growth / largest / times, peak, peak / largest / times]
    if times > 1:
        table.add_row("CMU-MOSEI, extrapolated", str(sum(MOSEI.values())), *(f"{_giga(v):.3f}" for v in values))
    CONSOLE.print(table)


def _giga(value: float) -> float:
    return value / 1e9 if value > 100 else value


STEPS_BY_NAME: dict[str, Callable[..., None]] = {
    "make": make,
    "convert": measure_conversion,
    "share": share,
    "loader": loader,
    "show": show,
    "clean": clean,
    "all": everything,
}
CHILDREN: dict[str, Callable[[Path], None]] = {"conversion": conversion, "reader": reader}  # in fresh processes


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=[*STEPS_BY_NAME, *CHILDREN], metavar="{" + ",".join(STEPS_BY_NAME) + "}")
    parser.add_argument("folder", type=Path, help="a scratch folder with room for 1.2 MB a sample")
    parser.add_argument("--samples", type=int, default=8000)
    parser.add_argument("--full", action="store_true", help="every sample as long as the longest: no padding")
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Do the step asked for."""
    options = parser().parse_args(args)
    folder: Path = options.folder.resolve()
    if options.step in CHILDREN:
        CHILDREN[options.step](folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    STEPS_BY_NAME[options.step](folder, options.samples, options.full)
    if options.step not in ("show", "clean", "all"):
        show(folder)


if __name__ == "__main__":
    main()
