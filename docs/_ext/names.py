"""Which names are public, where each is documented, and how a reference by another name finds it.

An object that a package exports is documented once, under the shortest name by which users import it
(``mer_zoo.Batch``), on the page of the module that defines it (``mer_zoo.batch``).
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import mer_zoo

__all__ = ["Entry", "entries", "modules", "public_name", "resolve"]


@dataclass(frozen=True)
class Entry:
    """One documented object.

    Attributes:
        public: The shortest name by which it can be imported.
        defined: The name under which it is defined.
        module: The module that defines it.
        value: The object.
    """

    public: str
    defined: str
    module: str
    value: Any


@cache
def modules() -> dict[str, ModuleType]:
    """All modules of the package by name, parents first."""
    names = [found.name for found in pkgutil.walk_packages(mer_zoo.__path__, "mer_zoo.")]
    return {name: importlib.import_module(name) for name in ["mer_zoo", *names] if not name.endswith("__main__")}


@cache
def entries() -> dict[str, Entry]:
    """Every object that stands in some ``__all__``, each once, by the name under which it is defined."""
    found: dict[str, Entry] = {}
    for module_name, module in modules().items():
        for name in getattr(module, "__all__", []):
            value = getattr(module, name)
            if isinstance(value, ModuleType):
                continue
            home = _home(module_name, name, value)
            public, defined = f"{module_name}.{name}", f"{home}.{name}"
            if defined not in found or len(public) < len(found[defined].public):
                found[defined] = Entry(public, defined, home, value)
    return found


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
        for defined, entry in entries().items():
            for known in (defined, entry.public):
                if name == known or name.startswith(f"{known}."):
                    return entry.public + name[len(known) :]
    ending = {
        e.public + target[len(last) :]
        for e in entries().values()
        for last in [e.public.rpartition(".")[2]]
        if target == last or target.startswith(f"{last}.")
    }
    return ending.pop() if len(ending) == 1 else None


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: Element) -> Element | None:
    """Answer of Sphinx's event ``missing-reference``: the same object under the name by which it is documented."""
    if node.get("refdomain") != "py":
        return None
    name = public_name(node["reftarget"], node.get("py:module") or "", node.get("py:class") or "")
    if name is None or name == node["reftarget"]:
        return None
    domain = env.domains.python_domain
    return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], name, node, content)
