"""Who is who: under which name each paper prints a nest of the zoo, with which options, and what is not in the zoo."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from mer_zoo.fields import Fields

__all__ = ["Identity", "Options", "identities", "identity_of", "nest_of", "same_nest"]

Options = Iterable[tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Identity:
    """One name in one paper.

    Attributes:
        source: The paper.
        table: The table that uses the name so; empty for all that no other identity is about.
        name: The name there.
        nest: The nest of the zoo, such as ``MSSD(MACI(CIDerNet))``; empty where the zoo has none.
        options: What has to be set for it, such as ``MACI.labels=false``; several with semicolons between them.
        config: The configuration of ``configs/CORPUS/`` with the paper's settings, and behind ``+`` what of
            ``configs/base/`` comes on top.
        note: What a reader must know of the row; without a nest, the reason.
    """

    source: str
    table: str
    name: str
    nest: str
    options: str
    config: str
    note: str

    @property
    def settings(self) -> frozenset[str]:
        """The options, one by one."""
        return frozenset(filter(None, self.options.split("; ")))


@cache
def identities() -> tuple[Identity, ...]:
    """The whole table.

    Example:
        >>> [one.name for one in identities() if one.nest == "EMTDLFR"]
        ['EMT-DLFR', 'EMT']
    """
    text = files("mer_zoo.reports").joinpath("identities.csv").read_text(encoding="utf-8")
    return tuple(Identity(**row) for row in csv.DictReader(io.StringIO(text)))


def identity_of(source: str, table: str, name: str) -> Identity | None:
    """What a name in a paper's table means.

    Args:
        source: The paper.
        table: The table.
        name: The name.

    Example:
        >>> for source, table in (("CIDer", "V"), ("CUMDF", "3")):
        ...     print(identity_of(source, table, "w/o MACI").nest)
        MSSD(CIDerNet)
        CUMDF(CUMDFNet)
    """
    return _by_place().get((source, table, name)) or _by_place().get((source, "", name))


@cache
def _by_place() -> dict[tuple[str, str, str], Identity]:
    return {(one.source, one.table, one.name): one for one in identities()}


def same_nest(model: str, options: Options = ()) -> list[Identity]:
    """The identities of a nest of ours, whatever its marks; the order of its wrappers does not matter.

    Of the options that the papers vary in such a nest exactly those of the identity are to be set as they say.

    Args:
        model: Label of the nest.
        options: Class and options of each of its models; empty where unknown, and the papers' own are then meant.

    Example:
        >>> [one.name for one in same_nest("CausalMER(MulT)")]
        ['MulT (reimplemented) + CausalMER', 'all terms', 'MASK']
        >>> [one.name for one in same_nest("MACI[oracle tau](MSSD(CIDerNet))", [("MACI", {"labels": False})])]
        ['w/o MCM']
    """
    members = [one for one in identities() if one.nest and _parts(one.nest) == _parts(model)]
    given = {f"{name}.{option}": value for name, values in options for option, value in values.items()}
    varied = {setting for one in members for setting in one.settings}
    held = {setting for setting in varied if _holds(setting, given)}
    return [one for one in members if one.settings == held]


def nest_of(given: Fields) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    """Class and options of each model, the outermost first, from a results.json; nothing where it does not say them.

    Args:
        given: The file, whose ``nest`` is a list of mappings with ``class`` and ``options``.

    Raises:
        MERError: Where it is something else.

    Example:
        >>> nest_of(Fields({"nest": [{"class": "MSSD", "options": {"alpha": 0.1}}]}, "results.json", "test again"))
        (('MSSD', {'alpha': 0.1}),)
        >>> nest_of(Fields({}, "results.json", "test again"))
        ()
    """
    parts = given.content.get("nest")
    if parts is None:
        return ()
    if not isinstance(parts, list):
        raise given.refusal("nest", "a list of models")
    models = [Fields(part, f"{given.where}: a model of its nest", given.remedy) for part in parts]
    return tuple((model.text("class"), model.part("options").content) for model in models)


def _holds(setting: str, given: Mapping[str, Any]) -> bool:
    option, _, value = setting.partition("=")
    found, wanted = given.get(option), json.loads(value)
    found = list(found) if isinstance(found, tuple) else found
    return isinstance(found, bool) == isinstance(wanted, bool) and found == wanted


@cache
def _parts(model: str) -> tuple[str, frozenset[str]]:
    """The network and the wrappers of a label."""
    *wrappers, network = re.sub(r"\[[^\]]*\]", "", model).replace(")", "").split("(")
    return network, frozenset(wrappers)
