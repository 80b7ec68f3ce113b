"""CausalMER around small models: losses, effects, composition, refusals."""

from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from jsonargparse import ArgumentError, ArgumentParser
from torch import Tensor, nn
from toys import MeanNet, TwoStep, loss_of
from typing_extensions import override

from mer_zoo.batch import MODALITIES, Batch, DataSpec, Output, Step
from mer_zoo.errors import MERError
from mer_zoo.functional.counterfactual import Fusion, balance_divergence, direct_divergence, fuse
from mer_zoo.functional.variants import Variant
from mer_zoo.model import Model, Wrapper, adapt
from mer_zoo.scores import Scores
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task
from mer_zoo.wrappers import CausalMER

SPEC = DataSpec()
THREE = SentimentClassification(3)
FUSIONS: tuple[Fusion, ...] = get_args(Fusion)
TINY_ALBERT = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def wrap(task: Task = THREE, spec: DataSpec = SPEC, **options: Any) -> CausalMER:
    torch.manual_seed(0)
    return CausalMER(MeanNet(spec, task), **options)


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)


def gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


@pytest.mark.parametrize("task", [THREE, EmotionDetection()])
@pytest.mark.parametrize("modalities", [["text"], ["text", "vision"], ["text", "audio", "vision"]])
def test_paper_loss_of_any_modalities(modalities: list[str], task: Task) -> None:
    spec = DataSpec(modalities=modalities)
    options: dict[str, Any] = {"init_constant": 0.2, "nde_weights": (1.0, 0.0, 0.5), "balance_weight": 0.7}
    model = wrap(task, spec, alpha=0.3, beta=2.0, **options).eval()
    batch = Batch.random(spec, task, size=5)
    effects = model.predict(batch).effects
    nde = {name: effects[f"nde_{name}"] for name in modalities}
    weights = {"text": 1.0, "audio": 0.0, "vision": 0.5}
    kl = direct_divergence(effects["te"], nde, weights) + 0.7 * balance_divergence(effects["te"], nde, weights)
    scores = [effects["factual"], *(effects[f"y_{name}"] for name in modalities)]
    cls_loss = torch.stack([task.criterion(logits, batch.target).mean() for logits in scores]).sum()
    close(loss_of(model, batch), 0.3 * cls_loss + 2.0 * kl.mean())
    close(effects["tie"], effects["te"] - torch.stack([weights[k] * nde[k] for k in modalities]).sum(0))
    assert set(model.branches) == set(model.constants) == set(modalities)


@pytest.mark.parametrize("variant", get_args(Variant))
@pytest.mark.parametrize("fusion", FUSIONS)
def test_what_trains_what(fusion: Fusion, variant: Variant) -> None:
    batch = Batch.random(SPEC, THREE, size=6)
    for alpha, beta in ((0.0, 1.0), (1.0, 0.0)):
        model = wrap(fusion=fusion, variant=variant, alpha=alpha, beta=beta)
        loss_of(model, batch).backward()  # type: ignore[no-untyped-call]
        for name, parameter in model.named_parameters():
            trained = name.startswith("constants.") == (beta > 0) and name not in model.untrained_parameters()
            assert bool(gradient(parameter).any()) == trained, name
            assert (parameter.grad is None) == (name in model.untrained_parameters()), name


def test_untrained_parameters_are_the_constants_of_tanh() -> None:
    assert wrap(fusion="tanh").untrained_parameters() == [f"constants.{name}" for name in MODALITIES]
    assert wrap(fusion="sum").untrained_parameters() == []


def test_switching_a_direct_effect_off() -> None:
    batch = Batch.random(SPEC, THREE, size=5)
    for parameters in ((1.0, 1.0, 1.0), (0.0, 1.0, 1.0)):
        output = wrap(nde_weights=parameters, init_constant=0.5).eval().predict(batch)
        taken = output.effects["te"] - output.logits
        close(
            taken, sum((w * output.effects[f"nde_{m}"] for m, w in zip(MODALITIES, parameters, strict=True)), taken * 0)
        )
    assert output.effects["nde_text"].abs().max() > 1e-3


class Weighted(Wrapper):
    """Weights each sample of a view of its own, and adds a loss."""

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        silent = batch.audio.replace(x=torch.zeros_like(batch.audio.x))
        view = batch.replace(audio=silent)
        yield Step(view, self.backbone(view), {"own": torch.tensor(3.0)}, torch.arange(float(len(batch))))


def test_alpha_and_the_inner_weights_scale_every_cross_entropy() -> None:
    torch.manual_seed(0)
    model = CausalMER(Weighted(MeanNet(SPEC, THREE)), alpha=0.25)
    batch = Batch.random(SPEC, THREE, size=4)
    (step,) = model.steps(batch)
    assert isinstance(step.task_weight, Tensor)
    assert step.task_weight.tolist() == [0.0, 0.25, 0.5, 0.75]
    assert not step.batch.audio.x.any()
    assert step.losses["own"] == 3
    y = model.branches["audio"](step.batch.audio.x, mask=batch.audio.mask)
    expected = (step.task_weight * F.cross_entropy(y, THREE.encode(batch.target), reduction="none")).mean()
    close(step.losses["causalmer/ce_audio"], expected)
    wanted = {"own", "causalmer/kl", "causalmer/balance", *(f"causalmer/ce_{name}" for name in MODALITIES)}
    assert step.losses.keys() == wanted


def test_every_step_of_the_inner_model_is_rewritten() -> None:
    model = CausalMER(TwoStep(MeanNet(SPEC, THREE)))
    steps = list(model.steps(Batch.random(SPEC, THREE)))
    assert model.num_steps == len(steps) == 2
    assert [step.task_weight for step in steps] == [0.1, 0.05]
    assert all("causalmer/kl" in step.losses for step in steps)


