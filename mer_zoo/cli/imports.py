"""Says what code of others a configuration or a command line has imported and run, before it is."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import yaml
from lightning.pytorch.utilities import rank_zero_only

from mer_zoo.model.factories import FACTORY
from mer_zoo.text import shown

__all__ = ["tell_of_command", "tell_of_imports"]

_OWN = ("mer_zoo", "torch", "lightning", "lightning_fabric", "pytorch_lightning", "torchmetrics")
_CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_NO_CLASSES = ("name", "version", "project", "monitor", "filename", "path", "save_dir", "dirpath", "source", "base")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_told: set[str] = set()


def tell_of_imports(content: str) -> None:
    """Say which modules a configuration names that are none of the zoo's or of what it is built on, each once.

    Args:
        content: The text of the configuration, in YAML.

    Example:
        >>> tell_of_imports("model: {backbone: {class_path: mer_zoo.MulT}}")
    """
    with suppress(yaml.YAMLError, RecursionError):  # whoever parses it says so
        for word in _words(yaml.compose(content, Loader=_LOADER), "", set()):
            _tell(word)


def tell_of_command(args: Sequence[str]) -> None:
    """The same of a command line.

    Args:
        args: The command line.
    """
    options = [arg.partition("=") for arg in args if arg.startswith("--") and "=" in arg]
    following = [(name, "", value) for name, value in pairwise(args) if name.startswith("--")]
    for name, _, value in (*options, *following):
        if "class_path" in value or value.startswith(("[", "{")):
            tell_of_imports(value)
        elif name.removesuffix("+").rpartition(".")[2].lstrip("-") not in _NO_CLASSES:
            _tell(value)


def _words(node: yaml.Node | None, key: str, seen: set[int]) -> Iterator[str]:
    """Values of a tree that may name a class or a factory."""
    if isinstance(node, yaml.ScalarNode) and key not in _NO_CLASSES:
        yield node.value
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))
    for item in node.value:
        pair = item if isinstance(node, yaml.MappingNode) else (None, item)
        yield from _words(pair[1], str(pair[0].value) if isinstance(pair[0], yaml.ScalarNode) else key, seen)


def _tell(word: str) -> None:
    if not (_CLASS.fullmatch(word) or FACTORY.fullmatch(word)) or Path(word).exists():
        return
    root = re.split(r"[.:]", word)[0]
    if root in _OWN or root in _told or rank_zero_only.rank:  # type: ignore[attr-defined]
        return
    spec = None
    with suppress(ImportError, ValueError, AttributeError):
        spec = find_spec(root)
    if spec is not None:
        _told.add(root)
        sys.stderr.write(f"mer-zoo: this configuration imports {root} from {shown(_place(spec))}, and runs it\n")


def _place(spec: ModuleSpec) -> str:
    return spec.origin or next(iter(spec.submodule_search_locations or ()), "nowhere")
