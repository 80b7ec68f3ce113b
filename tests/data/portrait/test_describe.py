from __future__ import annotations

import csv
import pickle
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest

from mer_zoo.cli.describe import main
from mer_zoo.data.convert import convert
from mer_zoo.data.portrait.description import Description, describe
from mer_zoo.errors import MERError


def rows_of(found: Description, title: str) -> dict[str, list[str]]:
    (table,) = [table for table in found.tables if table.title.startswith(title)]
    return {row[0]: row[1:] for row in table.rows}


def own(path: Path, **fields: Any) -> Path:
    """A corpus of three samples in train and two in test, all with the same fields."""
    path.write_bytes(
        pickle.dumps({name: {k: v[:n] for k, v in fields.items()} for name, n in (("train", 3), ("test", 2))})
    )
    return path


def test_the_statistics_of_every_format(corpus_files: dict[str, Path], tmp_path: Path) -> None:
    convert(corpora.dump(corpora.mmsa(), tmp_path / "c.pkl"), tmp_path / "store", progress=False)
    for path in (*corpus_files.values(), tmp_path / "store"):
        rows = rows_of(describe(path), "Statistics of ")
        assert rows["samples"][-1] == str(sum(map(int, rows["samples"][:-1])))


def test_what_a_paper_prints(tmp_path: Path) -> None:
    found = describe(corpora.dump(corpora.mmsa(), tmp_path / "c.pkl"))
    rows = rows_of(found, "Statistics of c.pkl")
    assert found.tables[0].header == ["", "train", "valid", "test", "all"]
    assert rows["samples"] == ["8", "5", "6", "19"]
    assert rows["recordings"] == [*(str(len(corpora.VIDEOS[name])) for name in ("train", "valid", "test")), "5"]
    assert sum(int(rows[name][-1].split()[0]) for name in ("negative", "neutral", "positive")) == 19
    assert {"words", "steps of text", "steps of audio", "steps of vision", "vocabulary"} <= rows.keys()
    assert rows_of(found, "Features")["vision"][:2] == ["11", "4"]
    assert [picture.name for picture in found.pictures()] == ["labels", "lengths", "words"]


def test_classes_of_ones_own_speakers_and_dialogues(tmp_path: Path) -> None:
    path = own(
        tmp_path / "c.pkl",
        audio=np.ones((3, 2, 4)) * np.arange(1, 4)[:, None, None],
        labels=[0, 1, 0],
        speaker=["Ann", "Bob", ""],
        dialogue=["1", "1", "2"],
        id=["u1", "u2", "u3"],
        raw_text=["so good", "", "yes"],
    )
    about = {"labels": "classes", "names": ["joy", "fear"]}
    path.write_bytes(pickle.dumps({"train": pickle.loads(path.read_bytes())["train"], "about": about}))
    found = describe(path)
    rows = rows_of(found, "Statistics of ")
    assert rows["joy"] == ["2 (66.7 %)", "2 (66.7 %)"]
    assert (rows["speakers"], rows["dialogues"], rows["vocabulary"]) == (["2", "2"], ["2", "2"], ["3", "3"])
    assert rows_of(found, "Lengths")["words, absent"] == ["1 (33.3 %)", "1 (33.3 %)"]
    assert rows_of(found, "Words")["samples without any"] == ["1 (33.3 %)", "1 (33.3 %)"]


def test_emotions_of_which_a_sample_may_have_several(tmp_path: Path) -> None:
    labels = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]])
    path = own(
        tmp_path / "c.pkl", audio=np.random.default_rng(0).normal(size=(3, 2, 4)), labels=labels, id=["a", "b", "c"]
    )
    tree = pickle.loads(path.read_bytes())
    tree["test"]["id"], tree["about"] = ["d", "e"], {"labels": "emotions", "names": ["joy", "fear", "anger"]}
    tree["test"]["audio"] = tree["test"]["audio"] + 1
    path.write_bytes(pickle.dumps(tree))
    found = describe(path)
    assert rows_of(found, "Statistics of ")["fear"] == ["2 (66.7 %)", "2 (100.0 %)", "4 (80.0 %)"]
    assert "A sample may have several of the emotions, or none." in found.tables[0].notes
    assert any("Emotion anger is absent in every training sample." in table.notes for table in found.tables)


def test_text_alone_without_labels(tmp_path: Path) -> None:
    tokens = np.zeros((3, 3, 5), np.int64)
    tokens[:, 0, :4], tokens[:, 1, :4] = [101, 7, 8, 102], 1
    path = tmp_path / "c.pkl"
    path.write_bytes(pickle.dumps({"test": {"text_bert": tokens, "regression_labels": [np.nan] * 3}}))
    found = describe(path)
    rows = rows_of(found, "Statistics of ")
    assert (rows["with a label"], rows["steps of text"]) == (["0", "0"], ["4.0", "4.0"])
    assert rows_of(found, "Token ids")["vocabulary"] == ["2", "2"]
    assert [picture.name for picture in found.pictures()] == ["lengths"]


def test_labels_that_are_not_clear_are_asked_for(tmp_path: Path) -> None:
    path = own(tmp_path / "c.pkl", audio=np.random.default_rng(0).normal(size=(3, 2, 4)), labels=[0.2, 0.4, 0.4])
    tree = {"train": pickle.loads(path.read_bytes())["train"]}
    path.write_bytes(pickle.dumps(tree))
    assert any("What the labels mean is not clear: its labels lie" in note for note in describe(path).tables[0].notes)
    main([str(path), "--label_range=[0,1]", "--csv", str(tmp_path / "d.csv")])
    told = {(row["table"], row["row"]): row["cell"] for row in csv.DictReader((tmp_path / "d.csv").open())}
    assert told["Scores", "highest"] == "0.4"


def test_the_command_writes_what_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = corpora.mmsa()
    tree["train"]["raw_text"][0] = "<script>x</script> | $y$"
    path = str(corpora.dump(tree, tmp_path / "c.pkl"))
    files = {option: tmp_path / f"d.{option}" for option in ("markdown", "latex", "html")}
    main([path, "--out", str(tmp_path / "out"), *(f"--{option}={file}" for option, file in files.items())])
    assert "Statistics of c.pkl" in capsys.readouterr().out
    assert {"describe.md", "describe.csv", "labels.svg", "lengths.png", "words.pdf"} <= {
        file.name for file in (tmp_path / "out").iterdir()
    }
    assert "![" in (tmp_path / "out" / "describe.md").read_text()
    assert files["markdown"].read_text().startswith("# The corpus c.pkl\n\n**Statistics of c.pkl**")
    assert r"\begin{tabular}{lrrrr}" in files["latex"].read_text()
    page = files["html"].read_text()
    assert "<svg" in page
    assert "<script>x" not in page


def test_a_corpus_with_faults_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MERError, match=r"cannot be used: .*; mend the file"):
        describe(corpora.dump(corpora.mismatched(), tmp_path / "c.pkl"))
    with pytest.raises(MERError, match="does not exist"):
        describe(tmp_path / "nowhere.pkl")
