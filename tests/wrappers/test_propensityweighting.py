"""PropensityWeighting around small models: weights and products, nests, refusals, records,
and that validation imitates the trial.
"""

import json
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from toys import MeanNet, TwoStep, loss_of

from mer_zoo import load_pretrained, save_pretrained
from mer_zoo.backbones import LFLSTM
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.callbacks import RunRecord
from mer_zoo.confounding.propensity import Propensity
from mer_zoo.confounding.trace import WordRule
from mer_zoo.confounding.validation import ValidationWeights
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.model import Model, WrapperFactory
from mer_zoo.module import MERModule
from mer_zoo.scores import Scores, measure
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task
from mer_zoo.wrappers import CLUE, CUMDF, GEAR, MACI, MSSD, CausalMER, PropensityWeighting

SPEC = DataSpec(tokens=True, vocab_size=116, text_len=5)
THREE, EMOTIONS = SentimentClassification(3), EmotionDetection(["happy", "sad"])
product = partial(PropensityWeighting, mode="product")
pytestmark = pytest.mark.filterwarnings("ignore:PropensityWeighting:UserWarning")


def split(task: Task = THREE, size: int = 60) -> Batch:
    """Texts of which three words, one of six, go with the class, and two are any of twelve."""
    batch = Batch.random(SPEC, task, size)
    ids = batch.text.x.clone()
    ids[:, 1:3] = ids[:, :1] = 104 + ids[:, :1] % 6
    batch = batch.replace(text=batch.text.replace(x=ids))
    if task.shape == (3,):
        return batch.replace(target=batch.text.x[:, 0] % 3)
    if batch.target.dim() == 2:
        return batch.replace(target=torch.stack([batch.text.x[:, 0] % 2, batch.text.x[:, 0] // 2 % 2], 1))
    return batch.replace(target=(batch.text.x[:, 0] % 7 - 3) + 0.25)


def wrap(factory: Any = PropensityWeighting, task: Task = THREE, inner: WrapperFactory | None = None) -> Any:
    torch.manual_seed(0)
    net: Model = MeanNet(SPEC, task)
    model = factory(net if inner is None else inner(net))
    model.prepare([split(task)])
    return model


def propensities(model: Model) -> Propensity:
    found = model.offered(Propensity)
    assert found is not None
    return found


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("task", [THREE, SentimentRegression()])
def test_weights_are_those_of_the_samples(task: Task) -> None:
    model, batch = wrap(task=task), split(task)
    weights = propensities(model).train_weights().float()
    assert weights.std() > 0.1
    part = batch.replace(
        **{
            name: batch.modality(name).replace(
                x=batch.modality(name).x[[7, 3, 7]],
                mask=batch.modality(name).mask[[7, 3, 7]],
                observed=batch.modality(name).observed[[7, 3, 7]],
            )
            for name in ("text", "audio", "vision")
        },
        target=batch.target[[7, 3, 7]],
        index=batch.index[[7, 3, 7]],
    )
    (step,) = model.steps(part)
    close(step.task_weight, weights[[7, 3, 7]])
    close(step.output.logits, model.backbone(part).logits)
    close(weights.mean(), torch.tensor(1.0))


def test_weights_of_each_emotion() -> None:
    model, batch = wrap(task=EMOTIONS), split(EMOTIONS)
    (step,) = model.steps(batch)
    assert step.task_weight.shape == (60, 2)
    close(step.task_weight.mean(0), torch.ones(2))
    losses = torch.nn.functional.cross_entropy(
        step.output.logits.flatten(0, 1), batch.target.flatten(), reduction="none"
    )
    close(loss_of(model, batch), (step.task_weight * losses.view(60, 2)).mean())


@pytest.mark.parametrize("task", [THREE, EMOTIONS])
def test_product_adds_to_training_logits_only(task: Task) -> None:
    model, batch = wrap(partial(product, strength=0.5), task), split(task)
    (step,) = model.steps(batch)
    trace = propensities(model)
    expected = 0.5 * trace.train_offsets().float()
    close(expected, 0.5 * (trace.out_of_fold - trace.prior.log()).float())
    assert expected.abs().max() > 0.1
    close(step.output.logits - model(batch).logits, expected)
    assert step.task_weight == 1.0
    plain = model.backbone(batch).logits
    for output in (model(batch), model.predict(batch)):
        assert torch.equal(output.logits, plain)
        assert output.effects == {}
    assert model.label == "PropensityWeighting[product](MeanNet)"


@pytest.mark.parametrize("task", [THREE, EMOTIONS])
def test_both_is_a_part_of_each(task: Task) -> None:
    batch, (model, weight, prod) = (
        split(task),
        (
            wrap(partial(PropensityWeighting, **options), task)
            for options in (
                {"mode": "both", "balance": 0.3, "strength": 0.8},
                {"strength": 0.3 * 0.8},
                {"mode": "product", "strength": 0.7 * 0.8},
            )
        ),
    )
    (step,), (weighed,), (added,) = (net.steps(batch) for net in (model, weight, prod))
    close(step.task_weight, weighed.task_weight)
    close(step.output.logits, added.output.logits)
    assert torch.equal(model.predict(batch).logits, model.backbone(batch).logits)
    assert model.label == "PropensityWeighting[both](MeanNet)"
    assert model.diagnostics() == {**model.diagnostics(), **weight.diagnostics()}


@pytest.mark.parametrize(("balance", "mode"), [(1.0, "weight"), (0.0, "product")])
def test_both_ends_are_the_other_modes(balance: float, mode: Any) -> None:
    both, one = (
        wrap(partial(PropensityWeighting, **options))
        for options in ({"mode": "both", "balance": balance}, {"mode": mode})
    )
    assert torch.equal(loss_of(both, split()), loss_of(one, split()))


@pytest.mark.parametrize("mode", ["weight", "product", "both", "exchange"])
def test_strength_zero_is_plain_training(mode: Any) -> None:
    model = wrap(partial(PropensityWeighting, mode=mode, strength=0.0))
    close(loss_of(model, split()), loss_of(model.backbone, split()))


def test_each_step_is_weighted() -> None:
    model = wrap(inner=TwoStep)
    weights = propensities(model).train_weights().float()
    first, second = model.steps(split())
    close(first.task_weight, weights)
    close(second.task_weight, 0.5 * weights)
    assert model.num_steps == 2


INNER: dict[str, Any] = {
    "CausalMER": partial(CausalMER, branch_dim=4),
    "CLUE": partial(CLUE, lstm_dim=4, dim=4),
    "MACI": partial(MACI, dim=4),
    "GEAR": partial(GEAR, dim=4, branch_dim=4, lambda_swap=0.0),
}


@pytest.mark.parametrize("task", [THREE, EMOTIONS])
@pytest.mark.parametrize("name", INNER)
def test_around_and_inside_other_wrappers(name: str, task: Task) -> None:
    batch = split(task)
    outside, inside = wrap(inner=INNER[name], task=task), wrap(INNER[name], task, PropensityWeighting)
    assert inside.offered(Propensity) is inside.backbone.offered(Propensity)
    for model in (outside, inside):
        weights = propensities(model).train_weights().float()
        (step,) = model.eval().steps(batch)
        (plain,) = outside.backbone.eval().steps(batch)
        ratio = step.task_weight / weights
        factor = plain.task_weight if isinstance(plain.task_weight, float) else None
        if factor is not None:
            close(ratio, torch.full_like(ratio, factor))
        else:
            assert step.task_weight.shape == weights.shape
        assert loss_of(model, batch).isfinite()
    (other,) = wrap(product, task, INNER[name]).steps(batch)
    assert other.output.logits.shape == (60, *task.shape)


def test_branches_inside_are_weighted_too() -> None:
    torch.manual_seed(0)
    batch, model = split(), wrap(partial(CausalMER, branch_dim=4), THREE, PropensityWeighting)
    (step,) = model.steps(batch)
    weights = propensities(model).train_weights().float()
    y = model.predict(batch).effects["y_text"]
    expected = 0.1 * (weights * torch.nn.functional.cross_entropy(y, batch.target, reduction="none")).mean()
    close(step.losses["causalmer/ce_text"], expected)


def test_both_views_and_both_networks() -> None:
    task = THREE
    for inner in (PropensityWeighting, product):
        model = wrap(partial(MSSD, alpha=0.0), task, inner)
        complete, incomplete = model.steps(split())
        close(*(torch.as_tensor(step.task_weight) for step in (complete, incomplete)))
        expected = propensities(model).train_offsets().float()
        added = complete.output.logits - model.backbone.backbone(split()).logits
        close(added, expected if inner is product else torch.zeros(60, 3))
    torch.manual_seed(0)
    net = CUMDF(PropensityWeighting(LFLSTM(SPEC, task, dim=4)), dim=4, heads=2, views=2)
    net.prepare([split()])
    teacher, student = net.steps(split())
    weights = propensities(net)
    close(torch.as_tensor(teacher.task_weight), weights.train_weights().float())
    close(torch.as_tensor(student.task_weight), weights.train_weights().float().repeat(2))


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (CausalMER, r"CausalMER fuses the scores of PropensityWeighting\(MeanNet\).*; put PropensityWeighting outside"),
        (CLUE, r"CLUE fuses the scores of PropensityWeighting\(MeanNet\)"),
        (MACI, r"MACI computes its scores from the features, so those of PropensityWeighting\(MeanNet\) would be lost"),
        (GEAR, r"GEAR computes its scores from the features, so those of PropensityWeighting\(MeanNet\) would be lost"),
        (CUMDF, r"CUMDF computes its scores .* so those of PropensityWeighting\(MeanNet\) would be lost"),
    ],
)
def test_a_product_meets_the_final_scores_only(factory: Any, message: str) -> None:
    for mode in ("product", "both"):
        with pytest.raises(MERError, match=message):
            factory(PropensityWeighting(MeanNet(SPEC, THREE), mode=mode))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "ipw"}, "unknown mode 'ipw' of PropensityWeighting; choose from weight, product, both"),
        ({"words": "rare"}, "unknown words 'rare' of PropensityWeighting; choose from frequent, maci"),
        ({"mode": "both", "balance": 1.5}, "balance of PropensityWeighting is 1.5; give a number from 0 to 1"),
        ({"min_share": 1.5}, "min_share of PropensityWeighting is 1.5; give a number from 0 to 1"),
        ({"balance": 0.2}, "balance is 0.2, but mode weight of PropensityWeighting does not use it; set mode: both"),
        ({"min_cv": 0.2}, "min_cv is 0.2, but words frequent .* does not use it; set words: maci"),
        ({"words": "maci", "min_share": 0.1}, "min_share is 0.1, but words maci .* does not use it; set words: freq"),
        ({"strength": -1.0}, "strength of PropensityWeighting is -1.0"),
        ({"strength": float("nan")}, "strength of PropensityWeighting is nan"),
        ({"min_cv": -0.1}, "min_cv of PropensityWeighting is -0.1"),
        ({"max_words": 0}, "max_words of PropensityWeighting is 0; give at least 1"),
        ({"folds": 1}, "folds of PropensityWeighting is 1; give at least 2"),
        ({"max_weight": 1.0}, "max_weight of PropensityWeighting is 1.0; give a finite number above 1"),
        ({"source": "video"}, "unknown source 'video'"),
        ({"source": "audio", "words": "maci"}, "words is maci, but source audio .* does not use it; set source: words"),
        ({"groups": {"a": "b"}}, "groups are given, but source words of .* does not use them; set source: groups"),
        ({"source": "audio", "max_words": 9}, "max_words is 9, but source audio .* does not use it; set source: words"),
        (
            {"source": "recording", "keep_words": ["good"]},
            r"keep_words is \('good',\), but source recording .* does not use",
        ),
        ({"keep_words": "good"}, "keep_words of PropensityWeighting is 'good'; give a list of words"),
        ({"keep_words": None}, "keep_words of PropensityWeighting is None; give a list of words"),
        (
            {"keep_words": ["good", 5]},
            "keep_words of PropensityWeighting holds 5; give words, a token's '#' and number",
        ),
        ({"keep_words": [""]}, "keep_words of PropensityWeighting holds ''; give words"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MERError, match=message):
        PropensityWeighting(MeanNet(SPEC, THREE), **options)


