"""JSON and YAML of others: plain values of a bounded size and depth."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, NoReturn

import yaml

from mer_zoo.errors import MERError
from mer_zoo.foreign.budget import Budget
from mer_zoo.foreign.opening import read_regular
from mer_zoo.text import shown

__all__ = ["LARGEST_YAML", "check_expanded", "read_json", "read_yaml", "strict_json"]

LARGEST_JSON = 64 * 2**20
LARGEST_YAML = 64 * 2**10
CONTAINERS = 2**19
VALUES = 2**23
LARGEST_INT = 2**63
_PLAIN = {dict, list, str, int, float, bool, type(None)}
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")  # of a character beyond 16 bits, alone or before its other half
_SMALLER = "write less, and out in full where something stands for something else"


def read_json(path: Path, limit: int = LARGEST_JSON, strict: bool = False) -> Any:
    """Read a JSON file; whether it holds what is expected remains to be checked.

    Args:
        path: The file.
        limit: Bytes that it may have.
        strict: Whether to refuse what Python reads and other readers may not, or otherwise: a name that stands twice in
            one object, a number that is not finite, half a character.

    Returns:
        Dicts with text as keys, lists, text, numbers within 64 bits, booleans and None.

    Raises:
        MERError: If it can't be read within these limits.
        OSError: If it can't be read at all.

    Example:
        >>> from tempfile import mkdtemp
        >>> file = Path(mkdtemp()) / "a.json"
        >>> _ = file.write_text('{"a": [1]}')
        >>> read_json(file)
        {'a': [1]}
    """
    data = read_regular(path, limit)
    # Counted before they are made: an empty list takes two bytes here and fifty times as many in memory.
    if data.count(b"[") + data.count(b"{") > CONTAINERS or data.count(b",") + data.count(b":") > VALUES:
        raise MERError(f"{path} is refused: it holds too many values; give a smaller file")
    try:
        tree = (strict_json if strict else json.loads)(data.decode("utf-8"))
    except RecursionError:
        raise MERError(f"{path} is refused: it is nested too deeply; write it flatter") from None
    except ValueError as error:
        raise MERError(f"{path} is no JSON ({error}); write or copy it again") from None
    check_plain(tree, Budget(str(path), steps=2 * VALUES, remedy=_SMALLER), finite=strict)
    if strict and _HALF.search(data) is not None:
        try:
            json.dumps(tree, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise MERError(f"{path} is refused: a text in it holds half a character; write it anew") from None
    return tree


def strict_json(text: str) -> Any:
    """Values of a JSON text in which no name stands twice in one object and every number is finite.

    Args:
        text: The text.

    Raises:
        ValueError: If it is none.

    Example:
        >>> strict_json('{"a": 1, "a": 2}')
        Traceback (most recent call last):
        ValueError: a name stands twice in one object
    """
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def read_yaml(path: Path, limit: int = LARGEST_YAML) -> Any:
    r"""Read a YAML file of settings; its aliases may not stand for more than a file could say.

    Args:
        path: The file.
        limit: Bytes that it may have, and values that its aliases may stand for.

    Returns:
        Dicts with text as keys, lists, text, numbers within 64 bits, booleans and None.

    Raises:
        MERError: If it can't be read within these limits, or holds anything else.
        OSError: If it can't be read at all.

    Example:
        >>> from tempfile import mkdtemp
        >>> file = Path(mkdtemp()) / "a.yaml"
        >>> _ = file.write_text("a: &b [1]\nc: *b")
        >>> read_yaml(file)
        {'a': [1], 'c': [1]}
    """
    data = read_regular(path, limit)
    try:
        loader = yaml.SafeLoader(data.decode("utf-8"))
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            check_expanded(node, Budget(str(path), steps=limit, remedy=_SMALLER))
            tree = loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError:
        raise MERError(f"{path} is refused: it is nested too deeply; write it flatter") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        if isinstance(error, MERError):
            raise
        reason = shown(" ".join(str(error).split())[:300])
        raise MERError(f"{path} is no YAML ({reason}); write or copy it again") from None
    check_plain(tree, Budget(str(path), steps=limit, remedy=_SMALLER))
    return tree


def check_expanded(root: yaml.Node, budget: Budget) -> None:
    """Account for every node of a YAML tree as often as aliases let it stand, in the order in which they are met.

    Args:
        root: The tree, as ``yaml.compose`` gives it.
        budget: Of the file.

    Raises:
        MERError: If it stands for too much, is too deep, or holds a number of more digits than 64 bits have.

    Example:
        >>> check_expanded(yaml.compose("a: [1, 2]"), Budget("a.yaml"))
    """
    todo = [(root, 0)]
    while todo:
        node, depth = todo.pop()
        budget.take(1)
        budget.nest(depth)
        if isinstance(node, yaml.MappingNode):
            todo += [(part, depth + 1) for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            todo += [(part, depth + 1) for part in node.value]
        else:
            budget.take(len(node.value) // 64)
            if node.tag == "tag:yaml.org,2002:int" and len(node.value) > 100:
                raise MERError(f"{budget.name} is refused: it holds a number beyond 64 bits; write a smaller one")


def check_plain(tree: Any, budget: Budget, finite: bool = False) -> None:
    """Check that a tree is made of plain values only, not too many and not too deep.

    Args:
        tree: What a parser made.
        budget: Of the file.
        finite: Whether all numbers have to be finite.

    Raises:
        MERError: Naming the file and what does not belong there.

    Example:
        >>> check_plain({"a": [1, 2**64]}, Budget("a.json"))
        Traceback (most recent call last):
        mer_zoo.errors.MERError: a.json is refused: it holds a number beyond 64 bits; write a smaller one
    """
    todo: list[tuple[list[Any], int]] = [([tree], -1)]
    while todo:
        values, depth = todo.pop()
        budget.take(1 + len(values))
        budget.nest(depth)
        kinds = set(map(type, values))
        for kind in kinds - _PLAIN:
            raise MERError(f"{budget.name} is refused: it holds a {kind.__name__}; write plain values")
        numbers = [value for value in values if type(value) is int] if int in kinds else [0]
        if max(numbers) > LARGEST_INT or min(numbers) < -LARGEST_INT:
            raise MERError(f"{budget.name} is refused: it holds a number beyond 64 bits; write a smaller one")
        if finite and float in kinds and not all(map(math.isfinite, (v for v in values if type(v) is float))):
            raise MERError(f"{budget.name} is refused: it holds a number that is not finite; write null there")
        if dict in kinds and not all(type(key) is str for value in values if type(value) is dict for key in value):
            raise MERError(f"{budget.name} is refused: a key in it is no text; write it in quotes")
        if kinds & {list, dict}:
            inner = [value for value in values if value and type(value) in (list, dict)]
            todo += [(list(part.values()) if type(part) is dict else part, depth + 1) for part in inner]
