"""Imports of a command without the collection of garbage, which goes through them for nothing."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["imports_kept"]


@contextmanager
def imports_kept(by_process: bool = False) -> Iterator[None]:
    """Leave the collection of garbage out of what is imported here, now and until the process ends.

    Imports make hundreds of thousands of objects that stay. To go through them again and again is a fifth of the
    seconds in which torch and Lightning are imported, and as long again when the interpreter is taken down.

    Args:
        by_process: Whether the process runs a command and nothing else; where it does not, and has not kept imports
            before, the collector is another program's, and is left alone.

    Example:
        >>> before = gc.get_freeze_count()
        >>> with imports_kept():
        ...     import json
        >>> gc.get_freeze_count() == before
        True
    """
    if not gc.isenabled() or not (by_process or gc.get_freeze_count()):
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