def test_refusals() -> None:
    with pytest.raises(
        MERError, match="mode product of PropensityWeighting needs classes, but SentimentRegression has"
    ):
        product(MeanNet(SPEC, SentimentRegression()))
    with pytest.raises(MERError, match=r"PropensityWeighting\(MeanNet\) has no propensities of a training split yet"):
        list(PropensityWeighting(MeanNet(SPEC, THREE)).steps(split()))
    with pytest.raises(
        MERError, match="sample 60 is trained on, but the training split .* has 60; train on that split"
    ):
        list(wrap().steps(split(size=61)))
    features = DataSpec()
    with pytest.raises(MERError, match="neither token ids nor transcripts"):
        PropensityWeighting(MeanNet(features, THREE)).prepare([Batch.random(features, THREE, size=6)])
    with pytest.raises(MERError, match="keep_words of Prop.* names 'goood', '#1', which the model does not read as"):
        PropensityWeighting(MeanNet(SPEC, THREE), keep_words=["goood", "#1"]).prepare([split()])


@pytest.mark.filterwarnings("error")
def test_words_that_tell_nothing_are_warned_of() -> None:
    batch = Batch.random(SPEC, THREE, 200)
    model = PropensityWeighting(MeanNet(SPEC, THREE))
    with pytest.warns(
        UserWarning, match="sees no confounding: on samples not seen the biased words tell .*; training is plain"
    ):
        model.prepare([batch])
    unguarded = PropensityWeighting(MeanNet(SPEC, THREE), gate=False)
    with pytest.warns(UserWarning, match="sees no confounding: .*; weighting only adds noise"):
        unguarded.prepare([batch])
    assert model.notes() != unguarded.notes()
    assert not model.trace.is_open
    told = PropensityWeighting(MeanNet(SPEC, THREE))
    told.prepare([split(size=200)])  # and nothing is warned of
    assert told.notes() == []
    few = PropensityWeighting(MeanNet(SPEC, THREE))
    with pytest.warns(UserWarning, match=r"effective sample size of \d+\.\d, below 30; lower strength or max_weight"):
        few.prepare([split(size=29)])


