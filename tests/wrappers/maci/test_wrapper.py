"""MACI around small models: statistics, scores, passes of the network, choice of tau, composition, refusals."""

import copy
import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentError, ArgumentParser
from lightning.pytorch import Trainer
from torch import Tensor, nn
from toys import TINY_BERT, MeanNet, Shifting, TwoStep, loss_of
from typing_extensions import override

from mer_zoo.backbones import LFLSTM
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality, Output, Step
from mer_zoo.callbacks import RunRecord
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.functional.deconfounding import TAUS, choose_tau, deconfounding_weights, fit_temperature
from mer_zoo.layers.sequence import masked_mean
from mer_zoo.model import Model, Wrapper, WrapperFactory, adapt
from mer_zoo.module import MERModule
from mer_zoo.scores import Scores
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task
from mer_zoo.wrappers import MACI, MSSD, CausalMER

TOKENS = DataSpec(tokens=True, vocab_size=130)
FEATURES = DataSpec()
THREE = SentimentClassification(3)
EMOTIONS = EmotionDetection()


def split(spec: DataSpec = TOKENS, task: Task = THREE, size: int = 12, seed: int = 0) -> Batch:
    """A batch with every class."""
    batch = Batch.random(spec, task, size, seed)
    return batch if batch.target.dim() == 2 else batch.replace(target=torch.arange(size) % task.num_outputs)


def wrap(task: Task = THREE, spec: DataSpec = TOKENS, **options: Any) -> MACI:
    """A prepared model whose head tells its inputs apart."""
    torch.manual_seed(0)
    model = MACI(MeanNet(spec, task), **options)
    model.prepare([split(spec, task)])
    return model.eval()


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)


class Counting(Wrapper):
    """Keeps every batch that the network was asked about."""

    def __init__(self, backbone: Model) -> None:
        super().__init__(backbone)
        self.asked: list[Batch] = []

    @override
    def predict(self, batch: Batch) -> Output:
        self.asked.append(batch)
        return super().predict(batch)


def counted(**options: Any) -> tuple[MACI, list[Batch]]:
    torch.manual_seed(0)
    inner = Counting(MeanNet(TOKENS, THREE))
    model = MACI(inner, **options)
    model.prepare([split()])
    return model.eval(), inner.asked


def test_statistics_are_the_means_of_the_sample_means() -> None:
    batches = [split(size=7), split(size=8, seed=1)]
    model = MACI(MeanNet(TOKENS, THREE))
    model.prepare(iter(batches))
    classes = torch.cat([batch.target for batch in batches])
    close(model.head.prior, classes.bincount() / 15)
    for name in MODALITIES:
        inputs = [model.backbone(batch).inputs[name] for batch in batches]
        means = torch.cat([masked_mean(x, b.modality(name).mask) for x, b in zip(inputs, batches, strict=True)])
        close(model.head.get_buffer(f"mean_{name}"), torch.stack([means[classes == i].mean(0) for i in range(3)]))


