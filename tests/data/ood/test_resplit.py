from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest

from mer_zoo.cli import main as cli
from mer_zoo.data import MERDataModule
from mer_zoo.data.corpus.corpus import Corpus
from mer_zoo.data.ood import regrouped
from mer_zoo.data.ood.resplit import split_ood
from mer_zoo.data.store.store import open_corpus
from mer_zoo.errors import MERError

COUNTS = {"train": 90, "valid": 20, "test": 40}


def tree(seed: int = 0, words: int = 12, **counts: int) -> corpora.Tree:
    """Sentences of chance words with every field that a store holds."""
    rng, result, number = np.random.default_rng(seed), {}, 0
    for split, count in {**COUNTS, **counts}.items():
        labels = rng.choice([-2.4, -1.0, 0.0, 1.0, 2.0], count).astype(np.float32)
        labels[:3] = -3, 0, 3
        lengths = rng.integers(1, 6, count)
        tokens = np.zeros((count, 3, 8), np.int64)
        sentences = []
        for row, length in enumerate(lengths):
            chosen = rng.integers(0, words, length)
            tokens[row, 0, : length + 2] = [101, *chosen + 1000, 102]
            tokens[row, 1, : length + 2] = 1
            sentences.append(" ".join(f"word{word}" for word in chosen))
        result[split] = {
            "text_bert": tokens,
            "text": corpora.sequences(rng, lengths + 2, 8, 3),
            "audio": corpora.sequences(rng, lengths, 6, 2, left=True),
            "vision": corpora.sequences(rng, lengths, 7, 2),
            "vision_lengths": np.minimum(lengths + 1, 7),
            "raw_text": np.array(sentences),
            "id": np.array([f"video{(number + row) % 9}$_${number + row}" for row in range(count)]),
            "regression_labels": labels,
        }
        number += count
    return result


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpora.dump(tree(), tmp_path_factory.mktemp("source") / "corpus.pkl")


def samples(corpus: Corpus) -> dict[str, Any]:
    """Everything that is known about each sample."""
    found = {}
    for split in corpus.splits.values():
        assert split.labels is not None
        assert split.token_ids is not None
        for row, name in enumerate(split.ids):
            arrays = [split.labels[row], split.token_ids[row]]
            arrays += [array[row] for fields in (split.features, split.spans) for array in fields.values()]
            found[name] = (split.raw_text[row], [np.asarray(array).tolist() for array in arrays])
    return found


@pytest.mark.parametrize("task", ["binary", "seven"])
def test_the_same_samples_in_splits_of_the_same_sizes(source: Path, tmp_path: Path, task: str) -> None:
    before = source.stat()
    report = split_ood(source, tmp_path / "ood", task)
    after = source.stat()
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    old, new = open_corpus(source), open_corpus(tmp_path / "ood")
    assert {name: len(split) for name, split in new.splits.items()} == {"train": 90, "valid": 20, "test_ood": 40}
    assert samples(new) == samples(old)
    assert (new.aligned, new.vocab_size, new.spec()) == (old.aligned, old.vocab_size, old.spec())
    assert new.notes[-1] == report.note()
    assert report.objective["ood"] > 1.5 * report.objective["random"]
    assert report.objective["valid"] < report.objective["ood"]


def test_what_the_report_says_is_what_the_splits_hold(source: Path, tmp_path: Path) -> None:
    split_ood(source, tmp_path / "ood", "binary", seed=3)
    report = json.loads((tmp_path / "ood" / "split_report.json").read_text())
    corpus = open_corpus(tmp_path / "ood")
    shares = {}
    for name, split in corpus.splits.items():
        assert split.labels is not None
        values, counts = np.unique(np.sign(split.labels), return_counts=True)
        assert values.tolist() == [-1, 0, 1]
        assert report["classes"][name] == dict(zip(("negative", "neutral", "positive"), counts.tolist(), strict=True))
        shares[name] = counts / counts.sum()
    np.testing.assert_allclose(shares["train"], shares["test_ood"], atol=0.02)
    word = report["words"][0]
    for name in ("train", "test_ood"):
        split = corpus.split(name)
        assert split.labels is not None
        signs = np.sign(split.labels[[word["word"] in text.split() for text in split.raw_text]])
        assert word[name] == [(signs == sign).sum() for sign in (-1, 0, 1)]
    by_hand = []
    prior = np.mean([shares[name] * len(corpus.split(name)) / 50 for name in corpus.splits], axis=0)
    for entry in report["words"]:
        given = [(np.array(entry[name]) + 3 * prior) / (sum(entry[name]) + 3) for name in ("train", "test_ood")]
        by_hand.append(0.5 * np.abs(given[0] - given[1]).sum())
    assert report["objective"]["ood"] == pytest.approx(np.mean(by_hand))
    assert report["test_samples_of_recordings_in_train"] == 40
    text = (tmp_path / "ood" / "split_report.md").read_text()
    assert f"| after: train and test_ood | {np.mean(by_hand):.3f} |" in text
    assert "- seed: 3" in text
    assert "word1" in text