def data(**sizes: Any) -> SyntheticMER:
    config = SyntheticConfig(**{"train": 200, "valid": 240, "test": 16, "seed": 1, **sizes})
    return SyntheticMER(config, task="binary", batch_size=40, conditions="default")


def train(module: MERModule, source: SyntheticMER, folder: Path, **options: Any) -> Trainer:
    trainer = Trainer(
        default_root_dir=folder,
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"enable_checkpointing": False, **options},
    )
    trainer.fit(module, datamodule=source)
    return trainer


def test_a_run_leaves_words_and_weights_and_is_validated_and_shared(tmp_path: Path) -> None:
    source = data()
    module = MERModule(MeanNet(source.spec, source.task), [PropensityWeighting], deconfounded=True)
    keep = ModelCheckpoint(tmp_path, monitor="val/loss_deconfounded", filename="best")
    trainer = train(module, source, tmp_path, callbacks=[RunRecord(str(tmp_path)), keep], enable_checkpointing=True)
    report = json.loads((tmp_path / "propensity.json").read_text())
    assert report["problems"][0]["words"]
    rows = (tmp_path / "propensity.csv").read_text().splitlines()
    assert rows[0] == "id,index,class,weight,p_0,p_1,p_2"
    assert len(rows) == 201
    logged = trainer.callback_metrics
    assert {"val/propensity/words", "val/propensity/gain", "val/propensity/ess"} <= logged.keys()
    assert {f"val/{name}_deconfounded" for name in ("loss", "ess", *source.task.metrics())} <= logged.keys()

    fresh = MERModule(MeanNet(source.spec, source.task), [PropensityWeighting])
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    found = trainer.validate(fresh, datamodule=source, ckpt_path=str(tmp_path / "best.ckpt"), verbose=False)[0]
    assert found["val/loss_deconfounded"] == pytest.approx(float(logged["val/loss_deconfounded"]), abs=1e-5)

    save_pretrained(module.model, tmp_path / "shared")
    shared = load_pretrained(tmp_path / "shared", modules=("toys",))
    (batch, *_) = source.batch_source("valid")
    assert torch.equal(shared.predict(batch).logits, module.model.eval().predict(batch).logits)
    assert shared.needs_preparing  # for training, on whatever split


