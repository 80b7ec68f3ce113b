"""Which names are public, where each is documented, and how a reference by another name finds it.

An object that a package exports is documented once, under the shortest name by which users import it
(``mer_zoo.Batch``), on the page of the module that defines it (``mer_zoo.batch``).
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from dataclasses import dataclass
from functools import cache
from inspect import getsource, isclass, isfunction
from types import ModuleType
from typing import Any, get_type_hints

from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import mer_zoo

__all__ = ["Entry", "entries", "evaluate_annotations", "modules", "public_name", "resolve"]


@dataclass(frozen=True)
class Entry:
    """One documented object.

    Attributes:
        public: The shortest name by which it can be imported.
        defined: The name under which it is defined.
        module: The module that defines it.
        value: The object.
        aliases: All names by which it is exported.
    """

    public: str
    defined: str
    module: str
    value: Any
    aliases: frozenset[str]


@cache
def modules() -> dict[str, ModuleType]:
    """All modules of the package by name, parents first; the command line is described in the guide."""
    names = ["mer_zoo", *(found.name for found in pkgutil.walk_packages(mer_zoo.__path__, "mer_zoo."))]
    return {name: importlib.import_module(name) for name in names if not re.match(r"mer_zoo\.(cli|__main__)\b", name)}


@cache
def entries() -> dict[str, Entry]:
    """Every object that stands in some ``__all__``, each once, by the name under which it is defined."""
    found: dict[str, tuple[Any, set[str]]] = {}
    for module_name, module in modules().items():
        for name in getattr(module, "__all__", []):
            value = getattr(module, name)
            if not isinstance(value, ModuleType):
                defined = f"{_home(module_name, name, value)}.{name}"
                found.setdefault(defined, (value, {defined}))[1].add(f"{module_name}.{name}")
    return {
        defined: Entry(
            min(aliases - modules().keys(), key=lambda alias: (len(alias), alias)),
            defined,
            defined.rpartition(".")[0],
            value,
            frozenset(aliases),
        )
        for defined, (value, aliases) in found.items()
    }


def _home(module_name: str, name: str, value: Any) -> str:
    """The module that defines an object; for a constant, the deepest that exports it: those above hand it on."""
    home = getattr(value, "__module__", None)
    if isinstance(home, str) and home in modules() and hasattr(value, "__qualname__"):
        return home
    having = [m for m, module in modules().items() if getattr(module, name, None) is value and name in module.__all__]
    return max([module_name, *having], key=lambda m: m.count("."))


def public_name(target: str, module: str = "", owner: str = "") -> str | None:
    """The documented name that a reference means, if there is one.

    Args:
        target: The name in the reference, whole or without its module.
        module: The module in which the reference stands.
        owner: The class in which it stands.
    """
    for name in (target, f"{module}.{target}", f"{module}.{owner}.{target}"):
        for entry in entries().values():
            for known in entry.aliases - modules().keys():
                rest = name[len(known) :]
                if name == known or (name.startswith(f"{known}.") and hasattr(entry.value, rest.split(".")[1])):
                    return entry.public + rest
    first, dot, rest = target.partition(".")
    ending = [entry.public for entry in entries().values() if entry.public.rpartition(".")[2] == first]
    return f"{ending[0]}{dot}{rest}" if len(ending) == 1 else None


def evaluate_annotations() -> None:
    """Put types in the place of their names in functions and constructors: Sphinx reads some as they stand."""
    for entry in entries().values():
        owned = vars(entry.value) if isclass(entry.value) else {}
        for function in (entry.value, owned.get("__init__"), owned.get("__new__")):
            if isfunction(function) and function.__module__ in modules():
                hints = get_type_hints(function, None, _checked_names(modules()[function.__module__]))
                function.__annotations__.update(hints)


@cache
def _checked_names(module: ModuleType) -> dict[str, Any]:
    """What a module imports for the type checker only."""
    blocks = [node for node in ast.parse(getsource(module)).body if isinstance(node, ast.If)]
    imports = [node for block in blocks if ast.unparse(block.test) == "TYPE_CHECKING" for node in block.body]
    return {
        alias.asname or alias.name: getattr(importlib.import_module(node.module or ""), alias.name)
        for node in imports
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: Element) -> Element | None:
    """Answer of Sphinx's event ``missing-reference``: the same object under the name by which it is documented."""
    if node.get("refdomain") != "py":
        return None
    name = public_name(node["reftarget"], node.get("py:module") or "", node.get("py:class") or "")
    if name is None or name == node["reftarget"]:
        return None
    domain = env.domains.python_domain
    return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], name, node, content)
