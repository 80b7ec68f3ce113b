"""Imports of a command without the collection of garbage, which goes through them for nothing."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["imports_kept"]

_process = {"runs_a_command": False}


@contextmanager
def imports_kept(by_process: bool = False) -> Iterator[None]:
    """Leave the collection of garbage out of what is imported here, now and until the process ends.

    Imports make hundreds of thousands of objects that stay. To go through them again and again, and once more when the
    interpreter is taken down, takes as long as a good part of the imports themselves.

    Args:
        by_process: Whether the process runs a command and nothing else. Where no call has said so, the collector is
            another program's, and is left alone.

    Example:
        >>> with imports_kept():
        ...     import json
        >>> gc.isenabled()
        True
    """
    _process["runs_a_command"] |= by_process
    if not (gc.isenabled() and _process["runs_a_command"]):
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