def test_groups_from_a_file_are_no_part_of_what_is_shared(tmp_path: Path) -> None:
    source, path = data(), tmp_path / "topics.csv"
    corpus = source.corpus.split("train")
    assert corpus.labels is not None
    topics = [int(label) if row % 4 else row % 3 for row, label in enumerate(corpus.labels)]
    lines = [f"{name},topic {topic}" for name, topic in zip(corpus.ids, topics, strict=True)]
    path.write_text("\n".join(["id,topic", *lines]))
    module = MERModule(
        MeanNet(source.spec, source.task), [partial(PropensityWeighting, source="groups", groups=str(path))]
    )
    with pytest.warns(
        UserWarning, match="deconfounded metrics are the plain metrics: no group of the validation split is"
    ):
        trainer = train(module, source, tmp_path, callbacks=[RunRecord(str(tmp_path))])
    assert trainer.callback_metrics["val/propensity/open"] == 1
    report = json.loads((tmp_path / "propensity.json").read_text())
    assert {row["word"] for row in report["problems"][0]["groups"]} == {"topic 0", "topic 1", "topic 2"}
    save_pretrained(module.model, tmp_path / "shared")
    assert "topics.csv" not in (tmp_path / "shared" / "config.json").read_text()
    path.unlink()
    shared = load_pretrained(tmp_path / "shared", modules=("toys",))
    (batch, *_) = source.batch_source("valid")
    assert torch.equal(shared.predict(batch).logits, module.model.eval().predict(batch).logits)