class Calibrated(Wrapper):
    """Its test-time scores are shifted by what it learns on validation data."""

    shift: Tensor

    def __init__(self, backbone: Model) -> None:
        super().__init__(backbone)
        self.register_buffer("shift", torch.zeros(3))

    @override
    def predict(self, batch: Batch) -> Output:
        output = self.backbone.predict(batch)
        return output.replace(
            logits=output.logits + self.shift, effects={"factual": output.logits, "raw": output.logits}
        )

    @override
    def calibrate(self, valid: Scores) -> None:
        assert torch.equal(valid.effects["raw"], valid.effects["factual"])
        self.shift.copy_(valid.effects["raw"].mean(0) + 1)

    @override
    def rescore(self, valid: Scores) -> Tensor:
        return valid.effects["raw"] + self.shift


@pytest.mark.parametrize("variant", get_args(Variant))
def test_an_inner_model_that_calibrates(variant: Variant) -> None:
    torch.manual_seed(0)
    model = CausalMER(Calibrated(MeanNet(SPEC, THREE)), fusion="sum", variant=variant, init_constant=0.3).eval()
    batch = Batch.random(SPEC, THREE, size=6)

    def scores() -> Scores:
        output = model.predict(batch)
        return Scores(output.logits.detach(), output.effects, batch.target, batch.index)

    before = scores()
    model.calibrate(before)
    after = scores()
    close(model.rescore(before), after.logits)
    assert not torch.allclose(before.logits, after.logits)
    close(after.effects["factual"], model(batch).logits)
    y = [after.effects[f"y_{name}"] for name in MODALITIES]
    close(after.effects["te"] - before.effects["te"], fuse(y, after.effects["y_m"], "sum") - before.effects["factual"])


def test_one_network_pass_a_prediction() -> None:
    model, calls = wrap(), []
    model.backbone.register_forward_hook(lambda *_: calls.append(1))
    model.predict(Batch.random(SPEC, THREE))
    assert len(calls) == 1


@pytest.mark.parametrize("fusion", FUSIONS)
def test_bfloat16_autocast(fusion: Fusion) -> None:
    model = wrap(fusion=fusion)
    batch = Batch.random(SPEC, THREE, size=4)
    batch = batch.replace(text=batch.text.replace(x=batch.text.x * 1e4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, loss = model.predict(batch), loss_of(model, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(value.dtype == torch.float32 and torch.isfinite(value).all() for value in output.effects.values())
    assert torch.isfinite(loss)
    assert all(torch.isfinite(gradient(parameter)).all() for parameter in model.parameters())


def test_own_modules_and_what_reads_the_mask() -> None:
    own = nn.Sequential(nn.Flatten(), nn.Linear(8 * 5, 3))
    model = wrap(branches={"audio": own})
    assert model.branches["audio"] is own
    assert model.fixed_length
    assert not wrap().fixed_length
    assert wrap(branches={"text": "paper"}, albert=TINY_ALBERT).fixed_length
    loss_of(model, Batch.random(SPEC, THREE, size=4)).backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert CausalMER(adapt(nn.Identity(), SPEC, THREE, feature_dim=1)).fixed_length
    wrong = wrap(branches={"audio": nn.Sequential(nn.Flatten(), nn.Linear(8 * 5, 6))})
    with pytest.raises(MERError, match=r"the audio branch returned shape \(2, 6\); it must return \(2, 3\)"):
        wrong(Batch.random(SPEC, THREE))


@pytest.mark.parametrize("size", [1, 3])
def test_paper_branches_train(size: int) -> None:
    model = wrap(branches="paper", albert=TINY_ALBERT)
    loss = loss_of(model, Batch.random(SPEC, THREE, size=size))
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    without = [name for name, parameter in model.named_parameters() if not gradient(parameter).isfinite().all()]
    assert without == []
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_refusals() -> None:
    with pytest.raises(MERError, match="CausalMER needs classes, but SentimentRegression has a single output"):
        wrap(SentimentRegression())
    with pytest.raises(MERError, match="CausalMER stands twice"):
        CausalMER(wrap())
    with pytest.raises(MERError, match="unknown fusion 'lm' of CausalMER; choose from mask, sum, harmonic, tanh"):
        wrap(fusion="lm")
    with pytest.raises(MERError, match="unknown variant 'official' of CausalMER; choose from paper, released"):
        wrap(variant="official")
    with pytest.raises(MERError, match=r"nde_weights is \[1, 0\]; give three weights, for text, audio and vision"):
        wrap(nde_weights=(1, 0))
    bad: dict[str, Any] = {"alpha": -0.1, "beta": float("nan"), "nde_weights": (1.0, float("inf"), 1.0)}
    for name, value in bad.items():
        with pytest.raises(MERError, match=f"{name} of CausalMER is .*; weights are finite and at least 0"):
            wrap(**{name: value})


def parse(*options: str) -> Any:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--wrappers", type=list[Callable[[Model], Wrapper]])
    return parser.parse_args(["--wrappers+=CausalMER", *(f"--wrappers.{option}" for option in options)])


def test_options_from_the_command_line() -> None:
    config = parse("nde_weights=[1, 0, 1]", "branches={text: light, audio: paper}", "albert={hidden_size: 8}")
    options = config.wrappers[0].init_args
    assert options.nde_weights == (1.0, 0.0, 1.0)
    assert dict(options.branches) == {"text": "light", "audio": "paper"}
    with pytest.raises(ArgumentError, match="lm"):
        parse("fusion=lm")
