"""Every name of the papers' tables is a nest of the zoo, or is said not to be in it."""

from __future__ import annotations

import inspect
import json
import re
from collections import Counter
from typing import Any

import pytest

import mer_zoo.backbones
import mer_zoo.wrappers
from mer_zoo.reports import Published, published
from mer_zoo.reports.identities import Identity, identities, identity_of, same_nest
from mer_zoo.reports.published import figures_about, printed_as

FIGURES = published()
KNOWN = {(one.source, one.table, one.name): one for one in identities()}
NESTS = [one for one in identities() if one.nest]
ABSENT = {"MACI"}  # MACI: a wrapper's own parameters


def classes(one: Identity) -> list[type]:
    places = {**vars(mer_zoo.backbones), **vars(mer_zoo.wrappers)}
    return [places[name] for name in re.findall(r"\w+", one.nest)]


def options_of(one: Identity) -> list[tuple[str, dict[str, Any]]]:
    found: dict[str, dict[str, Any]] = {}
    for setting in one.settings:
        place, value = setting.split("=")
        found.setdefault(place.split(".")[0], {})[place.split(".")[1]] = json.loads(value)
    return list(found.items())


def test_every_name_is_known_and_every_identity_is_needed() -> None:
    assert len({figure.model for figure in FIGURES}) == 64
    used = {id(identity_of(f.source, f.table, f.model)) for f in FIGURES}
    assert id(None) not in used
    assert {id(one) for one in identities()} == used
    assert len(KNOWN) == len(identities())


def test_every_row_of_a_model_of_the_zoo_is_reachable() -> None:
    reached: Counter[Published] = Counter()
    for nest in {(one.nest, one.settings) for one in NESTS}:
        one = next(x for x in NESTS if (x.nest, x.settings) == nest)
        reached.update(figure for _, figure in printed_as(one.nest, options_of(one)))
    out = [figure for figure in FIGURES if figure not in reached]
    assert {figure.model for figure in out} == ABSENT
    assert set(reached.values()) == {1}
    assert (len(reached), len(out)) == (4586, 1)


@pytest.mark.parametrize("one", NESTS, ids=lambda one: f"{one.source}-{one.table}-{one.name}")
def test_nests_and_options_exist(one: Identity) -> None:
    parts = {cls.__name__: cls for cls in classes(one)}
    for name, options in options_of(one):
        known = inspect.signature(parts[name].__init__).parameters  # type: ignore[misc]
        assert options.keys() <= known.keys()
        assert all(known[option].default != value for option, value in options.items())


def test_reasons() -> None:
    assert all(one.note for one in identities() if not one.nest)
    assert not [one for one in identities() if one.options and not one.nest]


def test_one_name_of_two_papers() -> None:
    names = {(figure.source, figure.model) for _, figure in printed_as("MSSD(CIDerNet)")}
    assert names == {("CIDer", "w/o MACI")}
    off = [("CUMDF", {"attribution_weight": 0.0})]
    assert [one.name for one in same_nest("CUMDF(CUMDFNet)", off)] == ["w/o MACI"]
    assert {figure.source for _, figure in printed_as("CUMDF(CUMDFNet)", off)} == {"CUMDF"}
    assert printed_as("MACI(MulT)") == []


def test_the_rows_of_mplmm_say_what_it_was_trained_under() -> None:
    notes = {figure.model: identity.note for identity, figure in printed_as("MPLMM") if figure.table in ("X", "XI")}
    assert notes.keys() == {"MPLMM RMFM", "Traditional RMFM", "RMM", "TMFM", "STMFM"}
    assert notes["RMM"] == "MPLMM trained under RMM; tested on complete data"


@pytest.mark.parametrize("name", ["EMTDLFR", "SelfMM", "EFLSTM", "LFLSTM", "CLUE", "GEAR", "CUMDF", "CUMDFNet", "MSSD"])
def test_what_no_name_led_to_before(name: str) -> None:
    assert figures_about(name)


def test_options_are_compared_by_their_kind() -> None:
    assert [one.name for one in same_nest("CausalMER(MulT)", [("CausalMER", {"nde_weights": (0.0, 1.0, 1.0)})])] == [
        "w/o NDE_t"
    ]
    assert not same_nest("CausalMER(MulT)", [("CausalMER", {"nde_weights": (0.0, 1.0, 1.0), "balance_weight": 0})])
    assert same_nest("MACI(DLF)", [("MACI", {"language": None})])
