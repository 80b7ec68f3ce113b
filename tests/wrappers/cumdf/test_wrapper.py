"""CUMDF's steps: what is compared with what, who is trained, what is left out, and which nests mean something."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from torch import Tensor
from toys import MeanNet, TwoStep, loss_of, step_loss
from typing_extensions import override
from zoo_cases import BACKBONES, nest, refusal

from mer_zoo.backbones import EFLSTM, LFLSTM, CIDerNet, CUMDFNet, MulT
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality, Output, Step
from mer_zoo.errors import MERError
from mer_zoo.functional.attribution import distillation_weights, srd, weight_penalty
from mer_zoo.layers.sequence import masked_mean
from mer_zoo.model import Model, Wrapper
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task
from mer_zoo.wrappers import CUMDF, MACI, MSSD, CausalMER

SPEC = DataSpec()
THREE = SentimentClassification(3)


def net(spec: DataSpec = SPEC, task: Task = THREE) -> CUMDFNet:
    torch.manual_seed(0)
    return CUMDFNet(spec, task, dim=8, heads=2)


def wrap(inner: Model | None = None, **options: Any) -> CUMDF:
    model = CUMDF(net() if inner is None else inner, **options)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():  # so that a teacher is no copy of its student any more
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def batch_of(size: int = 5) -> Batch:
    return Batch.random(SPEC, THREE, size=size)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("inner", [net, lambda: LFLSTM(SPEC, THREE, dim=8)], ids=["CUMDFNet", "LFLSTM"])
@pytest.mark.parametrize("labels", ["truth", "expected"])
def test_losses_are_the_formulas(inner: Callable[[], Model], labels: Any) -> None:
    lambdas = {"lambda_q": 0.5, "lambda_k": 1.0, "lambda_v": 2.0}
    weights_of_terms = {"srd_weight": 0.3, "attribution_weight": 0.7, "penalty_weight": 0.2}
    model = wrap(inner(), **weights_of_terms, **lambdas, teacher_labels=labels).eval()
    batch = batch_of()
    view = model.views(batch, SPEC)
    first, second = model.steps(batch)
    assert model.teacher is not None
    known = batch.target if labels == "truth" else None
    told, found = model.teacher(batch, known), model.guided(model.backbone, model.backbone(view), view)
    distillation, attribution = model.distillation, model.attribution
    assert distillation is not None
    assert attribution is not None
    attributed = attribution(
        found.x, found.mask, found.context, partial(model.guided.rescore, model.backbone, found.mask), batch.target
    )
    weights = distillation_weights(attributed.shares)
    distance = srd(found.h, told.h, distillation.w_s["joint"], distillation.w_t["joint"])
    for i, name in enumerate(MODALITIES):
        pair = masked_mean(found.x[name], found.mask), masked_mean(told.x[name], told.mask)
        distance = distance + weights[i] * srd(*pair, distillation.w_s[name], distillation.w_t[name])
    expected = {
        "cumdf/srd": 0.3 * distance.mean(),
        "cumdf/attribution": 0.7 * attributed.balance,
        "cumdf/penalty": 0.2 * weight_penalty(model.guided.penalised(model.backbone), (0.5, 1.0, 2.0)),
        "cumdf/unimodal": attributed.unimodal,
    }
    assert second.losses.keys() == expected.keys()
    for name, value in expected.items():
        assert value is not None
        assert value > 1e-3
        close(second.losses[name], value)
    close(second.output.logits, model(view).logits)
    assert first.batch is batch
    assert first.losses.keys() == {"cumdf/penalty"}
    penalised = model.teacher.guided.penalised(model.teacher.backbone)
    close(first.losses["cumdf/penalty"], 0.2 * weight_penalty(penalised, (0.5, 1.0, 2.0)))


def test_the_teacher_in_training_is_told_the_labels_that_are_not_hidden() -> None:
    model, batch = wrap(label_drop=0.5).eval(), batch_of(32)
    teacher = model.teacher
    assert teacher is not None
    told = next(iter(model.steps(batch))).output.logits
    known, unknown = teacher(batch, batch.target).logits, teacher(batch).logits
    right = [(each - told).abs().amax(1) < 1e-5 for each in (known, unknown)]
    assert (right[0] | right[1]).all()
    assert 8 < right[0].sum() < 24
    hidden = wrap(label_drop=1.0).eval()
    assert hidden.teacher is not None
    close(next(iter(hidden.steps(batch))).output.logits, hidden.teacher(batch).logits)


def test_hidden_labels_are_fresh_and_the_samples_own() -> None:
    model, batch = wrap(role="teacher"), batch_of(32)
    first = model._hidden_labels(batch)
    assert torch.equal(first[3:5], model._hidden_labels(batch.replace(index=batch.index[3:5])))
    list(model.steps(batch))
    assert not torch.equal(model._hidden_labels(batch), first)


def test_each_step_trains_one_of_the_two() -> None:
    model = wrap()
    trained = []
    for step in model.steps(batch_of(15)):
        torch.autograd.backward(step_loss(model, step))
        trained.append({name for name, p in model.named_parameters() if p.grad is not None})
        model.zero_grad()
    assert all(name.startswith("teacher.") for name in trained[0])
    assert not any(name.startswith("teacher.") for name in trained[1])
    assert trained[0] | trained[1] == {name for name, _ in model.named_parameters()}


def test_the_goal_is_from_before_the_teachers_step() -> None:
    model, batch = wrap().eval(), batch_of()
    expected = list(model.steps(batch))[1].losses["cumdf/srd"]
    steps = model.steps(batch)
    next(steps)
    assert model.teacher is not None
    with torch.no_grad():
        for parameter in model.teacher.parameters():
            parameter.add_(1.0)
    assert torch.equal(next(steps).losses["cumdf/srd"], expected)


class Counting(Wrapper):
    """Counts how often each copy of it is called, and with how many samples."""

    def __init__(self, backbone: Model) -> None:
        super().__init__(backbone)
        self.calls: list[int] = []

    @override
    def forward(self, batch: Batch) -> Output:
        self.calls.append(len(batch))
        return super().forward(batch)

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        yield Step(batch, self(batch), {})


def test_the_teacher_sees_a_batch_once_whatever_the_views() -> None:
    model = CUMDF(Counting(net()), views=3)
    _first, second = model.steps(batch_of())
    assert model.teacher is not None
    student, teacher = model.backbone, model.teacher.backbone
    assert isinstance(student, Counting)
    assert isinstance(teacher, Counting)
    assert (teacher.calls, student.calls) == ([5], [15])
    assert len(second.batch) == 15
    views = second.batch.audio.observed.view(3, 5, -1)
    assert not torch.equal(views[0], views[1])
    assert not torch.equal(views[1], views[2])


def test_several_views_are_the_mean_of_their_distances() -> None:
    """Without attribution the samples are independent, so three views together lose what they lose one by one."""
    options: dict[str, Any] = {"attribution_weight": 0.0, "penalty_weight": 0.0}
    together, apart = wrap(views=3, seed=1, **options), wrap(seed=1, **options)
    for module in (*together.modules(), *apart.modules()):
        module.training = False
    together.views.training = apart.views.training = True
    batch = batch_of()
    loss = list(together.steps(batch))[1].losses["cumdf/srd"]
    each = [list(apart.steps(batch))[1].losses["cumdf/srd"] for _ in range(3)]
    close(loss, torch.stack(each).mean())


@pytest.mark.parametrize(
    ("options", "gone", "parts"),
    [
        ({"srd_weight": 0.0}, {"cumdf/srd"}, {"teacher", "distillation"}),
        ({"attribution_weight": 0.0}, {"cumdf/attribution", "cumdf/unimodal"}, {"attribution"}),
        ({"penalty_weight": 0.0}, {"cumdf/penalty"}, set()),
        ({"lambda_q": 0.0, "lambda_k": 0.0, "lambda_v": 0.0}, {"cumdf/penalty"}, set()),
        ({"teacher": None}, {"cumdf/srd"}, {"teacher", "distillation"}),
        ({"effect": "total"}, {"cumdf/unimodal"}, set()),
        ({"projection": "none"}, set(), {"distillation"}),
        ({"counterfactual_head": "own"}, set(), set()),
        ({"counterfactual_head": "own", "effect": "total"}, set(), set()),
    ],
)
def test_a_term_without_weight_is_left_out(options: dict[str, Any], gone: set[str], parts: set[str]) -> None:
    whole = {"cumdf/srd", "cumdf/attribution", "cumdf/unimodal", "cumdf/penalty"}
    model, batch = CUMDF(net(), **options), batch_of(15)
    steps = list(model.steps(batch))
    assert len(steps) == model.num_steps == (1 if "teacher" in parts else 2)
    assert steps[-1].losses.keys() == whole - gone
    torch.autograd.backward(torch.stack([step_loss(model, step) for step in steps]).sum())
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    children = {"backbone", "guided", "teacher", "distillation", "attribution"}
    owners = {name.split(".")[0] for name, _ in model.named_parameters()}
    headless = options.get("effect") == "total" and "counterfactual_head" not in options
    assert owners == children - parts - ({"attribution"} if headless else set())


def test_without_attribution_all_modalities_weigh_the_same() -> None:
    model, batch = wrap(attribution_weight=0.0).eval(), batch_of()
    loss = list(model.steps(batch))[1].losses["cumdf/srd"]
    view, distillation = model.views(batch, SPEC), model.distillation
    assert model.teacher is not None
    assert distillation is not None
    told, found = model.teacher(batch, batch.target), model.guided(model.backbone, model.backbone(view), view)
    parts = [srd(found.h, told.h, distillation.w_s["joint"], distillation.w_t["joint"])]
    for i, name in enumerate(MODALITIES):
        pair = found.pooled()[:, i], told.pooled()[:, i]
        parts.append(srd(*pair, distillation.w_s[name], distillation.w_t[name]) / 3)
    close(loss, 0.1 * torch.stack(parts).sum(0).mean())


def test_a_teacher_alone_is_one_step_on_complete_data() -> None:
    model, batch = CUMDF(net(), role="teacher"), batch_of(15)
    (step,) = model.steps(batch)
    assert step.batch is batch
    assert step.losses.keys() == {"cumdf/penalty"}
    assert model.num_steps == 1
    assert model.label == "CUMDF[teacher](CUMDFNet)"
    torch.autograd.backward(step_loss(model, step))
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("task", [SentimentRegression(), SentimentClassification(7), EmotionDetection()])
@pytest.mark.parametrize("names", [["text", "audio", "vision"], ["text", "vision"], ["audio", "vision"]])
@pytest.mark.parametrize("size", [1, 4])
def test_tasks_modalities_and_one_sample(task: Task, names: list[str], size: int) -> None:
    spec = DataSpec(modalities=names)
    model, batch = CUMDF(net(spec, task)), Batch.random(spec, task, size=size)
    loss = loss_of(model, batch)
    torch.autograd.backward(loss)
    assert torch.isfinite(loss)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    shares = model.diagnostics()
    assert shares.keys() == {f"cumdf/share_{name}" for name in names}
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize("kind", [MulT, LFLSTM, EFLSTM, CIDerNet, CUMDFNet])
@pytest.mark.parametrize("name", MODALITIES)
def test_a_modality_that_no_sample_has(kind: Any, name: str) -> None:
    torch.manual_seed(0)
    model, batch = CUMDF(kind(SPEC, THREE)), batch_of(4)
    modality = batch.modality(name)
    nothing = torch.zeros_like(modality.mask)
    loss = loss_of(model, batch.replace(**{name: Modality(torch.zeros_like(modality.x), nothing)}))
    torch.autograd.backward(loss)
    assert torch.isfinite(loss)
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("kind", [LFLSTM, CUMDFNet])
def test_bfloat16_autocast(kind: Any) -> None:
    torch.manual_seed(0)
    model, batch = CUMDF(kind(SPEC, THREE)), batch_of(15)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = [step_loss(model, step) for step in model.steps(batch)]
    torch.autograd.backward(torch.stack(losses).sum())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert sum(model.diagnostics().values()) == pytest.approx(1)


def test_float64() -> None:
    model, batch = CUMDF(net()).double(), batch_of().to(torch.float64)
    for step in model.steps(batch):
        assert step.output.logits.dtype == torch.float64
        assert all(value.dtype == torch.float64 for value in step.losses.values())


@pytest.mark.parametrize("backbone", [name for name in BACKBONES if refusal(name, "CUMDF") is None])
@pytest.mark.parametrize("role", ["student", "teacher"])
def test_causalmer_outside_works(backbone: str, role: Any) -> None:
    model = CausalMER(CUMDF(nest(backbone, None), role=role))
    batch = batch_of(15)
    steps = list(model.steps(batch))
    assert len(steps) == model.num_steps == (2 if role == "student" else 1)
    assert all("causalmer/kl" in step.losses and "cumdf/penalty" in step.losses for step in steps)
    torch.autograd.backward(torch.stack([step_loss(model, step) for step in steps]).sum())
    assert all(p.grad is not None for p in model.parameters())
    output = model.eval().predict(batch)
    close(output.effects["y_m"], model.backbone.predict(batch).logits)
    assert {"factual", "tie"} <= output.effects.keys()


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_nests_that_mean_nothing(role: Any) -> None:
    with pytest.raises(MERError, match=r"those of CausalMER\(CUMDFNet\) would be lost; put CUMDF inside"):
        CUMDF(CausalMER(net()), role=role)
    with pytest.raises(MERError, match=r"those of MACI\(CUMDFNet\) would be lost"):
        CUMDF(MACI(net()), role=role)
    with pytest.raises(MERError, match=r"MACI computes its scores from the features, so those of CUMDF\(CUMDFNet\)"):
        MACI(CUMDF(net(), role=role))
    with pytest.raises(MERError, match="CUMDF and MSSD both make the incomplete view"):
        CUMDF(MSSD(net()), role=role)
    with pytest.raises(MERError, match="MSSD and CUMDF both make the incomplete view"):
        MSSD(CUMDF(net(), role=role))
    with pytest.raises(MERError, match="CUMDF stands twice"):
        CUMDF(CUMDF(net(), role=role))
    with pytest.raises(
        MERError, match=r"CUMDF needs one optimiser step a batch inside, but TwoStep\(CUMDFNet\) takes 2"
    ):
        CUMDF(TwoStep(net()), role=role)


class Twice(Wrapper):
    """Two items of one optimiser step."""

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        yield Step(batch, self(batch))
        yield Step(batch, self(batch))


def test_refusals() -> None:
    with pytest.raises(MERError, match="but MeanNet offers none"):
        CUMDF(MeanNet(SPEC, THREE))
    with pytest.raises(MERError, match="but LFLSTM offers those of audio only"):
        CUMDF(LFLSTM(DataSpec(modalities=["audio"]), THREE))
    with pytest.raises(MERError, match=r"needs one step a batch inside, but Twice\(CUMDFNet\) yields 2"):
        list(CUMDF(Twice(net())).steps(batch_of()))
    with pytest.raises(MERError, match="dim of CUMDF is for networks without an LG-MMT, but CUMDFNet has one"):
        CUMDF(net(), dim=8)
    for name in ("role", "teacher_labels", "projection", "effect"):
        with pytest.raises(MERError, match=f"unknown {name} 'other' of CUMDF; choose from"):
            CUMDF(net(), **{name: "other"})  # type: ignore[arg-type]
    for name in ("srd_weight", "attribution_weight", "penalty_weight", "alpha"):
        with pytest.raises(MERError, match=f"{name} of CUMDF is -1; weights are finite"):
            CUMDF(net(), **{name: -1})  # type: ignore[arg-type]
    with pytest.raises(MERError, match=r"label_drop of CUMDF is 0\.0; .* never learns to do without the label"):
        CUMDF(net(), label_drop=0.0)
    with pytest.raises(MERError, match="views of CUMDF is 0"):
        CUMDF(net(), views=0)
    with pytest.raises(MERError, match=r"rate is 1\.5"):
        CUMDF(net(), max_rate=1.5)


def test_inner_wrappers_keep_their_losses_and_weights() -> None:
    class Half(Wrapper):
        @override
        def steps(self, batch: Batch) -> Iterator[Step]:
            yield Step(batch, self(batch), {"half": torch.ones(())}, task_weight=0.5)

    for step in CUMDF(Half(net())).steps(batch_of()):
        assert step.task_weight == 0.5
        assert step.losses["half"] == 1


def test_options_from_the_command_line() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--wrappers", type=list[Callable[[Model], Wrapper]])
    given = ["role=student", "teacher=null", "srd_weight=0.2", "effect=total", "views=2", "guided=false"]
    config = parser.parse_args(["--wrappers+=CUMDF", *(f"--wrappers.{option}" for option in given)])
    options = config.wrappers[0].init_args
    assert (options.teacher, options.srd_weight, options.effect, options.guided) == (None, 0.2, "total", False)
    assert (
        parser.parse_args(["--wrappers+=CUMDF", "--wrappers.teacher=a.ckpt"]).wrappers[0].init_args.teacher == "a.ckpt"
    )
