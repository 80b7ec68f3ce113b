from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from mer_zoo.data.corpus.corpus import Corpus
from mer_zoo.data.synthetic.generate import LabelForm, SyntheticConfig, generate, latents, made_up_word
from mer_zoo.data.synthetic.scm import SPLITS
from mer_zoo.errors import MERError
from mer_zoo.functional.sentiment import to_classes

CONFIG = SyntheticConfig(train=300, valid=40, test=60, seed=5)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return generate(CONFIG)


def test_default_sizes() -> None:
    counts = {name: len(split) for name, split in generate().splits.items()}
    assert counts == {"train": 2000, "valid": 400, "test_iid": 1000, "test_ood": 1000, "test_rct": 1000}


def test_shapes_types_and_spec(corpus: Corpus) -> None:
    assert tuple(corpus.splits) == SPLITS
    split = corpus.split("train")
    assert split.token_ids is not None
    assert split.labels is not None
    assert split.token_ids.shape == (300, 26)
    assert split.token_ids.dtype == np.int32
    assert {name: x.shape for name, x in split.features.items()} == {"audio": (300, 40, 8), "vision": (300, 30, 10)}
    assert {x.dtype for x in split.features.values()} == {np.dtype(np.float32)}
    assert all(x.flags.c_contiguous for x in split.features.values())  # batches gather samples
    assert {span.dtype for span in split.spans.values()} == {np.dtype(np.int32)}
    assert split.labels.dtype == np.int64
    spec = corpus.spec(tokens=True)
    assert (spec.text_len, spec.audio_len, spec.vision_len, spec.vocab_size) == (26, 40, 30, 1536)
    assert not spec.aligned


@pytest.mark.parametrize("split", SPLITS)
def test_texts_are_framed_and_padded(corpus: Corpus, split: str) -> None:
    data = corpus.split(split)
    assert data.token_ids is not None
    for ids, (start, stop), text in zip(data.token_ids, data.spans["text"], data.raw_text, strict=True):
        assert start == 0
        assert ids[0] == 101
        assert ids[stop - 1] == 102
        assert ((ids[1 : stop - 1] >= 200) & (ids[1 : stop - 1] < 1536)).all()
        assert (ids[stop:] == 0).all()
        assert text.split() == [made_up_word(int(i) - 200) for i in ids[1 : stop - 1]]


def test_every_word_is_spelt_differently() -> None:
    assert len({made_up_word(word) for word in range(1336)}) == 1336


@pytest.mark.parametrize("labels", ["classes", "continuous", "emotions"])
def test_deterministic_by_seed(labels: LabelForm) -> None:
    a, b, c = (generate(replace(CONFIG, seed=seed), labels=labels) for seed in (5, 5, 6))
    for name in SPLITS:
        one, two, three = a.split(name), b.split(name), c.split(name)
        assert np.array_equal(np.asarray(one.token_ids), np.asarray(two.token_ids))
        assert np.array_equal(one.features["vision"], two.features["vision"])
        assert np.array_equal(np.asarray(one.labels), np.asarray(two.labels))
        assert not np.array_equal(np.asarray(one.token_ids), np.asarray(three.token_ids))
        assert not np.array_equal(np.asarray(one.labels), np.asarray(three.labels))


def test_latents_belong_to_the_samples(corpus: Corpus) -> None:
    for name in SPLITS:
        hidden = latents(CONFIG, name)
        assert np.array_equal(np.asarray(corpus.split(name).labels), hidden.emotion)
        ids = np.asarray(corpus.split(name).token_ids)
        rows, columns = np.nonzero((ids >= 1100) & (ids < 1136))
        assert np.array_equal((ids[rows, columns] - 1100) // 12, hidden.topic[rows])


def test_sign_of_continuous_labels_is_the_class() -> None:
    scores = np.asarray(generate(replace(CONFIG, train=5000), labels="continuous").split("train").labels)
    emotion = latents(replace(CONFIG, train=5000), "train").emotion
    assert scores.dtype == np.float32
    assert np.abs(scores).max() <= 3
    assert np.array_equal(to_classes(torch.from_numpy(scores), 3).numpy(), emotion)
    assert set(to_classes(torch.from_numpy(scores), 7).tolist()) == set(range(7))


def test_emotions_follow_class_and_words() -> None:
    split = generate(CONFIG, labels="emotions").split("train")
    labels, emotion = np.asarray(split.labels), latents(CONFIG, "train").emotion
    assert labels.shape == (300, 4)
    assert np.array_equal(labels[:, 0] == 1, emotion == 1)
    assert np.array_equal(labels[:, 1] == 1, emotion == 2)
    assert np.array_equal(labels[:, 2:].any(1), emotion == 0)
    ids = np.asarray(split.token_ids)
    lead = ((ids >= 200) & (ids < 350)).sum(1) - ((ids >= 350) & (ids < 500)).sum(1)
    expected = np.stack([lead >= 0, lead <= 0], 1) & (emotion == 0)[:, None]
    assert np.array_equal(labels[:, 2:] == 1, expected)
    assert {tuple(row) for row in labels[emotion == 0, 2:]} == {(1, 0), (0, 1), (1, 1)}


def test_unknown_label_form_is_refused() -> None:
    with pytest.raises(MERError, match="labels is 'stars'; choose from classes, continuous, emotions"):
        generate(CONFIG, labels="stars")  # type: ignore[arg-type]


def test_aligned_view_pools_the_frames_of_each_word(corpus: Corpus) -> None:
    aligned = generate(replace(CONFIG, aligned=True))
    spec = aligned.spec(tokens=True)
    assert (spec.aligned, spec.text_len, spec.audio_len, spec.vision_len) == (True, 26, 26, 26)
    for name in ("audio", "vision"):
        pooled, raw = aligned.split("valid").features[name], corpus.split("valid").features[name]
        spans = aligned.split("valid").spans
        assert np.array_equal(spans[name], spans["text"])
        for i, (_, stop) in enumerate(spans["text"]):
            words = stop - 2
            edges = [word * raw.shape[1] // words for word in range(words + 1)]
            means = [raw[i, a:b].mean(0) for a, b in pairwise(edges)]
            assert np.allclose(pooled[i, 1 : stop - 1], means, atol=1e-5)
            assert not pooled[i, 0].any()
            assert not pooled[i, stop - 1 :].any()


def test_smallest_corpus() -> None:
    corpus = generate(SyntheticConfig(train=1, valid=1, test=1, aligned=True))
    assert corpus.split("test_rct").features["audio"].shape == (1, 26, 8)
