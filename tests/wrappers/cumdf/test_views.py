"""What CUMDF's views lack: rates, sets, at least one position, fresh for every key,
independent of batch and padding.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.data.missing.pattern import AVAILABILITY
from mer_zoo.errors import MERError
from mer_zoo.task import SentimentClassification
from mer_zoo.wrappers.cumdf.views import UncertainMissing, stack_views

SPEC = DataSpec(text_len=40, audio_len=40, vision_len=40)
THREE = SentimentClassification(3)


def whole(size: int = 3000) -> Batch:
    batch = Batch.random(SPEC, THREE, size=size)
    full = torch.ones(size, 40, dtype=torch.bool)
    return batch.replace(**{n: Modality(batch.modality(n).x, full) for n in MODALITIES})


def observed(view: Batch) -> Tensor:
    return torch.stack([view.modality(name).observed for name in MODALITIES], 1)


def test_rates_are_those_of_the_manuscript() -> None:
    """Without sets, the missing share of a modality is binomial around one of the eight rates: 0.35 in the mean."""
    missing = 1 - observed(UncertainMissing(set_rate=0.0)(whole(), SPEC, key=1)).float().mean(2)
    assert missing.mean().item() == pytest.approx(0.35, abs=0.01)
    # Rate 0 is an eighth of the draws; 0.9^40 of the samples with rate 0.1 lose nothing either.
    assert (missing == 0).float().mean().item() == pytest.approx((1 + 0.9**40) / 8, abs=0.02)
    assert missing.max() < 1
    pairs = missing.T.corrcoef()
    assert pairs[~torch.eye(3, dtype=torch.bool)].abs().max() < 0.06  # each modality draws its own


def test_sets_are_drawn_evenly() -> None:
    there = observed(UncertainMissing(max_rate=0.0, set_rate=1.0)(whole(), SPEC, key=1)).all(2)
    counts = dict.fromkeys(AVAILABILITY, 0)
    for row in there.tolist():
        counts[tuple(name for name, kept in zip(MODALITIES, row, strict=True) if kept)] += 1
    assert sum(counts.values()) == 3000
    assert all(abs(count / 3000 - 1 / 7) < 0.03 for count in counts.values())


def test_half_of_the_samples_keep_every_modality() -> None:
    there = observed(UncertainMissing()(whole(), SPEC, key=1)).any(2).all(1)
    assert there.float().mean().item() == pytest.approx(0.5 + 0.5 / 7, abs=0.03)


def test_every_sample_keeps_something() -> None:
    batch = Batch.random(SPEC, THREE, size=3000)
    for pattern in (UncertainMissing(), UncertainMissing(max_rate=1.0, set_rate=1.0)):
        view = pattern(batch, SPEC, key=1)
        left = torch.cat([view.modality(name).observed for name in MODALITIES], 1).any(1)
        assert left.all()


def test_two_modalities_have_three_sets() -> None:
    spec = DataSpec(modalities=["text", "vision"])
    view = UncertainMissing(max_rate=0.0, set_rate=1.0)(Batch.random(spec, THREE, size=600), spec, key=1)
    there = torch.stack([view.text.observed.any(1), view.vision.observed.any(1)], 1)
    kinds, counts = torch.unique(there, dim=0, return_counts=True)
    assert kinds.tolist() == [[False, True], [True, False], [True, True]]
    assert counts.min() > 150


def test_the_view_is_the_samples_own() -> None:
    batch = whole(20)
    view = UncertainMissing()(batch, SPEC, key=1)
    one = batch.replace(**{n: Modality(batch.modality(n).x[7:8], batch.modality(n).mask[7:8]) for n in MODALITIES})
    one = one.replace(index=batch.index[7:8], target=batch.target[7:8])
    assert torch.equal(observed(UncertainMissing()(one, SPEC, key=1)), observed(view)[7:8])
    moved = batch.replace(
        **{
            n: Modality(F.pad(batch.modality(n).x, (0, 0, 3, 0)), F.pad(batch.modality(n).mask, (3, 0)))
            for n in MODALITIES
        }
    )
    assert torch.equal(observed(UncertainMissing()(moved, SPEC, key=1))[..., 3:], observed(view))
    assert not torch.equal(observed(UncertainMissing()(batch, SPEC, key=2)), observed(view))


def test_special_tokens_stay_and_do_not_count() -> None:
    spec = DataSpec(tokens=True, vocab_size=200, modalities=["text", "audio"])
    batch = Batch.random(spec, THREE, size=200)
    ids = torch.full((200, 6), 150)
    ids[:, 0], ids[:, 5] = spec.cls_id, spec.sep_id
    batch = batch.replace(text=Modality(ids, torch.ones(200, 6, dtype=torch.bool)))
    view = UncertainMissing(max_rate=1.0, set_rate=1.0)(batch, spec, key=1)
    assert view.text.observed[:, [0, 5]].all()
    words = view.text.observed[:, 1:5].any(1) | view.audio.observed.any(1)
    assert words.all()


def test_stacked_views_stand_one_after_the_other() -> None:
    batch = Batch.random(SPEC, THREE, size=3)
    views = [UncertainMissing()(batch, SPEC, key) for key in (1, 2)]
    both = stack_views(views)
    assert torch.equal(both.audio.x, torch.cat([view.audio.x for view in views]))
    assert torch.equal(both.vision.observed, torch.cat([view.vision.observed for view in views]))
    assert both.ids == batch.ids * 2
    assert both.text.token_ids is None
    assert stack_views(views[:1]) is views[0]
    ids = torch.ones(3, 40, dtype=torch.long)
    named = batch.replace(text=batch.text.replace(token_ids=ids))
    stacked = stack_views([named, named]).text.token_ids
    assert stacked is not None
    assert stacked.shape == (6, 40)


def test_bad_rates() -> None:
    with pytest.raises(MERError, match=r"rate is 1\.5"):
        UncertainMissing(max_rate=1.5)
    with pytest.raises(MERError, match=r"max_rate is 0\.25; give a multiple of 0\.1"):
        UncertainMissing(max_rate=0.25)
    with pytest.raises(MERError, match=r"rate is -0\.1"):
        UncertainMissing(set_rate=-0.1)
