from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from mer_zoo.batch import Modality
from mer_zoo.data.corpus.corpus import Corpus, SplitData
from mer_zoo.data.dataset import SplitDataset, _fit_length, check_labels, check_tokens
from mer_zoo.data.scaler import Scaler
from mer_zoo.data.source import SplitSource
from mer_zoo.errors import MERError
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task

RNG = np.random.default_rng(0)


def split(labels: Any = None, count: int = 5, tokens: bool = True) -> SplitData:
    shapes = {"text": (count, 6, 3), "audio": (count, 7, 4), "vision": (count, 4, 2)}
    spans = {name: np.stack([np.full(count, 1), np.arange(count) % 3 + 1], 1).astype(np.int32) for name in shapes}
    features = {name: RNG.normal(5, 2, shape).astype(np.float32) for name, shape in shapes.items()}
    ids = RNG.integers(200, 300, (count, 6)).astype(np.int32) if tokens else None
    names = [f"v{i}" for i in range(count)]
    return SplitData(features, spans, ids, labels, names, [f"text {i}" for i in range(count)])


def corpus(data: SplitData) -> Corpus:
    return Corpus({"train": data}, aligned=False, source="made up")


def test_a_list_of_indices_gives_one_batch_in_that_order() -> None:
    data = split(np.arange(5, dtype=np.float32) - 2)
    batch = SplitDataset(data, corpus(data).spec(), SentimentRegression()).__getitems__([4, 1])
    assert batch.ids == ["v4", "v1"]
    assert batch.index.tolist() == [4, 1]
    assert batch.target.tolist() == [2.0, -1.0]
    assert batch.raw_text == ["text 4", "text 1"]
    assert batch.text.x.dtype == torch.float32
    assert batch.text.token_ids is not None
    assert batch.text.token_ids.dtype == torch.int64
    real = batch.audio.mask.numpy()
    np.testing.assert_array_equal(batch.audio.x.numpy()[real], data.features["audio"][[4, 1]][real])


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_what_lies_outside_the_spans_changes_nothing(tokens: bool, scaled: bool) -> None:
    sound = split()
    assert sound.token_ids is not None
    ids = sound.token_ids.copy()
    ids[outside(sound, "text")] = 900
    features = {name: x.copy() for name, x in sound.features.items()}
    for name, x in features.items():
        x[outside(sound, name)] = 1e4
    junk = replace(sound, features=features, token_ids=ids)
    scaler = Scaler.fit(sound.features, sound.spans) if scaled else None
    spec = corpus(sound).spec(tokens=tokens)
    one, other = (
        SplitDataset(data, spec, SentimentRegression(), scaler).__getitems__(range(5)) for data in (sound, junk)
    )
    for name in ("text", "audio", "vision"):
        x, y = getattr(one, name), getattr(other, name)
        assert torch.equal(x.x, y.x)
        assert not x.x[~x.mask].any()
        if x.token_ids is not None:
            assert torch.equal(x.token_ids, y.token_ids)


def outside(data: SplitData, name: str) -> npt.NDArray[np.bool_]:
    """(N, T) steps behind or before the spans."""
    steps, spans = np.arange(data.features[name].shape[1]), data.spans[name]
    found: npt.NDArray[np.bool_] = (steps < spans[:, :1]) | (steps >= spans[:, 1:])
    return found


def test_token_ids_that_the_encoder_does_not_know() -> None:
    data = split()
    assert data.token_ids is not None
    data.token_ids[:, 0] = 10**6  # padding
    check_tokens(data, 300, "made up")
    data.token_ids[2, 2] = 5000
    with pytest.raises(
        MERError, match=r"made up has token ids up to 5000 \(first id v2\), but the text encoder knows 300"
    ):
        check_tokens(data, 300, "made up")


def test_masks_follow_spans_and_empty_spans_are_empty() -> None:
    data = split()
    batch = SplitDataset(data, corpus(data).spec(), SentimentRegression()).__getitems__(range(5))
    assert batch.audio.mask.sum(1).tolist() == [0, 1, 2, 0, 1]
    assert batch.audio.mask[2].tolist() == [False, True, True, False, False, False, False]


def test_one_index_gives_a_batch_of_one() -> None:
    data = split()
    assert len(SplitDataset(data, corpus(data).spec(), SentimentRegression())[3]) == 1


def test_tokens_take_the_place_of_features() -> None:
    data = split()
    batch = SplitDataset(data, corpus(data).spec(tokens=True), SentimentRegression())[0]
    assert batch.text.is_tokens
    assert batch.text.token_ids is None


def test_a_modality_not_in_use_is_one_empty_step() -> None:
    data = split()
    batch = SplitDataset(data, corpus(data).spec(["text", "audio"]), SentimentRegression())[0]
    assert batch.vision.x.shape == (1, 1, 2)
    assert not batch.vision.mask.any()
    assert not batch.vision.x.any()


@pytest.mark.parametrize(("task", "shape"), [(SentimentRegression(), (5,)), (EmotionDetection(), (5, 4))])
def test_missing_labels_have_the_shape_of_the_task(task: Task, shape: tuple[int, ...]) -> None:
    data = split()
    target = SplitDataset(data, corpus(data).spec(), task).__getitems__(range(5)).target
    assert target.shape == shape
    assert torch.isnan(target).all() if target.is_floating_point() else (target == -1).all()


