"""The ladder: a part of the package imports only from parts below it, and no module waits for one that waits for it.

From the ground up; parts of one rung do not know each other. A part is a file or a folder with all that lies in it,
unless something in it has a rung of its own. Imports that only a type checker or a function makes count as well.

A module of more than 300 lines says in its docstring why it is one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import mer_zoo

LADDER = (
    ("errors", "renames", "text", "distributed"),
    ("runs",),
    ("foreign",),
    ("options", "arguments", "fields", "functional", "compat"),
    ("batch", "feature_spec", "layers.text_states"),
    ("metrics", "layers.encoder_config", "layers.text_encoder", "data.corpus"),
    ("task",),
    ("scores", "layers", "data.files"),
    ("uncertainty", "monitors"),
    ("reports", "data.store", "data.survey"),
    ("model", "data.synthetic"),
    ("training", "data.missing"),
    ("data", "clips"),
    ("confounding",),
    ("backbones", "data.ood"),
    ("wrappers",),
    ("sharing",),
    ("module",),
    ("callbacks", "explain", "life"),
    ("audit", "demo"),
    ("cli",),
    ("__init__", "__main__"),
)
MOST_LINES, REASON = 300, "More than 300 lines, because "
RUNGS = {part: rung for rung, parts in enumerate(LADDER) for part in parts}
ROOT = Path(mer_zoo.__file__).parent


class Import(NamedTuple):
    """A module of the package that a line asks for."""

    target: str
    line: int
    at_run_time: bool  # when the module itself is imported


def module_name(path: Path) -> str:
    """``data.corpus.arrays``; a folder's ``__init__`` has the name of the folder, but for the package's own."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def packages_of(module: str) -> list[str]:
    """The folders that a module lies in."""
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def part_of(module: str) -> str | None:
    """The part that a module belongs to; None where it has no place on the ladder."""
    return next((name for name in [module, *reversed(packages_of(module))] if name in RUNGS), None)


def imports_of(source: str, known: Mapping[str, object]) -> Iterator[Import]:
    """What a module asks the package for."""
    for node, at_run_time in _parsed(source):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            assert not node.level, f"line {node.lineno}: imports are written with the whole name"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            package, _, inner = name.partition(".")
            if package == "mer_zoo":
                target = inner if inner in known else inner.rpartition(".")[0]
                yield Import(target or "__init__", node.lineno, at_run_time)


@cache
def _parsed(source: str) -> list[tuple[ast.Import | ast.ImportFrom, bool]]:
    return list(_import_nodes(ast.parse(source), at_run_time=True))


def _import_nodes(tree: ast.AST, at_run_time: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node, at_run_time
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        later = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) or typing_only
        yield from _import_nodes(node, at_run_time and not later)


def climbing_imports(sources: Mapping[str, str]) -> list[str]:
    """Lines that import from a part that is not below; and modules without a place."""
    found = []
    for module, source in sources.items():
        part = part_of(module)
        if part is None:
            found.append(f"{module} has no place on the ladder; give its part a rung in LADDER")
            continue
        for target, line, _ in imports_of(source, sources):
            other = part_of(target)
            if other is not None and other != part and RUNGS[other] >= RUNGS[part]:
                where = "is no rung below" if RUNGS[other] > RUNGS[part] else "stands on the same rung as"
                found.append(f"{module}, line {line} imports {target}, but {other} {where} {part}")
    return found


def knot(sources: Mapping[str, str]) -> list[str]:
    """Modules each of which needs the next one while it is imported, the last one the first; empty where none do.

    An import runs the ``__init__`` of every folder on the way that is not running already. Without a knot any module
    may be the first to be imported.
    """
    needs: dict[str, set[str]] = {}
    for module, source in sources.items():
        targets = {found.target for found in imports_of(source, sources) if found.at_run_time}
        folders = {folder for target in targets for folder in packages_of(target)} - set(packages_of(module))
        needs[module] = (targets | folders) - {"__init__", module}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def unreasoned_lengths(sources: Mapping[str, str]) -> list[str]:
    """Modules that are long without a reason, or have a reason without being long."""
    found = []
    for module, source in sources.items():
        length, is_reasoned = source.count("\n"), REASON in (ast.get_docstring(ast.parse(source)) or "")
        if length > MOST_LINES and not is_reasoned:
            found.append(f"{module} has {length} lines; cut it, or say in its docstring {REASON!r} and why")
        elif is_reasoned and length <= MOST_LINES:
            found.append(f"{module} has {length} lines, and still a reason for more; leave it out")
    return found


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    return {module_name(path): path.read_text(encoding="utf-8") for path in sorted(ROOT.rglob("*.py"))}