def test_statistics_by_hand() -> None:
    spec = DataSpec(audio_dim=1, audio_len=3, modalities=["audio"])
    batch = Batch.random(spec, THREE, size=3)
    x = torch.tensor([[[1.0], [3.0], [99.0]], [[4.0], [99.0], [99.0]], [[10.0], [10.0], [10.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1]]).bool()
    batch = batch.replace(audio=Modality(x, mask), target=torch.tensor([0, 0, 2]))
    model = MACI(MeanNet(spec, THREE))
    model.prepare([batch])
    close(model.head.prior, torch.tensor([2 / 3, 0, 1 / 3]))
    # class 0: (2 + 4) / 2; class 1 is absent: (3 + 10) / 2
    close(model.head.get_buffer("mean_audio").flatten(), torch.tensor([3.0, 6.5, 10.0]))
    assert model(batch).logits.isfinite().all()


def test_an_empty_modality_does_not_count() -> None:
    batch = split(FEATURES, size=6)
    gone = batch.audio.replace(mask=torch.zeros_like(batch.audio.mask), observed=torch.zeros_like(batch.audio.mask))
    model = MACI(MeanNet(FEATURES, THREE))
    model.prepare([batch, batch.replace(audio=gone)])
    once = MACI(MeanNet(FEATURES, THREE))
    once.prepare([batch])
    close(model.head.get_buffer("mean_audio"), once.head.get_buffer("mean_audio"))


def test_prepare_leaves_modes_and_draws_alone() -> None:
    torch.manual_seed(0)
    model = MACI(LFLSTM(TOKENS, THREE, out_dropout=0.9, text_encoder={**TINY_BERT, "vocab_size": 130}))
    before = torch.get_rng_state()
    model.prepare([split()])
    assert torch.equal(before, torch.get_rng_state())
    assert all(part.training for part in model.modules())
    means = model.head.get_buffer("mean_text").clone()
    again = copy.deepcopy(model)
    again.prepared.fill_(False)
    again.prepare([split()])
    assert torch.equal(means, again.head.get_buffer("mean_text"))


def test_prepare_once() -> None:
    model = wrap()
    before = copy.deepcopy(model.state_dict())
    model.prepare([split(seed=5)])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.needs_preparing


def test_inner_models_are_prepared_first() -> None:
    seen = []

    class Noting(Shifting):
        @override
        def prepare(self, train: Any) -> None:
            super().prepare(train)
            seen.append(bool(model.prepared))

    model = MACI(Noting(MeanNet(TOKENS, THREE)))
    model.prepare([split()])
    assert seen == [False]
    assert model.prepared


def test_nothing_works_before_prepare() -> None:
    model = MACI(MeanNet(TOKENS, THREE))
    calls: list[Any] = [model, model.predict, lambda batch: list(model.steps(batch))]
    for call in calls:
        with pytest.raises(MERError, match=r"MACI\(MeanNet\) has no statistics of a training split yet; fit it"):
            call(split())
    assert model.notes() == []


@pytest.mark.parametrize("task", [THREE, SentimentClassification(7), SentimentClassification(2), EMOTIONS])
@pytest.mark.parametrize("modalities", [["text"], ["text", "audio"], ["audio", "vision"], MODALITIES])
def test_scores_are_log_probabilities(modalities: list[str], task: Task) -> None:
    spec = DataSpec(tokens=True, vocab_size=130, modalities=modalities)
    model = wrap(task, spec)
    effects = model.predict(split(spec, task)).effects
    with_text = {"counterfactual", "bias"} if "text" in modalities else set()
    assert effects.keys() == {"factual", "plain", *with_text}
    for scores in effects.values():
        assert scores.shape == (12, *task.shape)
        close(scores.exp().sum(-1), torch.ones(scores.shape[:-1]), 1e-5)
    loss_of(model, split(spec, task)).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.any() for name, p in model.named_parameters() if "embedding" not in name)


def test_steps_rewrite_each_step_without_another_pass() -> None:
    torch.manual_seed(0)
    inner = TwoStep(MeanNet(TOKENS, THREE))
    model = MACI(inner)
    model.prepare([split()])
    calls = []
    inner.backbone.register_forward_hook(lambda *_: calls.append(1))
    steps = list(model.steps(split()))
    assert len(calls) == len(steps) == model.num_steps == 2
    assert steps[1].losses.keys() == {"extra"}
    assert steps[1].task_weight == 0.5
    for step in steps:
        close(step.output.logits, model.head(step.output.features))
    close(steps[0].output.logits, model(split()).logits)


def test_factual_is_forward_and_plain_is_not() -> None:
    model, batch = wrap(), split()
    effects = model.predict(batch).effects
    close(effects["factual"], model(batch).logits)
    assert (effects["plain"] - effects["factual"]).abs().max() > 1e-4


def test_plain_takes_all_classes_alike() -> None:
    model, batch = wrap(language=False), split()
    equal = MACI(MeanNet(TOKENS, THREE), language=False)
    equal.load_state_dict(model.state_dict())
    equal.head.prior.fill_(1 / 3)
    for name in MODALITIES:
        mean = equal.head.get_buffer(f"mean_{name}")
        mean.copy_(mean.mean(0).expand_as(mean))
    close(equal(batch).logits, model.predict(batch).logits)


def test_counterfactual_and_bias_are_the_scores_of_their_texts() -> None:
    model, batch = wrap(num_words=5), split()
    effects = model.predict(batch).effects
    words = model.language_bias.words.tolist()
    kept = torch.tensor([[t in (*words, 0, 100, 101, 102, 103) for t in row] for row in batch.text.x.tolist()])
    assert 0 < (~kept).sum() < kept.numel()
    text = batch.text.replace(x=torch.where(kept, batch.text.x, 103))
    view = batch.replace(text=text)
    close(effects["counterfactual"], model.predict(view).effects["plain"])
    silent = {name: getattr(view, name).replace(x=torch.zeros_like(getattr(view, name).x)) for name in MODALITIES[1:]}
    close(effects["bias"], model.predict(view.replace(**silent)).effects["plain"])


