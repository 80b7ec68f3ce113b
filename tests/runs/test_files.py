from pathlib import Path

import pytest

from mer_zoo.runs.files import whole_file


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "new" / "results.json"
    with whole_file(target) as part:
        part.write_text("first")

    def fail() -> None:
        with whole_file(target) as part:
            part.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert target.read_text() == "first"
    assert [path.name for path in target.parent.iterdir()] == ["results.json"]
