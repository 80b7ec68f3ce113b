import json
from collections.abc import Callable
from typing import get_args

import jsonargparse
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pattern_toys import TASK, each, make_batch, padded, rows
from torch import Tensor

from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.data.missing.frames import MRMS, RMFM, STMFM, TMFM, Keep, TraditionalRMFM
from mer_zoo.data.missing.pattern import MissingPattern, derive_key
from mer_zoo.errors import MERError
from mer_zoo.functional.draws import dropped_block, uniform

Made = tuple[Batch, DataSpec]
Rated = Callable[[float], MissingPattern]


def same_rate(rate: float) -> TraditionalRMFM:
    return TraditionalRMFM(rate, rate, rate)


FREE: list[Rated] = [RMFM, same_rate, MRMS]
ALIGNED: list[Rated] = [TMFM, STMFM]
RATED = [*FREE, *ALIGNED]
BATCHES = st.builds(make_batch, st.booleans(), st.integers(1, 8), st.integers(0, 50), st.just(True))
RATES = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0]))
PATTERNS: st.SearchStrategy[MissingPattern] = st.one_of(
    st.builds(lambda rated, rate: rated(rate), st.sampled_from(RATED), RATES),
    st.sampled_from([RMFM("per_sample"), RMFM("per_position")]),
    st.builds(TraditionalRMFM, RATES, RATES, RATES),
)
KEYS = st.integers(0, 2**63 - 1)
QUICK = settings(max_examples=40, deadline=None)


def observed(view: Batch) -> Tensor:
    return torch.cat([view.modality(name).observed for name in MODALITIES], 1)


def special(batch: Batch, spec: DataSpec) -> Tensor:
    ids = torch.tensor([spec.cls_id, spec.sep_id])
    return torch.isin(batch.text.x, ids) if spec.tokens else torch.zeros_like(batch.text.mask)


@given(BATCHES, PATTERNS, KEYS)
@QUICK
def test_views_touch_nothing_but_what_is_missing(made: Made, pattern: MissingPattern, key: int) -> None:
    batch, spec = made
    before = each(batch, torch.clone)
    view = pattern(batch, spec, key)
    for name in MODALITIES:
        whole, part = batch.modality(name), view.modality(name)
        assert torch.equal(whole.x, before.modality(name).x), "inputs are never written to"
        assert torch.equal(whole.observed, before.modality(name).observed)
        assert torch.equal(part.mask, whole.mask)
        assert not (part.observed & ~part.mask).any(), "padding is never counted"
        same = part.observed | ~part.mask
        assert torch.equal(part.x[same], whole.x[same])
        assert (part.x[part.mask & ~part.observed] == (spec.unk_id if part.is_tokens else 0)).all()
    assert view.text.observed[special(batch, spec)].all()


