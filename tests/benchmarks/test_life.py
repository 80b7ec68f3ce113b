"""Every part of every network and wrapper acts after a short training, or is named with the reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from zoo_cases import TINY

import mer_zoo.backbones
import mer_zoo.wrappers
from benchmarks.faults.life import CONTROL, HEADER, TABLE, examine, nests, renewed, risen, unnamed
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.life import dead_parts
from mer_zoo.reports.tables import Table

PAGE = Path(__file__).parents[2] / "docs" / "life.md"
NESTS = {nest.name: nest for nest in nests()}
# At a width of 8 the pace of a Mamba block hardly acts from the start, which is no death.
SIZES = {**TINY, "CUMDFNet": {**TINY["CUMDFNet"], "dim": 16}}


@pytest.fixture(scope="module")
def data() -> SyntheticMER:
    return SyntheticMER(SyntheticConfig(train=256, valid=8, test=4), task="binary")


def test_every_network_and_wrapper_is_looked_at() -> None:
    assert {nest.backbone for nest in nests() if nest.wrapper is None} == set(mer_zoo.backbones.__all__)
    assert {nest.wrapper for nest in nests() if nest.wrapper is not None} == set(mer_zoo.wrappers.__all__)


SLOW = ("IMDer",)  # minutes of its sampler; docs/life.md has what the command measured


@pytest.mark.parametrize("name", [name for name in NESTS if name not in SLOW])
def test_every_part_acts_or_is_named(name: str, data: SyntheticMER) -> None:
    dead = dead_parts(*examine(NESTS[name], data, SIZES, epochs=1, rate=3e-3, samples=29))
    assert not unnamed(name, dead), "\n".join(map(str, unnamed(name, dead)))
    assert not risen(name, dead, few_steps=True)


def test_the_attention_that_a_penalty_kills_is_found(data: SyntheticMER) -> None:
    dead = unnamed(CONTROL.name, dead_parts(*examine(CONTROL, data, TINY, epochs=9, rate=1e-2)))
    flat = {each.part for each in dead if each.sign == "attention"}
    pairs = ("text_audio", "text_vision", "audio_vision")
    assert {f"{role}backbone.fusion.pairs.{pair}" for role in ("", "teacher.") for pair in pairs} <= flat


def test_the_page_has_a_row_for_each() -> None:
    found = TABLE.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None
    rows = re.findall(r"^\| ([^|]+?) \|", found.group(), re.MULTILINE)
    assert rows == [HEADER[0], *NESTS, CONTROL.name]


def test_rows_that_were_not_measured_again_stay() -> None:
    page = PAGE.read_text(encoding="utf-8")
    row = ["MulT", *["new"] * (len(HEADER) - 1)]
    before, after = page.splitlines(), renewed(page, Table("Signs of life", HEADER, [row])).splitlines()
    changed = [line for line, other in zip(after, before, strict=True) if line != other]
    assert changed == [f"| {' | '.join(row)} |"]
