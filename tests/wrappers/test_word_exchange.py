"""PropensityWeighting by exchange: biased words no longer go with the label, all else of a batch is as it was."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor
from toys import MeanNet, step_loss
from word_toys import SPEC, THREE, split, words_of, wrap

from mer_zoo.batch import Batch, DataSpec
from mer_zoo.confounding import Propensity
from mer_zoo.data.draws import TrainDraws
from mer_zoo.errors import MERError
from mer_zoo.functional.word_exchange import deal_out
from mer_zoo.model import Model
from mer_zoo.task import EmotionDetection
from mer_zoo.wrappers import CLUE, GEAR, JTT, MACI, MSSD, RWG, GroupDRO, MulDeF, PropensityWeighting

pytestmark = pytest.mark.filterwarnings("ignore:PropensityWeighting")


def exchanging(**options: Any) -> PropensityWeighting:
    model = wrap(PropensityWeighting, mode="exchange", **options)
    assert isinstance(model, PropensityWeighting)
    return model


def trained_on(model: PropensityWeighting, batch: Batch) -> Batch:
    torch.manual_seed(0)
    (step,) = model.steps(batch)
    return step.batch


def dependence(ids: Tensor, target: Tensor) -> float:
    """Share of the samples whose first word is one of their class."""
    return float(((ids[:, 0] - 104) % 3 == (target + 1) % 3).float().mean())


def test_words_are_those_of_others_and_everything_else_is_kept() -> None:
    model, batch = exchanging(), split()
    seen, biased = trained_on(model, batch), torch.tensor(sorted(words_of(model)))
    was, found = (torch.isin(each.text.x, biased) for each in (batch, seen))
    assert torch.equal(was, found)
    assert torch.equal(batch.text.x[~was], seen.text.x[~was])
    assert set(seen.text.x[was].tolist()) <= set(batch.text.x[was].tolist())
    told = [dependence(each.text.x, each.target) for each in (batch, seen)]
    assert told[0] == 1.0
    assert told[1] < 0.6  # a third by chance
    for name in ("audio", "vision"):
        assert torch.equal(batch.modality(name).x, seen.modality(name).x)
    assert torch.equal(batch.target, seen.target)
    assert torch.equal(split().text.x, batch.text.x)  # nothing is written to
    assert model.weights(batch.index).tolist() == [1.0] * 60
    assert torch.equal(model.predict(batch).logits, model.backbone.predict(batch).logits)
    assert model.label == "PropensityWeighting[exchange](MeanNet)"
    assert not torch.equal(seen.text.x, next(model.steps(batch)).batch.text.x)  # drawn anew


def test_features_go_with_their_words() -> None:
    spec = DataSpec(vocab_size=116, text_len=5, text_dim=2)
    tokens = split()
    ids = tokens.text.x
    text = tokens.text.replace(x=torch.stack([ids, -ids], 2).float(), token_ids=ids)
    batch = tokens.replace(text=text)
    model = PropensityWeighting(MeanNet(spec, THREE), mode="exchange")
    model.prepare([batch])
    seen = trained_on(model, batch).text
    assert seen.token_ids is not None
    assert not torch.equal(seen.token_ids, ids)
    assert torch.equal(seen.x, torch.stack([seen.token_ids, -seen.token_ids], 2).float())


def test_a_share_of_the_samples_is_changed() -> None:
    is_bias = torch.ones(400, 6, dtype=torch.bool)
    torch.manual_seed(0)
    rows, columns = deal_out(is_bias, share=0.25)
    changed = (rows != torch.arange(400)[:, None]).any(1)
    assert 0.15 < changed.float().mean() < 0.35
    assert torch.equal(columns[~changed], torch.arange(6).expand(int((~changed).sum()), -1))
    assert all(len(row.unique()) == 1 for row in rows)  # one giver each


def test_nothing_happens_behind_a_closed_gate() -> None:
    model, batch = PropensityWeighting(MeanNet(SPEC, THREE), mode="exchange"), split()
    generator = torch.Generator().manual_seed(0)
    batch = batch.replace(target=torch.randint(3, (60,), generator=generator))
    model.prepare([batch])
    state = torch.random.get_rng_state()
    (step,) = model.steps(batch)
    assert step.batch is batch
    assert torch.equal(torch.random.get_rng_state(), state)
    empty = torch.zeros(3, 4, dtype=torch.bool)
    assert torch.equal(torch.arange(12).view(3, 4)[deal_out(empty)], torch.arange(12).view(3, 4))


def test_emotions_and_views_are_exchanged_as_well() -> None:
    task = EmotionDetection(["happy", "sad"])
    batch = split()
    batch = batch.replace(target=torch.stack([batch.text.x[:, 0] % 2, batch.text.x[:, 0] // 2 % 2], 1))
    model = PropensityWeighting(MeanNet(SPEC, task), mode="exchange")
    model.prepare([batch])
    assert not torch.equal(trained_on(model, batch).text.x, batch.text.x)
    nest = MSSD(exchanging(), alpha=0.0)
    assert [torch.equal(step.batch.text.x, split().text.x) for step in nest.steps(split())] == [False, False]


EXCHANGE = partial(PropensityWeighting, mode="exchange")
BY_GROUP: dict[str, Any] = {"min_group": 1, "draw": False}
WEIGHING: dict[str, Any] = {
    "RWG": partial(RWG, **BY_GROUP),
    "GroupDRO": partial(GroupDRO, step_size=0.0, **BY_GROUP),
    "JTT": partial(JTT, epochs=1),
}


def misled() -> Batch:
    """Texts whose biased words go with another class in a quarter of the samples."""
    batch = split()
    return batch.replace(target=torch.where(batch.index % 4 == 0, (batch.target + 1) % 3, batch.target))


@cache
def _fitted() -> Propensity:
    found = Propensity(SPEC, THREE)
    found.fit([split()])
    return found


@pytest.fixture
def _fitted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Biased words are found once, where none misleads, for all nests."""
    known = _fitted()

    def take(self: Propensity, train: Any) -> None:
        self.load_state_dict(known.state_dict())
        self.out_of_fold, self.target = known.out_of_fold, misled().target

    monkeypatch.setattr(Propensity, "fit", take)


