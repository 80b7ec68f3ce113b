from __future__ import annotations

from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest

from mer_zoo.data.convert import convert
from mer_zoo.data.validate import main, validate


def test_sound_corpora_have_no_faults(corpus_files: dict[str, Path]) -> None:
    assert {name: validate(path) for name, path in corpus_files.items()} == {name: [] for name in corpus_files}


def test_every_fault_is_listed(tmp_path: Path) -> None:
    tree = corpora.mismatched()
    tree["train"]["vision"][0, 0, 0] = tree["train"]["vision"][5, 0, 0] = np.nan
    tree["test"]["regression_labels"][1:3] = 9
    faults = validate(corpora.dump(tree, tmp_path / "corpus.pkl"))
    assert [(fault.split, fault.field, len(fault.ids)) for fault in faults] == [
        ("train", "audio", 0),
        ("valid", "audio_lengths", 1),
        ("test", "vision_lengths", 0),
        ("test", "regression_labels", 2),
        ("train", "vision", 2),
        ("valid", "vision_lengths", 1),
    ]


def test_nan_is_a_fault_unless_accepted(tmp_path: Path) -> None:
    path = corpora.dump(corpora.with_nan(), tmp_path / "corpus.pkl")
    assert [(fault.split, fault.field) for fault in validate(path)] == [
        ("train", "audio"),
        ("train", "vision"),
        ("test", "text"),
    ]
    assert validate(path, nan="zero") == []


def test_a_file_that_cannot_be_read_is_one_fault(tmp_path: Path) -> None:
    (fault,) = validate(corpora.dump(corpora.evil(tmp_path / "ran"), tmp_path / "evil.pkl"))
    assert "names 'posix.system'" in str(fault)
    (fault,) = validate(tmp_path / "nowhere.pkl")
    assert "does not exist" in str(fault)


def test_nothing_is_written(tmp_path: Path) -> None:
    path = corpora.dump(corpora.mmsa(), tmp_path / "corpus.pkl")
    validate(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_store_is_validated_too(tmp_path: Path) -> None:
    convert(corpora.dump(corpora.mmsa(), tmp_path / "corpus.pkl"), tmp_path / "store", progress=False)
    assert validate(tmp_path / "store") == []
    np.save(tmp_path / "store" / "train.vision.npy", np.full((8, 11, 4), np.nan, np.float32))
    assert [(fault.split, fault.field, len(fault.ids)) for fault in validate(tmp_path / "store")] == [
        ("train", "vision", 8)
    ]


def test_the_command_prints_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = corpora.dump(corpora.mmsa(), tmp_path / "c.pkl")
    assert main([str(path)]) == 0
    printed = capsys.readouterr().out
    assert all(part in printed for part in ("train", "11 x 4", "negative", "-inf value in audio", "no faults"))


def test_the_command_prints_every_id_of_every_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = corpora.mmsa()
    tree["train"]["regression_labels"][:] = 5
    tree["train"]["id"][7] = "[bold]\x1b[31m"
    assert main([str(corpora.dump(tree, tmp_path / "c.pkl"))]) == 1
    printed = capsys.readouterr().out
    assert "fault: train: regression_labels hold a sentiment outside [-3, 3] (samples" in printed
    assert all(f"_${row}'" in printed for row in range(7))
    assert "[bold]" in printed
    assert "\x1b" not in printed
    assert "fault: train: id holds line ends, control characters" in printed
    assert "2 faults" in printed


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ([-2.5, 0.0, 1.5], "labels: sentiment in [-3, 3], for data.task regression, two, binary"),
        ([0.2, 0.4, 0.4], "labels: not clear: its labels lie from 0.2 to 0.4"),
        ([0, 2, 2], "labels: classes (0, 1, 2), for data.task classes"),
        ([np.nan] * 3, "labels: none, so the file serves predict alone"),
    ],
)
def test_the_command_says_what_labels_are_taken_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: list[float], told: str
) -> None:
    fields: Any = {"train/audio": np.ones((3, 5, 2)), "train/labels": np.array(labels)}
    np.savez(tmp_path / "own.npz", **fields)
    assert main([str(tmp_path / "own.npz")]) == 0
    printed = capsys.readouterr().out
    assert told in printed
    assert ("note: no training sample is 1" in printed) == (labels[0] == 0)
