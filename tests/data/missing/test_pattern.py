import hashlib
import json

import jsonargparse
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pattern_toys import GOLDEN, TASK, check_golden, golden_batch, make_batch, rows

from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality, availability_name
from mer_zoo.data.missing import pattern as missing
from mer_zoo.data.missing.drop import drop, protected, steps
from mer_zoo.data.missing.pattern import AVAILABILITY, RMM, SMM, MissingPattern, derive_key
from mer_zoo.errors import MERError

PATTERNS = st.one_of(st.sampled_from(AVAILABILITY).map(SMM), st.floats(0, 1).map(RMM))
BATCHES = st.builds(make_batch, st.booleans(), st.integers(1, 8), st.integers(0, 50))
KEYS = st.integers(0, 2**63 - 1)


@given(BATCHES, PATTERNS, KEYS)
@settings(max_examples=60, deadline=None)
def test_views_keep_padding_masks_and_the_batch(
    made: tuple[Batch, DataSpec], pattern: MissingPattern, key: int
) -> None:
    batch, spec = made
    before = {name: batch.modality(name).x.clone() for name in MODALITIES}
    view = pattern(batch, spec, key)
    for name in MODALITIES:
        whole, part = batch.modality(name), view.modality(name)
        assert torch.equal(whole.x, before[name])
        assert torch.equal(part.mask, whole.mask)
        assert not (part.observed & ~part.mask).any()
        same = part.observed | ~part.mask
        assert torch.equal(part.x[same], whole.x[same])
        gone = part.x[part.mask & ~part.observed]
        assert (gone == (spec.unk_id if part.is_tokens else 0)).all()
    if spec.tokens:
        special = torch.isin(batch.text.x, torch.tensor([spec.cls_id, spec.sep_id]))
        assert view.text.observed[special].all()