@given(BATCHES, PATTERNS, KEYS, st.integers(0, 3), st.integers(0, 3))
@QUICK
def test_masks_depend_on_nothing_else(made: Made, pattern: MissingPattern, key: int, front: int, behind: int) -> None:
    """Batches of one, batches of every n-th sample (as a rank of several has them), another order, other padding."""
    batch, spec = made
    whole = observed(pattern(batch, spec, key))
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(key % 1000)).tolist()
    every = list(range(len(batch)))
    for chosen in ([0], order, every[::2], every[len(batch) // 2 :]):
        assert torch.equal(observed(pattern(rows(batch, chosen), spec, key)), whole[chosen])
    for other in (padded(batch, front, behind), batch.trim()):
        again, real = pattern(other, spec, key), pattern(batch, spec, key)
        for name in MODALITIES:
            found, expected = again.modality(name), real.modality(name)
            assert torch.equal(found.observed[found.mask], expected.observed[expected.mask])


@given(BATCHES, st.sampled_from(RATED), KEYS)
@QUICK
def test_rate_zero_and_rate_one(made: Made, rated: Rated, key: int) -> None:
    batch, spec = made
    whole, nothing = rated(0)(batch, spec, key), rated(1)(batch, spec, key)
    for name in MODALITIES:
        assert torch.equal(whole.modality(name).x, batch.modality(name).x)
        assert torch.equal(whole.modality(name).observed, batch.modality(name).mask)
    left = special(batch, spec)
    assert torch.equal(nothing.text.observed & left, left)
    if rated is MRMS:
        free = sum(batch.modality(name).mask.sum(1) for name in MODALITIES) - left.sum(1)
        assert torch.equal(observed(nothing).sum(1) - left.sum(1), free.clamp(max=1))
        return
    assert torch.equal(nothing.text.observed, left)
    frames = left if rated in ALIGNED else torch.zeros_like(left)
    assert torch.equal(nothing.audio.observed, frames)
    assert torch.equal(nothing.vision.observed, frames)


@given(BATCHES, st.sampled_from(ALIGNED), st.floats(0, 1), KEYS)
@QUICK
def test_aligned_patterns_drop_the_same_steps(made: Made, rated: Rated, rate: float, key: int) -> None:
    batch, spec = made
    view = rated(rate)(batch, spec, key)
    assert torch.equal(view.text.observed, view.audio.observed)
    assert torch.equal(view.text.observed, view.vision.observed)


@given(BATCHES, st.floats(0, 1), KEYS)
@QUICK
def test_block_of_stmfm(made: Made, rate: float, key: int) -> None:
    batch, spec = made
    view = STMFM(rate)(batch, spec, key)
    for mask, kept, special_steps in zip(batch.text.mask, view.text.observed, special(batch, spec), strict=True):
        missing = (mask & ~kept).nonzero().flatten().tolist()
        free = int(mask.sum() - special_steps.sum())
        assert len(missing) == round(free * rate)
        assert missing == list(range(missing[0], missing[0] + len(missing))) if missing else True


def test_block_starts_anywhere_with_equal_chance() -> None:
    free = torch.ones(5000, 7, dtype=torch.bool)
    draw = uniform(3, torch.arange(5000), torch.zeros(1))
    block = dropped_block(3 / 7, free, draw)
    assert (block.sum(1) == 3).all()
    starts = block.int().argmax(1).bincount(minlength=5)
    assert len(starts) == 5
    assert ((starts - 1000).abs() < 4 * (5000 * 0.2 * 0.8) ** 0.5).all()
    last = dropped_block(3 / 7, free[:1], torch.tensor([[1 - 2.0**-24]]))
    assert last[0].tolist() == [False] * 4 + [True] * 3


@pytest.mark.parametrize("rated", [RMFM, same_rate, MRMS, TMFM, STMFM])
def test_rates_are_met(rated: Rated) -> None:
    size, steps = 400, 50
    mask = torch.ones(size, steps, dtype=torch.bool)
    one = Modality(torch.ones(size, steps, 1), mask)
    batch = Batch(one, one, one, torch.zeros(size), torch.arange(size))
    spec = DataSpec(aligned=True)
    for rate in (0.1, 0.3, 0.9):
        pattern = rated(rate)
        kept = pattern(batch, spec, derive_key(0, "test", pattern))
        for name in MODALITIES:
            share = kept.modality(name).observed.double().mean().item()
            assert abs(share - (1 - rate)) < 4 * (rate * (1 - rate) / (size * steps)) ** 0.5


def test_rates_of_each_modality_and_independence() -> None:
    size = 20_000
    one = Modality(torch.ones(size, 1, 1), torch.ones(size, 1, dtype=torch.bool))
    batch = Batch(one, one, one, torch.zeros(size), torch.arange(size))
    kept = observed(TraditionalRMFM(0.2, 0.5, 0.8)(batch, DataSpec(), 5)).double()
    assert ((kept.mean(0) - torch.tensor([0.8, 0.5, 0.2])).abs() < 4 * 0.5 / size**0.5).all()
    assert (torch.corrcoef(kept.T) - torch.eye(3)).abs().max() < 4 / size**0.5


@pytest.mark.parametrize("kind", ["per_sample", "per_position"])
def test_random_rates(kind: str) -> None:
    size, steps = 2000, 40
    one = Modality(torch.ones(size, steps, 1), torch.ones(size, steps, dtype=torch.bool))
    batch = Batch(one, one, one, torch.zeros(size), torch.arange(size))
    share = observed(RMFM(kind)(batch, DataSpec(), 8)).double().mean(1)  # type: ignore[arg-type]
    assert abs(share.mean().item() - 0.5) < 0.03
    # a rate uniform in [0, 1] spreads the shares; a new rate at each position evens them out
    spread = (1 / 12) ** 0.5 if kind == "per_sample" else (0.25 / (3 * steps)) ** 0.5
    assert share.std().item() == pytest.approx(spread, rel=0.1)


@pytest.mark.parametrize("words", [0, 1])
def test_stmfm_on_the_shortest_texts(words: int) -> None:
    spec = DataSpec(tokens=True, aligned=True)
    ids = torch.tensor([[spec.cls_id, *[7] * words, spec.sep_id]])
    frames = Modality(torch.ones(*ids.shape, 2), ids > 0)
    batch = Batch(Modality(ids, ids > 0), frames, frames, torch.zeros(1), torch.arange(1))
    view = STMFM(1)(batch, spec, 0)
    assert view.text.x.tolist() == [[spec.cls_id, *[spec.unk_id] * words, spec.sep_id]]
    assert view.audio.observed.tolist() == [[True, *[False] * words, True]]


@pytest.mark.parametrize("rated", ALIGNED)
def test_steps_correspond_where_the_masks_differ(rated: Rated) -> None:
    """As in MulT's files: padded in front, and audio is silent at the first word of one sample."""
    mask = torch.tensor([[False, True, True, True, True], [True] * 5])
    silent = mask.clone()
    silent[0, 1] = False
    words, frames = Modality(torch.ones(2, 5, 1), mask), Modality(torch.ones(2, 5, 1), silent)
    batch = Batch(words, frames, words, torch.zeros(2), torch.arange(2))
    spec = DataSpec(aligned=True)
    for key in range(20):
        view = rated(0.5)(batch, spec, key)
        assert torch.equal(view.audio.observed, view.text.observed & silent)
        alone = rated(0.5)(rows(batch, [0]).trim(), spec, key)
        assert torch.equal(alone.audio.observed, view.audio.observed[:1, 1:])


def test_a_sample_without_any_step() -> None:
    batch, spec = make_batch(tokens=False, aligned=True)
    empty = each(batch, torch.zeros_like)
    for rated in RATED:
        assert not observed(rated(0.7)(empty, spec, 0)).any()


@pytest.mark.parametrize("rated", RATED)
def test_modalities_that_are_not_used(rated: Rated) -> None:
    spec = DataSpec(modalities=["audio", "vision"], aligned=True, tokens=True, audio_len=7, vision_len=7)
    view = rated(1.0)(Batch.random(spec, TASK), spec, 0)
    assert view.text.x.shape[1] == 1
    assert view.audio.observed.sum() == 0 if rated is not MRMS else view.audio.observed.sum() <= len(view)


@pytest.mark.parametrize("rated", ALIGNED)
def test_aligned_patterns_refuse_other_data(rated: Rated) -> None:
    batch, spec = make_batch(tokens=True)
    message = r"TMFM\(rate=0.5\) drops the same time steps of all modalities and needs aligned data.*or RMFM"
    with pytest.raises(MERError, match=message):
        rated(0.5)(batch, spec, 0)
    with pytest.raises(MERError, match=r"needs one time axis, but this batch has steps text 9, audio 8, vision 7"):
        rated(0.5)(batch, DataSpec(tokens=True, aligned=True), 0)


@given(BATCHES, st.floats(0, 1), KEYS)
@QUICK
def test_what_remains_of_mrms(made: Made, ratio: float, key: int) -> None:
    batch, spec = made
    free = {name: batch.modality(name).mask for name in MODALITIES}
    free["text"] = free["text"] & ~special(batch, spec)
    views = [RMFM(ratio)(batch, spec, key), *(MRMS(ratio, keep)(batch, spec, key) for keep in get_args(Keep))]
    for i in range(len(batch)):
        there = [name for name in MODALITIES if free[name][i].any()]
        drawn, frame, modality, every = (
            {name: free[name][i] & view.modality(name).observed[i] for name in there} for view in views
        )
        assert any(left.any() for left in frame.values()) or not there
        assert all(left.any() for left in every.values())
        others = [name for name in there if not torch.equal(modality[name], free[name][i])]
        assert len(others) < len(there) or not there
        assert all(torch.equal(modality[name], drawn[name]) for name in others)
        for name in there:  # nothing remains beside what is drawn, but where that is nothing
            assert torch.equal(every[name], drawn[name]) or (every[name].sum() == 1 and not drawn[name].any())


def test_each_modality_remains_as_often_as_the_others() -> None:
    spec = DataSpec(text_len=4, audio_len=4, vision_len=4)
    one = Modality(torch.ones(6000, 4, 2), torch.ones(6000, 4, dtype=torch.bool))
    batch = Batch(one, one, one, torch.zeros(6000), torch.arange(6000))
    view = MRMS(1.0, "modality")(batch, spec, 1)
    whole = torch.stack([view.modality(name).observed.all(1) for name in MODALITIES], 1)
    assert (whole.sum(1) == 1).all()
    assert (whole.float().mean(0) - 1 / 3).abs().max() < 0.03


def test_bad_rates() -> None:
    for build in (RMFM, MRMS, TMFM, STMFM, same_rate):
        with pytest.raises(MERError, match=r"rate is 1.5; give a number in \[0, 1\]"):
            build(1.5)
    with pytest.raises(MERError, match=r"rate is 'sometimes'; give a number in \[0, 1\], per_sample or per_position"):
        RMFM("sometimes")  # type: ignore[arg-type]
    with pytest.raises(MERError, match="unknown keep 'word' of MRMS; choose from frame, modality, every"):
        MRMS(0.5, "word")  # type: ignore[arg-type]


def test_published_masks_stay_as_they_are() -> None:
    spec = DataSpec(aligned=True, text_len=8, audio_len=8, vision_len=8)
    mask = torch.ones(1, 8, dtype=torch.bool)
    one = Modality(torch.ones(1, 8, 2), mask)
    batch = Batch(one, one, one, torch.zeros(1), torch.tensor([3]))
    found = {}
    for rated in RATED:
        pattern = rated(0.5)
        view = pattern(batch, spec, derive_key(0, "test", pattern))
        found[type(pattern).__name__] = "".join(str(int(kept)) for kept in observed(view)[0])
    assert found == {
        "RMFM": "010011100000000101010101",
        "TraditionalRMFM": "010000100001001010100100",
        "MRMS": "011001011111100010000000",
        "TMFM": "110101001101010011010100",
        "STMFM": "110000111100001111000011",
    }, "runs already tested would differ"


@pytest.mark.parametrize(
    ("class_path", "init_args", "expected"),
    [
        ("RMFM", {"rate": 0.3}, RMFM(0.3)),
        ("RMFM", {"rate": "per_position"}, RMFM("per_position")),
        ("TraditionalRMFM", {"text": 0, "audio": 0.5, "vision": 1}, TraditionalRMFM(0, 0.5, 1)),
        ("MRMS", {"ratio": 0.7}, MRMS(0.7)),
        ("MRMS", {"ratio": 0.7, "keep": "modality"}, MRMS(0.7, "modality")),
    ],
)
def test_patterns_from_yaml_options(class_path: str, init_args: dict[str, object], expected: MissingPattern) -> None:
    def same(pattern: MissingPattern) -> MissingPattern:
        return pattern

    option = json.dumps({"class_path": class_path, "init_args": init_args})
    assert jsonargparse.auto_cli(same, args=[f"--pattern={option}"], as_positional=False) == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_same_on_the_gpu() -> None:
    batch, spec = make_batch(tokens=True, aligned=True)
    for rated in RATED:
        view = rated(0.5)(batch.to("cuda"), spec, 3)
        assert torch.equal(observed(view).cpu(), observed(rated(0.5)(batch, spec, 3)))
