"""One page a network and one a wrapper, from its docstrings, its signature, its configurations and its figures."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from inspect import Parameter, getdoc, signature
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

from figures import measured_rows, printed_rows
from nests import TASKS, parameters, refusals
from prose import arguments, escape, parts, table

import mer_zoo.backbones
import mer_zoo.wrappers
from mer_zoo.cli.bases import with_bases
from mer_zoo.model import Model

__all__ = ["write_zoo"]

ROOT = Path(__file__).parents[2]
GIVEN = {"spec", "task", "backbone"}


def write_zoo(folder: Path) -> None:
    """Write the pages of all networks and wrappers, and a list of either."""
    for title, part in {"Networks": mer_zoo.backbones, "Wrappers": mer_zoo.wrappers}.items():
        names = sorted(part.__all__, key=str.lower)
        for name in names:
            _write(folder / f"{name}.rst", _page(getattr(part, name), title == "Networks"))
        _write(folder / f"{title.lower()}.rst", _list(title, [getattr(part, name) for name in names]))


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _list(title: str, classes: list[type[Model]]) -> Iterator[str]:
    """A table of what each is, and the table of contents."""
    yield from (title, "=" * len(title), "")
    rows = []
    for cls in classes:
        first = parts(getdoc(sys.modules[cls.__module__]) or "")[0]
        rows.append([f":doc:`{cls.__name__}`", _sentence(" ".join(first.blocks[0]))])
    yield from (*table(rows, ["name", "what it is"], "20 80"), "")
    yield from (".. toctree::", "   :hidden:", "", *(f"   {cls.__name__}" for cls in classes), "")


def _page(cls: type[Model], network: bool) -> Iterator[str]:
    name, module = cls.__name__, sys.modules[cls.__module__]
    yield from (name, "=" * len(name), "")
    for part in parts(getdoc(module) or ""):
        short = part.rest.startswith((",", ";")) and len(part.rest) < 20
        lead = "" if short else part.rest.strip(" ;,()")
        if part.blocks:
            part.blocks[0][0] = _sentence(part.blocks[0][0])
        if part.title and part.title != name:
            yield from _heading(part.title + part.rest * short)
            yield from ([f"{_sentence(lead)}:", ""] if lead else [])
        for block in part.blocks:
            yield from (*block, "")
        if part.title == name:
            yield from _facts(cls, network)
    yield from _options(cls, "--model.backbone" if network else "--model.wrappers")
    yield from _nests(name, network)
    yield from _figures(name)
    yield from (*_heading("Class"), f".. autoclass:: mer_zoo.{name}", "")


def _heading(title: str) -> list[str]:
    return [title, "-" * len(title), ""]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _facts(cls: type[Model], network: bool) -> Iterator[str]:
    source = Path(sys.modules[cls.__module__].__file__ or "").relative_to(ROOT)
    rows = [["class", f":py:class:`mer_zoo.{cls.__name__}`"], ["source", f"``{source.as_posix()}``"]]
    if network:
        rows.append(["parameters", f"{parameters(cls.__name__):,} at the sizes of CMU-MOSI, without a text encoder"])
    if named := _configurations(cls.__name__):
        rows.append(["configurations", ", ".join(f"``{path}``" for path in named)])
    yield from (*table(rows), "")


def _configurations(name: str) -> list[str]:
    """The configuration files that name a class, by themselves or by what they build on."""
    return [path for path, text in _whole_configurations().items() if re.search(rf"\b{name}\b", text)]


@cache
def _whole_configurations() -> dict[str, str]:
    """Text of every configuration with its bases; comments do not count."""
    files = [path for path in sorted((ROOT / "configs").rglob("*.yaml")) if path.parent.name not in ("base", "sweeps")]
    whole = {path: with_bases(path.read_text(encoding="utf-8"), path) for path in files}
    return {path.relative_to(ROOT).as_posix(): re.sub(r"#.*", "", text) for path, text in whole.items()}


def _options(cls: type[Model], option: str) -> Iterator[str]:
    """A table of what the constructor takes, but for what MERModule gives it."""
    meaning, types = arguments(getdoc(cls) or ""), get_type_hints(cls.__init__)
    rows = []
    for name, parameter in signature(cls).parameters.items():
        if name not in GIVEN:
            default = "" if parameter.default is Parameter.empty else f"``{_shown(parameter.default)}``"
            rows.append([f"``{name}``", default, f"{meaning.get(name, '')} {_choices(types[name])}".strip()])
    if rows:
        given = f"On the command line ``{option}.{rows[0][0].strip('`')}=...``, in Python arguments of the class."
        yield from (*_heading("Options"), given, "", *table(rows, ["option", "default", "meaning"], "20 16 64"), "")


def _shown(default: object) -> str:
    return f'"{default}"' if isinstance(default, str) else str(default)


def _choices(kind: object) -> str:
    """The words between which an option chooses."""
    if get_origin(kind) is not Literal:
        return ""
    return f"One of {', '.join(f'``{word}``' for word in get_args(kind))}."


def _nests(name: str, network: bool) -> Iterator[str]:
    """A table of the wrappers around a network, or of the networks inside a wrapper."""
    partners = mer_zoo.wrappers.__all__ if network else mer_zoo.backbones.__all__
    rows: dict[tuple[str, str], list[str]] = {}
    for partner in sorted(partners, key=str.lower):
        refused = refusals(name, partner) if network else refusals(partner, name)
        works = [task for task in TASKS if task not in refused]
        kinds = "all tasks" if len(works) == len(TASKS) else ", ".join(works) or "no task"
        reasons = " ".join(f"{escape(reason)}." for reason in dict.fromkeys(refused.values()))
        rows.setdefault((kinds, reasons), []).append(f":py:class:`~mer_zoo.{partner}`")
    cells = [[", ".join(alike), kinds, reasons] for (kinds, reasons), alike in rows.items()]
    yield from _heading("Under which wrappers" if network else "Around which networks")
    yield from ("With default options; other options may allow more, as the sentence of a refusal says.", "")
    yield from (*table(cells, ["wrapper" if network else "network", "works for", "refused with"], "35 15 50"), "")


def _figures(name: str) -> Iterator[str]:
    """What papers print, and what this library measured."""
    printed, measured = printed_rows(name), list(measured_rows(name))
    if printed:
        yield from _heading("In the papers")
        yield from (
            "Percent, as printed; MAE as it is. Single rates, sets of modalities and ablations: "
            ":py:func:`mer_zoo.reports.published`.",
            "",
            *printed,
            "",
        )
    if measured:
        yield from (*_heading("Measured with this library"), *measured)
