"""Every planted leak is found as a leak, and what is clean is left alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.faults import audit as planted
from benchmarks.faults.audit import PLANTED, found_in_corpus, found_in_model, joined, rows_of
from mer_zoo.audit import Page, audit
from mer_zoo.data.corpus.corpus import Corpus
from mer_zoo.data.survey import material
from mer_zoo.data.synthetic.generate import SyntheticConfig, generate

SIZE = 0.6  # of the benchmark's corpora


def clean() -> Corpus:
    return planted.clean(SIZE)


def kinds(page: Page, *severities: str) -> set[str]:
    return {one.kind for one in page.findings if not severities or one.severity in severities}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_leak_is_found(name: str) -> None:
    found, page = found_in_corpus(name, SIZE)
    assert found, page.lines()
    assert page.exit_code == 1
    assert all(one.message and one.remedy for one in page.findings)


def test_the_corpus_that_leaks_are_planted_into_is_clean() -> None:
    page = audit(clean())
    assert page.findings == []
    assert page.exit_code == 0


@pytest.mark.parametrize("labels", ["classes", "emotions"])
def test_synthetic_data_are_clean(labels: str) -> None:
    sizes = SyntheticConfig(train=300, valid=100, test=150, seed=3)
    assert audit(generate(sizes, labels)).findings == []  # type: ignore[arg-type]


def test_an_encoder_that_is_fed_the_label_is_found() -> None:
    assert [one.kind for one in found_in_model()] == ["labels-read"]
    assert found_in_model(fed=False) == []


def test_a_modality_that_is_left_out_is_not_looked_at() -> None:
    corpus = clean()
    leaking = replace(corpus, splits=PLANTED["features trained with some labels"][0](corpus.splits))
    assert kinds(audit(leaking)) == {"too-telling"}
    assert kinds(audit(leaking, modalities=("text", "audio"))) == set()


def test_short_phrases_are_said_by_everybody() -> None:
    corpus = clean()
    splits = {
        name: replace(split, raw_text=["thank you very much"] * len(split)) for name, split in corpus.splits.items()
    }
    assert audit(replace(corpus, splits=splits)).findings == []


def test_sentences_of_the_same_few_words_are_no_copies() -> None:
    corpus, rng = clean(), np.random.default_rng(0)
    splits = {
        name: replace(split, raw_text=[" ".join(rng.choice(list("abcdefg"), 12)) for _ in range(len(split))])
        for name, split in corpus.splits.items()
    }
    assert kinds(audit(replace(corpus, splits=splits))) == set()


def test_test_splits_may_share_samples() -> None:
    corpus = clean()
    part = rows_of(corpus.splits["test"], range(40))
    page = audit(replace(corpus, splits={**corpus.splits, "test_part": part}))
    assert kinds(page, "leak", "warning") == set()
    assert kinds(page) == {"overlap"}


def test_ids_that_begin_anew_in_each_split_are_no_overlap() -> None:
    corpus = clean()
    splits = {
        name: replace(split, ids=[f"dialogue {row}" for row in range(len(split))])
        for name, split in corpus.splits.items()
    }
    page = audit(replace(corpus, splits=splits))
    assert kinds(page, "leak") == set()
    assert kinds(page, "warning") == {"repeated-ids"}


def test_a_filler_is_no_copy() -> None:
    corpus = clean()
    splits = dict(corpus.splits)
    for name, split in splits.items():
        audio = split.features["audio"].copy()
        audio[:20] = 0.5
        splits[name] = replace(split, features={**split.features, "audio": audio})
    page = audit(replace(corpus, splits=splits))
    assert kinds(page, "leak", "warning") == set()
    assert "filler" in kinds(page)


def test_features_scaled_by_train_alone_are_clean() -> None:
    corpus = clean()
    train = corpus.splits["train"].features["vision"]
    mean, deviation = train.mean((0, 1)), train.std((0, 1))
    splits = {
        name: replace(split, features={**split.features, "vision": (split.features["vision"] - mean) / deviation})
        for name, split in corpus.splits.items()
    }
    assert audit(replace(corpus, splits=splits)).findings == []


@pytest.mark.parametrize(("axes", "expected"), [((0, 1), {"scaled-by-test"}), (1, set())])
def test_splits_and_samples_scaled_by_themselves(axes: int | tuple[int, int], expected: set[str]) -> None:
    """Of a split it is told; that of a sample looks at no other."""
    corpus, splits = clean(), {}
    for name, split in corpus.splits.items():
        vision = split.features["vision"]
        scaled = (vision - vision.mean(axes, keepdims=True)) / vision.std(axes, keepdims=True)
        splits[name] = replace(split, features={**split.features, "vision": scaled})
    page = audit(replace(corpus, splits=splits), modalities=("vision",))
    assert kinds(page, "leak") == set()
    assert kinds(page) == expected


def test_words_that_many_say_without_sound_are_no_copies() -> None:
    corpus, splits = clean(), {}
    for name, split in corpus.splits.items():
        assert split.token_ids is not None
        features = {key: x * (np.arange(len(x)) >= 30)[:, None, None] for key, x in split.features.items()}
        tokens, spans = split.token_ids.copy(), split.spans["text"].copy()
        tokens[:30], spans[:30] = tokens[0], spans[0]
        tokens[:30, 3:] = 0
        spans[:30, 1] = 3
        spans = {**split.spans, "text": spans}
        texts = ["yes"] * 30 + split.raw_text[30:]
        splits[name] = replace(split, features=features, token_ids=tokens, spans=spans, raw_text=texts)
    assert kinds(audit(replace(corpus, splits=splits)), "leak", "warning") == set()


def test_shared_recordings_that_tell_nothing_are_no_leak() -> None:
    corpus = clean()
    rng = np.random.default_rng(0)
    splits = {
        name: replace(split, ids=[f"video{rng.integers(9)}$_${name}{row}" for row in range(len(split))])
        for name, split in corpus.splits.items()
    }
    page = audit(replace(corpus, splits=splits))
    assert kinds(page, "leak") == set()
    assert kinds(page, "warning") == {"shared-recordings"}


def test_speakers_are_shared_as_far_as_a_file_tells(tmp_path: Path) -> None:
    corpus = clean()
    file = tmp_path / "speakers.csv"
    rows = [f"{name},{name.partition('$')[0][-1]}" for split in corpus.splits.values() for name in split.ids]
    file.write_text("\n".join(["id,speaker", *rows]))
    assert kinds(audit(corpus, groups=file)) == {"shared-groups"}
    file.write_text("\n".join(["id,speaker", *rows[1:]]))
    assert [str(one) for one in audit(corpus, groups=file).not_checked if "no line for 1 ids" in str(one)]


def test_one_split_alone() -> None:
    corpus = clean()
    page = audit(replace(corpus, splits={"test": corpus.splits["train"]}))
    assert page.findings == []
    told = " ".join(map(str, page.not_checked))
    assert "there is one split only, test" in told
    assert "whether a modality tells the label too well" not in told  # a part of it is held out


def test_a_label_in_the_features_of_one_split_alone_is_found() -> None:
    corpus = clean()
    only = PLANTED["a feature that is the label"][0](corpus.splits)["train"]
    assert "label-in-features" in kinds(audit(replace(corpus, splits={"test": only})), "leak")


def test_without_labels() -> None:
    corpus = clean()
    splits = {name: replace(split, labels=None) for name, split in corpus.splits.items()}
    page = audit(replace(corpus, splits=splits))
    assert page.findings == []
    assert "no split has labels" in " ".join(map(str, page.not_checked))


def test_a_corpus_that_is_too_large_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(material, "KEPT", 200)
    corpus = clean()
    page = audit(replace(corpus, splits=PLANTED["samples of train in test"][0](corpus.splits)))
    assert "probes see 200 of 240 of train" in page.facts
    assert [one.evidence["same"] for one in page.findings if one.kind == "overlap"] == [12]  # all samples are compared


def test_text_alone() -> None:
    corpus = clean()
    splits = {name: replace(split, features={}) for name, split in corpus.splits.items()}
    text_only = Corpus(splits, corpus.aligned, "text only", vocab_size=corpus.vocab_size)
    assert kinds(audit(text_only)) == set()
    doubled = {**splits, "test": joined(splits["test"], rows_of(splits["train"], range(12)))}
    found = kinds(audit(replace(text_only, splits=doubled)), "leak")
    assert found == {"overlap", "near-duplicate-sentences"}
