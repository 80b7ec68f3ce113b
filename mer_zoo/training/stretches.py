"""A run that is resumed has several stretches, and its provenance.json tells of each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mer_zoo.errors import MERError
from mer_zoo.fields import Fields
from mer_zoo.foreign import read_json

__all__ = ["with_stretch"]

_LARGEST = 2**20  # bytes
_REMEDY = "delete it, and the run goes on without"


def with_stretch(path: Path, now: Mapping[str, Any]) -> dict[str, Any]:
    """The provenance of a run with one more stretch.

    Args:
        path: The provenance.json of the stretches before.
        now: Provenance of the one that begins.

    Returns:
        What stands there, in which ``resumed`` ends with ``now``.

    Raises:
        MERError: If the file can't be read, or holds something else.

    Example:
        >>> from tempfile import mkdtemp
        >>> file = Path(mkdtemp()) / "provenance.json"
        >>> _ = file.write_text('{"command": "mer-zoo fit"}')
        >>> with_stretch(file, {"command": "mer-zoo fit --ckpt_path last"})["resumed"]
        [{'command': 'mer-zoo fit --ckpt_path last'}]
    """
    try:
        first = Fields(read_json(path, _LARGEST, strict=True), str(path), _REMEDY)
    except OSError as error:
        raise MERError(f"{path} can't be read ({error.strerror}); {_REMEDY}") from None
    resumed = first.content.get("resumed", [])
    if not isinstance(resumed, list):
        raise first.refusal("resumed", "a list of stretches")
    return {**first.content, "resumed": [*resumed, dict(now)]}
