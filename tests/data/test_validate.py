from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest

from mer_zoo.cli.validate_data import main
from mer_zoo.data.convert import convert
from mer_zoo.data.corpus.meaning import Meaning
from mer_zoo.data.validate import examine, validate
from mer_zoo.errors import MERError


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
    assert main([str(tmp_path / "own.npz")]) == int("not clear" in told)
    printed = capsys.readouterr().out
    assert told in printed
    assert ("no faults" in printed) != ("warning: no task can be trained on these labels" in printed)
    assert ("because no split has labels" in printed) == ("labels: none" in told)
    assert ("note: no training sample is 1" in printed) == (labels[0] == 0)


SIZES = {"train": 80, "valid": 40, "test": 60}


def telling(path: Path, plant: Callable[[Any, Any, Any], Any]) -> Path:
    """Random features of clips, two a recording, into which something may be put that goes by the label.

    Args:
        path: The file.
        plant: Takes (N, T, d) features, (N,) labels and N ids, and gives the features.
    """
    rng = np.random.default_rng(0)
    fields: dict[str, Any] = {}
    for name, count in SIZES.items():
        labels = rng.uniform(-3, 3, count)
        ids = np.array([f"{name}_{row // 2}$_${row}" for row in range(count)])
        fields[f"{name}/audio"] = plant(rng.normal(size=(count, 4, 5)), labels, ids)
        fields[f"{name}/regression_labels"], fields[f"{name}/id"] = labels, ids
    np.savez(path, **fields)
    return path


def as_they_are(x: Any, labels: Any, ids: Any) -> Any:
    return x


def the_label(x: Any, labels: Any, ids: Any) -> Any:
    x[..., 2] = labels[:, None]
    return x


def the_sign(x: Any, labels: Any, ids: Any) -> Any:
    x[..., 1] = 0.2 - (labels > 0)[:, None]
    return x


def the_length(x: Any, labels: Any, ids: Any) -> Any:
    x[labels > 0, 2:] = 0
    return x


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        (the_label, "column 2 of audio (mean) is the label itself"),
        (the_sign, "column 1 of audio (mean) is the label itself"),
        (the_length, "the length of audio alone tells the label of test: AUC 100.0 %"),
    ],
)
def test_what_tells_the_label_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], plant: Callable[[Any, Any, Any], Any], told: str
) -> None:
    assert main([str(telling(tmp_path / "c.npz", plant))]) == 1
    printed = capsys.readouterr().out
    assert f"warning: {told}" in printed
    assert "no faults" not in printed
    assert printed.splitlines()[-1] in ("1 warning", "2 warnings")


def test_what_is_honest_is_left_alone(tmp_path: Path) -> None:
    report = examine(telling(tmp_path / "c.npz", as_they_are))
    assert (report.faults, report.warnings, report.exit_code, report.closing) == ([], [], 0, "no faults")


def test_recordings_that_splits_share_are_a_warning(tmp_path: Path) -> None:
    tree = corpora.mmsa()
    tree["test"]["id"][0] = f"{corpora.VIDEOS['train'][0]}$_$999"
    report = examine(corpora.dump(tree, tmp_path / "c.pkl"))
    assert [one.kind for one in report.warnings] == ["shared-recordings"]
    assert report.warnings[0].message.startswith("1 recording of test is in train too, with 1 of its 6 samples")


def test_speakers_that_splits_share_are_told(tmp_path: Path) -> None:
    tree = corpora.mmsa()
    for name, split in tree.items():
        split["speaker"] = [f"{name} {row}" for row in range(len(split["id"]))]
    tree["test"]["speaker"][2] = "train 1"
    report = examine(corpora.dump(tree, tmp_path / "c.pkl"))
    assert "1 speaker of test is in train too, with 1 of its 6 samples" in " ".join(report.notes)
    assert report.closing == "no faults"
    for name in ("train", "test"):  # who speaks tells what is felt
        split = tree[name]
        tree[name] = {key: np.concatenate([value] * 9) for key, value in split.items()}
        count = len(tree[name]["raw_text"])
        tree[name]["id"] = np.array([f"{name}_{row}$_$1" for row in range(count)])
        tree[name]["audio"][..., 0] = np.random.default_rng(0).normal(size=(count, 1))
        tree[name]["regression_labels"] = np.where(np.arange(count) % 4 < 2, 1.0, -1.0) * (1 + np.arange(count) % 2)
        tree[name]["speaker"] = np.array([f"voice {row % 24}" for row in range(count)])
    report = examine(corpora.dump(tree, tmp_path / "d.pkl"))
    assert "shared-speakers" in [one.kind for one in report.warnings]


