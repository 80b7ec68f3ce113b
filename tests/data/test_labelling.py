from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest
import torch

from mer_zoo import EmotionDetection, NominalClassification, SentimentRegression
from mer_zoo.data import IEMOCAP, MOSI, MERDataModule
from mer_zoo.data.store.store import open_corpus, write_store
from mer_zoo.errors import MERError

NAMES = ["anger", "joy", "neutral"]


def made(folder: Path, values: dict[str, Any], field: str = "labels", **about: Any) -> Path:
    """An .npz of audio alone, with the labels of its splits."""
    fields: dict[str, Any] = {f"about/{key}": value for key, value in about.items()}
    for split, labels in values.items():
        fields[f"{split}/audio"] = np.random.default_rng(len(fields)).normal(size=(len(labels), 4, 3))
        fields[f"{split}/{field}"] = np.asarray(labels)
    folder.mkdir(exist_ok=True, parents=True)
    np.savez(folder / "own.npz", **fields)
    return folder / "own.npz"


def read(path: Path, **options: Any) -> MERDataModule:
    return MERDataModule(str(path), modalities=["audio"], conditions=[], **options)


def test_classes_have_the_names_that_the_user_gives(tmp_path: Path) -> None:
    path = made(tmp_path, {"train": [0, 1, 1, 2], "valid": [0, 1], "test": [2, 2]}, "classification_labels")
    data = read(path, task="classes", label_names=NAMES)
    assert data.task.given == {"classes": tuple(NAMES), "class_weights": None}
    assert next(iter(data.train_dataloader())).target.dtype == torch.int64
    assert read(path, task="classes").task.class_names == ("0", "1", "2")
    assert data.label_options() == {"labels": "classes", "label_range": None, "label_names": NAMES}


def test_balanced_weights_are_of_the_training_split(tmp_path: Path) -> None:
    path = made(tmp_path, {"train": [0, 1, 1, 1, 3, 3], "valid": [0, 2], "test": [2, 2, 2, 2]})
    data = read(path, task="classes", class_weights="balanced")
    weights = data.task.given["class_weights"]
    assert weights == pytest.approx([2.0, 2 / 3, 1.0, 1.0])
    assert sum(weights[label] for label in [0, 1, 1, 1, 3, 3]) == pytest.approx(6)
    assert data.describe()["notes"][-1] == "no training sample is of class 2"
    with pytest.raises(MERError, match="class_weights are of task classes, and data.task is regression"):
        read(made(tmp_path / "b", {"train": [-2.5, 1.0]}), class_weights="balanced")


@pytest.mark.parametrize("task", ["regression", "binary", "two", "seven"])
@pytest.mark.parametrize("labels", [[0, 1, 1, 0], [0, 3, 6, 2], [0.0, 1.0, 1.0, 0.0]])
def test_whole_numbers_are_no_sentiment_unless_it_is_said(tmp_path: Path, task: str, labels: list[Any]) -> None:
    path = made(tmp_path, {"train": labels, "valid": labels[::-1], "test": labels[1:]})
    with pytest.raises(
        MERError, match=r"which does not suit this task, .*to classes; or, if they are a sentiment, say"
    ):
        read(path, task=task)
    if max(labels) <= 3:
        assert next(iter(read(path, task=task, label_range=(-3, 3)).val_dataloader())).target.is_floating_point()


def test_a_question_is_asked_where_nothing_decides(tmp_path: Path) -> None:
    path = made(tmp_path, {"train": [-0.4, 0.2], "valid": [0.6], "test": [0.2]})
    with pytest.raises(MERError, match=r"can't be used for task regression: its labels lie from -0.4 to 0.6"):
        read(path)
    assert read(path, label_range=(-3, 3)).task.given["convention"] == "mmsa"
    sims = read(path, label_range=(-1, 1))
    assert set(sims.task.metrics()) == {"MAE", "Corr", "Acc2", "F1_2", "Acc3", "Acc5"}
    assert sims.convention == "sims"
    with pytest.raises(MERError, match="7; set data.task: five or regression"):
        read(path, label_range=(-1, 1), task="seven")
    with pytest.raises(MERError, match=r"lie in \[-1, 1\], which convention mult does not measure"):
        read(path, label_range=(-1, 1), convention="mult")


