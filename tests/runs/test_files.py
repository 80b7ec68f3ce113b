import os
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


def test_the_temporary_file_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies at its place beforehand, such as a link that someone planted, is not written through."""
    precious, target = tmp_path / "precious.txt", tmp_path / "results.json"
    precious.write_text("precious")
    monkeypatch.setattr("secrets.token_hex", lambda _: "known")
    (tmp_path / f".{os.getpid()}-known.results.json").symlink_to(precious)
    with pytest.raises(FileExistsError), whole_file(target) as part:
        part.write_text("evil")
    assert precious.read_text() == "precious"
    assert not target.exists()
