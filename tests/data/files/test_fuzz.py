"""Hostile files are read or refused, and do nothing else; benchmarks/faults/fuzz_pickles.py reads many more."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fuzz_process import fuzz
from fuzz_targets import Files, Forms, Stores
from fuzzing import Tally, Target, read_many
from reader_fuzz import Datasets, Fields, Listings, Sequences
from size_fuzz import KINDS

GROWN = len(KINDS) + 20  # one of each kind, and some of sizes drawn by chance
linux = pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is Linux's")


@pytest.fixture(scope="module")
def tallies() -> list[Tally]:
    return fuzz(("faults", 3, 11), ("pickles", 1_000_000, 2000), ("sizes", 0, GROWN), patience=4)


@linux
def test_what_no_reader_may_do_is_noticed(tallies: list[Tally]) -> None:
    tally = tallies[0]
    assert [finding.split(";")[0] for finding in tally.findings] == [
        "faults 3: executed",
        "faults 4: executed",
        "faults 5: other",
        "faults 6: slow",
        "faults 7: memory",
        "faults 8: executed",
        "faults 9: memory",
        "faults 11: hung",
        "faults 13: crashed",
    ]
    for number, event in ((0, "os.system"), (1, "open"), (5, "compile")):
        assert event in tally.findings[number]
    accepted, refused = {8, 10, 12}, {3, 4}
    assert tally.inputs == 11
    assert tally.counts["accepted"] == len(accepted)
    assert tally.counts["refused"] == len(refused)


@linux
def test_hostile_pickles(tallies: list[Tally]) -> None:
    tally = tallies[1]
    assert tally.findings == []
    assert tally.inputs == 2000
    assert tally.reach >= 0.2
    assert tally.counts["accepted"] >= 200
    assert tally.counts["refused"] >= 1000
    assert tally.counts["accepted"] + tally.counts["refused"] == 2000


@linux
def test_few_bytes_that_stand_for_much(tallies: list[Tally]) -> None:
    tally = tallies[2]
    assert tally.findings == []
    assert tally.inputs == GROWN
    assert tally.counts["accepted"] >= 3
    assert tally.counts["refused"] >= len(KINDS) // 2


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy multiplies sizes before it refuses them
@pytest.mark.parametrize("target", [Files, Forms, Stores])
def test_hostile_folders_and_archives(tmp_path: Path, target: type[Files | Forms | Stores]) -> None:
    tally = read_many(target(tmp_path), range(300))
    assert tally.findings == []
    assert tally.counts["accepted"] >= 10
    assert tally.counts["refused"] >= 100


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("target", "library"), [(Fields, "numpy"), (Listings, "csv"), (Datasets, "pyarrow"), (Sequences, "h5py")]
)
def test_hostile_corpora_of_other_forms(tmp_path: Path, target: type[Target], library: str) -> None:
    pytest.importorskip(library)
    tally = read_many(target(tmp_path), range(40))
    assert tally.findings == []
    assert tally.counts["accepted"] >= 3
    assert tally.counts["refused"] >= 10