def test_a_scale_of_its_own_has_no_classes(tmp_path: Path) -> None:
    path = made(tmp_path, {"train": [1.0, 4.5], "valid": [2.0], "test": [3.0]})
    data = read(path, label_range=(1, 5))
    assert isinstance(data.task, SentimentRegression)
    assert set(data.task.metrics()) == {"MAE", "Corr"}
    assert data.task.grades(torch.tensor([1.0, 3.0, 5.0])).tolist() == [0, 3, 6]
    assert data.task.name_predictions(torch.tensor([[1.254]])) == ["1.25"]
    with pytest.raises(MERError, match="convention scale.*set data.task: regression"):
        read(path, label_range=(1, 5), task="binary")


def test_emotions_of_ones_own_are_not_called_as_those_of_iemocap(tmp_path: Path) -> None:
    labels = np.array([[1, 0, 0, 1], [0, 1, 1, 0]])
    path = made(tmp_path, {"train": labels, "valid": labels, "test": labels[:1]})
    assert read(path, task="emotions").task.problems == ("0", "1", "2", "3")
    own = ["awe", "boredom", "envy", "pride"]
    assert read(path, task="emotions", label_names=own).task.problems == tuple(own)
    given = IEMOCAP(str(path), modalities=["audio"], conditions=[])
    assert given.task.problems == ("neutral", "happy", "sad", "angry")
    with pytest.raises(MERError, match="4 columns, and 2 names are given"):
        read(path, task="emotions", label_names=["awe", "envy"])
    pairs = np.stack([1 - labels, labels], -1)  # as MulT's file of IEMOCAP has them
    iemocap = made(tmp_path / "b", {"train": pairs, "valid": pairs, "test": pairs[:1]})
    assert read(iemocap, task="emotions").task.problems == ("neutral", "happy", "sad", "angry")
    assert read(iemocap, task="emotions", label_names=own).task.problems == tuple(own)


def test_a_task_can_be_handed_over(tmp_path: Path) -> None:
    labels = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    path = made(tmp_path, {"train": labels, "valid": labels[:2], "test": labels[1:]})
    task = EmotionDetection(["awe", "envy", "pride"])
    data = read(path, task=task)
    assert data.task is task
    assert data.task_name == "emotions"
    one = read(path, task=NominalClassification(["awe", "envy", "pride"]))  # one column a sample is a class
    assert next(iter(one.val_dataloader())).target.tolist() == [0, 1]
    with pytest.raises(MERError, match="the task has names of its own"):
        read(path, task=task, label_names=NAMES)
    with pytest.raises(MERError, match="2 names are given"):
        read(path, task=EmotionDetection(["awe", "envy"]))
    with pytest.raises(MERError, match="3 columns, which is no sentiment; say data.labels: emotions"):
        read(path, task=SentimentRegression())


@pytest.mark.parametrize("as_store", [False, True])
def test_the_file_says_what_its_labels_mean(tmp_path: Path, as_store: bool) -> None:
    names = ["sincere", "sarcastic"]
    path = made(tmp_path, {"train": [0, 1, 1], "valid": [0, 1], "test": [1, 0]}, labels="binary", names=names)
    if as_store:
        write_store(path, tmp_path / "store")
        path = tmp_path / "store"
    assert read(path, task="classes").task.class_names == ("sincere", "sarcastic")
    assert read(path, task="classes", label_names=["no", "yes"]).task.class_names == ("no", "yes")