def test_text_alone_subtracts_what_is_said_with_nothing_heard_or_seen() -> None:
    model, asked = counted(counterfactual="text_alone", tau_selection="fixed", tau=0.5)
    batch = split(seed=1)
    output = model.predict(batch)
    assert len(asked) == 2
    view = asked[-1]
    assert not view.audio.observed.any()
    assert not view.vision.x.any()
    assert (view.text.x == TOKENS.mask_id).any()
    close(output.logits, output.effects["plain"] - 0.5 * output.effects["counterfactual"])
    asked.clear()
    wrapped, asked = counted(counterfactual="text_alone")
    effects = wrapped.predict(batch).effects
    assert len(asked) == 2  # one counterfactual pass also serves the weights
    assert torch.equal(effects["bias"], effects["counterfactual"])


def test_words_of_features_with_token_ids() -> None:
    model = MACI(MeanNet(FEATURES, THREE), num_words=3)
    ids = split().text.x
    batch = split(FEATURES)
    batch = batch.replace(text=batch.text.replace(token_ids=ids.masked_fill(~batch.text.mask, 0)))
    model.prepare([batch])
    with_tokens = wrap(num_words=3)
    assert model.language_bias.words.tolist() == with_tokens.language_bias.words.tolist()
    effects = model.predict(batch).effects
    kept = torch.isin(ids, torch.tensor([*model.language_bias.words.tolist(), 0]))
    masked = batch.text.replace(x=batch.text.x * kept[..., None])
    close(effects["counterfactual"], model.predict(batch.replace(text=masked)).effects["plain"])
    with pytest.raises(MERError, match="this batch has text features without token ids"):
        model.predict(split(FEATURES))


def test_language_where_there_are_no_token_ids() -> None:
    model = MACI(MeanNet(FEATURES, THREE), language=True)
    with pytest.raises(MERError, match="MACI's language is true, but the training split has no token ids"):
        model.prepare([split(FEATURES)])
    assert not model.prepared
    assert not model.head.prior.any()
    quiet = wrap(spec=FEATURES)
    output = quiet.predict(split(FEATURES))
    assert torch.equal(output.logits, output.effects["plain"])
    assert "label bias only" in quiet.notes()[0]
    assert quiet.diagnostics() == {}
    assert not wrap(language=False).language_bias.on


@pytest.mark.parametrize(
    ("options", "calibrating", "passes"),
    [
        ({}, True, 3),
        ({}, False, 1),  # tau is still 0
        ({"tau_selection": "validation"}, True, 2),
        ({"tau_selection": "validation"}, False, 1),
        ({"tau_selection": "fixed"}, True, 1),
        ({"tau_selection": "fixed", "tau": 0.5}, True, 2),
        ({"tau_selection": "oracle"}, False, 2),
        ({"language": False}, True, 1),
    ],
)
def test_no_needless_pass(options: dict[str, Any], calibrating: bool, passes: int) -> None:
    model, asked = counted(**options)
    model.calibrating = calibrating
    model.predict(split())
    assert len(asked) == passes


