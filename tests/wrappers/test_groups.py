"""RWG, GroupDRO and JTT around small models: weights, draws, selection by the worst group, nests, refusals, records."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor
from toys import MeanNet, step_loss

from mer_zoo.backbones import LFLSTM
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.confounding import Partition, WorstGroup
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.draws import TrainDraws, WeightedBatches
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.scores import Scores
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task
from mer_zoo.training.preparing import prepare
from mer_zoo.wrappers import CLUE, GEAR, JTT, MACI, MSSD, RWG, CausalMER, GroupDRO, PropensityWeighting

SPEC, TWO, THREE = DataSpec(), SentimentClassification(2), SentimentClassification(3)
LABELS = torch.tensor([0] * 6 + [1] * 4)
SPEAKERS = {f"random$_${i}": name for i, name in enumerate("AAAAABABBB")}  # groups of 5, 1, 1 and 3
pytestmark = pytest.mark.filterwarnings("ignore:(PropensityWeighting|deconfounded metrics|the worst group)")


def split(task: Task = TWO) -> Batch:
    batch = Batch.random(SPEC, task, size=10)
    return batch.replace(target=LABELS) if task is TWO else batch


def wrap(factory: Any, task: Task = TWO, inner: Any = None, batch: Batch | None = None, **options: Any) -> Any:
    torch.manual_seed(0)
    net: Model = MeanNet(SPEC, task)
    model = factory(inner(net) if inner else net, groups=SPEAKERS, min_group=1, **options)
    model.prepare([split(task) if batch is None else batch])
    return model


def weights_of(model: Model, batch: Batch) -> Tensor:
    (step,) = model.steps(batch)
    return torch.as_tensor(step.task_weight)


@pytest.mark.parametrize("rows", [range(10), [0, 1, 5, 7, 9], [5, 6]])
def test_rwg_lets_every_group_count_alike(rows: Any) -> None:
    model, batch = wrap(RWG, draw=False), split().take(list(rows))
    expected = torch.tensor([0.5] * 5 + [2.5, 2.5] + [10 / 12] * 3)
    torch.testing.assert_close(weights_of(model, batch), expected[list(rows)])


def test_rwg_draws_as_often_as_it_would_weigh() -> None:
    model = wrap(RWG)
    draws = model.offered(TrainDraws)
    torch.testing.assert_close(draws.weights, wrap(RWG, draw=False).weights(torch.arange(10)))
    assert weights_of(model, split()) == 1.0
    batches = WeightedBatches(draws.weights, batch_size=4, seed=1)
    counts = torch.zeros(10)
    for epoch in range(400):
        batches.set_epoch(epoch)
        drawn = [place for batch in batches for place in batch]
        assert len(drawn) == 10
        counts += torch.bincount(torch.tensor(drawn), minlength=10)
    torch.testing.assert_close(counts / 400, draws.weights, atol=0.15, rtol=0.1)


def test_processes_share_the_draws_of_an_epoch() -> None:
    weights = torch.arange(9.0)
    whole = list(WeightedBatches(weights, 2, seed=3))
    shares = [list(WeightedBatches(weights, 2, seed=3, processes=2, rank=rank)) for rank in (0, 1)]
    assert shares[0] == [whole[0], whole[2], whole[4]]
    assert shares[1] == [whole[1], whole[3], whole[0]]


@pytest.mark.parametrize("weights", [[-1.0, 2.0], [0.0, 0.0], [float("nan"), 1.0]])
def test_weights_that_are_no_chances_are_refused(weights: list[float]) -> None:
    with pytest.raises(MERError, match="can't be drawn by weights"):
        WeightedBatches(torch.tensor(weights), 2)


def test_group_dro_minimises_the_weighted_mean_of_the_groups() -> None:
    model, batch = wrap(GroupDRO, step_size=0.5), split()
    (step,) = model.steps(batch)
    losses = TWO.criterion(step.output.logits, batch.target)
    groups = model.partition.train_group[:, 0]
    means = torch.stack([losses[groups == g].mean() for g in range(4)])
    expected_q = (0.5 * means).softmax(0)
    torch.testing.assert_close(model.q[0, :4], expected_q.detach())
    torch.testing.assert_close((step.task_weight * losses).mean(), (expected_q * means).sum())


def test_weights_of_groups_move_once_a_batch() -> None:
    spec, task = DataSpec(), TWO
    model = GroupDRO(MSSD(LFLSTM(spec, task, dim=4)), groups=SPEAKERS, min_group=1, step_size=1.0)
    model.prepare([split()])
    found = [model.q[0, :4].clone() for _ in model.steps(split())]
    assert len(found) == 2
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], torch.full((4,), 0.25))


@pytest.mark.parametrize(("absent", "kept"), [("keep", True), ("zero", False)])
def test_a_group_that_a_batch_lacks(absent: str, kept: bool) -> None:
    model = wrap(GroupDRO, absent=absent, step_size=1.0)
    list(model.steps(split().take([0, 1, 6])))
    assert (float(model.q[0, 1]) == 0.25) == kept
    assert float(model.q[0].sum()) == pytest.approx(1.0)


def test_the_adjustment_is_for_small_groups() -> None:
    plain, adjusted = wrap(GroupDRO, step_size=1.0), wrap(GroupDRO, step_size=1.0, C=5.0)
    for model in (plain, adjusted):
        list(model.steps(split()))
    small = plain.partition.count[0, :4] == 1
    assert (adjusted.q[0, :4] > plain.q[0, :4])[small].all()


@pytest.mark.parametrize("rows", [range(10), [0, 1, 6]])
def test_only_groups_that_count_are_normalised_by(rows: Any) -> None:
    """Neither the places for groups that there are not, nor groups that are left out of the update."""
    model, batch = wrap(GroupDRO, step_size=1.0, C=1.0, normalise=True), split().take(list(rows))
    (step,) = model.steps(batch)
    losses = TWO.criterion(step.output.logits, batch.target).detach()
    groups = model.partition.of_train(batch.index)[:, 0]
    seen = groups.unique()
    means = torch.stack([losses[groups == g].mean() for g in seen])
    adjusted = means + 1 / model.partition.count[0, seen].sqrt()
    expected = (adjusted / adjusted.sum()).softmax(0) * len(seen) / 4
    torch.testing.assert_close(model.q[0, seen], expected)


def test_losses_that_are_not_finite_leave_the_weights() -> None:
    model, batch = wrap(GroupDRO, step_size=1.0), split()
    with torch.no_grad():
        next(model.backbone.parameters()).fill_(float("nan"))
    list(model.steps(batch))
    assert torch.equal(model.q[0, :4], torch.full((4,), 0.25))


def test_weights_that_fell_to_zero_are_kept_when_training_is_resumed() -> None:
    model, again = wrap(GroupDRO), GroupDRO(MeanNet(SPEC, TWO), groups=SPEAKERS, min_group=1)
    model.q[0, :4] = torch.tensor([0.0, 0.5, 0.25, 0.25])
    again.load_state_dict(model.state_dict())
    again.prepare([split()])
    assert torch.equal(again.q, model.q)


@pytest.mark.parametrize("factory", [RWG, GroupDRO])
def test_each_emotion_has_groups_of_its_own(factory: Any) -> None:
    task = EmotionDetection()
    model = wrap(factory, task)
    assert model.offered(TrainDraws) is None
    weights = weights_of(model, split(task))
    assert weights.shape == (10, 4)
    assert not torch.equal(weights[:, 0], weights[:, 1])
    with pytest.raises(MERError, match="can't draw samples so that the groups of each of 4 emotions are even"):
        wrap(factory, task, draw=True)


def test_small_groups_of_a_label_are_one() -> None:
    partition = Partition(SPEC, TWO, SPEAKERS, least=4)
    partition.fit([split()])
    assert [(row["group"], row["samples"]) for row in partition.rows()] == [
        ("negative, A", 5),
        ("negative, other", 1),
        ("non-negative, other", 4),
    ]
    other = split().replace(ids=["unknown"] * 10)
    assert partition.of(other)[:, 0].tolist() == [1] * 6 + [2] * 4


def test_a_sample_whose_label_has_no_other_group_has_none() -> None:
    partition = Partition(SPEC, TWO, SPEAKERS, least=1)
    partition.fit([split()])
    assert partition.of(split().replace(ids=["unknown"] * 10))[:, 0].tolist() == [-1] * 10


def test_training_samples_without_a_group_are_refused() -> None:
    with pytest.raises(MERError, match="training sample"):
        Partition(SPEC, TWO, {"random$_$0": "A"}).fit([split()])
    with pytest.raises(MERError, match="groups is not given; say by what samples are grouped"):
        Partition(SPEC, TWO, None)
    with pytest.raises(MERError, match="min_group is 0"):
        Partition(SPEC, TWO, SPEAKERS, least=0)


def test_groups_of_words_are_those_that_the_words_go_with() -> None:
    spec = DataSpec(tokens=True, vocab_size=110, text_len=2)
    batch = Batch.random(spec, TWO, size=100)
    batch = batch.replace(target=batch.text.x[:, 0] % 2)  # six words, and the first one is told by the class
    partition = Partition(spec, TWO, "words", least=1)
    partition.fit([batch])
    told = partition.attribute[0][partition.train_group[:, 0]]
    assert (told == batch.target).float().mean() > 0.8  # out of sample
    assert torch.equal(partition.label[0][partition.train_group[:, 0]], batch.target)


def test_jtt_weighs_what_the_first_training_gets_wrong() -> None:
    torch.manual_seed(0)
    model = JTT(MeanNet(SPEC, TWO), epochs=1, upweight=3)
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    model.prepare([split()])
    assert all(torch.equal(value, before[name]) for name, value in model.backbone.state_dict().items())
    errors = int(model.wrong.sum())
    assert 0 < errors < 10
    mean = (10 + 3 * errors) / 10
    torch.testing.assert_close(weights_of(model, split()), torch.where(model.wrong, 4 / mean, 1 / mean))


def test_jtt_of_a_trained_network_is_wrong_on_little() -> None:
    torch.manual_seed(0)
    model = JTT(LFLSTM(SPEC, TWO, dim=16), epochs=60, lr=1e-2)
    model.prepare([split()])
    assert int(model.wrong.sum()) <= 1


def test_jtt_leaves_the_draws_of_training_as_they_were() -> None:
    losses = []
    for factory in (JTT, lambda net: net):
        torch.manual_seed(0)
        model = MERModule(factory(LFLSTM(SPEC, TWO, dim=4))).model
        prepare(model, lambda: [split()])
        losses.append(torch.rand(3))
    assert torch.equal(*losses)


def test_jtt_for_scores_counts_large_errors_as_wrong() -> None:
    torch.manual_seed(0)
    task = SentimentRegression()
    model = JTT(MeanNet(SPEC, task), epochs=1)
    model.prepare([split(task)])
    assert int(model.wrong.sum()) == 5  # those above the median
    torch.manual_seed(0)
    every = JTT(MeanNet(SPEC, task), epochs=1, threshold=0.0)
    every.prepare([split(task)])
    assert every.wrong.all()


def test_jtt_keeps_its_error_set_when_training_is_resumed() -> None:
    torch.manual_seed(0)
    model = JTT(MeanNet(SPEC, TWO), epochs=1)
    model.prepare([split()])
    again = JTT(MeanNet(SPEC, TWO), epochs=1)
    again.load_state_dict(model.state_dict())
    assert not again.needs_preparing
    torch.testing.assert_close(again.weights(torch.arange(10)), model.weights(torch.arange(10)))


def test_jtt_says_whether_its_errors_are_what_one_hopes_for() -> None:
    spec = DataSpec(tokens=True, vocab_size=110, text_len=2)
    batch = Batch.random(spec, TWO, size=100)
    batch = batch.replace(target=batch.text.x[:, 0] % 2)
    flipped = torch.arange(100) % 10 == 0  # whose words go with the other class
    batch = batch.replace(target=torch.where(flipped, 1 - batch.target, batch.target))
    torch.manual_seed(0)
    model = JTT(LFLSTM(spec, TWO, dim=8), epochs=2, groups="words")
    model.prepare([batch])
    wrong, sentence = model.notes()[:2]
    assert "training samples" in wrong
    assert "whose words go with another class" in sentence


def test_a_file_names_the_error_set(tmp_path: Path) -> None:
    file = tmp_path / "errors.csv"
    file.write_text("place,id\n1,random$_$2\n2,random$_$9\n3,other\n")
    batch = split()
    parts = [batch.take([9, 0, 1]), batch.take([2, 3, 4, 5, 6, 7, 8])]
    model = JTT(MeanNet(SPEC, TWO), errors=str(file), upweight=3, groups=SPEAKERS)
    model.prepare(parts)
    assert model.wrong.nonzero().flatten().tolist() == [2, 9]
    torch.testing.assert_close(weights_of(model, batch)[[2, 3]], torch.tensor([2.5, 0.625]))
    assert model.notes()[0] == ("JTT: errors names 2 of 10 training samples (17 % of negative, 25 % of non-negative)")
    assert "JTT: its errors are" in model.notes()[1]
    emotions = EmotionDetection()
    model = JTT(MeanNet(SPEC, emotions), errors=str(file))
    model.prepare([Batch.random(SPEC, emotions, size=10)])
    assert model.wrong.sum(1).nonzero().flatten().tolist() == [2, 9]
    assert model.wrong.shape == (10, 4)
    file.write_text("id\nother\n")
    with pytest.raises(MERError, match="errors of JTT names no training sample"):
        JTT(MeanNet(SPEC, TWO), errors=str(file)).prepare([batch])
    file.write_text("sample\nother\n")
    with pytest.raises(MERError, match="errors of JTT: .* does not begin with a line that names a column id"):
        JTT(MeanNet(SPEC, TWO), errors=str(file))


@pytest.mark.parametrize("factory", [RWG, GroupDRO])
def test_gear_inside_is_told(factory: Any) -> None:
    model = factory(GEAR(MeanNet(SPEC, TWO)), groups=SPEAKERS)
    assert any("GEAR weighs the samples too" in note for note in model.notes())
    assert not any("GEAR" in note for note in factory(MeanNet(SPEC, TWO), groups=SPEAKERS).notes())


@pytest.mark.parametrize("inner", [RWG, GroupDRO, JTT, PropensityWeighting])
@pytest.mark.parametrize("outer", [RWG, GroupDRO, JTT, PropensityWeighting])
def test_two_that_weigh_are_refused(inner: Any, outer: Any) -> None:
    if inner is outer:
        return
    with pytest.raises(MERError, match=f"{outer.__name__} and {inner.__name__} both weigh the training samples"):
        outer(inner(LFLSTM(SPEC, TWO)))


@pytest.mark.parametrize("other", [RWG, GroupDRO, JTT])
def test_who_weighs_is_refused_beside_what_is_added_to_the_logits(other: Any) -> None:
    product = partial(PropensityWeighting, mode="product")
    for outer, inner in ((product, other), (other, product)):
        with pytest.raises(MERError, match=f"^{other.__name__} weighs .*, but what PropensityWeighting adds to the"):
            outer(inner(LFLSTM(SPEC, TWO)))
    assert PropensityWeighting(other(LFLSTM(SPEC, TWO)), strength=0.0).reweighs is False
    assert other(PropensityWeighting(LFLSTM(SPEC, TWO), strength=0.0)).reweighs


@pytest.mark.parametrize("factory", [RWG, GroupDRO, JTT])
@pytest.mark.parametrize("other", [CLUE, CausalMER, MACI, GEAR, MSSD])
def test_nests_inside_and_outside(factory: Any, other: Any) -> None:
    spec = DataSpec(tokens=True, vocab_size=200)
    batch = Batch.random(spec, TWO, size=10).replace(target=LABELS)
    options: dict[str, Any] = {"epochs": 1} if factory is JTT else {"groups": SPEAKERS, "min_group": 1, "draw": False}
    for outer, inner in ((partial(factory, **options), other), (other, partial(factory, **options))):
        torch.manual_seed(0)
        model: Model = outer(inner(LFLSTM(spec, TWO, dim=4)))
        model.prepare([batch])
        for step in model.steps(batch):
            assert isinstance(step.task_weight, Tensor)
            loss = step_loss(model, step)
            torch.autograd.backward(loss)
            assert loss.isfinite()


@pytest.mark.parametrize(
    ("factory", "options", "message"),
    [
        (GroupDRO, {"step_size": -1.0}, "step_size of GroupDRO is -1.0"),
        (GroupDRO, {"absent": "drop"}, "unknown absent 'drop' of GroupDRO; choose from keep, zero"),
        (GroupDRO, {"groups": None}, "groups is not given"),
        (JTT, {"epochs": 0}, "epochs of JTT is 0"),
        (JTT, {"upweight": -1}, "upweight of JTT is -1"),
        (JTT, {"lr": 0.0}, "lr of JTT is 0.0"),
        (JTT, {"threshold": 1.0}, "threshold is 1.0, but SentimentClassification has classes"),
    ],
)
def test_options_out_of_range_are_refused(factory: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MERError, match=message):
        factory(LFLSTM(SPEC, TWO), **options)


@pytest.mark.parametrize("factory", [RWG, GroupDRO])
def test_samples_of_another_split_are_refused(factory: Any) -> None:
    model = wrap(factory, draw=False)
    with pytest.raises(MERError, match="sample 10 is trained on, but groups were made of a training split of 10"):
        list(model.steps(split().replace(index=torch.arange(1, 11))))
    with pytest.raises(MERError, match="JTT has no error set"):
        JTT(MeanNet(SPEC, TWO)).weights(torch.tensor([0]))


def test_the_worst_group_is_measured() -> None:
    model = wrap(RWG)
    worst, batch = WorstGroup(model), split()
    logits = torch.zeros(10, 2)
    logits[:, 0] = 1.0
    logits[7:, 1] = 2.0  # of the positive ones, only the sample of the group of one is missed
    scores = Scores(logits, worst.effects(batch), batch.target, batch.index)
    found = worst.measure(scores, quiet=True)
    assert found["accuracy_worst"] == 1.0  # groups of one do not count beside one of five
    assert worst.names == ["loss_worst", "accuracy_worst"]
    assert not WorstGroup(MeanNet(SPEC, TWO)).names


def fit(factory: Any) -> MERModule:
    seed_everything(0, verbose=False)
    scm = SyntheticConfig(train=96, valid=40, test=40)
    data = SyntheticMER(scm, batch_size=16)
    module = MERModule(factory(LFLSTM(data.spec, data.task, dim=4)), monitor="val/accuracy_worst")
    trainer = Trainer(max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.fit(module, datamodule=data)
    return module


@pytest.mark.parametrize("factory", [RWG, partial(RWG, draw=False), GroupDRO, partial(JTT, epochs=1, groups="words")])
def test_training_by_the_trainer(factory: Any) -> None:
    module = fit(factory)
    assert {"val/accuracy_worst", "val/loss_worst", "val/loss_deconfounded"} <= set(module.trainer.callback_metrics)
    assert module.trainer.global_step == 12