def test_scaler_standardises_real_positions_only() -> None:
    data = split(count=200)
    scaler = Scaler.fit(data.features, data.spans)
    batch = SplitDataset(data, corpus(data).spec(), SentimentRegression(), scaler).__getitems__(range(200))
    real = batch.audio.x[batch.audio.mask]
    torch.testing.assert_close(real.mean(0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(real.std(0, correction=0), torch.ones(4), atol=1e-3, rtol=0)
    assert not batch.audio.x[~batch.audio.mask].any()
    np.testing.assert_array_equal(batch.text.x.numpy(), data.features["text"] * batch.text.mask[..., None].numpy())


@pytest.mark.parametrize("padded", [True, False])
def test_scaled_batches_equal_scaling_all_and_masking_the_padding(padded: bool) -> None:
    data = split(count=20)
    if not padded:
        data = replace(data, spans={name: np.tile([0, x.shape[1]], (20, 1)) for name, x in data.features.items()})
    scaler = Scaler.fit(data.features, data.spans)
    batch = SplitDataset(data, corpus(data).spec(), SentimentRegression(), scaler).__getitems__([7, 3, 3, 19])
    for name in ("text", "audio", "vision"):
        modality, x = batch.modality(name), torch.from_numpy(data.features[name][[7, 3, 3, 19]])
        assert torch.equal(modality.x, scaler(name, x) * modality.mask[..., None])
        assert bool(modality.mask.all()) is not padded


@pytest.mark.parametrize("value", [0.0, 7.0, 1e6, -3e-5])
def test_scaler_is_safe_on_constant_columns(value: float) -> None:
    x = RNG.normal(size=(50, 3, 2)).astype(np.float32)
    x[..., 1] = value
    spans = {"audio": np.tile(np.array([[0, 3]], dtype=np.int32), (50, 1))}
    scaled = Scaler.fit({"audio": x}, spans)("audio", torch.from_numpy(x))
    assert torch.isfinite(scaled).all()
    assert scaled[..., 1].abs().max() < 1e-3


def test_scaler_equals_numpy_far_from_zero_and_in_chunks() -> None:
    x = RNG.normal(3e4, 0.5, (700, 2, 1)).astype(np.float32)
    spans = {"vision": np.tile(np.array([[0, 2]], dtype=np.int32), (700, 1))}
    scaler = Scaler.fit({"vision": x}, spans)
    assert float(scaler.mean["vision"]) == pytest.approx(float(x.astype(np.float64).mean()), rel=1e-6)
    assert float(scaler.std["vision"]) == pytest.approx(float(x.astype(np.float64).std()), rel=1e-4)


def test_scaler_limits_outliers() -> None:
    scaler = Scaler({"audio": torch.zeros(1)}, {"audio": torch.ones(1)}, limit=10.0)
    assert scaler("audio", torch.tensor([[[1e9]]])).item() == 10.0


def test_fit_lengths_pads_and_cuts() -> None:
    data = split()
    spec = corpus(data).spec()
    spec.audio_len, spec.vision_len = 3, 9
    batch = SplitDataset(data, spec, SentimentRegression(), fit_lengths=True).__getitems__([0, 1])
    assert batch.audio.x.shape[1] == batch.audio.mask.shape[1] == 3
    assert batch.vision.x.shape[1] == 9
    assert not batch.vision.mask[:, 4:].any()


@pytest.mark.parametrize(
    ("labels", "task", "message"),
    [
        (np.zeros((5, 4), dtype=np.int64), SentimentRegression(), "made up has 4 emotions a sample.*set data.task"),
        (np.zeros(5, dtype=np.float32), EmotionDetection(), "made up has one label a sample.*set data.task"),
        (np.zeros((5, 3), dtype=np.int64), EmotionDetection(), "made up has 3 emotions a sample, the task 4"),
        (np.array([0, 1, 2, 3, 0]), SentimentClassification(3), r"1 labels lie outside the 3 classes.*first id v3"),
        (np.array([0, 1, 2, 0, 0]), SentimentRegression(), "has classes, not scores"),
    ],
)
def test_unsuitable_labels_are_refused(labels: Any, task: Task, message: str) -> None:
    with pytest.raises(MERError, match=message):
        check_labels(split(labels), task, "made up")


def test_split_source_is_complete_unshuffled_and_repeatable() -> None:
    data = split()
    source = SplitSource(SplitDataset(data, corpus(data).spec(), SentimentRegression()), batch_size=2)
    for _ in range(2):
        assert torch.cat([batch.index for batch in source]).tolist() == [0, 1, 2, 3, 4]


def test_fit_lengths_keeps_the_words_of_front_padded_text() -> None:
    mask = torch.tensor([[False, False, False, True, True]])
    modality = Modality(torch.tensor([[0, 0, 0, 7, 8]]), mask)
    fitted = _fit_length(modality, 3, 0)
    assert fitted.x.tolist() == [[7, 8, 0]]
    assert fitted.mask.tolist() == [[True, True, False]]