@pytest.mark.parametrize("task", ["binary", "seven"])
def test_labels_shift_as_asked_for_and_the_report_says_so(source: Path, tmp_path: Path, task: str) -> None:
    split_ood(source, tmp_path / "ood", task, steps=500, label_shift="-0.25")
    corpus, report = open_corpus(tmp_path / "ood"), json.loads((tmp_path / "ood" / "split_report.json").read_text())
    assert {name: len(split) for name, split in corpus.splits.items()} == {"train": 90, "valid": 20, "test_ood": 40}
    assert samples(corpus) == samples(open_corpus(source))
    shares = {}
    for name, split in corpus.splits.items():
        assert split.labels is not None
        shares[name] = float((split.labels[np.abs(split.labels) > 0.5] > 0).mean())
    assert report["positive_share"] == pytest.approx(shares)
    assert report["label_shift"] == -0.25
    assert report["label_shift_reached"] == pytest.approx(shares["test_ood"] - shares["train"])
    assert report["label_shift_reached"] == pytest.approx(-0.25, abs=0.03)
    assert f"{100 * shares['test_ood']:.1f} % in test_ood" in corpus.notes[-1]
    text = (tmp_path / "ood" / "split_report.md").read_text()
    assert f"a label shift of {report['label_shift_reached']:+.3f}, asked for -0.250" in text


def test_without_a_label_shift_nothing_is_said_of_it(source: Path, tmp_path: Path) -> None:
    split_ood(source, tmp_path / "ood", "binary", steps=100)
    split_ood(source, tmp_path / "same", "binary", steps=100, label_shift="0")
    files = sorted(path.name for path in (tmp_path / "ood").iterdir())
    assert {"split_report.json", "split_report.md"} < set(files)
    for name in files:
        if name.startswith(("split_report", "train", "valid", "test_ood")):
            assert (tmp_path / "ood" / name).read_bytes() == (tmp_path / "same" / name).read_bytes()
    assert "label" not in (tmp_path / "ood" / "split_report.md").read_text()