def test_resuming_goes_on_with_the_same_weights(tmp_path: Path) -> None:
    source = data(train=80)
    results = []
    for stops in ((2,), (1, 2)):
        path = None
        for stop in stops:
            torch.manual_seed(0)
            module = MERModule(MeanNet(source.spec, source.task), [PropensityWeighting])
            keep = ModelCheckpoint(tmp_path / f"{stops} {stop}")
            trainer = Trainer(
                default_root_dir=tmp_path,
                max_epochs=stop,
                accelerator="cpu",
                logger=False,
                callbacks=[keep],
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.fit(module, datamodule=source, ckpt_path=path)
            path = keep.best_model_path
        model = module.model
        assert isinstance(model, PropensityWeighting)
        results.append(model.trace.train_weights())
    assert torch.equal(*results)


def test_deconfounded_metrics_without_the_wrapper(tmp_path: Path) -> None:
    source = data()
    module = MERModule(MeanNet(source.spec, source.task), deconfounded=True)
    names = list(module.state_dict())
    trainer = train(module, source, tmp_path)
    logged = trainer.callback_metrics
    assert {f"val/{name}_deconfounded" for name in ("loss", "ess", *source.task.metrics())} <= logged.keys()
    assert logged["val/Acc3_deconfounded"] != logged["val/Acc3"]
    assert list(module.state_dict()) == names == list(MERModule(MeanNet(source.spec, source.task)).state_dict())
    plain = MERModule(MeanNet(source.spec, source.task))
    stop = ModelCheckpoint(tmp_path, monitor="val/Acc3_deconfounded")
    with pytest.raises(MERError, match="monitor 'val/Acc3_deconfounded' is not a validation metric"):
        train(plain, source, tmp_path, callbacks=[stop], enable_checkpointing=True)


def test_deconfounded_metrics_by_the_words_asked_for(tmp_path: Path) -> None:
    source = data()
    net = MeanNet(source.spec, source.task)
    maci = MERModule(net, deconfounded="maci").validation_weights
    assert maci.propensity is not None
    assert maci.propensity.rule.words == "maci"
    wrapper = partial(PropensityWeighting, words="maci", max_words=30)
    for same in (True, False, "maci"):
        module = MERModule(net, [wrapper], deconfounded=same)
        assert module.validation_weights.propensity is module.model.offered(Propensity)
    module = MERModule(net, [wrapper], deconfounded="frequent")
    other = module.validation_weights.propensity
    assert other is not None
    assert (other.rule.words, other.rule.keep_words) == ("frequent", ())
    kept = MERModule(net, [partial(wrapper, keep_words=["#1100"])], deconfounded="frequent").validation_weights
    assert kept.propensity is not None
    assert kept.propensity.rule == WordRule("frequent", keep_words=("#1100",))
    train(module, source, tmp_path, callbacks=[RunRecord(str(tmp_path))])
    report = json.loads((tmp_path / "propensity.json").read_text())
    assert (report["words"], report["validation"]["words"]) == ("maci", "frequent")
    assert other.fitted
    with pytest.raises(MERError, match="unknown deconfounded 'rare' of MERModule; choose from frequent, maci"):
        MERModule(net, deconfounded="rare")


def test_validation_behind_a_closed_gate_says_so(tmp_path: Path) -> None:
    module = MERModule(MeanNet(SPEC, THREE), deconfounded=True)
    blind = "see no confounding: on samples not seen the biased words tell .* nats more .*; they are the plain metrics"
    with pytest.warns(UserWarning, match=f"deconfounded metrics {blind}"):
        module.validation_weights.fit(lambda: [Batch.random(SPEC, THREE, 200)])
    emotions = MERModule(MeanNet(SPEC, EMOTIONS), deconfounded=True)
    batch = split(EMOTIONS, 200)
    chance = torch.randint(2, (200,), generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match="deconfounded metrics see no confounding for sad: ") as told:
        emotions.validation_weights.fit(lambda: [batch.replace(target=torch.stack([batch.target[:, 0], chance], 1))])
    assert len(told) == 1
    source = data()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "deconfounded metrics see")
        train(MERModule(MeanNet(source.spec, source.task), deconfounded=True), source, tmp_path)