@pytest.mark.parametrize("tau", [0.0, 0.5])
@pytest.mark.parametrize("nest", [[], [CausalMER]])
def test_predictions_have_the_counterfactual_whatever_tau(tmp_path: Path, tau: float, nest: list[Any]) -> None:
    data = SyntheticMER(SIZES, batch_size=8)
    inner = Counting(MeanNet(data.spec, data.task))
    module = MERModule(inner, wrappers=[partial(MACI, tau_selection="fixed", tau=tau), *nest])
    module.model.prepare(list(data.batch_source("train")))
    inner.asked.clear()
    trainer(tmp_path).test(module, data, verbose=False)
    tests = sum(-(-SIZES.test // 8) for _ in data.conditions)
    assert len(inner.asked) == tests * (1 if tau == 0 else 2)  # a test does without what its scores do not need
    trainer(tmp_path, callbacks=[RunRecord(str(tmp_path), pictures=False)]).predict(module, data)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    place = "effect_inner/" if nest else "effect_"
    given = [[float(row[f"{place}counterfactual_{k}"]) for k in range(3)] for row in rows]
    assert len(rows) == SIZES.test
    close(torch.tensor(given).exp().sum(1), torch.ones(len(rows)), 1e-4)
    if not nest:
        logits = torch.tensor([[float(row[f"logit_{k}"]) for k in range(3)] for row in rows])
        close(logits, module.test_scores["iid"].logits, 1e-5)


def test_a_tau_that_was_chosen_costs_one_more_pass() -> None:
    model, asked = counted()
    model.language_bias.tau.fill_(0.3)
    model.calibrating = False
    output = model.predict(split())
    assert len(asked) == 2
    close(output.logits, output.effects["plain"] - 0.3 * output.effects["counterfactual"])


def test_emotions_have_their_own_texts() -> None:
    torch.manual_seed(0)
    inner = Counting(MeanNet(TOKENS, EMOTIONS))
    model = MACI(inner, num_words=4, tau_selection="fixed", tau=1.0)
    model.prepare([split(task=EMOTIONS, size=30)])
    assert model.head.prior.shape == (4, 2)
    assert model.language_bias.words.shape == (4, 4)
    model.language_bias.words[2:] = model.language_bias.words[:2]
    output = model.predict(split(task=EMOTIONS))
    assert len(inner.asked) == 3
    features = [model.backbone.predict(view).features for view in inner.asked[1:3]]
    which = [int(torch.equal(inner.asked[2].text.x, text)) for text in texts_of(model, split(task=EMOTIONS))]
    assert which[:2] == which[2:]
    close(output.effects["counterfactual"], model.head.test_scores([features[place] for place in which]))


def texts_of(model: MACI, batch: Batch) -> list[Tensor]:
    views, which = model.language_bias.views(batch)
    return [views[place].text.x for place in which]


def scores_of(model: Model, batch: Batch) -> Scores:
    with torch.no_grad():
        output = model.predict(batch)
    return Scores(output.logits, output.effects, batch.target, batch.index)


@pytest.mark.parametrize("selection", ["deconfounded", "validation"])
def test_calibration_chooses_by_its_rule(selection: Any) -> None:
    model = wrap(tau_selection=selection, num_words=3)
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.mul_(4)  # so that the choice matters
    batch = split(size=60, seed=3)
    valid = scores_of(model, batch)
    y, y_cf, bias = (valid.effects.get(name) for name in ("plain", "counterfactual", "bias"))
    assert y is not None
    assert y_cf is not None
    weights = None
    if selection == "deconfounded":
        assert bias is not None
        temperature = fit_temperature(bias, batch.target)
        weights = deconfounding_weights(bias, batch.target, torch.full((3,), 1 / 3), temperature)
    tau = choose_tau(y, y_cf, batch.target, weights)
    model.calibrate(valid)
    assert float(model.language_bias.tau) == pytest.approx(tau)
    assert tau > 0
    rescored = model.rescore(valid)
    close(rescored, y - tau * y_cf)
    close(scores_of(model, batch).logits, rescored)
    found = model.diagnostics()
    assert found["maci/tau"] == tau
    if weights is not None:
        assert found["maci/ess"] == pytest.approx(float(weights.sum() ** 2 / weights.square().sum()), abs=1e-4)


def test_emotions_are_calibrated_one_by_one() -> None:
    model = wrap(EMOTIONS, tau_selection="validation", num_words=3)
    batch = split(task=EMOTIONS, size=40, seed=1)
    valid = scores_of(model, batch)
    model.calibrate(valid)
    y, y_cf = valid.effects["plain"], valid.effects["counterfactual"]
    for place, name in enumerate(EMOTIONS.emotions):
        tau = choose_tau(y[:, place], y_cf[:, place], batch.target[:, place])
        assert model.diagnostics()[f"maci/tau_{name}"] == tau
        close(model.rescore(valid)[:, place], y[:, place] - tau * y_cf[:, place])


def test_a_fixed_tau_is_not_calibrated() -> None:
    model = wrap(tau_selection="fixed", tau=1.5)
    valid = scores_of(model, split(size=40, seed=3))
    model.calibrate(valid)
    assert model.diagnostics() == {"maci/tau": 1.5}
    close(model.rescore(valid), valid.effects["plain"] - 1.5 * valid.effects["counterfactual"])


def test_few_effective_samples_are_told_once() -> None:
    model = wrap()
    valid = scores_of(model, split(size=12, seed=3))
    with pytest.warns(UserWarning, match=r"effective sample size of \d+\.\d, below 30"):
        model.calibrate(valid)
    model.calibrate(valid)
    assert "effective sample size" in model.notes()[0]
    with_many = wrap()
    with_many.calibrate(scores_of(with_many, split(size=90, seed=3)))
    assert with_many.notes() == []


def test_oracle_offers_every_tau_and_says_so() -> None:
    model = wrap(tau_selection="oracle")
    assert model.label == "MACI[oracle tau](MeanNet)"
    assert wrap().label == "MACI(MeanNet)"
    model.calibrating = False
    test = scores_of(model, split(size=20))
    model.calibrate(test)
    candidates = model.oracle(test)
    assert len(candidates) == 31
    for tau, candidate in zip(TAUS, candidates, strict=True):
        close(candidate, test.effects["plain"] - tau * test.effects["counterfactual"])
    assert torch.equal(test.logits, test.effects["plain"])
    assert "evaluated split itself" in model.notes()[0]
    assert model.diagnostics() == {}
    assert wrap().oracle(test) == []


def nests() -> list[Any]:
    return [
        pytest.param(lambda net: CausalMER(MACI(net), fusion="sum"), id="CausalMER(MACI)"),
        pytest.param(lambda net: Counting(MACI(net)), id="Counting(MACI)"),
        pytest.param(lambda net: MACI(TwoStep(net)), id="MACI(TwoStep)"),
        pytest.param(lambda net: MSSD(MACI(net), alpha=0), id="MSSD(MACI)"),
        pytest.param(lambda net: MACI(MSSD(net, alpha=0)), id="MACI(MSSD)"),
        pytest.param(lambda net: CausalMER(MSSD(MACI(net), alpha=0)), id="CausalMER(MSSD(MACI))"),
    ]


@pytest.mark.parametrize("selection", ["deconfounded", "oracle"])
@pytest.mark.parametrize("nest", nests())
def test_calibration_through_a_nest(nest: WrapperFactory, selection: Any) -> None:
    torch.manual_seed(0)
    model = nest(MeanNet(TOKENS, THREE)).eval()
    maci = next(part for part in model.nest if isinstance(part, MACI))
    if selection == "oracle":
        maci.language_bias.selection = selection
    model.prepare([split()])
    batch = split(size=60, seed=3)
    valid = scores_of(model, batch)
    model.calibrate(valid)
    if selection == "deconfounded":
        maci.language_bias.tau.fill_(0.8)
        close(model.rescore(valid), scores_of(model, batch).logits, 1e-5)
    else:
        assert len(model.oracle(valid)) == 31
        close(model.oracle(valid)[0], valid.logits, 1e-5)
    close(valid.effects["factual"], model(batch).logits, 1e-5)
    assert torch.isfinite(loss_of(model, batch))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype: torch.dtype) -> None:
    model = wrap()
    batch = split()
    with torch.autocast("cpu", dtype=dtype):
        output, loss = model.predict(batch), loss_of(model, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in output.effects.values())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_hugging_face_encoder() -> None:
    torch.manual_seed(0)
    model = MACI(LFLSTM(TOKENS, THREE, text_encoder={**TINY_BERT, "vocab_size": 130}))
    model.prepare([split()])
    assert model.head.get_buffer("mean_text").shape == (3, 8)
    loss_of(model, split()).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in model.parameters())