def test_a_store_whose_names_were_edited_is_refused(tmp_path: Path) -> None:
    write_store(made(tmp_path, {"train": [0, 1, 1]}, names=["a", "b"]), tmp_path / "store")
    index = json.loads((tmp_path / "store/corpus.json").read_text())
    index["meaning"]["names"] = ["b", "a"]
    (tmp_path / "store/corpus.json").write_text(json.dumps(index))
    with pytest.raises(MERError, match="are others than were converted"):
        open_corpus(tmp_path / "store")


def test_a_folder_and_a_pickle_say_it_as_well(tmp_path: Path) -> None:
    for split, labels in {"train": [0, 1, 2], "valid": [1], "test": [2]}.items():
        (tmp_path / "own" / split).mkdir(parents=True)
        np.save(
            tmp_path / "own" / split / "audio.npy", np.random.default_rng(len(split)).normal(size=(len(labels), 4, 3))
        )
        np.save(tmp_path / "own" / split / "labels.npy", np.array(labels))
    (tmp_path / "own" / "about.json").write_text(json.dumps({"labels": "classes", "names": NAMES}))
    assert read(tmp_path / "own", task="classes").task.class_names == tuple(NAMES)
    (tmp_path / "own" / "about.json").write_text(json.dumps({"labels": "feelings"}))
    with pytest.raises(MERError, match="labels of its entry about are 'feelings'; write sentiment, classes"):
        read(tmp_path / "own", task="classes")
    tree: Any = corpora.mmsa()
    tree["about"] = {"labels": "sentiment", "range": (-3.0, 3.0)}
    assert open_corpus(corpora.dump(tree, tmp_path / "told.pkl")).meaning is not None


def test_words_beside_numbers_name_them(tmp_path: Path) -> None:
    tree = corpora.without(corpora.mmsa(), "regression_labels")
    path = corpora.dump(tree, tmp_path / "polarity.pkl")
    assert MOSI(str(path), task="binary", conditions=[]).corpus.meaning == open_corpus(path).meaning
    for fields in tree.values():  # MELD's order
        fields["classification_labels"] = (2 - fields["classification_labels"]) % 3
    meaning = open_corpus(corpora.dump(tree, tmp_path / "meld.pkl")).meaning
    assert meaning is not None
    assert (meaning.kind, meaning.names) == ("classes", ("Positive", "Neutral", "Negative"))


def test_another_corpus_has_to_mean_the_same(tmp_path: Path) -> None:
    mosi = made(tmp_path / "a", {"train": [-2.4, 1.0], "valid": [0.4], "test": [3.0]})
    few = made(tmp_path / "b", {"test": [0.2, 0.4]})
    sims = made(tmp_path / "c", {"test": np.tile(np.linspace(-1, 1, 11), 4)})
    data = read(mosi)
    assert len(data.dataset("test", str(few))) == 2
    with pytest.raises(MERError, match=r"sentiment in \[-1, 1\], those of .* sentiment in \[-3, 3\]"):
        data.dataset("test", str(sims))
    ours = made(tmp_path / "d", {"train": [0, 1, 2], "valid": [1], "test": [2]}, names=NAMES)
    theirs = made(tmp_path / "e", {"test": [0, 1]}, names=NAMES[::-1])
    with pytest.raises(MERError, match="the same names in the same order"):
        read(ours, task="classes").dataset("test", str(theirs))


def test_labels_that_are_all_missing_are_none(tmp_path: Path) -> None:
    path = made(tmp_path, {"train": [-2.5, 1.0], "valid": [0.5], "test": [np.nan, np.nan]})
    data = read(path, predict_split="test")
    assert "test: labels are missing in all samples, so there are no labels" in data.corpus.notes
    assert next(iter(data.predict_dataloader())).target.isnan().all()


def test_without_labels_classes_have_to_be_named(tmp_path: Path) -> None:
    path = made(tmp_path, {"test": [np.nan, np.nan]})
    with pytest.raises(MERError, match="name them in data.label_names, as the configuration of the run"):
        read(path, task="classes")
    batch = next(iter(read(path, task="classes", label_names=NAMES, standardize=False).predict_dataloader()))
    assert batch.target.isnan().all()
