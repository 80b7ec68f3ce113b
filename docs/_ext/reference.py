"""The pages of the reference, written before Sphinx reads its sources: one a module, one a network, one a wrapper."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import getdoc, isclass, isfunction
from pathlib import Path

from names import Entry, entries, modules
from prose import render, summary, table

import mer_zoo.backbones
import mer_zoo.wrappers

__all__ = ["write_modules"]

_ZOO = {name for part in (mer_zoo.backbones, mer_zoo.wrappers) for name in part.__all__}


def write_modules(folder: Path) -> None:
    """Write a page for each module that has public names, and the table of contents of each package."""
    for name, module in modules().items():
        children = [m for m in modules() if m.rpartition(".")[0] == name]
        defined = [entry for entry in entries().values() if entry.module == name]
        title = [name, "=" * len(name), "", f".. py:module:: {name}", ""]
        text = [*title, *render(getdoc(module) or ""), *_exported(name), *_documented(defined)]
        if children:
            text += [
                ".. toctree::",
                "   :maxdepth: 1",
                "",
                *(f"   {child.rpartition('.')[2]} <{child}>" for child in children),
            ]
        (folder / f"{name}.rst").write_text("\n".join([*text, ""]), encoding="utf-8")


def _exported(name: str) -> Iterator[str]:
    """A table of what a package hands on from its modules."""
    module = modules()[name]
    names = {id(getattr(module, exported)) for exported in getattr(module, "__all__", [])}
    handed = [entry for entry in entries().values() if entry.module != name and id(entry.value) in names]
    if handed:
        yield from table([[f":py:obj:`~{e.public}`", summary(getdoc(e.value)) if _has_text(e) else ""] for e in handed])
        yield ""


def _has_text(entry: Entry) -> bool:
    return isclass(entry.value) or isfunction(entry.value)


def _documented(defined: list[Entry]) -> Iterator[str]:
    for entry in defined:
        if entry.public.rpartition(".")[2] in _ZOO:
            continue
        kind = "function" if isfunction(entry.value) else "class" if isclass(entry.value) else "data"
        if kind == "class" and issubclass(entry.value, BaseException):
            kind = "exception"
        yield f".. auto{kind}:: {entry.public}"
        yield ""
