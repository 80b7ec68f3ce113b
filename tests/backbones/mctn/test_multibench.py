"""MCTN as in MultiBench: both branches, with given draws, and the sane reading of its test."""

from typing import Any

import pytest
import torch
from golden_cases import golden, gradients

from mer_zoo.backbones.mctn import MultiBenchMCTN, multibench
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.errors import MERError
from mer_zoo.task import EmotionDetection, SentimentRegression

SPEC, TASK = DataSpec(), SentimentRegression()
CASE = golden("mctn_multibench")


def close(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def make(spec: DataSpec = SPEC, **options: Any) -> MultiBenchMCTN:
    torch.manual_seed(0)
    return MultiBenchMCTN(spec, TASK, **{"dim": 4, "feature_dim": 5, "head_dim": 6, "dropout": 0.0, **options})


def released(**options: Any) -> tuple[MultiBenchMCTN, Batch, dict[str, str]]:
    config, given = CASE.config, CASE.inputs
    steps = config["T"]
    spec = DataSpec(config["text_dim"], config["audio_dim"], config["vision_dim"], steps, steps, steps)
    sizes = {"dim": config["hid_dim"], "feature_dim": config["reg_dim"], "head_dim": config["head_dim"]}
    model = make(spec, **sizes, max_steps=config["max_seq_len"], variant="released", **options)
    report = load_released(model, CASE.params, "mctn_multibench")
    assert report.kept == report.unused == {}
    mask = torch.ones(config["B"], steps, dtype=torch.bool)
    text, audio, vision = (Modality(given[name], mask) for name in MODALITIES)
    return model, Batch(text, audio, vision, given["target"].squeeze(1), torch.arange(len(mask))), report.used


def test_the_training_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch, used = released()
    draws = iter(["teacher0", "teacher_back", "teacher1"])
    monkeypatch.setattr(multibench, "taught", lambda steps, share: (CASE.inputs[next(draws)] < share).tolist()[:steps])
    (step,) = model.steps(batch)
    out, made = CASE.outputs, step.output.aux
    for ours, theirs in zip(made, ("vision_hat", "text_hat", "audio_hat"), strict=True):
        close(ours.transpose(0, 1), out[f"train.{theirs}"])
    close(step.output.logits, out["train.pred"])
    for ours, theirs in {"translation": "vision", "cycle": "cycle", "second": "audio"}.items():
        close(step.losses[f"mctn/{ours}"], CASE.config["mu"] * out[f"train.loss.{theirs}"])
    task = (step.output.logits.squeeze(1) - batch.target).abs().mean()
    close(task, out["train.loss.task"])
    total = task + sum(step.losses.values())
    close(total, out["train.loss.total"])
    torch.autograd.backward(total)
    parameters = dict(model.named_parameters())
    expected = gradients("mctn_multibench")
    assert expected.keys() == used.keys()
    for key, value in expected.items():
        close(parameters[used[key]].grad, value)


def test_the_test_branch_as_released_and_sane() -> None:
    model, batch, _ = released()
    close(model.eval()(batch).logits, CASE.outputs["eval.pred"])
    sane, batch, _ = released(test="sequences")
    output = sane.eval()(batch)
    close(output.logits, CASE.outputs["eval_sane.pred"])
    assert output.hidden is not None
    close(output.hidden["text"].transpose(0, 1), CASE.outputs["eval_sane.joint"])


def test_training_and_test_are_one_function_without_a_teacher_in_ours_alone() -> None:
    batch = Batch.random(SPEC, TASK, size=4)
    for variant, same in (("ours", True), ("released", False)):
        model = make(teacher_rate=0.0, variant=variant)
        assert torch.allclose(model.train()(batch).logits, model.eval()(batch).logits, atol=1e-6) == same


def test_a_prediction_reads_the_text_alone_and_no_padding() -> None:
    model, batch = make().eval(), Batch.random(SPEC, TASK, size=4)
    logits = model(batch).logits
    loud = {name: batch.modality(name).replace(x=batch.modality(name).x + 1) for name in MODALITIES}
    for name in MODALITIES:
        assert torch.equal(model(batch.replace(**{name: loud[name]})).logits, logits) == (name != "text")
    rubbish = torch.where(batch.text.mask[..., None], batch.text.x, 7.0)
    close(model(batch.replace(text=batch.text.replace(x=rubbish))).logits, logits)
    close(model(batch.take([2])).logits, logits[2:3])
    model.train()
    told = make(teacher_rate=1.0)
    assert not torch.equal(told(batch).logits, told(batch.replace(vision=loud["vision"])).logits)


def test_losses_leave_out_what_is_no_target_and_every_parameter_learns() -> None:
    model, batch = make(teacher_rate=0.0), Batch.random(SPEC, TASK, size=4)
    (step,) = model.steps(batch)
    torch.autograd.backward(step.output.logits.square().sum() + sum(step.losses.values()))
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    unseen = batch.vision.mask.clone()
    unseen[:, 1] = False
    loud = batch.vision.x.clone()
    loud[:, 1] += 5
    views = [batch.replace(vision=batch.vision.replace(x=x, observed=unseen)) for x in (batch.vision.x, loud)]
    losses = [next(iter(model.steps(view))).losses["mctn/translation"] for view in views]
    assert losses[0] == losses[1] != step.losses["mctn/translation"]
    nothing = batch.replace(text=Modality(batch.text.x, torch.zeros_like(batch.text.mask)))
    assert all(loss.isfinite() for loss in next(iter(model.steps(nothing))).losses.values())


def test_other_tasks_and_refusals() -> None:
    task = EmotionDetection()
    model = MultiBenchMCTN(SPEC, task, dim=4, feature_dim=5)
    assert model(Batch.random(SPEC, task, size=2)).logits.shape == (2, *task.shape)
    with pytest.raises(MERError, match="the data is used with text, audio; take MCTN"):
        make(DataSpec(modalities=["text", "audio"]))
    with pytest.raises(MERError, match="max_steps and teacher_rate of MultiBenchMCTN are 0 and 0.5"):
        make(max_steps=0)
    with pytest.raises(MERError, match="unknown test 'both' of MultiBenchMCTN"):
        make(test="both")
