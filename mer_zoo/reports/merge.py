"""A second test in a folder adds its conditions to those of the first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mer_zoo.errors import MERError
from mer_zoo.foreign import read_json
from mer_zoo.reports.record import LARGEST, RESULTS, parse_results

__all__ = ["results_to_add_to"]

_SAME_TEST = ("weights", "task", "convention", "data")


def results_to_add_to(folder: Path, results: Mapping[str, Any], overwrite: bool = False) -> dict[str, Any]:
    """The conditions that an earlier test of the same weights on the same data has left in a folder.

    Args:
        folder: Holds the earlier results.json, or none.
        results: Content of the new one.
        overwrite: Whether the earlier one is to be replaced as a whole.

    Returns:
        Name of each condition that is not tested anew -> its entry.

    Raises:
        MERError: If the earlier one can't be read, or is of other weights, another task or other data, naming what
            differs.

    Example:
        >>> results_to_add_to(Path("nowhere"), {"conditions": {}})
        {}
    """
    path = folder / RESULTS
    if overwrite or not path.is_file():
        return {}
    try:
        earlier = read_json(path, LARGEST, strict=True)
        parse_results(earlier, path)
    except (MERError, OSError) as error:
        raise MERError(
            f"{path} can't be read, so nothing can be added to it ({error}); replace it by --overwrite=true"
        ) from None
    conditions = earlier["conditions"]
    wanted = json.loads(json.dumps({key: results.get(key) for key in _SAME_TEST}))
    other = [key for key in _SAME_TEST if key in earlier and earlier[key] != wanted[key]]
    if other:
        raise MERError(
            f"{path} holds a test with other {other[0]}; write to another folder by --record.folder, or replace it by"
            " --overwrite=true"
        )
    return {name: entry for name, entry in conditions.items() if name not in results["conditions"]}
