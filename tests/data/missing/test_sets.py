import pytest
import torch

from mer_zoo.batch import MODALITIES, Batch, DataSpec
from mer_zoo.data.missing.pattern import derive_key
from mer_zoo.data.missing.sets import RandomSMM, draw_sets
from mer_zoo.errors import MERError
from mer_zoo.task import SentimentRegression

TASK = SentimentRegression()


def sets_of(rate: float, spec: DataSpec, size: int = 3000, key: int = 0) -> dict[tuple[str, ...], int]:
    """How often each set of modalities is what is left."""
    batch = Batch.random(spec, TASK, size)
    view = RandomSMM(rate)(batch, spec, derive_key(key, 0, RandomSMM(rate)))
    observed = {name: view.modality(name).observed.any(1) for name in spec.modalities}
    for name in spec.modalities:
        assert torch.equal(view.modality(name).mask, batch.modality(name).mask)
        assert not view.modality(name).x[~observed[name]].any()
    found: dict[tuple[str, ...], int] = {}
    for i in range(size):
        left = tuple(name for name in spec.modalities if observed[name][i])
        found[left] = found.get(left, 0) + 1
    return found


def test_six_sets_are_drawn_alike_at_the_rate() -> None:
    found = sets_of(0.6, DataSpec(text_len=1, audio_len=1, vision_len=1))
    complete = found.pop(MODALITIES)
    assert abs(complete / 3000 - 0.4) < 0.03
    assert len(found) == 6
    assert all(abs(count / 3000 - 0.1) < 0.03 for count in found.values())


def test_rates_of_all_and_none() -> None:
    assert set(sets_of(0.0, DataSpec(), 20)) == {MODALITIES}
    assert MODALITIES not in sets_of(1.0, DataSpec(), 200)
    two = DataSpec(modalities=["text", "vision"])
    assert set(sets_of(1.0, two, 50)) == {("text",), ("vision",)}


def test_draws_belong_to_the_sample_and_the_key() -> None:
    spec = DataSpec()
    batch = Batch.random(spec, TASK, 40)
    pattern = RandomSMM(0.5)

    def kept(indices: torch.Tensor, key: int) -> torch.Tensor:
        found = pattern.kept(batch.replace(index=indices), spec, key)
        return torch.cat([found[name] for name in MODALITIES], 1)

    order = torch.randperm(40)
    assert torch.equal(kept(order, 3), kept(torch.arange(40), 3)[order])
    assert not torch.equal(kept(order, 3), kept(order, 4))


def test_draw_sets_gives_given_sets() -> None:
    sets = [[True, True, False], [False, False, True]]
    drawn = draw_sets(1, torch.arange(50), sets).tolist()
    assert {tuple(row) for row in drawn} == {tuple(row) for row in sets}


def test_refusals() -> None:
    with pytest.raises(MERError, match=r"rate is -1; give a number in \[0, 1\]"):
        RandomSMM(-1)
    spec = DataSpec(modalities=["audio"])
    with pytest.raises(MERError, match="takes some of several modalities away, but the data is used with audio only"):
        RandomSMM(0.5)(Batch.random(spec, TASK), spec, 0)
