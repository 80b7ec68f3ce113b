"""Files of groups: what is read, and what is refused by a sentence that names the line."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mer_zoo.backbones import LFLSTM
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.confounding.groups import Groups
from mer_zoo.confounding.word_rule import word_rule
from mer_zoo.errors import MERError
from mer_zoo.reports.clusters import Clusters
from mer_zoo.task import SentimentClassification
from mer_zoo.wrappers import DFR, JTT, MCIS, RWG, GroupDRO, PropensityWeighting


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


UNKNOWN: dict[str, Any] = {"source": "video"}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            partial(PropensityWeighting, source="recording"),
            "not tell the recording; set source: groups, and groups to",
        ),
        (partial(RWG, groups="recording"), "do not tell the recording; set groups to a CSV file"),
        (partial(DFR, groups="speaker"), "give the file a field speaker, or set groups to a CSV file"),
        (partial(MCIS, attribute="recording"), "do not tell the recording; set attribute to a CSV file"),
        (partial(MCIS, attribute="speaker"), "give the file a field speaker, or set attribute to a CSV file"),
        (partial(MCIS, attribute={"a": "Ann"}), "'b' for one; give attribute a line for each id"),
        (partial(MCIS, attribute="none.csv"), "^attribute: none.csv cannot be read as a CSV file"),
        (partial(JTT, epochs=1), "^the first training of LFLSTM has a loss that is not finite; lower lr of JTT$"),
        (partial(PropensityWeighting, **UNKNOWN), "unknown source 'video' of PropensityWeighting; choose from"),
        (partial(GroupDRO, words="none.csv"), "^words: none.csv cannot be read as a CSV file"),
    ],
)
def test_messages_name_the_option_of_who_speaks(build: Any, message: str) -> None:
    spec, task = DataSpec(), SentimentClassification(2)
    batch = Batch.random(spec, task, size=2).replace(ids=["a", "b"])
    batch.audio.x.fill_(float("nan"))
    with pytest.raises(MERError, match=message):
        build(LFLSTM(spec, task, dim=4)).prepare([batch])


def test_messages_name_the_option_of_the_command(tmp_path: Path) -> None:
    path = tmp_path / "groups.csv"
    path.write_text("id\na\n")
    with pytest.raises(MERError, match="^--cluster: .* does not begin with a line of two columns"):
        Clusters(str(path))
    with pytest.raises(MERError, match="^deconfounded: .* does not begin with a line that has the columns word and"):
        word_rule("MERModule", str(path), option="deconfounded")
