from collections.abc import Callable

import pytest
import torch

from mer_zoo.batch import MODALITIES, Batch, DataSpec
from mer_zoo.data.missing.pattern import MissingPattern, derive_key
from mer_zoo.data.missing.sets import AtLeastOne, BatchShares, BatchSMM, RandomSMM, draw_sets
from mer_zoo.data.missing.views import IncompleteViews
from mer_zoo.errors import MERError
from mer_zoo.task import SentimentRegression

TASK = SentimentRegression()


def sets_of(
    rate: float, spec: DataSpec, size: int = 3000, kind: Callable[[float], MissingPattern] = RandomSMM
) -> dict[tuple[str, ...], int]:
    """How often each set of modalities is what is left."""
    batch = Batch.random(spec, TASK, size)
    view = kind(rate)(batch, spec, derive_key(0, 0, kind(rate)))
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


@pytest.mark.parametrize("modalities", [MODALITIES, ("text", "vision")])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.4, 0.6, 0.7, 1.0])
def test_each_sample_keeps_one_and_the_rate_is_the_share_of_all(modalities: tuple[str, ...], rate: float) -> None:
    spec, n, size = DataSpec(1, 1, 1, 1, 1, 1, modalities=modalities), len(modalities), 3000
    found = sets_of(rate, spec, kind=AtLeastOne)
    assert () not in found
    left = sum(len(kept) * count for kept, count in found.items())
    assert abs(left / (n * size) - max(1 - rate, 1 / n)) < 0.02
    for name in modalities:  # none is favoured
        assert abs(sum(count for kept, count in found.items() if name in kept) * n / left - 1) < 0.06
    alone = found.get(modalities[:1], 0) / size
    assert abs(alone - min(1.0, rate * n / (n - 1)) ** (n - 1) / n) < 0.03


@pytest.mark.parametrize("pattern", [RandomSMM(0.5), AtLeastOne(0.5)], ids=repr)
def test_draws_belong_to_the_sample_and_the_key(pattern: MissingPattern) -> None:
    spec = DataSpec()
    batch = Batch.random(spec, TASK, 40)

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


@pytest.mark.parametrize("kind", [RandomSMM, AtLeastOne])
def test_refusals(kind: Callable[[float], MissingPattern]) -> None:
    with pytest.raises(MERError, match=r"rate is -1; give a number in \[0, 1\]"):
        kind(-1)
    spec = DataSpec(modalities=["audio"])
    with pytest.raises(MERError, match="takes some of several modalities away, but the data is used with audio only"):
        kind(0.5)(Batch.random(spec, TASK), spec, 0)


def test_batches_lose_modalities_by_shares_of_an_epoch() -> None:
    for rate, ones, twos in ((0.1, 2, 2), (0.5, 14, 2), (0.7, 20, 0)):
        shares = BatchShares(rate)
        shares.batches = 22  # taken for 20
        kept = [shares.kept(number) for number in range(44)]
        assert kept[:22] == [1] * ones + [2] * twos + [3] * (22 - ones - twos)
        assert kept[22:] == kept[:22]
    shares.batches = 5
    assert {shares.kept(number) for number in range(5)} == {3}


def test_a_batch_of_shares_keeps_one_set_of_modalities() -> None:
    spec, task = DataSpec(), SentimentRegression()
    batch, seen = Batch.random(spec, task, size=4), set()
    for key in range(60):
        observed = torch.stack([BatchSMM(2)(batch, spec, key).modality(n).observed.any(1) for n in spec.modalities], 1)
        assert (observed == observed[0]).all()
        seen.add(tuple(observed[0].tolist()))
    assert seen == {(True, True, False), (True, False, True), (False, True, True)}


def test_shares_need_the_number_of_batches_and_know_rates_in_tenths() -> None:
    views = IncompleteViews(BatchShares(0.7), seed=0)
    batch = Batch.random(DataSpec(), SentimentRegression(), size=4)
    with pytest.raises(MERError, match="the number of batches of an epoch is not known yet"):
        views(batch, DataSpec())
    views.learn([batch] * 8)
    view = views(batch, DataSpec())
    assert sum(bool(view.modality(name).observed.any()) for name in MODALITIES) == 1
    for rate in (0.75, 0.8):
        with pytest.raises(MERError, match=f"drop_rate is {rate}, but shares of batches are given for"):
            BatchShares(rate)
    with pytest.raises(MERError, match="must be at least 1"):
        BatchSMM(0)
    with pytest.raises(MERError, match="keeps more modalities than the text, audio of the data"):
        BatchSMM(3)(batch, DataSpec(modalities=["text", "audio"]), key=0)
