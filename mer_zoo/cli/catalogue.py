"""``mer-zoo list``: the names that the command line takes, read from source files without importing them."""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Callable, Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from mer_zoo.metrics.names import METRICS

__all__ = ["KINDS", "Entry", "catalogue", "main"]

PACKAGE = Path(__file__).parents[1]


class Entry(NamedTuple):
    """Something that has a name.

    Attributes:
        name: What the command line takes.
        what: What it is, in a line.
        module: The module that defines it; None for what is no class.
    """

    name: str
    what: str
    module: str | None = None


def catalogue(kind: str) -> list[Entry]:
    """All names of a kind.

    Args:
        kind: One of ``KINDS``.

    Example:
        >>> next(entry for entry in catalogue("backbones") if entry.name == "TFN")
        Entry(name='TFN', what='what three modalities have to do ...', module='mer_zoo.backbones.tfn')
    """
    return KINDS[kind]()


def main(args: list[str]) -> None:
    """Run ``mer-zoo list``.

    Args:
        args: Command line after the word list.
    """
    parser = argparse.ArgumentParser(
        "mer-zoo list", description="Names that the command line takes.", allow_abbrev=False
    )
    parser.add_argument("kind", nargs="?", choices=list(KINDS), help="of what (default: of everything)")
    chosen = parser.parse_args(args).kind
    blocks = [_block(kind, titled=chosen is None) for kind in ([chosen] if chosen else KINDS)]
    sys.stdout.write("\n".join(blocks) + "\nmer-zoo info NAME tells more of one of them.\n")


def _block(kind: str, titled: bool) -> str:
    entries = catalogue(kind)
    width = max((len(entry.name) for entry in entries), default=0) + 2
    rows = [f"{entry.name:<{width}}{entry.what}".rstrip() for entry in entries]
    if not entries:
        rows = ["There is no folder configs here; that of the repository has a file for each published setting."]
    return "\n".join([*([kind] if titled else []), *(f"  {row}" if titled else row for row in rows)]) + "\n"


def _networks() -> list[Entry]:
    return [Entry(name, _idea(module), module) for name, module, _ in _classes("backbones")]


def _wrappers() -> list[Entry]:
    return [Entry(name, _idea(module), module) for name, module, _ in _classes("wrappers")]


def _data() -> list[Entry]:
    found = [
        (name, module, node, {ast.unparse(base) for base in node.bases}) for name, module, node in _classes("data")
    ]
    # What stands alone is no corpus and no pattern, but what these are made of.
    return [
        Entry(name, _first_line(node), module) for name, module, node, bases in found if bases - {"Recorded", "ABC"}
    ]


def _metrics() -> list[Entry]:
    return [Entry(name, what) for name, what in METRICS.items()]


def _configs() -> list[Entry]:
    folder = next((f for f in (Path("configs"), PACKAGE.parent / "configs") if f.is_dir()), None)
    paths = [] if folder is None else sorted(folder.rglob("*.yaml"))
    return [Entry(str(path), _comment(path)) for path in paths if path.parent.name != "base"]


def _classes(folder: str) -> Iterator[tuple[str, str, ast.ClassDef]]:
    """Name, module and definition of each class that a folder of the package exports."""
    stub = PACKAGE / folder / "__init__.pyi"
    for node in _parsed(stub if stub.exists() else stub.with_suffix(".py")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            module = f"mer_zoo.{folder}.{node.module}" if node.level else node.module
            defined = {found.name: found for found in _source(module).body if isinstance(found, ast.ClassDef)}
            yield from ((name.name, module, defined[name.name]) for name in node.names if name.name in defined)


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _source(module: str) -> ast.Module:
    return _parsed(PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py"))


def _first_line(node: ast.ClassDef | ast.Module) -> str:
    return (ast.get_docstring(node) or "").split("\n")[0].rstrip(".")


def _idea(module: str) -> str:
    """What stands behind the name in the first line of a module's text."""
    line = _first_line(_source(module))
    return line.partition(": ")[2] or line


def _comment(path: Path) -> str:
    """The first sentence of the comment that a configuration begins with."""
    lines = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    return " ".join(line.lstrip("# ") for line in lines).partition(". ")[0].partition(":  --")[0].rstrip(".")


KINDS: dict[str, Callable[[], list[Entry]]] = {
    "backbones": _networks,
    "wrappers": _wrappers,
    "data": _data,
    "metrics": _metrics,
    "configs": _configs,
}
