"""Splits that share no speaker or other group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest

from mer_zoo.data.corpus.corpus import Corpus
from mer_zoo.data.ood.by_group import main, split_by_group
from mer_zoo.data.store.store import open_corpus
from mer_zoo.errors import MERError

COUNTS = {"train": 60, "valid": 10, "test": 30}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten speakers, who stand in all splits; dialogues whose numbers begin anew; two emotions."""
    rng, tree = np.random.default_rng(0), {}
    for split, count in COUNTS.items():
        tree[split] = {
            "audio": rng.normal(size=(count, 3, 4)),
            "labels": rng.integers(0, 2, (count, 4)),
            "raw_text": [f"{split} {row}" for row in range(count)],
            "id": [f"dia{row // 5}_utt{row % 5}" for row in range(count)],
            "speaker": [f"speaker {row % 10}" for row in range(count)],
            "dialogue": [row // 5 for row in range(count)],
        }
    return corpora.dump(tree, tmp_path_factory.mktemp("source") / "corpus.pkl")


def samples(corpus: Corpus) -> dict[str, Any]:
    """Everything that is known of each sample, by its text."""
    return {
        text: (split.features["audio"][row].tobytes(), np.asarray(split.labels)[row].tolist(), *spoken)
        for split in corpus.splits.values()
        for row, (text, *spoken) in enumerate(
            zip(split.raw_text, split.ids, *dict(split.conversation).values(), strict=True)
        )
    }


@pytest.mark.parametrize("by", ["speaker", "dialogue"])
def test_no_group_is_in_two_splits(source: Path, tmp_path: Path, by: str) -> None:
    table = split_by_group(source, tmp_path / "new", by)
    corpus = open_corpus(tmp_path / "new")
    groups = [set(split.conversation.names()[by]) for split in corpus.splits.values()]
    assert list(corpus.splits) == ["train", "valid", "test"]
    assert sum(map(len, groups)) == len(set.union(*groups)) == {"speaker": 10, "dialogue": 20}[by]
    assert samples(corpus) == samples(open_corpus(source))
    assert table.rows == [
        [name, str(len(s)), str(len(g))] for (name, s), g in zip(corpus.splits.items(), groups, strict=True)
    ]
    assert len(corpus.split("test")) == 20
    assert corpus.notes[-1].startswith(f"splits made by mer-zoo split (by {by}, seed 0, test 0.2, valid 0.1)")


def test_seeds_tell_the_splits(source: Path, tmp_path: Path) -> None:
    ids = []
    for name, seed in {"a": 0, "b": 0, "c": 1}.items():
        split_by_group(source, tmp_path / name, "speaker", seed)
        ids.append(open_corpus(tmp_path / name).split("test").ids)
    assert ids[0] == ids[1] != ids[2]


def test_groups_of_a_file_from_the_command_line(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [name for split in open_corpus(source).splits.values() for name in split.ids]
    (tmp_path / "films.csv").write_text("id,film\n" + "".join(f"{name},{i % 7}\n" for i, name in enumerate(ids)))
    args = [str(source), str(tmp_path / "new"), "--by", str(tmp_path / "films.csv"), "--test", "0.4"]
    main(args)
    assert "by group of films.csv" in capsys.readouterr().out
    assert len(open_corpus(tmp_path / "new").split("test")) >= 40


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"by": "recording"}, "the recording of 100 samples .* is not told, 'train_dia0_utt0' for one; give it ids"),
        ({"by": "speaker", "test": 0.9}, r"test is 0\.9 and valid 0\.1; give shares"),
        ({"by": "speaker", "test": 0.5, "valid": 0.49}, r"10 groups by speaker, of which none is left for train"),
        ({"by": "speaker", "seed": -1}, "seed is -1; give at least 0"),
        ({"by": "nowhere.csv"}, "cannot be read as a CSV file"),
        ({"by": "turn"}, "--by is 'turn'; take speaker, dialogue, recording or a CSV file"),
    ],
)
def test_what_cannot_be_split(source: Path, tmp_path: Path, options: dict[str, Any], why: str) -> None:
    with pytest.raises(MERError, match=why):
        split_by_group(source, tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_samples_without_a_label_are_told_of(tmp_path: Path) -> None:
    tree = corpora.mmsa()
    for split in tree.values():
        split.pop("classification_labels", None)
    tree["test"]["regression_labels"] = np.full(len(tree["test"]["raw_text"]), np.nan)
    table = split_by_group(corpora.dump(tree, tmp_path / "a.pkl"), tmp_path / "new", "recording", test=0.3)
    assert table.notes[1:] == [f"{len(tree['test']['raw_text'])} samples without a label left out"]


def test_a_file_that_tells_no_speakers(tmp_path: Path) -> None:
    tree = {"train": {"audio": np.ones((4, 3, 2)), "regression_labels": np.array([-2.0, 0.0, 1.0, 2.0])}}
    with pytest.raises(
        MERError, match=r"the speaker of 4 samples .* not told.*; give it a field speaker, or take other"
    ):
        split_by_group(corpora.dump(tree, tmp_path / "a.pkl"), tmp_path / "new", "speaker")


def test_the_command_is_told_what_labels_mean(tmp_path: Path) -> None:
    fields = {
        split: {
            "audio": np.random.default_rng(place).normal(size=(8, 2, 3)),
            "labels": np.linspace(0.2, 0.8, 8),  # of which scale?
            "speaker": [f"{split}{row}" for row in range(8)],
        }
        for place, split in enumerate(COUNTS)
    }
    source = corpora.dump(fields, tmp_path / "scores.pkl")
    main([str(source), str(tmp_path / "new"), "--by", "speaker", "--label_range=[0,1]"])
    meaning = open_corpus(tmp_path / "new").meaning
    assert meaning is not None
    assert meaning.range == (0.0, 1.0)