@pytest.mark.usefixtures("_fitted_once")
@pytest.mark.parametrize(("name", "outside"), [("RWG", True), ("RWG", False), ("GroupDRO", False), ("JTT", False)])
def test_the_group_of_a_sample_is_that_of_its_own_words(name: str, outside: bool) -> None:
    weighing, batch = WEIGHING[name], misled()
    models: list[Model] = []
    for nest in ((weighing,), (EXCHANGE, weighing) if outside else (weighing, EXCHANGE)):
        torch.manual_seed(0)
        model: Model = MeanNet(SPEC, THREE)
        for wrapper in nest:
            model = wrapper(model)
        model.prepare([batch])
        models.append(model)
    (own,), told = models[0].steps(batch), []
    for _ in range(30):
        (step,) = models[1].steps(batch)
        assert torch.equal(torch.as_tensor(step.task_weight), torch.as_tensor(own.task_weight))
        goes_along = (step.batch.text.x[:, 0] - 104) % 3 == (step.batch.target + 1) % 3
        told.append(float((step.task_weight * goes_along).mean()))
    assert sum(told) / len(told) == pytest.approx(1 / 3, abs=0.06)  # no weights bring back what words say


@pytest.mark.usefixtures("_fitted_once")
def test_who_draws_samples_does_so_before() -> None:
    for model in (EXCHANGE(RWG(MeanNet(SPEC, THREE), min_group=1)), RWG(EXCHANGE(MeanNet(SPEC, THREE)), min_group=1)):
        model.prepare([misled()])
        draws = model.offered(TrainDraws)
        assert draws is not None
        assert draws.weights is not None
        assert len(torch.unique(draws.weights)) > 1
        (step,) = model.steps(misled().take([3, 3, 3, 4, 5]))
        assert step.batch.index.tolist() == [3, 3, 3, 4, 5]


def test_the_first_training_of_jtt_is_to_be_misled() -> None:
    with pytest.raises(MERError, match=r"^the first training of JTT .*; put PropensityWeighting outside, as in"):
        JTT(EXCHANGE(MeanNet(SPEC, THREE)), epochs=1).prepare([split()])


@pytest.mark.usefixtures("_fitted_once")
@pytest.mark.parametrize("other", [CLUE, MACI, GEAR, MulDeF])
def test_around_and_inside_other_wrappers(other: Any) -> None:
    for outer, inner in ((EXCHANGE, other), (other, EXCHANGE)):
        torch.manual_seed(0)
        model = outer(inner(MeanNet(SPEC, THREE)))
        model.prepare([misled()])
        for step in model.steps(misled()):
            assert not torch.equal(step.batch.text.x, misled().text.x)
            assert step_loss(model, step).isfinite()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "recording"}, "mode exchange of .* exchanges words, but source is recording; set source: words"),
        ({"strength": 1.5}, "strength of .* is 1.5, but of mode exchange it is a share; give at most 1"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MERError, match=message):
        PropensityWeighting(MeanNet(SPEC, THREE), mode="exchange", **options)


def test_texts_without_token_ids_are_refused() -> None:
    spec = DataSpec()
    batch = Batch.random(spec, THREE, 60)
    batch = batch.replace(raw_text=[f"a {'film' if y else 'book'}" for y in batch.target.tolist()])
    with pytest.raises(MERError, match="mode exchange of PropensityWeighting needs token ids"):
        PropensityWeighting(MeanNet(spec, THREE), mode="exchange").prepare([batch])