@given(BATCHES, st.floats(0, 1), KEYS)
@settings(max_examples=40, deadline=None)
def test_masks_do_not_depend_on_batch_size_or_order(made: tuple[Batch, DataSpec], rate: float, key: int) -> None:
    batch, spec = made
    pattern = RMM(rate)
    whole = pattern(batch, spec, key)
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(key % 1000)).tolist()
    for chosen in ([0], order, order[: len(order) // 2 + 1]):
        part = pattern(rows(batch, chosen), spec, key)
        for name in MODALITIES:
            assert torch.equal(part.modality(name).observed, whole.modality(name).observed[chosen])


@given(BATCHES, KEYS)
@settings(max_examples=20, deadline=None)
def test_rate_zero_changes_nothing_and_rate_one_leaves_special_tokens(made: tuple[Batch, DataSpec], key: int) -> None:
    batch, spec = made
    whole, nothing = RMM(0)(batch, spec, key), RMM(1)(batch, spec, key)
    for name in MODALITIES:
        assert torch.equal(whole.modality(name).x, batch.modality(name).x)
        assert torch.equal(whole.modality(name).observed, batch.modality(name).mask)
    assert not nothing.audio.observed.any()
    assert not nothing.vision.observed.any()
    assert nothing.text.observed.sum(1).tolist() == [2 if spec.tokens else 0] * len(batch)


def test_rmm_drops_modalities_at_its_rate_independently() -> None:
    size = 20_000
    mask = torch.ones(size, 1, dtype=torch.bool)
    one = Modality(torch.ones(size, 1, 1), mask)
    batch = Batch(one, one, one, torch.zeros(size), torch.arange(size))
    view = RMM(0.3)(batch, DataSpec(), derive_key(0, "test", RMM(0.3)))
    kept = torch.cat([view.modality(name).observed for name in MODALITIES], 1).double()
    assert ((kept.mean(0) - 0.7).abs() < 4 * (0.21 / size) ** 0.5).all()
    assert (torch.corrcoef(kept.T) - torch.eye(3)).abs().max() < 4 / size**0.5


def test_rmm_against_the_released_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing, "uniform", lambda *_: GOLDEN["out.RMM.draw"])
    check_golden(RMM(0.5), *golden_batch(), "RMM")


@pytest.mark.parametrize("available", AVAILABILITY)
def test_smm_keeps_its_modalities(available: tuple[str, ...]) -> None:
    batch, spec = make_batch(tokens=True)
    view = SMM(available)(batch, spec, key=0)
    for name in MODALITIES:
        if name in available:
            assert torch.equal(view.modality(name).x, batch.modality(name).x)
        else:
            expected = 2 * len(batch) if name == "text" else 0
            assert view.modality(name).observed.sum() == expected


def test_smm_refuses_modalities_that_are_not_used() -> None:
    spec = DataSpec(modalities=["text", "audio"])
    batch = Batch.random(spec, TASK)
    assert SMM(["audio"])(batch, spec, 0).text.x.abs().sum() == 0
    with pytest.raises(MERError, match="keeps vision, but the data is used with text, audio only"):
        SMM(["vision"])(batch, spec, 0)


def test_unused_modalities_are_left_alone() -> None:
    spec = DataSpec(modalities=["audio"])
    view = RMM(1.0)(Batch.random(spec, TASK), spec, 0)
    assert not view.audio.observed.any()
    assert view.text.x.shape[1] == 1


def test_float_text_has_no_protected_position() -> None:
    batch, _ = make_batch(tokens=False)
    ids = torch.full(batch.text.mask.shape, 7)
    text = batch.text.replace(token_ids=ids)
    spec = DataSpec(text_len=9)
    view = drop(batch.replace(text=text), {"text": torch.zeros_like(text.mask)}, spec)
    assert not protected(text, spec).any()
    assert view.text.x.abs().sum() == 0
    assert view.text.token_ids is not None
    assert torch.equal(view.text.token_ids == spec.unk_id, text.mask)
    assert (ids == 7).all(), "the batch's own ids are not written to"


def test_ids_beside_features_keep_naming_the_frame() -> None:
    spec = DataSpec(text_dim=2)
    ids = torch.tensor([[101, 7, 102, 0], [0, 101, 7, 102]])
    batch, _ = make_batch(tokens=False)
    text = Modality(torch.ones(2, 4, 2), ids != 0, token_ids=ids)
    view = drop(batch.replace(text=text), {"text": torch.zeros_like(text.mask)}, spec).text
    assert view.token_ids is not None
    assert view.token_ids.tolist() == [[101, 100, 102, 0], [0, 101, 100, 102]]
    assert not view.observed.any(), "their features are missing all the same"
    assert view.x[text.mask].abs().sum() == 0


def test_only_the_frame_of_a_text_is_protected() -> None:
    spec = DataSpec(tokens=True)
    ids = torch.tensor([[101, 102, 101, 8, 102, 0], [0, 0, 101, 7, 102, 0], [7, 8, 9, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    text = Modality(ids, ids != 0)
    assert protected(text, spec).long().tolist() == [
        [1, 0, 0, 0, 1, 0],
        [0, 0, 1, 0, 1, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]


def test_views_add_up() -> None:
    batch, spec = make_batch(tokens=True)
    once = SMM(["text", "audio"])(batch, spec, 0)
    twice = SMM(["text", "vision"])(once, spec, 0)
    assert not twice.audio.observed.any()
    assert not twice.vision.observed.any()


def test_infinite_values_vanish() -> None:
    batch, spec = make_batch(tokens=False)
    batch = batch.replace(audio=batch.audio.replace(x=torch.full_like(batch.audio.x, torch.inf)))
    dropped = SMM(["text"])(batch, spec, 0).audio
    assert (dropped.x[dropped.mask] == 0).all()


def test_steps_do_not_depend_on_padding() -> None:
    mask = torch.tensor([[False, True, True, True, False]])
    padded, bare = Modality(torch.zeros(1, 5, 2), mask), Modality(torch.zeros(1, 3, 2), mask[:, 1:4])
    assert torch.equal(steps(padded)[mask], steps(bare)[0])


def test_keys_tell_seed_split_step_and_pattern_apart() -> None:
    patterns = [RMM(0.5), RMM(0.6), SMM(["text"]), SMM(["audio"])]
    keys = {derive_key(s, w, p) for s in (0, 1) for w in ("test", "valid", 1, "1") for p in patterns}
    assert len(keys) == 2 * 4 * 4
    assert all(0 <= key < 2**63 for key in keys)
    digest = hashlib.blake2b(b"(0, 'test', RMM(rate=0.5))", digest_size=8).digest()
    assert derive_key(0, "test", RMM(0.5)) == int.from_bytes(digest, "big") // 2, (
        "published masks must stay as they are"
    )


def test_patterns_are_equal_by_their_arguments() -> None:
    assert RMM(1) == RMM(1.0)
    assert SMM(["vision", "text"]) == SMM(("text", "vision"))
    assert len({RMM(0.1), RMM(0.1), RMM(0.2)}) == 2
    assert repr(SMM("text")) == "SMM(available=('text',))"
    assert RMM(0.5) != "RMM(rate=0.5)"


@pytest.mark.parametrize(
    ("class_path", "init_args", "expected"),
    [("RMM", {"rate": 1}, RMM(1.0)), ("mer_zoo.data.missing.pattern.SMM", {"available": ["audio"]}, SMM(["audio"]))],
)
def test_patterns_from_yaml_options(class_path: str, init_args: dict[str, object], expected: MissingPattern) -> None:
    def same(pattern: MissingPattern) -> MissingPattern:
        return pattern

    option = json.dumps({"class_path": class_path, "init_args": init_args})
    assert jsonargparse.auto_cli(same, args=[f"--pattern={option}"], as_positional=False) == expected


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_rate_out_of_range(rate: float) -> None:
    with pytest.raises(MERError, match=r"rate is .*; give a number in \[0, 1\]"):
        RMM(rate)


@pytest.mark.parametrize("available", [[], ["speech"], ["text", "text"]])
def test_bad_sets_of_modalities(available: list[str]) -> None:
    with pytest.raises(MERError, match="non-empty choice of text, audio, vision"):
        SMM(available)


def test_availability_names() -> None:
    names = [availability_name(available) for available in AVAILABILITY]
    assert names == ["{l}", "{a}", "{v}", "{l,a}", "{l,v}", "{a,v}", "{l,a,v}"]
