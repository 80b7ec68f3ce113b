import json
import os
from pathlib import Path

import pytest

from mer_zoo.errors import MERError
from mer_zoo.training.stretches import with_stretch


def test_each_stretch_is_added(tmp_path: Path) -> None:
    file = tmp_path / "provenance.json"
    file.write_text(json.dumps({"command": "fit", "resumed": [{"command": "one"}]}))
    assert with_stretch(file, {"command": "two"}) == {
        "command": "fit",
        "resumed": [{"command": "one"}, {"command": "two"}],
    }


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", "[" * 10_000, '{"resumed": 3}', '{"resumed": {"a": 1}}', '{"seed": NaN}', '{"seed": 1, "seed": 2}'],
)
def test_an_odd_file_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "provenance.json"
    file.write_text(text)
    with pytest.raises(MERError, match=r"provenance\.json"):
        with_stretch(file, {})


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "provenance.json")
    with pytest.raises(MERError, match="is not a regular file"):
        with_stretch(tmp_path / "provenance.json", {})
