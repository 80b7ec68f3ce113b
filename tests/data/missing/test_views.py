"""Incomplete views of training batches: fresh, repeatable, independent of the batch."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from toys import MeanNet
from typing_extensions import override

from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.data.missing.pattern import RMM, MissingPattern
from mer_zoo.data.missing.sets import BatchShares
from mer_zoo.data.missing.views import IncompleteViews, view_maker
from mer_zoo.model import Model, Wrapper
from mer_zoo.task import SentimentClassification
from mer_zoo.wrappers import CausalMER

SPEC = DataSpec()
THREE = SentimentClassification(3)


def whole(size: int = 64) -> Batch:
    return Batch.random(SPEC, THREE, size=size)


def observed(view: Batch) -> Tensor:
    return torch.cat([view.modality(name).observed for name in MODALITIES], 1)


def take(batch: Batch, order: list[int]) -> Batch:
    def cut(modality: Modality) -> Modality:
        return Modality(modality.x[order], modality.mask[order])

    cuts = {name: cut(batch.modality(name)) for name in MODALITIES}
    return batch.replace(**cuts, target=batch.target[order], index=batch.index[order])


class Noting(MissingPattern):
    """Drops nothing, and notes the keys that it is given."""

    keys: list[int]

    def __init__(self) -> None:
        self.keys = []

    @override
    def kept(self, batch: Batch, spec: DataSpec, key: int) -> dict[str, Tensor]:
        self.keys.append(key)
        return {}

    @override
    def __repr__(self) -> str:
        return "Noting()"


def test_every_batch_of_training_gets_a_view_of_its_own() -> None:
    pattern = Noting()
    views = IncompleteViews(pattern, seed=3)
    for _ in range(20):
        views(whole(2), SPEC)
    assert len(set(pattern.keys)) == views.count == 20
    views.eval()
    for _ in range(3):
        views(whole(2), SPEC)
    assert len(set(pattern.keys[20:])) == 1
    views.train()
    views(whole(2), SPEC)
    assert pattern.keys[-1] == pattern.keys[-2]  # looking in evaluation mode has used no view up
    assert views.count == 21


def test_a_view_depends_on_the_sample_alone() -> None:
    batch, order = whole(), [40, 3, 17, 63, 0]
    first = observed(IncompleteViews(RMM(0.5), seed=0)(batch, SPEC))
    part = observed(IncompleteViews(RMM(0.5), seed=0)(take(batch, order), SPEC))
    assert torch.equal(part, first[order])
    assert not torch.equal(first, observed(IncompleteViews(RMM(0.5), seed=1)(batch, SPEC)))


def test_the_global_seed_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    assert IncompleteViews(RMM(0.5)).seed == 7
    assert IncompleteViews(RMM(0.5), seed=2).seed == 2
    monkeypatch.delenv("PL_GLOBAL_SEED")
    assert IncompleteViews(RMM(0.5)).seed == 0


def test_seed_and_number_travel_with_the_state(tmp_path: Path) -> None:
    views, batch = IncompleteViews(RMM(0.5), seed=5), whole()
    for _ in range(3):
        views(batch, SPEC)
    torch.save(views.state_dict(), tmp_path / "state.pt")
    other = IncompleteViews(RMM(0.5), seed=0)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(2):
        assert torch.equal(observed(views(batch, SPEC)), observed(other(batch, SPEC)))


def test_the_number_of_batches_travels_with_the_state() -> None:
    views, batch = IncompleteViews(BatchShares(0.5), seed=5), whole()
    views.learn([batch] * 10)
    other = IncompleteViews(BatchShares(0.5), seed=0)
    other.load_state_dict(views.state_dict())
    assert torch.equal(observed(views(batch, SPEC)), observed(other(batch, SPEC)))
    other.load_state_dict(IncompleteViews(RMM(0.5), seed=1).state_dict())  # of a first stage, say
    assert isinstance(other.pattern, BatchShares)
    assert (other.seed, other.pattern.batches) == (1, 10)


class Maker(Wrapper):
    """Holds views of its own."""

    def __init__(self, backbone: Model) -> None:
        super().__init__(backbone)
        self.views = IncompleteViews(RMM(0.5))


def test_who_makes_views_in_a_nest() -> None:
    maker = Maker(MeanNet(SPEC, THREE))
    assert view_maker(CausalMER(maker)) is maker
    assert view_maker(maker.backbone) is None
