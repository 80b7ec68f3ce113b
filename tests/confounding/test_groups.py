"""Files of groups: what is read, and what is refused by a sentence that names the line."""

from pathlib import Path

import pytest

from mer_zoo.confounding.groups import Groups
from mer_zoo.errors import MERError


def test_a_file_as_spreadsheets_write_it(tmp_path: Path) -> None:
    path = tmp_path / "films.csv"
    path.write_bytes(b'\xef\xbb\xbfid,film\r\na$_$1,"Up, up"\r\n\r\na$_$2,Caf\xc3\xa9\r\n')
    assert Groups(str(path)).names(["a$_$2", "a$_$1", "b"]) == ["Café", "Up, up", ""]
    assert Groups(path).of == Groups(str(path)).of


def test_groups_may_be_numbers() -> None:
    assert Groups({1: 0, "b": 12}).check(["1", "b"]) == ["0", "12"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not begin with a line of two columns, id and group"),
        (b"name,film\na,b\n", "does not begin with a line of two columns, id and group"),
        (b"id,film\na,b\na,c\n", "line 3 of .* is not an id of its own and a group; mend that line"),
        (b"id,film\na\n", "line 2 of .* is not an id of its own and a group"),
        (b"id,film\na,\n", "line 2 of .* is not an id of its own and a group"),
        (b"id,film\n\xff,b\n", r"cannot be read as a CSV file \(UnicodeDecodeError\); give one in UTF-8"),
        (b'id,film\na,"' + b"x" * 200000, r"cannot be read as a CSV file \(Error\)"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "groups.csv"
    path.write_bytes(content)
    with pytest.raises(MERError, match=message):
        Groups(str(path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MERError, match=r"groups: .*none.csv cannot be read as a CSV file \(FileNotFoundError\)"):
        Groups(str(tmp_path / "none.csv"))
