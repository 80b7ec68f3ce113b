"""GEAR around small models: terms of the loss, what trains what, swaps and their count, composition, refusals."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentError, ArgumentParser
from lightning.pytorch import Trainer
from torch import Tensor, nn
from toys import TINY_BERT, MeanNet, TwoStep, loss_of
from typing_extensions import override

from mer_zoo.backbones import LFLSTM
from mer_zoo.batch import MODALITIES, Batch, DataSpec
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.functional.gear import bias_loss, sample_weight, swap_order
from mer_zoo.model import Model, Wrapper, adapt
from mer_zoo.module import MERModule
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task
from mer_zoo.wrappers import CUMDF, GEAR, MACI, MSSD, CausalMER

SPEC = DataSpec()
TOKENS = DataSpec(tokens=True, vocab_size=130)
SCORE = SentimentRegression()
TASKS: list[Task] = [SCORE, SentimentClassification(3), EmotionDetection()]


def wrap(task: Task = SCORE, spec: DataSpec = SPEC, size: int = 8, **options: Any) -> GEAR:
    """A model prepared for a training split of ``size`` samples."""
    torch.manual_seed(0)
    model = GEAR(MeanNet(spec, task), **{"dim": 6, "branch_dim": 6, **options})
    model.prepare([Batch.random(spec, task, size=size)])
    return model


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("rule", ["avg", "min"])
@pytest.mark.parametrize("criterion", ["tanh", "sigmoid"])
@pytest.mark.parametrize("task", TASKS)
def test_terms_of_the_loss(task: Task, criterion: Any, rule: Any) -> None:
    weights: dict[str, Any] = {"lambda_dis": 3.0, "lambda_swap": 0.5}
    model = wrap(task, criterion=criterion, weight=rule, swap_epochs=0, seed=4, **weights)
    batch = Batch.random(SPEC, task, size=8)
    (step,) = model.steps(batch)
    inner = model.backbone(batch)
    u_c, u_b = model.fusion(inner.features)
    order = swap_order(4, 0, batch.index)

    def error(flat: Tensor, target: Tensor = batch.target) -> Tensor:
        return task.criterion(task.reshape(flat), target)

    biases = {m: error(model.branches[m](inner.inputs[m], batch.modality(m).mask)) for m in MODALITIES}
    biases["fusion"] = error(model.fusion.bias(u_c, u_b))
    w = sample_weight(error(model.fusion.content(u_c, u_b)), list(biases.values()), rule)
    assert isinstance(step.task_weight, Tensor)
    close(step.task_weight, w)
    close(step.output.logits, task.reshape(model.fusion.content(u_c, u_b)))
    close(step.output.features, torch.cat([u_c, u_b], 1))
    for name, e in biases.items():
        close(step.losses.pop(f"gear/bias_{name}"), 3 * bias_loss(e, criterion).mean())
    close(step.losses.pop("gear/swap_content"), 0.5 * (w * error(model.fusion.content(u_c, u_b[order]))).mean())
    swapped = error(model.fusion.bias(u_c, u_b[order]), batch.target[order])
    close(step.losses.pop("gear/swap_bias"), 0.5 * 3 * bias_loss(swapped, criterion).mean())
    assert step.losses == {}


def trained(model: nn.Module, loss: Tensor) -> set[str]:
    model.zero_grad()
    loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    return {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}


def test_what_trains_what() -> None:
    model = wrap(spec=TOKENS, swap_epochs=0)
    batch = Batch.random(TOKENS, SCORE, size=8)
    (step,) = model.steps(batch)
    task_loss = (step.task_weight * SCORE.criterion(step.output.logits, batch.target)).mean()
    content = trained(model, task_loss)
    assert {".".join(name.split(".")[:2]) for name in content if name.startswith(("fusion", "branches"))} == {
        "fusion.content_encoder",
        "fusion.content_head",
    }
    assert "backbone.text_embedding.weight" in content
    for name in MODALITIES:
        assert {n.split(".")[1] for n in trained(model, step.losses[f"gear/bias_{name}"])} == {name}
    bias = trained(model, step.losses["gear/bias_fusion"])
    assert {n for n in bias if n.startswith("fusion.content")} == set()
    assert "fusion.bias_encoder.weight" in bias
    assert {n for n in trained(model, step.losses["gear/swap_content"]) if n.startswith("fusion.bias")} == set()


def swapping(model: Model, batch: Batch) -> bool:
    return any("gear/swap_bias" in step.losses for step in model.steps(batch))


def test_swaps_begin_after_their_passes() -> None:
    model = wrap(size=8, swap_epochs=2)
    half = Batch.random(SPEC, SCORE, size=4)
    assert [swapping(model, half) for _ in range(6)] == [False] * 4 + [True] * 2
    model.eval()
    assert model.seen == 24
    assert swapping(model, half)
    assert model.seen == 24
    never = wrap(lambda_swap=0.0, swap_epochs=0)
    assert not swapping(never, half)


def test_a_resumed_run_goes_on_counting() -> None:
    model, batch = wrap(size=8, swap_epochs=2, seed=7), Batch.random(SPEC, SCORE, size=8)
    list(model.steps(batch))
    other = GEAR(MeanNet(SPEC, SCORE), dim=6, branch_dim=6, swap_epochs=2, seed=1)
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    assert not other.needs_preparing
    for _ in range(3):
        found, expected = (next(iter(m.steps(batch))) for m in (other, model))
        assert found.losses.keys() == expected.losses.keys()
        for name, value in expected.losses.items():
            assert torch.equal(found.losses[name], value), name
    assert "gear/swap_bias" in expected.losses


def test_every_step_of_the_inner_model_is_rewritten() -> None:
    model = GEAR(TwoStep(MeanNet(SPEC, SCORE)), lambda_swap=0.0)
    batch = Batch.random(SPEC, SCORE, size=4)
    first, second = model.steps(batch)
    assert model.num_steps == 2
    assert "extra" in second.losses
    assert isinstance(second.task_weight, Tensor)
    assert (second.task_weight <= 0.5).all()
    assert "gear/bias_text" in first.losses
    assert model.seen == 4


def test_the_mean_weight_is_told_once() -> None:
    model, batch = wrap(lambda_swap=0.0), Batch.random(SPEC, SCORE, size=8)
    weights = [next(iter(model.steps(batch.replace(target=batch.target * k)))).task_weight for k in (1, 2)]
    assert all(isinstance(w, Tensor) for w in weights)
    mean = float(torch.stack(weights).mean())  # type: ignore[arg-type]
    assert model.diagnostics() == {"gear/weight": pytest.approx(mean)}
    assert model.diagnostics() == {}


def test_predictions() -> None:
    model = wrap().eval()
    batch = Batch.random(SPEC, SCORE, size=5)
    output = model.predict(batch)
    assert torch.equal(output.logits, model(batch).logits)
    assert output.effects["bias"].shape == (5, 1)
    assert output.features.shape == (5, model.feature_dim) == (5, 12)
    assert not [name for name, _ in model.named_parameters() if "head" in name and "backbone" in name]


class Recorder(Wrapper):
    """Its test-time scores carry extras."""

    @override
    def predict(self, batch: Batch) -> Any:
        output = self.backbone.predict(batch)
        return output.replace(effects={"factual": output.logits, "own": output.logits})


def test_scores_that_are_lost_are_no_effect() -> None:
    model = GEAR(Recorder(MeanNet(SPEC, SCORE)))
    assert model.predict(Batch.random(SPEC, SCORE)).effects.keys() == {"own", "bias"}


@pytest.mark.parametrize("size", [1, 2])
def test_small_batches(size: int) -> None:
    model = wrap(swap_epochs=0)
    loss = loss_of(model, Batch.random(SPEC, SCORE, size=size))
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_bfloat16_autocast() -> None:
    model = wrap(SentimentClassification(3), swap_epochs=0)
    batch = Batch.random(SPEC, model.task, size=4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, loss = model.predict(batch), loss_of(model, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    assert output.logits.dtype == torch.float32
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_branches_of_your_own() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.map = nn.Linear(5, 1)

        @override
        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            result: Tensor = self.map((x * mask[..., None]).mean(1))
            return result

    spec = DataSpec(tokens=True, vocab_size=130, modalities=["text", "audio"])
    own = Own()
    net = LFLSTM(spec, SCORE, dim=6, text_encoder={**TINY_BERT, "vocab_size": 130})
    model = GEAR(net, branches={"audio": own, "text": "first"}, swap_epochs=0)
    assert model.branches["audio"] is own
    assert list(model.branches) == ["text", "audio"]
    loss_of(model, Batch.random(spec, SCORE, size=4)).backward()  # type: ignore[no-untyped-call]
    assert own.map.weight.grad is not None


def test_a_network_of_the_users() -> None:
    net = adapt(nn.Flatten(), SPEC, SCORE, feature_dim=40, call=lambda module, text, audio, vision: module(audio.x))
    model = GEAR(net, swap_epochs=0)
    assert model(Batch.random(SPEC, SCORE)).logits.shape == (2, 1)
    assert model.fixed_length


def test_fit_and_resume(tmp_path: Path) -> None:
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"accelerator": "cpu", "default_root_dir": tmp_path, "enable_checkpointing": False}
    data = SyntheticMER(SyntheticConfig(train=20, valid=8, test=8), task="regression", batch_size=8)

    def build() -> MERModule:
        torch.manual_seed(0)
        return MERModule(MeanNet(data.spec, data.task), wrappers=[lambda net: GEAR(net, swap_epochs=1, seed=3)])

    module, runner = build(), Trainer(max_epochs=1, **quiet)
    runner.fit(module, datamodule=data)
    assert "train/gear/swap_bias" not in runner.callback_metrics
    assert 0 < float(runner.callback_metrics["val/gear/weight"]) < 1
    runner.save_checkpoint(tmp_path / "one.ckpt")
    resumed = build()
    runner = Trainer(max_epochs=2, **quiet)
    runner.fit(resumed, datamodule=data, ckpt_path=tmp_path / "one.ckpt")
    assert "train/gear/swap_bias" in runner.callback_metrics
    assert isinstance(resumed.model, GEAR)
    assert (resumed.model.seen, resumed.model.split_size) == (40, 20)


def test_training_without_a_count_is_refused() -> None:
    model = GEAR(MeanNet(SPEC, SCORE))
    with pytest.raises(MERError, match=r"GEAR\(MeanNet\) does not know the size of the training split yet; fit it"):
        next(iter(model.steps(Batch.random(SPEC, SCORE))))
    model.predict(Batch.random(SPEC, SCORE))


def test_refusals() -> None:
    task = SentimentClassification(3)
    inner: list[Model] = [CausalMER(MeanNet(SPEC, task)), MACI(MeanNet(SPEC, task)), CUMDF(LFLSTM(SPEC, task))]
    for model in inner:
        with pytest.raises(MERError, match=r"GEAR computes its scores from the features, so those of \w+\(\w+\) would"):
            GEAR(model)
    for outer in (MACI, CUMDF):
        with pytest.raises(MERError, match=r"so those of GEAR\(MeanNet\) would be lost"):
            outer(wrap(task))
    with pytest.raises(MERError, match="GEAR stands twice"):
        GEAR(MSSD(wrap(), alpha=0))
    for options, message in (
        ({"criterion": "l1"}, "unknown criterion 'l1' of GEAR; choose from tanh, sigmoid"),
        ({"weight": "max"}, "unknown weight 'max' of GEAR; choose from avg, min"),
        ({"lambda_dis": -1.0}, "lambda_dis of GEAR is -1.0; weights are finite and at least 0"),
        ({"dim": 0}, "dim of GEAR is 0; give at least 1"),
        ({"swap_epochs": -1}, "swap_epochs of GEAR is -1; give at least 0"),
        ({"q": 0.0}, "q of GEAR is 0.0; give a finite number above 0"),
        ({"branches": {"face": "lstm"}}, "branches of GEAR names 'face'; choose from text, audio, vision"),
        ({"branches": {"text": "bert"}}, "unknown text branch 'bert' of GEAR; choose from lstm, first"),
    ):
        with pytest.raises(MERError, match=message):
            wrap(**options)


def parse(*options: str) -> Any:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--wrappers", type=list[Callable[[Model], Wrapper]])
    return parser.parse_args(["--wrappers+=GEAR", *(f"--wrappers.{option}" for option in options)])


def test_options_from_the_command_line() -> None:
    options = parse("criterion=sigmoid", "branches={text: first}", "swap_epochs=3").wrappers[0].init_args
    assert (options.criterion, dict(options.branches), options.swap_epochs) == ("sigmoid", {"text": "first"}, 3)
    with pytest.raises(ArgumentError, match="l1"):
        parse("criterion=l1")
