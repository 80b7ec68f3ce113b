"""Configurations that build on others: ``base: ../base/mosi.yaml``, or a list of files of which later ones win.

They are merged as YAML nodes, not as values, so that every word reaches the parser as it stands in the file: what is a
number is for the parser to say (``1e-3`` is one to it, and a text to PyYAML).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from mer_zoo.cli.factories import name_factories
from mer_zoo.cli.former import use_current_names
from mer_zoo.errors import MERError
from mer_zoo.foreign.budget import Budget
from mer_zoo.foreign.trees import LARGEST_YAML, check_expanded

__all__ = ["with_bases"]

BASE = "base"
NESTING = 64  # levels within a file; configurations have ten
LARGEST = 2**20  # bytes of a file
CHAIN = 16  # files that build on one another
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def with_bases(text: str, path: Path) -> str:
    r"""A configuration that stands alone.

    Mappings are merged key by key; lists and plain values are replaced. A mapping is replaced where the new one is
    empty, or names another class as ``class_path``, because options of one class mean nothing to the next.

    Args:
        text: Content of the file.
        path: The file; its bases are relative to its folder.

    Returns:
        The text itself where it has no key ``base`` and names nothing as before and no factory; otherwise YAML of the
        bases, in their order, under what the file says, with the names of today.

    Raises:
        MERError: For a base that is missing, no configuration, or built on the file itself, aliases in files that are
            merged, or nesting without end.

    Example:
        >>> from tempfile import mkdtemp
        >>> folder = Path(mkdtemp())
        >>> _ = (folder / "base.yaml").write_text("trainer: {max_epochs: 100, logger: false}")
        >>> print(with_bases("base: base.yaml\ntrainer: {max_epochs: 5}", folder / "mult.yaml"), end="")
        trainer:
          max_epochs: 5
          logger: false
    """
    root = _compose(text, path)
    changed = use_current_names(root, text) | name_factories(root)
    if isinstance(root, yaml.MappingNode) and any(_name(key) == BASE for key, _ in root.value):
        root, changed = _whole(root, text, path.resolve(), [], {}), True
    return str(yaml.serialize(root, Dumper=yaml.SafeDumper, allow_unicode=True)) if changed else text


def _whole(
    root: yaml.MappingNode, text: str, path: Path, above: list[Path], read: dict[Path, yaml.MappingNode]
) -> yaml.MappingNode:
    """A file's mapping on top of those of its bases.

    Args:
        root: The mapping.
        text: What it was composed from.
        path: The file.
        above: The files whose bases lead here.
        read: What is known of files that several build on.
    """
    _refuse_aliases(text, path)
    own = [(key, value) for key, value in root.value if _name(key) != BASE]
    whole = yaml.MappingNode(root.tag, own, flow_style=False)
    below = None
    for name, place in _bases(root, path):
        base = (path.parent / Path(name).expanduser()).resolve()
        if base == path or base in above:
            raise MERError(f"{place}: base {name} is built on this file; take one of the two out")
        if len(above) >= CHAIN:
            raise MERError(f"{place}: base {name} is the {CHAIN + 1}th file in a chain; let fewer build on one another")
        if base not in read:
            content = _read(base, name, place)
            node = _compose(content, base)
            use_current_names(node, content)
            name_factories(node)
            if not isinstance(node, yaml.MappingNode):
                raise MERError(f"{place}: base {name} holds no settings; give a configuration")
            read[base] = _whole(node, content, base, [*above, path], read)
        below = read[base] if below is None else _merge(below, read[base])
    return whole if below is None else _merge(below, whole)


def _bases(root: yaml.MappingNode, path: Path) -> Iterator[tuple[str, str]]:
    """Each base as it is written, and where."""
    for key, value in root.value:
        if _name(key) != BASE:
            continue
        for item in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            place = f"{path}, line {item.start_mark.line + 1}"
            if not isinstance(item, yaml.ScalarNode) or not item.value:
                raise MERError(f"{place}: base is no file; give the path of a configuration, or a list of paths")
            yield item.value, place


def _read(base: Path, name: str, place: str) -> str:
    if not base.is_file():
        raise MERError(f"{place}: base {name} does not exist; give a path relative to this file")
    _check_size(base.stat().st_size, base)
    try:
        return base.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MERError(f"{place}: base {name} can't be read ({error}); give a configuration") from error


def _merge(below: yaml.MappingNode, above: yaml.MappingNode) -> yaml.MappingNode:
    pairs = {_name(key): (key, value) for key, value in below.value}
    for key, value in above.value:
        _, old = pairs.get(_name(key), (None, None))
        both = isinstance(old, yaml.MappingNode) and isinstance(value, yaml.MappingNode)
        pairs[_name(key)] = (key, _merge(old, value) if both and _may_share(old, value) else value)
    return yaml.MappingNode(above.tag, list(pairs.values()), flow_style=False)


def _may_share(below: yaml.MappingNode, above: yaml.MappingNode) -> bool:
    """Whether options of one go with the other: a class has its own, under whichever of its paths it is named."""
    if not above.value:
        return False
    first, second = (
        next((value.value for key, value in node.value if _name(key) == "class_path"), None) for node in (below, above)
    )
    if first is None or second is None:
        return True
    return str(first).rpartition(".")[2] == str(second).rpartition(".")[2]


def _name(key: yaml.Node) -> str | int:
    return key.value if isinstance(key, yaml.ScalarNode) else id(key)


def _check_size(size: int, path: Path) -> None:
    if size > LARGEST:
        raise MERError(f"{path} is refused: it is no configuration, of more than {LARGEST:,} bytes; give another")


def _compose(text: str, path: Path) -> yaml.Node | None:
    """The tree of a file; its depth is measured on the flat stream of events first, since composing recurses."""
    depth = 0
    _check_size(len(text), path)
    try:
        for event in yaml.parse(text, Loader=LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > NESTING:
                line = event.start_mark.line + 1
                raise MERError(f"{path}, line {line}: more than {NESTING} levels of nesting; make it flatter")
        root = yaml.compose(text, Loader=LOADER)
    except yaml.YAMLError as error:
        raise MERError(f"{path} is no YAML ({' '.join(str(error).split())}); mend it") from error
    if root is not None:
        check_expanded(root, Budget(str(path), steps=LARGEST_YAML, remedy="write less, and no aliases"))
    return root


def _refuse_aliases(text: str, path: Path) -> None:
    """What a file repeats by reference could grow without end in the merging."""
    for event in yaml.parse(text, Loader=LOADER):
        is_merge = isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]
        if isinstance(event, yaml.AliasEvent) or is_merge:
            what = "<<" if is_merge else f"*{event.anchor}"
            place = f"{path}, line {event.start_mark.line + 1}"
            raise MERError(f"{place}: {what} can't stand in a file that has a base or is one; write the value out")
