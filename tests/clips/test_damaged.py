"""Damaged recordings and lists: some of those of which benchmarks/faults/clips.py makes a table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("av")

from damaged_clips import Damage, Listing, Sources, damages, listings, write_pair

from mer_zoo.clips import Clip, Extractor, Settings, extract
from mer_zoo.errors import MERError

CHOSEN = (
    "mp4 cut at 90.0%",
    "mkv cut at 50.0%",
    "wav cut at 0.0%",
    "avi, zeros inside",
    "mp3 called mp4",
    "a pickle that would execute",
    "a list of files",
    "a pipe",
    "wav: an unknown codec",
    "wav: 4 GB of samples",
    "mp4: pictures of 65535 x 65535",
    "mp4: 4 billion samples",
    "turned by 90 degrees",
    "pictures with a gap of an hour",
    "floats that are not finite",
    "floats of 1e30",
    "an interval behind the end",
    "the end of 3 hours of pictures",
    "called $(touch executed)",
)
DAMAGES = {damage.name: damage for damage in damages()}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    return Sources(tmp_path_factory.mktemp("sources"))


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("damage", [DAMAGES[name] for name in CHOSEN], ids=CHOSEN)
def test_a_damaged_recording_ends_as_it_ought_to(damage: Damage, sources: Sources, tmp_path: Path) -> None:
    path = tmp_path / damage.file
    damage.make(path, sources)
    clip = Clip(path, start=damage.interval.get("start", 0.0), end=damage.interval.get("end"))
    try:
        found = Extractor(Settings("none"))(clip)
    except MERError as error:
        outcome, told = "failed", str(error)
    else:
        outcome, told = ("extracted with faults" if found.faults else "extracted"), "; ".join(found.faults)
    assert outcome in damage.outcomes
    assert outcome == "extracted" or re.search(damage.told, told)
    assert not re.search(r"\wError\b", told)


@pytest.mark.parametrize("listing", listings(), ids=lambda listing: listing.name)
def test_a_damaged_list_is_refused_with_its_row(listing: Listing, tmp_path: Path) -> None:
    write_pair(tmp_path)
    table = tmp_path / "clips.csv"
    table.write_bytes(listing.data)
    if listing.failed is None:
        with pytest.raises(MERError, match=listing.told):
            extract(table, tmp_path / "features.pkl", Settings(audio="none", vision="none"))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "b.wav", "clips.csv"]
    else:
        result = extract(table, tmp_path / "features.pkl", Settings(vision="none"))
        assert [bool(re.search(listing.told, reason)) for _, reason in result.failed] == [True] * listing.failed


def test_a_file_with_an_odd_name_does_not_end_the_run(tmp_path: Path) -> None:
    write_pair(tmp_path)
    (tmp_path / "a.wav").rename(tmp_path / "odd\nname\x1b.wav")
    result = extract(tmp_path, tmp_path / "features.pkl", Settings(vision="none"))
    assert sorted(clip.id for clip, _ in result.faulty) == ["b", "odd_name_"]