def test_a_network_of_the_users() -> None:
    net = adapt(nn.Flatten(), FEATURES, THREE, feature_dim=40, call=lambda module, text, audio, vision: module(audio.x))
    model = MACI(net)
    model.prepare([split(FEATURES)])
    assert model(split(FEATURES)).logits.shape == (12, 3)
    assert not [name for name, _ in model.named_parameters() if "backbone" in name]


def test_a_checkpoint_predicts_without_the_training_data() -> None:
    model = wrap()
    model.calibrate(scores_of(model, split(size=60, seed=3)))
    model.language_bias.tau.fill_(0.4)
    other = MACI(MeanNet(TOKENS, THREE)).eval()
    other.load_state_dict(model.state_dict())
    assert not other.needs_preparing
    batch = split(seed=9)
    assert torch.equal(other.predict(batch).logits, model.predict(batch).logits)
    assert other.diagnostics() == model.diagnostics()


SIZES = SyntheticConfig(train=32, valid=24, test=16)


def trainer(tmp_path: Path, **options: Any) -> Trainer:
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"max_epochs": 1, "accelerator": "cpu", "default_root_dir": tmp_path, "enable_checkpointing": False}
    return Trainer(**{**quiet, **options})


@pytest.mark.filterwarnings("ignore:MACI chose tau by an effective sample size")
def test_fit_and_test_with_a_checkpoint(tmp_path: Path) -> None:
    data = SyntheticMER(SIZES, batch_size=8)
    torch.manual_seed(0)
    module = MERModule(MeanNet(data.spec, data.task), wrappers=[MACI, CausalMER])
    runner = trainer(tmp_path, max_epochs=2, enable_checkpointing=True)
    runner.fit(module, datamodule=data)
    assert {"val/maci/tau", "val/maci/ess"} <= runner.callback_metrics.keys()
    valid = list(data.batch_source("valid"))
    with torch.no_grad():
        module.eval()
        logits = torch.cat([module.model.predict(batch).logits for batch in valid])
        factual = torch.cat([module.model(batch).logits for batch in valid])
    target = torch.cat([batch.target for batch in valid])
    right = (logits.argmax(1) == target).double().mean()
    assert float(runner.callback_metrics["val/Acc3"]) == pytest.approx(float(right))
    loss = THREE.criterion(factual, target).mean()
    assert float(runner.callback_metrics["val/loss"]) == pytest.approx(float(loss), abs=1e-5)

    runner.save_checkpoint(tmp_path / "model.ckpt")
    runner.test(module, data, verbose=False)
    again = SyntheticMER(SyntheticConfig(train=8, valid=4, test=16), batch_size=8, standardize=True)
    fresh = MERModule(MeanNet(again.spec, again.task), wrappers=[MACI, CausalMER])
    trainer(tmp_path).test(fresh, again, ckpt_path=tmp_path / "model.ckpt", verbose=False)
    torch.testing.assert_close(fresh.test_scores["iid"].logits, module.test_scores["iid"].logits)


