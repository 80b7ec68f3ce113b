"""A second text, what was heard: from the file to the text of a test condition and of a share of training samples."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from tokenizers import BertWordPieceTokenizer
from toys import MeanNet
from transformers import PreTrainedTokenizerFast

from mer_zoo.batch import Batch, Output
from mer_zoo.data import MOSI, RMM, Condition
from mer_zoo.data.files.heard import HEARD_BERT, HEARD_FEATURES, HEARD_LENGTHS, HEARD_TEXT
from mer_zoo.data.heard import HeardInTraining
from mer_zoo.data.missing.conditions import described
from mer_zoo.data.ood.resplit import split_ood
from mer_zoo.data.portrait import describe
from mer_zoo.data.store.store import open_corpus, write_store
from mer_zoo.data.validate import examine, validate
from mer_zoo.errors import MERError
from mer_zoo.module import MERModule
from mer_zoo.reports.record import parse_results

STEPS = 9  # more than text has
SILENT = 1  # the sample of which nothing was heard


def heard_tree(**of_test: Any) -> corpora.Tree:
    """An unaligned corpus with a second text in every split; ``of_test`` replaces fields of test."""
    tree = corpora.mmsa(3)
    for number, fields in enumerate(tree.values()):
        count = len(fields["id"])
        texts = [f"heard {fields['id'][row]}" for row in range(count)]
        texts[SILENT] = " "
        lengths = np.arange(count) % (STEPS - 1) + 2
        features = corpora.sequences(np.random.default_rng(40 + number), lengths, STEPS, 6)
        fields |= {HEARD_TEXT: texts, HEARD_FEATURES: features, HEARD_LENGTHS: lengths.tolist()}
    tree["test"] |= of_test
    tree["test"] = {key: value for key, value in tree["test"].items() if value is not None}
    return tree


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return corpora.dump(heard_tree(), tmp_path / "heard.pkl")


def test_the_second_text_is_that_of_the_condition(file: Path) -> None:
    data = MOSI(str(file), conditions=["default", "asr"])
    assert [condition.name for condition in data.conditions] == ["iid", "asr"]
    given, heard = (next(iter(data.condition_source(condition))) for condition in data.conditions)
    fields = pickle.loads(file.read_bytes())["test"]
    assert heard.raw_text == fields[HEARD_TEXT]
    assert heard.audio.x.equal(given.audio.x)
    assert heard.text.x.shape == given.text.x.shape  # what the network was built for
    x = torch.from_numpy(fields[HEARD_FEATURES])[:, : given.text.x.shape[1]]
    for row, length in enumerate(fields[HEARD_LENGTHS]):
        there = 0 if row == SILENT else min(length, x.shape[1])
        assert int(heard.text.observed[row].sum()) == there
        torch.testing.assert_close(heard.text.x[row, :there], x[row, :there])
    ids, mask = heard.text.token_ids, heard.text.mask
    assert ids is not None
    assert (ids[mask] == data.spec.unk_id).all()
    assert (ids[~mask] == data.spec.pad_id).all()
    names = [condition.name for condition in MOSI(str(file), conditions="asr@test").conditions]
    assert names == ["iid", "asr"]


def test_a_store_and_new_splits_keep_it(file: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    write_store(file, store)
    for source, again in ((file, store), (store, file)):
        for name, split in open_corpus(source).splits.items():
            ours, theirs = split.heard, open_corpus(again).splits[name].heard
            assert ours is not None
            assert theirs is not None
            assert ours.raw_text == theirs.raw_text
            assert np.array_equal(ours.span, theirs.span)
            assert not ours.span[SILENT].any()
            assert ours.features is not None
            assert theirs.features is not None
            assert np.array_equal(ours.features, theirs.features)
    whole = open_corpus(store)
    heard = whole.splits["train"].heard
    again = pickle.loads(pickle.dumps(heard))
    assert heard is not None
    assert isinstance(again.features, np.memmap)
    assert again.raw_text == heard.raw_text
    with (store / "corpus.json").open() as opened:
        index = json.load(opened)
    index["splits"]["test"][HEARD_TEXT]["raw_text"][0] = "another"
    (store / "corpus.json").write_text(json.dumps(index))
    with pytest.raises(MERError, match="are others than were converted"):
        open_corpus(store)


def test_new_splits_take_it_along(file: Path, tmp_path: Path) -> None:
    split_ood(file, tmp_path / "ood", "binary", steps=20, min_count=1, min_per_class=1)
    known = {name: text for s in open_corpus(file).splits.values() for name, text in _heard_of(s).items()}
    for split in open_corpus(tmp_path / "ood").splits.values():
        for name, text in _heard_of(split).items():
            assert text == known[name]


def _heard_of(split: Any) -> dict[str, tuple[str, float]]:
    sums = split.heard.features.sum((1, 2)).tolist()
    return dict(zip(split.ids, zip(split.heard.raw_text, sums, strict=True), strict=True))


def test_descriptions_tell_of_it(file: Path) -> None:
    assert validate(file) == []
    assert any(HEARD_TEXT in note for note in examine(file).notes)
    table = describe(file).tables[0]
    assert ["with a heard text", *(str(size - 1) for size in corpora.SIZES.values())] == next(
        row[:-1] for row in table.rows if row[0] == "with a heard text"
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({HEARD_TEXT: ["so"]}, "heard_text has 1 sample where the other fields have 6"),
        ({HEARD_TEXT: None}, "heard_text_features is there, but heard_text, the words that it is of, is not"),
        ({HEARD_FEATURES: np.ones((6, STEPS, 5), "f4")}, "heard_text_features has width 5, but text has 6"),
        ({HEARD_FEATURES: np.ones((5, STEPS, 6), "f4")}, "heard_text_features has 5 samples where"),
        ({HEARD_FEATURES: np.full((6, STEPS, 6), np.nan, "f4")}, "heard_text holds 324 NaN or infinite values"),
        ({HEARD_LENGTHS: [99] * 6}, "heard_text_lengths[0] is 99, but heard_text_features has 9 steps"),
        ({HEARD_BERT: np.ones((6, 3, 4))}, "heard_text_bert has 4 steps, but heard_text_features has 9"),
    ],
)
def test_faults_are_named(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    faults = validate(corpora.dump(heard_tree(**fields), tmp_path / "faulty.pkl"))
    assert any(message in str(fault) for fault in faults), [str(fault) for fault in faults]


@pytest.mark.parametrize(
    ("tree", "options", "message"),
    [
        (corpora.mmsa(3), {}, "test of .* does not tell what was heard; give a file with heard_text"),
        (heard_tree(**{HEARD_FEATURES: None, HEARD_LENGTHS: None}), {}, "no features of heard_text"),
        (heard_tree(), {"text": "tokens"}, "no token ids of heard_text; give heard_text_bert, or set data.tokenizer"),
        (heard_tree(), {"modalities": ["audio"]}, "which is not in use"),
    ],
)
def test_what_cannot_be_tested_is_said_at_once(
    tmp_path: Path, tree: corpora.Tree, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(MERError, match=message):
        MOSI(str(corpora.dump(tree, tmp_path / "corpus.pkl")), conditions="asr", **options)


def test_modalities_at_the_words_of_the_text_do_not_go_with_others(tmp_path: Path) -> None:
    tree = corpora.mmsa(3, aligned=True)
    for fields in tree.values():
        fields |= {HEARD_TEXT: fields["raw_text"], HEARD_FEATURES: fields["text"]}
    path = str(corpora.dump(tree, tmp_path / "aligned.pkl"))
    with pytest.raises(MERError, match="not at those that were heard"):
        MOSI(path, conditions="asr")
    assert len(MOSI(path, conditions="asr", modalities=["text"]).conditions) == 2


def test_a_tokenizer_makes_ids_of_it(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *corpora.WORDS]
    own: Any = BertWordPieceTokenizer({word: place for place, word in enumerate(words)})
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    made: Any = PreTrainedTokenizerFast
    made(tokenizer_object=own._tokenizer, **names).save_pretrained(tmp_path / "tokenizer")
    tree = corpora.mmsa(3)
    for fields in tree.values():
        fields[HEARD_TEXT] = ["so bad", "", *["not this film"] * (len(fields["id"]) - 2)]
        del fields["text_bert"]
    path = corpora.dump(tree, tmp_path / "words.pkl")
    tokenizer = str(tmp_path / "tokenizer")
    data = MOSI(str(path), conditions="asr", text="tokens", tokenizer=tokenizer, modalities=["text", "audio"])
    heard = next(iter(data.condition_source(data.conditions[1]))).text
    spelt = [words.index(word) for word in ("[CLS]", "so", "bad", "[SEP]")]
    assert heard.x[0, :4].tolist() == spelt[: heard.x.shape[1]]
    assert heard.mask.sum(1).tolist()[:2] == [4, 0]


def test_a_share_of_the_training_samples_takes_it(file: Path) -> None:
    data = MOSI(str(file), batch_size=8, heard_share=0.5)
    whole = data.dataset("train").__getitems__(range(8))
    take = HeardInTraining(data.dataset("train", heard=True), 0.5, seed=0)
    first = [text.startswith(("heard", " ")) for text in take(whole, epoch=0).raw_text]
    second = [text.startswith(("heard", " ")) for text in take(whole, epoch=1).raw_text]
    assert 0 < sum(first) < 8
    assert first != second
    part = take(whole.take([5, 2]), epoch=0)
    assert [text.startswith(("heard", " ")) for text in part.raw_text] == [first[5], first[2]]
    mixed = take(whole, epoch=0)
    heard = data.dataset("train", heard=True).__getitems__(range(8))
    for row, is_heard in enumerate(first):
        source = heard if is_heard else whole
        assert mixed.text.x[row].equal(source.text.x[row])
        assert mixed.text.mask[row].equal(source.text.mask[row])
    assert HeardInTraining(data.dataset("train", heard=True), 0.0, 0)(whole, 0) is whole
    with pytest.raises(MERError, match="from 0 to 1"):
        MOSI(str(file), heard_share=1.5)


def test_only_training_meets_it(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[bool, set[str]] = {True: set(), False: set()}  # by whether the network trains
    forward = MeanNet.forward

    def listening(self: MeanNet, batch: Batch) -> Output:
        seen[self.training].update(batch.raw_text)
        return forward(self, batch)

    monkeypatch.setattr(MeanNet, "forward", listening)
    data = MOSI(str(file), batch_size=4, heard_share=1.0)
    module = MERModule(MeanNet(data.spec, data.task))
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    trainer = Trainer(accelerator="cpu", default_root_dir=tmp_path, max_epochs=1, enable_model_summary=False, **quiet)
    trainer.fit(module, datamodule=data)
    trainer.test(module, datamodule=data, verbose=False)
    assert all(text.startswith(("heard", " ")) for text in seen[True])
    assert len(seen[True]) == 8
    assert not any(text.startswith("heard") for text in seen[False])
    assert seen[False]
    without = corpora.dump(corpora.mmsa(3), tmp_path / "without.pkl")
    with pytest.raises(MERError, match="train of .* does not tell what was heard"):
        MOSI(str(without), heard_share=0.5).setup("fit")
    MOSI(str(without), heard_share=0.5).setup("test")


def test_results_tell_it_from_the_complete_condition(file: Path, tmp_path: Path) -> None:
    own = Condition("half heard", "test", RMM(0.5), heard=True)
    data = MOSI(str(file), conditions=["asr", own])
    module = MERModule(MeanNet(data.spec, data.task))
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    Trainer(accelerator="cpu", default_root_dir=tmp_path, enable_model_summary=False, **quiet).test(
        module, datamodule=data, verbose=False
    )
    results = module.results
    assert results["iid"]["metrics"] != results["asr"]["metrics"] != results["half heard"]["metrics"]
    about = {c.name: described(c, data.conditions, list(data.corpus.splits)) for c in data.conditions}
    assert [about[name]["place"] for name in about] == ["", "", ""]
    run = parse_results({"model": "M", "conditions": {c: {**about[c], **results[c]} for c in about}}, Path("r.json"))
    told = [(name, one.complete, one.curve) for name, one in run.conditions.items()]
    assert told == [("iid", True, None), ("asr", False, None), ("half heard", False, "asr RMM")]
