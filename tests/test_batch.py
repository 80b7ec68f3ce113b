import pytest
import torch

from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.errors import MERError
from mer_zoo.life import first_samples
from mer_zoo.task import EmotionDetection, SentimentClassification


@pytest.fixture
def batch() -> Batch:
    return Batch.random(DataSpec(), SentimentClassification(3), size=4)


def test_to_moves_every_tensor(batch: Batch) -> None:
    moved = batch.to("meta")
    assert moved.target.is_meta
    assert moved.index.is_meta
    assert all(
        getattr(moved.modality(name), field).is_meta for name in MODALITIES for field in ("x", "mask", "observed")
    )
    assert moved.ids == batch.ids
    assert not batch.target.is_meta


def test_to_moves_token_ids() -> None:
    modality = Modality(torch.zeros(1, 2, 3), torch.ones(1, 2, dtype=torch.bool), token_ids=torch.ones(1, 2).long())
    moved = modality.to("meta").token_ids
    assert moved is not None
    assert moved.is_meta


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_pin_memory(batch: Batch) -> None:
    assert batch.pin_memory().text.x.is_pinned()


def test_replace_leaves_the_original_alone(batch: Batch) -> None:
    changed = batch.replace(audio=batch.audio.replace(x=batch.audio.x + 1))
    assert not torch.equal(changed.audio.x, batch.audio.x)
    assert changed.text is batch.text


@pytest.mark.parametrize(("real", "kept"), [([0, 0, 1, 1, 0], 2), ([1, 1, 1, 1, 1], 5), ([0, 0, 0, 0, 0], 1)])
def test_trim_cuts_padding_at_both_ends(real: list[int], kept: int) -> None:
    mask = torch.tensor([real, [0] * 5], dtype=torch.bool)
    x = torch.arange(10.0).view(2, 5, 1)
    trimmed = Modality(x, mask).trim()
    assert trimmed.x.shape == (2, kept, 1)
    assert torch.equal(trimmed.x[trimmed.mask], x[mask])


def test_random_respects_the_spec() -> None:
    spec = DataSpec(tokens=True, vocab_size=200, modalities=["text", "vision"])
    batch = Batch.random(spec, EmotionDetection(), size=3)
    assert batch.text.is_tokens
    assert batch.audio.x.shape == (3, 1, spec.audio_dim)
    assert not batch.audio.mask.any()
    assert batch.target.shape == (3, 4)
    assert (batch.text.x[~batch.text.mask] == spec.pad_id).all()


def test_unknown_names_are_refused(batch: Batch) -> None:
    with pytest.raises(MERError, match="unknown modality 'video'; choose from text, audio, vision"):
        batch.modality("video")
    with pytest.raises(MERError, match="give a non-empty choice of text, audio, vision"):
        DataSpec(modalities=["text", "video"])


def test_spec_orders_modalities_and_compares() -> None:
    assert DataSpec(modalities=["vision", "text"]).modalities == ("text", "vision")
    assert DataSpec() == DataSpec()
    assert DataSpec() != DataSpec(text_dim=7)


def test_a_floating_type_leaves_masks_and_ids_alone(batch: Batch) -> None:
    double = batch.to(torch.float64)
    assert double.audio.x.dtype == torch.float64
    assert double.audio.mask.dtype == torch.bool
    assert double.index.dtype == torch.int64


def test_trimming_keeps_a_shared_time_axis() -> None:
    x = torch.arange(5.0).view(1, 5, 1)
    early, late = (torch.tensor([mask], dtype=torch.bool) for mask in ([0, 1, 1, 0, 0], [0, 0, 1, 1, 0]))
    longer = Modality(torch.zeros(1, 7, 1), torch.tensor([[1, 0, 0, 0, 0, 0, 0]], dtype=torch.bool))
    batch = Batch(Modality(x, early), Modality(x, late), longer, torch.zeros(1), torch.arange(1))
    trimmed = batch.trim()
    assert trimmed.text.x.flatten().tolist() == trimmed.audio.x.flatten().tolist() == [1.0, 2.0, 3.0]
    assert trimmed.vision.x.shape[1] == 1


@pytest.fixture
def spoken(batch: Batch) -> Batch:
    numbers = {"speaker": torch.tensor([0, 1, 0, -1]), "dialogue": torch.tensor([0, 0, 1, 1]), "turn": torch.arange(4)}
    tokens = batch.text.replace(token_ids=torch.arange(24).view(4, 6))
    return batch.replace(text=tokens, **numbers, names={"speaker": [*"abc", ""]}, raw_text=list("wxyz"))


def test_samples_are_taken_with_all_that_is_told_of_them(spoken: Batch) -> None:
    taken = spoken.take([3, 1, 1])
    assert taken.ids == [spoken.ids[row] for row in (3, 1, 1)]
    assert taken.raw_text == ["z", "x", "x"]
    assert taken.names == {"speaker": ["", "b", "b"]}
    for name in ("speaker", "dialogue", "turn", "index", "target"):
        assert torch.equal(getattr(taken, name), getattr(spoken, name)[[3, 1, 1]])
    assert taken.text.token_ids is not None
    assert taken.text.token_ids[:, 0].tolist() == [18, 6, 6]
    assert torch.equal(taken.audio.observed, spoken.audio.observed[[3, 1, 1]])
    assert taken.sample_weight is None


def test_joined_undoes_taking(spoken: Batch) -> None:
    parts = [spoken.take([0]), spoken.take([1, 2, 3])]
    assert str(Batch.joined(parts)) == str(spoken)


def test_what_one_batch_does_not_tell_is_not_told_of_all(spoken: Batch, batch: Batch) -> None:
    both = Batch.joined([spoken, batch.replace(turn=torch.zeros(4, dtype=torch.long))])
    assert both.speaker is None
    assert both.names == {}
    assert both.turn is not None
    assert both.turn.tolist() == [0, 1, 2, 3, 0, 0, 0, 0]


def test_who_speaks_moves_with_the_batch(spoken: Batch) -> None:
    moved = spoken.to("meta", torch.half)
    assert all(getattr(moved, name).is_meta for name in ("speaker", "dialogue", "turn"))
    assert moved.speaker is not None
    assert moved.speaker.dtype is torch.int64
    assert moved.names == spoken.names


def test_a_part_for_signs_of_life_has_names_of_its_own_samples(spoken: Batch) -> None:
    part = first_samples(spoken, 2)
    assert part.names == {"speaker": ["a", "b"]}
    assert part.dialogue is not None
    assert part.dialogue.tolist() == [0, 0]