def test_a_checkpoint_of_another_class_count_is_refused(tmp_path: Path) -> None:
    data = SyntheticMER(SIZES, batch_size=8)
    runner = trainer(tmp_path, enable_checkpointing=True, limit_val_batches=0)
    runner.fit(MERModule(MeanNet(data.spec, data.task), wrappers=[MACI]), datamodule=data)
    runner.save_checkpoint(tmp_path / "model.ckpt")
    seven = SyntheticMER(SIZES, task="seven", batch_size=8)
    module = MERModule(MeanNet(seven.spec, seven.task), wrappers=[MACI])
    with pytest.raises(MERError, match=r"holds task SentimentClassification \[3\], not SentimentClassification \[7\]"):
        trainer(tmp_path).test(module, seven, ckpt_path=tmp_path / "model.ckpt", verbose=False)
    assert not module.model.get_buffer("prepared")


def test_a_test_before_any_fit_is_refused(tmp_path: Path) -> None:
    data = SyntheticMER(SIZES, batch_size=8)
    with pytest.raises(MERError, match="has no statistics of a training split yet; fit it, call prepare, or load"):
        trainer(tmp_path).test(MERModule(MACI(MeanNet(data.spec, data.task))), data, verbose=False)


class Replacing(Wrapper):
    replaces_logits = True

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        yield from self.backbone.steps(batch)


def test_refusals() -> None:
    with pytest.raises(MERError, match="MACI needs classes, but SentimentRegression has a single output"):
        MACI(MeanNet(TOKENS, SentimentRegression()))
    with pytest.raises(MERError, match="MACI stands twice"):
        MACI(wrap())
    inner = [CausalMER(MeanNet(TOKENS, THREE)), Replacing(MeanNet(TOKENS, THREE))]
    for model in inner:
        with pytest.raises(MERError, match=r"from the features, so those of \w+\(MeanNet\) would be lost"):
            MACI(model)
    assert isinstance(inner[1].backbone, MeanNet)
    assert inner[1].backbone.has_head
    with pytest.raises(MERError, match="dim of MACI is 0; give at least 1"):
        wrap(dim=0)
    with pytest.raises(MERError, match="unknown tau_selection 'best' of MACI"):
        wrap(tau_selection="best")


def parse(*options: str) -> Any:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--wrappers", type=list[WrapperFactory])
    return parser.parse_args(["--wrappers+=MACI", *(f"--wrappers.{option}" for option in options)])


def test_options_from_the_command_line() -> None:
    options = parse("tau_selection=fixed", "tau=0.5", "language=false", "layer_norm=true").wrappers[0].init_args
    assert (options.tau_selection, options.tau, options.language, options.layer_norm) == ("fixed", 0.5, False, True)
    with pytest.raises(ArgumentError, match="best"):
        parse("tau_selection=best")
