"""Configurations from before: their classes and options under the names of today."""

from __future__ import annotations

import yaml

from mer_zoo.renames import OPTIONS, added_options, current_path, current_values, rename_options

__all__ = ["use_current_names"]

WRITTEN = "# lightning.pytorch=="  # how a file begins that the command wrote itself


def use_current_names(root: yaml.Node | None, text: str) -> bool:
    r"""Rename, in place, what a configuration calls by its old name.

    Classes whose modules moved are found in any file. Options are renamed only in one that the command itself wrote, as
    a run's config.yaml or by ``--print_config``: whoever writes a file by hand is told the new name by the parser.

    Args:
        root: The tree of the file.
        text: What it was composed from.

    Returns:
        Whether anything was renamed.

    Example:
        >>> text = "# lightning.pytorch==2.6\nmodel: {class_path: mer_zoo.MulT, init_args: {d_model: 20}}"
        >>> root = yaml.compose(text)
        >>> use_current_names(root, text), yaml.serialize(root).rstrip()
        (True, 'model: {class_path: mer_zoo.MulT, init_args: {dim: 20}}')
    """
    written, changed = text.startswith(WRITTEN), False
    seen: set[int] = set()  # what a file refers to again and again is one node
    waiting = [] if root is None else [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            path = current_path(node.value)
            changed |= path != node.value
            node.value = path
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            waiting += [value for _, value in node.value]
            changed |= written and _rename_options(node)
    return changed


def _rename_options(node: yaml.MappingNode) -> bool:
    """Rename the options of a class of the zoo, where the mapping names one."""
    parts = {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}
    path, options = parts.get("class_path"), parts.get("init_args")
    if not isinstance(path, yaml.ScalarNode) or not isinstance(options, yaml.MappingNode):
        return False
    package, _, name = path.value.rpartition(".")
    if package.partition(".")[0] not in ("", "mer_zoo"):
        return False
    renamed = OPTIONS.get(name, {})
    given = {key.value: value for key, value in options.value if isinstance(key, yaml.ScalarNode)}
    words = {key: value.value if isinstance(value, yaml.ScalarNode) else "" for key, value in given.items()}
    values = current_values(name, words)
    for option, value in values.items():
        given[option].value = value
    added = {
        key: yaml.ScalarNode("tag:yaml.org,2002:float", str(value)) for key, value in added_options(name, given).items()
    }
    if len(given) < len(options.value) or not (added or given.keys() & renamed.keys()):
        return bool(values)
    current = rename_options({**given, **added}, renamed)
    options.value = [(yaml.ScalarNode("tag:yaml.org,2002:str", key), value) for key, value in current.items()]
    return True
