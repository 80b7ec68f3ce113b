"""Modules of one's own in the current folder: found where a class or factory is asked for by name, and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from typing_extensions import override

__all__ = ["OwnModules"]

# What imports a module because a configuration, a command line or --module names it.
ASKING = ("jsonargparse._util", "mer_zoo.model.factories", "mer_zoo.sharing.recipe")


class OwnModules(MetaPathFinder):
    """Finds modules in a folder, if they are asked for by name.

    Libraries try dozens of optional packages when they are imported, such as pandas or brotli. Were the current folder
    searched for those too, a file of that name in it, as in a data set that somebody made, would be run by any command.
    A folder of which a module has been asked for is searched like any other from then on.

    Args:
        folder: The folder.

    Example:
        >>> print(OwnModules(Path.cwd()).find_spec("brotli"))
        None
    """

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    @override
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None or not _is_asked_for():
            return None
        found = PathFinder.find_spec(fullname, [self.folder], target)
        if found is not None:
            sys.path.append(self.folder)  # last, so that no file lying there takes a package's place
            sys.meta_path.remove(self)
        return found


def _is_asked_for() -> bool:
    frame = sys._getframe(2)
    while frame.f_back is not None and _is_of_importlib(str(frame.f_globals.get("__name__"))):
        frame = frame.f_back
    return frame.f_globals.get("__name__") in ASKING


def _is_of_importlib(name: str) -> bool:
    return name == "importlib" or name.startswith(("importlib.", "_frozen_importlib"))