@pytest.mark.parametrize("mode", ["weight", "product", "both"])
def test_behind_a_closed_gate_training_is_plain(mode: Any, tmp_path: Path) -> None:
    states = []
    for wrapper in (partial(PropensityWeighting, mode=mode), None):
        source = data(rho=1 / 3)
        torch.manual_seed(0)
        net = LFLSTM(source.spec, source.task, dim=4)
        module = MERModule(net, [] if wrapper is None else [wrapper], partial(torch.optim.Adam, lr=1e-2))
        trainer = train(module, source, tmp_path)
        states.append(net.state_dict())
        logged = trainer.callback_metrics
        if wrapper is not None:
            assert logged["val/propensity/open"] == 0
            for name in ("loss", *source.task.metrics()):
                assert float(logged[f"val/{name}_deconfounded"]) == pytest.approx(float(logged[f"val/{name}"]))
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def words_alone(weights: ValidationWeights, source: SyntheticMER, split: str) -> Scores:
    """Scores of the predictor that knows nothing but the biased words."""
    parts = []
    for batch in source.batch_source(split):
        assert weights.propensity is not None
        parts.append(Scores(weights.propensity.log_p(batch), weights.effects(batch), batch.target, batch.index).cpu())
    return Scores.concat(parts)


def test_weighted_validation_imitates_the_randomised_trial() -> None:
    source = data(train=1000, valid=1000, test=1000)
    weights = ValidationWeights(MeanNet(source.spec, source.task), wanted=True)
    weights.fit(lambda: source.batch_source("train"))
    valid = weights.attach(words_alone(weights, source, "valid"))
    plain, weighted = measure(source.task, valid)["Acc3"], weights.measure(valid)["Acc3_deconfounded"]
    trial = measure(source.task, words_alone(weights, source, "test_rct"))["Acc3"]
    assert plain > trial + 0.2
    assert abs(weighted - trial) < 0.08


@pytest.mark.parametrize(
    "factory", [partial(MACI, tau_selection="propensity"), partial(CLUE, alpha_selection="propensity")]
)
@pytest.mark.filterwarnings("ignore:(MACI|CLUE) chose .* by an effective sample size")
def test_the_strength_of_others_chosen_by_the_same_weights(factory: Any, tmp_path: Path) -> None:
    source = data()
    module = MERModule(MeanNet(source.spec, source.task), [factory])
    trainer = train(module, source, tmp_path)
    assert "val/loss_deconfounded" in trainer.callback_metrics
    numbers = module.model.diagnostics()
    assert numbers[next(name for name in numbers if name.endswith("ess"))] == pytest.approx(
        float(trainer.callback_metrics["val/ess_deconfounded"]), rel=1e-4
    )
    (batch, *_) = source.batch_source("valid")
    output = module.model.predict(batch)
    scores = Scores(output.logits, output.effects, batch.target, batch.index).cpu()
    with pytest.raises(MERError, match="_selection propensity of (MACI|CLUE) needs weights of the validation samples"):
        module.model.calibrate(scores)
