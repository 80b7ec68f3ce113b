"""``module:factory`` in place of a network, on a command line and in a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import yaml

from mer_zoo.model.factories import FACTORY, made_by

__all__ = ["name_factories", "spell_factories"]

OPTION = "--model.backbone"
MADE_BY = f"{made_by.__module__}.{made_by.__name__}"


def spell_factories(args: Sequence[str]) -> list[str]:
    """A command line on which a factory is named as the parser knows it.

    Args:
        args: The command line.

    Example:
        >>> spell_factories(["fit", "--model.backbone=nets:gated"])
        ['fit', '--model.backbone=mer_zoo.model.factories.made_by', '--model.backbone.factory=nets:gated']
    """
    spelled: list[str] = []
    for arg in args:
        option, _, value = f"{OPTION}={arg}".partition("=") if spelled[-1:] == [OPTION] else arg.partition("=")
        if option == OPTION and FACTORY.fullmatch(value):
            if spelled[-1] == OPTION:
                spelled.pop()
            spelled += [f"{OPTION}={MADE_BY}", f"{OPTION}.factory={value}"]
        else:
            spelled.append(arg)
    return spelled


def name_factories(root: yaml.Node | None) -> bool:
    """Spell out, in place, the factories that a configuration names; options of theirs go along.

    Args:
        root: The tree of the file.

    Returns:
        Whether there was any.

    Example:
        >>> root = yaml.compose("model: {backbone: nets:gated}")
        >>> name_factories(root), yaml.serialize(root).split()[-1]
        (True, "'nets:gated'}}}")
    """
    changed = False
    for whole in _mappings(root, "model", 1):
        for place, (key, value) in enumerate(whole.value):
            parts = {name.value: part for name, part in value.value} if isinstance(value, yaml.MappingNode) else {}
            named = parts.get("class_path", value)
            if key.value == "backbone" and isinstance(named, yaml.ScalarNode) and FACTORY.fullmatch(named.value):
                options = [(_word("options"), parts["init_args"])] if "init_args" in parts else []
                init_args = _mapping([(_word("factory"), named), *options])
                made = _mapping([(_word("class_path"), _word(MADE_BY)), (_word("init_args"), init_args)])
                whole.value[place] = (key, made)
                changed = True
    return changed


def _mappings(root: yaml.Node | None, name: str, levels: int) -> Iterator[yaml.MappingNode]:
    """The mapping of a name, at the top of a file or below the command that it is for."""
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if isinstance(value, yaml.MappingNode):
            if key.value == name:
                yield value
            elif levels:
                yield from _mappings(value, name, levels - 1)


def _word(text: str) -> yaml.ScalarNode:
    return yaml.ScalarNode("tag:yaml.org,2002:str", text)


def _mapping(pairs: list[tuple[yaml.ScalarNode, yaml.Node]]) -> yaml.MappingNode:
    return yaml.MappingNode("tag:yaml.org,2002:map", pairs, flow_style=True)
