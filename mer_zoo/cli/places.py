"""Where a word of a configuration stands, so that a mistake can be told with its file and line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

__all__ = ["config_files", "place_of"]

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
NAMED = re.compile(r"(?:option|unknown class) '([^']+)'")
KEY = re.compile(r"^([A-Za-z_][\w.]*): ")


def config_files(args: Sequence[str]) -> list[Path]:
    """The configurations that a command line names, in their order.

    Args:
        args: The command line.

    Example:
        >>> [str(path) for path in config_files(["fit", "--config", "a.yaml", "-c=b.yaml", "--data.path=c.pkl"])]
        ['a.yaml', 'b.yaml']
    """
    found = []
    for place, arg in enumerate(args):
        option, equals, value = arg.partition("=")
        if option in ("-c", "--config") and (equals or place + 1 < len(args)):
            found.append(Path(value if equals else args[place + 1]).expanduser())
    return found


def place_of(sentence: str, args: Sequence[str]) -> str | None:
    r"""File and line of what a sentence complains of; None where it stands on the command line, or nowhere.

    Args:
        sentence: What is wrong, with the name of an option or class in quotes, or behind an option and a colon.
        args: The command line.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "mult.yaml"
        >>> _ = path.write_text("trainer:\n  max_epochs: many\nmodel:\n  backbone: {init_args: {widht: 3}}")
        >>> place_of("option 'widht' does not exist", ["fit", "--config", str(path)]).rpartition("/")[2]
        'mult.yaml, line 4'
        >>> place_of("trainer.max_epochs: Expected int", ["fit", f"--config={path}"]).rpartition("/")[2]
        'mult.yaml, line 2'
    """
    named, key = NAMED.search(sentence), KEY.match(sentence)
    word = named[1] if named else key[1] if key else None
    if word is None or any(word in arg.partition("=")[0] or word == arg.partition("=")[2] for arg in args):
        return None
    for path in reversed(config_files(args)):
        for file, keys, node in _words(path, set()):
            is_it = node.value == word or keys == word or keys.endswith(f".{word}")
            if is_it:
                return f"{file}, line {node.start_mark.line + 1}"
    return None


def _words(path: Path, seen: set[Path]) -> Iterator[tuple[Path, str, yaml.ScalarNode]]:
    """Each key and each plain value of a file and of those that it builds on, with the dotted path of keys to it."""
    if path in seen:
        return
    seen.add(path)
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=LOADER)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return
    bases = []
    for keys, node in _walk(root, ""):
        yield path, keys, node
        if keys == "base" and node.value != "base":
            bases.append(path.parent / node.value)
    for base in reversed(bases):
        yield from _words(base, seen)


def _walk(node: yaml.Node | None, keys: str) -> Iterator[tuple[str, yaml.ScalarNode]]:
    if isinstance(node, yaml.ScalarNode):
        yield keys, node
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _walk(item, keys)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = str(key.value)
            # as a command line has it: options of a class stand behind the class
            inner = keys if name in ("init_args", "class_path") else f"{keys}.{name}".lstrip(".")
            if isinstance(key, yaml.ScalarNode):
                yield inner, key
            yield from _walk(value, inner)