def test_a_part_imports_only_from_parts_below_it(sources: dict[str, str]) -> None:
    found = climbing_imports(sources)
    assert not found, "\n".join(found)


def test_every_module_can_be_the_first_to_be_imported(sources: dict[str, str]) -> None:
    assert not knot(sources)


def test_every_rung_is_taken(sources: dict[str, str]) -> None:
    assert set(RUNGS) == {part_of(module) for module in sources}


def test_every_folder_has_its_public_names() -> None:
    folders = {path.parent for path in ROOT.rglob("*.py")}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]


def test_long_modules_say_why(sources: dict[str, str]) -> None:
    found = unreasoned_lengths(sources)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("docstring", "lines", "expected"),
    [
        ("Layers.", 300, 0),
        ("Layers.", 301, 1),
        (f"Layers.\n\n{REASON}so.", 301, 0),
        (f"Layers.\n\n{REASON}so.", 300, 1),
    ],
)
def test_a_planted_long_module_is_found(docstring: str, lines: int, expected: int) -> None:
    source = f'"""{docstring}\n"""\n'
    planted = source + "\n" * (lines - source.count("\n"))
    assert len(unreasoned_lengths({"layers.planted": planted})) == expected


UPWARD = "from mer_zoo.model import Model"
PLANTED = {
    "upward": UPWARD,
    "whole module": "import mer_zoo.model",
    "a module by its package": "from mer_zoo import model",
    "the package itself": "from mer_zoo import MulT",
    "for types only": f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {UPWARD}",
    "in a function": f"def later():\n    {UPWARD}",
    "on the same rung": "from mer_zoo.data.files.formats import describe",
    "into a part's part": "from mer_zoo.data.missing.pattern import SMM",
}


@pytest.mark.parametrize("source", PLANTED.values(), ids=PLANTED)
def test_a_planted_import_is_found(source: str, sources: dict[str, str]) -> None:
    lines = source.count("\n") + 1
    (found,) = climbing_imports({**sources, "layers.planted": source})
    assert found.startswith(f"layers.planted, line {lines} imports ")


def test_what_lies_below_may_be_imported(sources: dict[str, str]) -> None:
    source = "from mer_zoo.layers.text_encoder import TextEncoder\nfrom mer_zoo import task\nimport torch"
    assert not climbing_imports({**sources, "layers.planted": source})


def test_a_module_without_a_place_is_found(sources: dict[str, str]) -> None:
    (found,) = climbing_imports({**sources, "utilities": ""})
    assert found == "utilities has no place on the ladder; give its part a rung in LADDER"


A_NEEDS_B, NEEDS_A = "from mer_zoo.layers.b import x", "import mer_zoo.layers.a"
KNOTS: dict[str, tuple[dict[str, str], set[str]]] = {
    "two modules": ({"layers.a": A_NEEDS_B, "layers.b": NEEDS_A}, {"layers.a", "layers.b"}),
    "a folder": ({"runs": "import mer_zoo.runs.c", "runs.c": "from mer_zoo.runs import y"}, {"runs", "runs.c"}),
    "by way of a folder": ({"runs": "import mer_zoo.errors", "errors": "import mer_zoo.runs.c"}, {"runs", "errors"}),
    "none, for a function is run later": ({"layers.a": A_NEEDS_B, "layers.b": f"def f():\n    {NEEDS_A}"}, set()),
}


@pytest.mark.parametrize(("planted", "expected"), KNOTS.values(), ids=KNOTS)
def test_a_planted_knot_is_found(planted: dict[str, str], expected: set[str], sources: dict[str, str]) -> None:
    assert set(knot({**sources, "runs.c": "", **planted})) == expected
