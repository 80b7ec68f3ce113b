"""Labels of modalities alone, as CH-SIMS has them: read, kept, and handed out with a batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest
import torch

from mer_zoo.batch import Batch
from mer_zoo.data import MOSI
from mer_zoo.data.convert import convert
from mer_zoo.data.files.labels import check_labels, read_unimodal
from mer_zoo.data.store.store import open_corpus
from mer_zoo.data.validate import examine
from mer_zoo.errors import MERError
from mer_zoo.wrappers.cumdf.views import stack_views

COUNTS = {"train": 40, "valid": 6, "test": 5}


def sims(missing: int = 0) -> dict[str, dict[str, Any]]:
    """Clips labelled in [-1, 1] in steps of 0.2, and their text and audio alone; ``missing`` of audio are NaN."""
    rng = np.random.default_rng(0)
    tree: dict[str, dict[str, Any]] = {}
    for name, count in COUNTS.items():
        labels = {key: np.round(rng.integers(-5, 6, count) * 0.2, 1) for key in ("", "_T", "_A")}
        labels["_A"][:missing] = np.nan
        tree[name] = {
            "id": [f"{name}_{row}" for row in range(count)],
            "audio": rng.normal(size=(count, 4, 3)).astype("f4"),
            "text": rng.normal(size=(count, 4, 2)).astype("f4"),
            **{f"regression_labels{key}": values for key, values in labels.items()},
        }
    return tree


def columns(tree: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """As (N, 1), as SIMSv2's own scripts write them, and in a list."""
    for fields in tree.values():
        fields["regression_labels_T"] = fields["regression_labels_T"][:, None]
        fields["regression_labels_A"] = fields["regression_labels_A"].tolist()
    return tree


@pytest.mark.parametrize("change", [dict, columns])
def test_they_are_on_the_batch_beside_the_label(tmp_path: Path, change: Any) -> None:
    data = MOSI(str(corpora.dump(change(sims(missing=2)), tmp_path / "sims.pkl")), modalities=["text", "audio"])
    tree = sims(missing=2)
    batch = data.dataset("train").__getitems__([3, 0])
    assert list(batch.unimodal) == ["text", "audio"]
    for key, name in {"T": "text", "A": "audio"}.items():
        expected = tree["train"][f"regression_labels_{key}"][[3, 0]].astype("f4")
        np.testing.assert_array_equal(batch.unimodal[name].numpy(), expected)
        assert batch.unimodal[name].dtype == torch.float32
    assert list(MOSI(data.path, modalities=["audio"]).dataset("test").__getitems__([0]).unimodal) == ["audio"]
    assert any("text, audio alone" in note for note in data.corpus.notes)


def test_a_converted_store_and_a_split_keep_them(tmp_path: Path) -> None:
    source = corpora.dump(sims(missing=2), tmp_path / "sims.pkl")
    convert(source, tmp_path / "store", progress=False)
    convert(source, tmp_path / "store", progress=False)  # over itself
    for corpus in (open_corpus(tmp_path / "store"), open_corpus(source)):
        kept = corpus.split("train").unimodal
        np.testing.assert_array_equal(kept["audio"], sims(missing=2)["train"]["regression_labels_A"].astype("f4"))
    assert not examine(tmp_path / "store").faults
    labels = tmp_path / "store" / "train.labels.audio.npy"
    np.save(labels, np.zeros(COUNTS["train"], "f4"))
    with pytest.raises(MERError, match="labels, tokens, spans, ids or texts are others than were converted"):
        open_corpus(tmp_path / "store")
    index = json.loads((tmp_path / "store" / "corpus.json").read_text())
    index["splits"]["train"]["unimodal"] = ["smell"]
    (tmp_path / "store" / "corpus.json").write_text(json.dumps(index))
    with pytest.raises(MERError, match="labels of train are of .*smell.* alone, which is no modality"):
        open_corpus(tmp_path / "store")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full(40, 2.0), "regression_labels_A hold a sentiment outside"),
        (np.full(40, np.inf), "regression_labels_A hold numbers beyond float32"),
        (np.ones((40, 3)), "regression_labels_A are not one number a sample"),
        (["good"] * 40, "regression_labels_A are not one number a sample"),
        (np.ones(39), "regression_labels_A has 39 samples where the other fields have 40"),
    ],
)
def test_what_they_can_not_be_is_named(tmp_path: Path, values: Any, message: str) -> None:
    tree = sims()
    tree["train"]["regression_labels_A"] = values
    faults = examine(corpora.dump(tree, tmp_path / "sims.pkl")).faults
    assert any(message in str(fault) for fault in faults), faults


@pytest.mark.parametrize("values", [np.full(40, np.nan), [None] * 40, []])
def test_a_field_of_nothing_is_none(tmp_path: Path, values: Any) -> None:
    tree = sims()
    tree["train"]["regression_labels_A"] = values
    assert list(open_corpus(corpora.dump(tree, tmp_path / "sims.pkl")).split("train").unimodal) == ["text"]


def test_a_store_is_checked_against_the_range_that_is_told(tmp_path: Path) -> None:
    tree = {
        name: {**fields, "regression_labels_A": 2 * np.sign(fields["regression_labels_A"])}
        for name, fields in sims().items()
    }
    store = tmp_path / "store"
    for fields in tree.values():
        fields["regression_labels"] = 2 * fields["regression_labels"]
    convert(corpora.dump(tree, tmp_path / "a.pkl"), store, progress=False)
    assert MOSI(str(store), modalities=["audio"]).task.name == "regression"
    for fields in tree.values():
        fields["regression_labels"] = fields["regression_labels"] / 2
    with pytest.raises(MERError, match="regression_labels_A hold a sentiment outside"):
        MOSI(str(corpora.dump(tree, tmp_path / "b.pkl")), modalities=["audio"])


def test_they_follow_a_batch(tmp_path: Path) -> None:
    data = MOSI(str(corpora.dump(sims(), tmp_path / "sims.pkl")), modalities=["text", "audio"], batch_size=4)
    batch: Batch = next(iter(data.train_dataloader()))
    assert batch.trim().unimodal["text"] is batch.unimodal["text"]
    assert batch.to("cpu", torch.float64).unimodal["text"].dtype == torch.float64
    stacked = stack_views([batch, batch])
    assert torch.equal(stacked.unimodal["audio"], torch.cat([batch.unimodal["audio"]] * 2))


def test_lists_with_gaps_are_read() -> None:
    values = read_unimodal("regression_labels_T", [0.5, None, float("nan"), -1]).values
    assert values is not None
    np.testing.assert_array_equal(values, np.array([0.5, np.nan, np.nan, -1], "f4"))


@pytest.mark.filterwarnings("error")
def test_emotions_beyond_whole_numbers_are_a_fault_and_no_warning() -> None:
    (message, wrong), *_ = check_labels("labels", np.full((3, 2), 1e300)).faults
    assert message == "labels of emotions are not 0 or 1"
    assert wrong is not None
    assert wrong.tolist() == [True] * 3
