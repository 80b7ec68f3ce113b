"""Uncertainty: fitted on validation data, kept with the weights, and told of each sample and condition."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors import safe_open
from safetensors.torch import save_file

from mer_zoo.backbones import LFLSTM
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.callbacks import RunRecord, SetCalibration
from mer_zoo.data import SyntheticConfig, SyntheticMER
from mer_zoo.data.missing.conditions import Condition
from mer_zoo.data.missing.pattern import SMM
from mer_zoo.errors import MERError
from mer_zoo.fields import Fields
from mer_zoo.functional.conformal import conformal_quantile
from mer_zoo.module import MERModule
from mer_zoo.reports.predictions import prediction_rows
from mer_zoo.reports.record import load_results
from mer_zoo.runs.provenance import weights_sha256
from mer_zoo.scores import Scores
from mer_zoo.sharing.export import save_pretrained
from mer_zoo.sharing.pretrained import load_pretrained
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task
from mer_zoo.training.scoring import score
from mer_zoo.uncertainty import Answers, Calibration, Thresholds, Uncertainty, assess, calibrated, fit_calibration
from mer_zoo.uncertainty.calibration import task_of

TEXT_ALONE = Condition("text alone", "valid", SMM(["text"]))
TASKS = [SentimentRegression(), SentimentClassification(3), EmotionDetection(["joy", "anger"])]
QUIET: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}


def noisy(task: Task, count: int = 200, noise: float = 1.0, seed: int = 0) -> Scores:
    """Scores of a model that is right more often than not."""
    generator = torch.Generator().manual_seed(seed)
    target = task.random_target(count, generator)
    if task.shape == (3,):
        target = target.div(2).round()  # so that some are neutral
    if task.is_classification:
        truth = torch.nn.functional.one_hot(task.encode(target), task.shape[-1]).float()
        logits = 4 * truth + 2 * noise * torch.randn(count, *task.shape, generator=generator)
    else:
        logits = (target + noise * torch.randn(count, generator=generator))[:, None]
    return Scores(logits, {}, target, torch.arange(count), available=torch.full((count,), 7))


@pytest.mark.parametrize("task", TASKS, ids=task_of)
def test_what_is_kept_are_the_oddness_and_the_distance_of_the_labels(task: Task) -> None:
    scores = noisy(task, 50)
    found = fit_calibration(task, scores)
    p = task.probabilities(scores.logits.double(), found.temperature.double())
    classes = task.classify(scores.target)
    odd = []
    for row, of_sample in zip(p.view(50, -1, p.shape[-1]), classes.view(50, -1), strict=True):
        odd.append([sum(q for q in x.tolist() if q > x[y].item()) for x, y in zip(row, of_sample, strict=True)])
    torch.testing.assert_close(found.oddness.view(50, -1), torch.tensor(odd).sort(0).values)
    if task.is_classification:
        assert found.distance is None
    else:
        torch.testing.assert_close(found.distance, (scores.logits[:, 0] - scores.target).abs().sort().values)


@pytest.mark.parametrize("task", TASKS, ids=task_of)
def test_it_is_kept_as_it_is(task: Task, tmp_path: Path) -> None:
    made = calibrated(task, ["text", "audio"], noisy(task))
    torch.save(made.plain(), tmp_path / "kept.pt")
    read = Uncertainty.read(torch.load(tmp_path / "kept.pt", weights_only=True), "kept.pt")
    assert read.complete == "{l,a}"
    assert read.groups.keys() == made.groups.keys()
    read.check(task, "kept.pt")
    thresholds = Thresholds.of(read, 0.9)
    assert thresholds is not None
    again = Thresholds.read(Fields(json.loads(json.dumps(thresholds.plain())), "results.json", "test again"))
    assert again.plain() == thresholds.plain()


def test_too_few_samples_missing_classes_and_scores_that_are_not_finite_calibrate_nothing() -> None:
    task = SentimentClassification(3)
    with pytest.raises(MERError, match="14 labelled validation samples can't calibrate 15 bins; give at least 15"):
        fit_calibration(task, noisy(task, 14))
    scores = noisy(task)
    scores.target = scores.target.abs() + 0.1
    with pytest.raises(MERError, match="no validation sample is negative or neutral; give a validation split with all"):
        fit_calibration(task, scores)
    scores = noisy(TASKS[2])
    scores.target[:, 1] = 1
    with pytest.raises(MERError, match="no validation sample is absent of anger"):
        fit_calibration(TASKS[2], scores)
    scores = noisy(task)
    scores.logits[3, 1] = math.nan
    with pytest.raises(MERError, match="scores are not finite"):
        fit_calibration(task, scores)
    assert calibrated(task, ["text"], noisy(task, 14)).refused.startswith("14 labelled")


def test_samples_without_labels_are_left_out() -> None:
    task, scores = TASKS[0], noisy(TASKS[0])
    whole = fit_calibration(task, scores)
    scores.target = torch.cat([scores.target, torch.tensor([math.nan])])
    scores.logits = torch.cat([scores.logits, torch.tensor([[5.0]])])
    scores.available, scores.index = torch.full((201,), 7), torch.arange(201)
    assert fit_calibration(task, scores).oddness.equal(whole.oddness)
    thresholds = Thresholds.of(Uncertainty(task_of(task), "{l,a,v}", {"{l,a,v}": whole}), 0.9)
    assert thresholds is not None
    assert not math.isnan(assess(task, scores, thresholds)["NLL"])


def _edited(path: tuple[str, ...], value: object) -> Callable[[dict[str, Any]], None]:
    def edit(plain: dict[str, Any]) -> None:
        for name in path[:-1]:
            plain = plain[name]
        plain[path[-1]] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (_edited(("groups", "{l,a,v}", "temperature"), torch.tensor(0.0)), "temperature is"),
        (_edited(("groups", "{l,a,v}", "temperature"), "warm"), "temperature is 'warm'"),
        (_edited(("groups", "{l,a,v}", "oddness"), torch.full((3,), math.nan)), "oddness is"),
        (_edited(("groups", "{l,a,v}", "oddness"), torch.zeros(3, 2)), "oddness is"),
        (_edited(("groups", "{l,a,v}", "oddness"), torch.zeros(0)), "oddness is"),
        (_edited(("groups", "{l,a,v}", "distance"), torch.zeros(2, 2)), "distance is"),
        (_edited(("groups", "{x}"), {}), "no set of modalities"),
        (_edited(("complete",), "{l}"), "not calibrated for complete data"),
        (_edited(("groups",), None), "groups is None"),
    ],
)
def test_odd_ones_are_refused_by_name(edit: Callable[[dict[str, Any]], None], said: str) -> None:
    plain = calibrated(TASKS[0], ["text", "audio", "vision"], noisy(TASKS[0])).plain()
    edit(plain)
    with pytest.raises(MERError, match=said):
        Uncertainty.read(plain, "best.ckpt")


def test_that_of_another_task_is_refused() -> None:
    made = calibrated(TASKS[0], ["text"], noisy(TASKS[0]))
    with pytest.raises(MERError, match=r"holds a calibration for SentimentRegression \[1\], not for"):
        made.check(TASKS[1], "best.ckpt")
    lies = Uncertainty(task_of(TASKS[1]), "{l}", made.groups)
    with pytest.raises(MERError, match="holds a calibration"):
        lies.check(TASKS[1], "best.ckpt")


@pytest.mark.parametrize("level", [0.0, 1.0, 90.0])
def test_levels_outside_are_refused(level: float) -> None:
    made = calibrated(TASKS[0], ["text"], noisy(TASKS[0], 20))
    with pytest.raises(MERError, match="such as 0.9"):
        Thresholds.of(made, level)
    with pytest.raises(MERError, match="such as 0.9"):
        RunRecord(level=level)


def test_a_level_that_few_samples_cannot_promise_is_refused() -> None:
    made = calibrated(TASKS[0], ["text"], noisy(TASKS[0], 20))
    with pytest.raises(MERError, match="20 calibrating samples can't promise 99 %; give at least 99, or a lower level"):
        Thresholds.of(made, 0.99)


def by_group(task: Task, noises: dict[int, float], seed: int) -> Scores:
    parts = [noisy(task, 150, noise, seed + code) for code, noise in noises.items()]
    for part, code in zip(parts, noises, strict=True):
        part.available = torch.full((150,), code)
    joint = [torch.cat([getattr(part, name) for part in parts]) for name in ("logits", "target", "available")]
    return Scores(joint[0], {}, joint[1], torch.arange(len(joint[0])), available=joint[2])


@pytest.mark.parametrize("task", TASKS[:2], ids=task_of)
def test_coverage_holds_for_each_set_of_modalities(task: Task) -> None:
    noises, names = {7: 0.3, 3: 1.0, 1: 3.0}, {7: "{l,a,v}", 3: "{l,a}", 1: "{l}"}
    covered: dict[bool, list[dict[str, float]]] = {True: [], False: []}
    for seed in range(0, 120, 10):
        valid, test = by_group(task, noises, seed), by_group(task, noises, seed + 5)
        groups = {}
        for code, name in names.items():
            assert valid.available is not None
            mine = valid.available == code
            part = Scores(valid.logits[mine], {}, valid.target[mine], valid.index[mine])
            groups[name] = fit_calibration(task, part)
        for grouped in (True, False):
            kept = groups if grouped else {"{l,a,v}": groups["{l,a,v}"]}
            thresholds = Thresholds.of(Uncertainty(task_of(task), "{l,a,v}", kept), 0.9)
            assert thresholds is not None
            assert test.available is not None
            mine = test.available == 1
            noisiest = Scores(
                test.logits[mine], {}, test.target[mine], test.index[mine], available=test.available[mine]
            )
            covered[grouped].append(assess(task, noisiest, thresholds))
    name = "set_coverage" if task.is_classification else "interval_coverage"
    mean = {way: sum(found[name] for found in each) / len(each) for way, each in covered.items()}
    assert 0.88 < mean[True] < 0.95
    assert mean[False] < 0.8
    assert covered[True][0]["promised"] == 1
    assert covered[False][0]["promised"] == 0


def test_a_sample_that_is_there_in_part_is_promised_nothing() -> None:
    spec, task = DataSpec(), TASKS[0]
    batch = Batch.random(spec, task, size=2)
    observed = batch.audio.observed.clone()
    observed[0, 0] = False
    partly = batch.replace(audio=batch.audio.replace(observed=observed))
    gone = batch.replace(audio=batch.audio.replace(observed=torch.zeros_like(observed)))
    assert batch.available(spec).tolist() == [7, 7]
    assert partly.available(spec).tolist() == [15, 7]
    assert gone.available(spec).tolist() == [5, 5]
    thresholds = Thresholds.of(calibrated(task, spec.modalities, noisy(task)), 0.9)
    assert thresholds is not None
    assert Answers.of(task, torch.zeros(2, 1), partly.available(spec), thresholds).promised.tolist() == [False, True]


def test_what_remains_of_a_text_that_is_missing_is_no_text() -> None:
    spec, task = DataSpec(tokens=True, modalities=("text", "audio")), TASKS[0]
    batch = Batch.random(spec, task, size=2)
    ids = batch.text.x.clone()
    ids[:, 0] = spec.cls_id
    whole = batch.replace(text=batch.text.replace(x=ids))
    assert whole.available(spec).tolist() == [3, 3]
    assert SMM(["audio"])(whole, spec, 0).available(spec).tolist() == [2, 2]
    assert SMM(["text"])(whole, spec, 0).available(spec).tolist() == [1, 1]


def test_numbers_that_few_samples_do_not_define_are_nan() -> None:
    thresholds = Thresholds.of(calibrated(TASKS[1], ["text"], noisy(TASKS[1])), 0.9)
    assert thresholds is not None
    found = assess(TASKS[1], noisy(TASKS[1], 10), thresholds)
    assert math.isnan(found["ECE"])
    assert math.isnan(found["ECE_debiased"])
    assert 0 <= found["AURC"] <= 1
    assert "interval_coverage" not in found


@pytest.mark.parametrize("task", TASKS, ids=task_of)
def test_rows_of_predictions_say_how_sure_they_are(task: Task) -> None:
    scores = noisy(task, 40)
    made = calibrated(task, ["text", "audio", "vision"], scores)
    thresholds = Thresholds.of(made, 0.9)
    assert thresholds is not None
    assert scores.available is not None
    part = {"ids": [str(place) for place in range(40)], "index": scores.index, "available": scores.available}
    part |= {"logits": scores.logits, "scores": task.score(scores.logits), "effects": {}}
    rows = prediction_rows([part], task, thresholds)
    for problem in task.problems:
        at = f"_{problem}" if problem else ""
        for row in rows:
            shares = {name: row[f"p{at}_{name}"] for name in task.outcomes}
            assert sum(shares.values()) == pytest.approx(1)
            members = row[f"set{at}"].split(" | ")
            assert max(shares, key=lambda name: shares[name]) in members
            assert set(members) <= set(shares)
    if not task.is_classification:
        half = conformal_quantile(made.groups["{l,a,v}"].distance, 0.9).item()  # type: ignore[arg-type]
        assert [(row["low"], row["high"]) for row in rows] == [
            (pytest.approx(row["score"] - half), pytest.approx(row["score"] + half)) for row in rows
        ]


def test_a_run_keeps_its_calibration_and_a_test_tells_what_it_is_worth(tmp_path: Path) -> None:
    data = SyntheticMER(SyntheticConfig(train=8, valid=24, test=20), task="regression", standardize=False)
    module = MERModule(LFLSTM(data.spec, data.task, dim=4))
    options: dict[str, Any] = {"default_root_dir": tmp_path, "accelerator": "cpu", "num_sanity_val_steps": 0, **QUIET}
    best = ModelCheckpoint(tmp_path, monitor="val/MAE")
    Trainer(max_epochs=1, callbacks=[best, SetCalibration()], **options).fit(module, data)
    checkpoint = best.best_model_path
    content = torch.load(checkpoint, weights_only=True)
    assert weights_sha256(content["state_dict"]) == weights_sha256(module.state_dict())
    fitted = module.model.uncertainty
    assert fitted is not None
    assert fitted.groups
    Trainer(max_epochs=1, limit_val_batches=0, enable_checkpointing=False, **options).fit(module, data)
    assert module.model.uncertainty is None  # of these weights nothing is known
    again = MERModule.load_from_checkpoint(checkpoint).model.uncertainty
    assert again is not None
    assert again.groups["{l,a,v}"].oddness.equal(fitted.groups["{l,a,v}"].oddness)
    assert len(again.groups) == 7
    text_alone = score(MERModule.load_from_checkpoint(checkpoint).model, data.condition_source(TEXT_ALONE))
    assert again.groups["{l}"].oddness.equal(fit_calibration(data.task, text_alone).oddness)

    record = RunRecord(str(tmp_path / "test"), pictures=False, level=0.8)
    trainer = Trainer(callbacks=[record], **options)
    trainer.test(module, data, ckpt_path=checkpoint, verbose=False)
    found = load_results(tmp_path / "test")
    assert found.calibration is not None
    assert found.calibration.level == 0.8
    assert set(found.conditions["iid"].uncertainty) >= {"level", "ECE", "interval_coverage"}
    trainer.predict(module, data, ckpt_path=checkpoint)
    assert "p_negative,p_non-negative,set,low,high" in (tmp_path / "test" / "predictions.csv").read_text()

    del content["mer_zoo"]["uncertainty"]  # as an earlier version wrote it
    torch.save(content, tmp_path / "old.ckpt")
    Trainer(callbacks=[RunRecord(str(tmp_path / "old"), pictures=False)], **options).test(
        module, data, ckpt_path=tmp_path / "old.ckpt", verbose=False
    )
    old = load_results(tmp_path / "old")
    assert old.calibration is None
    assert not old.conditions["iid"].uncertainty
    assert "train again" in json.loads((tmp_path / "old" / "results.json").read_text())["calibration"]["refused"]


def test_a_calibration_is_as_it_is_read(tmp_path: Path) -> None:
    kept = Calibration(torch.ones(()), torch.linspace(0, 1, 19))
    thresholds = Thresholds.of(Uncertainty("x [3]", "{l}", {"{l}": kept}), 0.9)
    assert thresholds is not None
    plain = thresholds.plain()
    for name, value in (("level", 2.0), ("complete", "{v}"), ("groups", {"{l}": {"temperature": -1}})):
        with pytest.raises(MERError, match=r"results\.json"):
            Thresholds.read(Fields({**plain, name: value}, "results.json", "test again"))


def test_an_export_keeps_it(tmp_path: Path) -> None:
    model = LFLSTM(DataSpec(modalities=("text", "audio")), TASKS[0], dim=4)
    save_pretrained(model, tmp_path / "without")
    assert load_pretrained(tmp_path / "without").uncertainty is None
    model.uncertainty = calibrated(model.task, model.spec.modalities, noisy(model.task))
    save_pretrained(model, tmp_path / "with")
    found = load_pretrained(tmp_path / "with").uncertainty
    assert found is not None
    assert found.complete == "{l,a}"
    assert all(
        found.groups["{l,a}"].plain()[name].equal(kept)
        for name, kept in model.uncertainty.groups["{l,a}"].plain().items()
    )
    file = tmp_path / "with" / "model.safetensors"
    with safe_open(file, "pt") as content:
        said, tensors = content.metadata(), {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    for name, value, fault in (
        ("calibration.{l,a}.size", torch.ones(1), "part of no calibration"),
        ("calibration.{l,a}.temperature", torch.zeros(()), "temperature is"),
        ("calibration.{q}.oddness", torch.ones(3), "no set of modalities"),
    ):
        save_file({**tensors, name: value}, file, said)
        with pytest.raises(MERError, match=fault):
            load_pretrained(tmp_path / "with")