def test_columns_are_looked_at(tmp_path: Path) -> None:
    tree = corpora.mmsa()
    for split in tree.values():
        split["vision"][..., 1] *= 1e5
    tree["train"]["audio"][..., 0] = 0.5 * (tree["train"]["audio"] != 0).any(-1)
    notes = examine(corpora.dump(tree, tmp_path / "c.pkl")).notes
    assert any(note.startswith("1 column of vision (1), from ") for note in notes)
    assert any("columns of audio is constant in train, and varies elsewhere (0)" in note for note in notes)


def test_nothing_more_is_looked_at_where_there_are_faults(tmp_path: Path) -> None:
    report = examine(corpora.dump(corpora.mismatched(), tmp_path / "c.pkl"))
    assert (report.warnings, report.outcomes) == ([], [])
    assert [one.because for one in report.not_checked] == ["faults come first"]


def test_options_say_what_labels_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.npz"
    fields: Any = {"train/audio": np.ones((4, 2, 1)), "train/labels": [0, 1, 1, 0]}
    np.savez(path, **fields)
    main([str(path), "--label_names", "[sincere, sarcastic]"])
    assert "labels: classes (sincere, sarcastic), for data.task classes" in capsys.readouterr().out
    main([str(path), "--label_range=[-3,3]"])
    assert "labels: sentiment in [-3, 3]" in capsys.readouterr().out
    with pytest.raises(MERError, match="--label_range is 'wide'; give two numbers"):
        main([str(path), "--label_range", "wide"])


@pytest.mark.parametrize("labels", [[-2.4, 0.0, 1.6], [0.0, 1.0, 5.0]])
def test_labels_that_are_no_classes_are_faults_where_they_are_said_to_be_some(
    tmp_path: Path, labels: list[float]
) -> None:
    fields: Any = {"train/audio": np.ones((3, 5, 2)), "train/labels": np.array(labels)}
    np.savez(tmp_path / "own.npz", **fields)
    report = examine(tmp_path / "own.npz", told=Meaning("classes", names=("a", "b")))
    assert [fault.field for fault in report.faults] == ["labels"]
    assert not any("no training sample" in note for note in report.notes)


@pytest.mark.parametrize(
    ("labels", "remedy"),
    [
        ([0.5, np.nan, -1.0], "mend the labels: leave samples"),
        (["joy", "fear", "joy"], "mend the labels: number classes"),
    ],
)
def test_a_fault_of_labels_tells_what_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: list[Any], remedy: str
) -> None:
    fields: Any = {"train/audio": np.ones((3, 5, 2)), "train/labels": np.array(labels)}
    np.savez(tmp_path / "own.npz", **fields)
    assert main([str(tmp_path / "own.npz")]) == 1
    printed = capsys.readouterr().out
    assert f"  remedy: {remedy}" in printed
    assert "labels: none" not in printed


def test_classes_of_one_name_are_no_task(tmp_path: Path) -> None:
    fields: Any = {"train/audio": np.ones((3, 5, 2)), "train/labels": np.array([0, 1, 2])}
    np.savez(tmp_path / "own.npz", **fields)
    report = examine(tmp_path / "own.npz", told=Meaning("classes", names=("a", "a", "b")))
    assert [one.kind for one in report.warnings] == ["no-task"]


@pytest.mark.parametrize("content", [{"audio": np.ones((2, 5, 3))}, [1, 2], {}])
def test_the_first_line_of_what_holds_no_corpus_is_its_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: Any
) -> None:
    assert main([str(corpora.dump(content, tmp_path / "c.pkl"))]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line[:1].islower()]  # without tables
    assert lines[0].startswith("fault: ")
    assert lines[-2].startswith(("not checked: ", "fault: "))
