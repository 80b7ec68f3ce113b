import csv
import os
from pathlib import Path

import pytest

from mer_zoo.runs.files import whole_file, write_csv


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


@pytest.mark.parametrize(
    ("text", "is_formula"),
    [
        ("=cmd|' /C calc'!A0", True),
        ("+1", True),
        ("@SUM(1)", True),
        (" =1+1", True),
        ("-2+3+cmd|' /C calc'!A0", True),
        ("-3g5yACwYnA$_$10", False),
        ("a=b", False),
    ],
)
def test_a_csv_file_holds_no_formulas(tmp_path: Path, text: str, is_formula: bool) -> None:
    write_csv(tmp_path / "a.csv", [{"id": text, "model": text, text: -0.5}])
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        names, row = csv.reader(file)
    kept = f"'{text}" if is_formula else text
    assert (names, row) == (["id", "model", kept], [text, kept, "-0.5"])  # ids are what other tables are joined by