def test_the_seed_decides(source: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        split_ood(source, tmp_path / name, "binary", seed=seed, steps=500)
    ids = {name: open_corpus(tmp_path / name).split("test_ood").ids for name in "abc"}
    assert ids["a"] == ids["b"] != ids["c"]


def test_words_come_from_tokens_where_there_is_no_text(tmp_path: Path) -> None:
    path = corpora.dump(corpora.without(tree(), "raw_text"), tmp_path / "corpus.pkl")
    report = split_ood(path, tmp_path / "ood", "binary", steps=500)
    assert report.settings["words"] == "tokens"
    assert list(report.words) == [str(word) for word in range(1000, 1012)]
    with_text = split_ood(
        corpora.dump(tree(), tmp_path / "text.pkl"), tmp_path / "same", "binary", words="tokens", steps=500
    )
    assert list(with_text.words) == list(report.words)
    speechless = corpora.dump(corpora.without(tree(), "raw_text", "text_bert"), tmp_path / "speechless.pkl")
    with pytest.raises(MERError, match="has neither raw text nor token ids; take a file"):
        split_ood(speechless, tmp_path / "none", "binary")


def test_further_test_splits_are_taken_and_unlabelled_ones_left(tmp_path: Path) -> None:
    content = tree(test_b=30, test_c=10)
    del content["test_c"]["regression_labels"]
    split_ood(corpora.dump(content, tmp_path / "corpus.pkl"), tmp_path / "ood", "binary", steps=100)
    sizes = {name: len(split) for name, split in open_corpus(tmp_path / "ood").splits.items()}
    assert sizes == {"train": 90, "valid": 20, "test_ood": 70}


def test_repeated_ids_are_told_apart(tmp_path: Path) -> None:
    content = tree()
    content["train"]["id"][:4] = "again"
    split_ood(corpora.dump(content, tmp_path / "corpus.pkl"), tmp_path / "ood", "binary", steps=100)
    ids = [name for split in open_corpus(tmp_path / "ood").splits.values() for name in split.ids]
    assert len(set(ids)) == 150
    assert {"again", "again~2", "again~4"} <= set(ids)


def faulty(kind: str) -> corpora.Tree:
    content = tree()
    if kind == "rare":
        for fields in content.values():
            fields["regression_labels"][fields["regression_labels"] == 0] = 1
        content["train"]["regression_labels"][:2] = 0
    elif kind == "shared":
        for key in content["test"]:
            content["test"][key][0] = content["train"][key][0]
    elif kind == "no valid":
        del content["valid"]
    elif kind == "no labels":
        del content["test"]["regression_labels"]
    elif kind == "emotions":
        for fields in content.values():
            fields["labels"] = np.eye(4, dtype=int)[np.arange(len(fields["id"])) % 4]
            del fields["regression_labels"]
    elif kind == "rare words":
        for fields in content.values():
            fields["raw_text"] = np.array([f"w{name}".replace("$", "x") for name in fields["id"]])
    return content


@pytest.mark.parametrize(
    ("kind", "task", "message"),
    [
        ("rare", "binary", "has 2 samples of class neutral, too few for 1 in train, 1 in valid, 1 in test_ood; add"),
        ("none", "seven", "has 0 samples of class -1, too few"),
        ("shared", "binary", "1 sample of train is in test too"),
        ("no valid", "binary", "has no labelled valid split; new splits take over the sizes"),
        ("no labels", "binary", "has no labelled test split"),
        ("emotions", "binary", "has several emotions a sample; split-ood needs one label a sample"),
        ("rare words", "binary", "no word occurs in 5 of the 150 samples"),
        ("none", "two", "task is 'two'; choose from binary, five, seven, classes"),
        ("none", "classes", "has labels of sentiment, which does not suit this task, classes"),
    ],
)
def test_what_cannot_be_split_is_named_and_leaves_nothing(tmp_path: Path, kind: str, task: str, message: str) -> None:
    content = faulty(kind)
    if task == "seven":
        for fields in content.values():
            fields["regression_labels"][fields["regression_labels"] == -1] = -2
    path = corpora.dump(content, tmp_path / "corpus.pkl")
    (tmp_path / "out").mkdir()
    with pytest.raises(MERError, match=message):
        split_ood(path, tmp_path / "out" / "ood", task)
    assert list((tmp_path / "out").iterdir()) == []


def relabelled(kind: str) -> corpora.Tree:
    """The corpus with emotions as numbers or as one of columns, or on CH-SIMS' scale."""
    content = tree(words=6, train=120)
    for fields in content.values():
        classes = np.searchsorted([-2, -0.5, 0.5, 1.5], fields.pop("regression_labels"))
        if kind == "sims":
            fields["regression_labels"] = np.array([-1.0, -0.4, 0.0, 0.4, 0.8])[classes]
            fields["regression_labels_A"] = np.where(classes == 2, np.nan, -fields["regression_labels"])
        else:
            numbers = np.minimum(classes, 3)
            fields["labels"] = np.eye(4, dtype=int)[numbers] if kind == "columns" else numbers
    return content


@pytest.mark.parametrize(
    ("kind", "task", "names"),
    [
        ("numbers", "classes", ["0", "1", "2", "3"]),
        ("columns", "classes", ["0", "1", "2", "3"]),
        ("sims", "five", ["negative", "weakly negative", "neutral", "weakly positive", "positive"]),
        ("sims", "binary", ["negative", "neutral", "positive"]),
    ],
)
def test_classes_and_other_scales_are_dealt_out(kind: str, task: str, names: list[str], tmp_path: Path) -> None:
    path = corpora.dump(relabelled(kind), tmp_path / "corpus.pkl")
    report = split_ood(path, tmp_path / "ood", task, steps=300, min_count=5)
    assert list(report.classes) == names
    np.testing.assert_allclose(report.marginals[0] / 120, report.marginals[2] / 40, atol=0.05)
    data = MERDataModule(str(tmp_path / "ood"), task=task, modalities=["audio"])
    classes = [data.task.encode(data.dataset(split).__getitems__(range(20)).target) for split in ("train", "test_ood")]
    assert all(set(found.tolist()) <= set(range(len(names))) for found in classes)
    assert report.objective["ood"] > report.objective["random"]
    if kind == "sims":
        split = data.corpus.split("train")
        known = np.asarray(split.labels) != 0
        np.testing.assert_array_equal(split.unimodal["audio"][known], -np.asarray(split.labels)[known])


def test_what_has_no_order_has_no_shift_of_labels(tmp_path: Path) -> None:
    path = corpora.dump(relabelled("numbers"), tmp_path / "corpus.pkl")
    with pytest.raises(MERError, match="label_shift is of positive and negative samples, which task classes has not"):
        split_ood(path, tmp_path / "ood", "classes", label_shift=0.1)
    with pytest.raises(MERError, match=r"sentiment in \[-1, 1\] has 2, 3 or 5 classes, not 7"):
        split_ood(corpora.dump(relabelled("sims"), tmp_path / "sims.pkl"), tmp_path / "ood", "seven")


def test_nothing_is_overwritten(source: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    with pytest.raises(MERError, match="taken exists and is not empty; give a new folder"):
        split_ood(source, tmp_path / "taken", "binary")
    assert [path.name for path in tmp_path.rglob("*")] == ["taken", "notes.txt"]
    with pytest.raises(MERError, match=r"corpus\.pkl exists and is not empty"):
        split_ood(source, source, "binary")
    own = corpora.write_folder(tree(), tmp_path / "own")
    with pytest.raises(MERError, match="lies inside .*own, which is not to be changed"):
        split_ood(own, own / "ood", "binary")
    (tmp_path / "empty").mkdir()
    split_ood(own, tmp_path / "empty", "binary", steps=100)
    assert len(open_corpus(tmp_path / "empty").split("train")) == 90


def test_an_interruption_leaves_nothing(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(regrouped, "write_small", interrupt)
    with pytest.raises(KeyboardInterrupt):
        split_ood(source, tmp_path / "ood", "binary", steps=10)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_goes(source: Path, tmp_path: Path) -> None:
    for name in ("ood.0123abcd.part", "ood.mine.part"):
        (tmp_path / name).mkdir()
    split_ood(source, tmp_path / "ood", "binary", steps=10)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["ood", "ood.mine.part"]


@pytest.mark.parametrize("option", ["seed", "steps", "min_count", "min_per_class", "length_bins"])
def test_numbers_that_mean_nothing_are_named(source: Path, tmp_path: Path, option: str) -> None:
    value: dict[str, Any] = {option: -1}
    with pytest.raises(MERError, match=f"{option} is -1; give at least {0 if option == 'seed' else 1}"):
        split_ood(source, tmp_path / "ood", "binary", **value)


def test_the_command(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["split-ood", str(source), str(tmp_path / "ood"), "--task", "seven", "--seed", "1", "--steps", "200"]
    for shift, message in (
        ("-0.99", "cannot give a label shift of -0.990"),
        ("cider", "label_shift is cider; give a number"),
    ):
        with pytest.raises(SystemExit) as stopped:
            cli([*args, "--label-shift", shift])
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        cli([*args, "--min-per-class", "30"])
    assert stopped.value.code == 2
    assert "samples of class -3, too few for 30 in train" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SystemExit) as stopped:
        cli(args)
    assert not stopped.value.code
    assert "after: train and test_ood" in capsys.readouterr().out
    # the folder is a corpus like any other, and its test condition is called what it is
    assert [condition.name for condition in MERDataModule(str(tmp_path / "ood"), task="seven").conditions] == ["ood"]
