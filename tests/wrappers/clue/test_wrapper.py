"""CLUE around small models: losses, what trains what, choice of alpha, composition, refusals."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentError, ArgumentParser
from lightning.pytorch import Trainer
from torch import Tensor
from toys import MeanNet, TwoStep, loss_of
from typing_extensions import override

from mer_zoo.batch import Batch, DataSpec, Modality, Step
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.functional.counterfactual import soft_cross_entropy
from mer_zoo.functional.deconfounding import ALPHAS, choose_tau, deconfounding_weights, fit_temperature
from mer_zoo.model import Model, Wrapper, WrapperFactory
from mer_zoo.module import MERModule
from mer_zoo.scores import Scores
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task
from mer_zoo.wrappers import CLUE, CUMDF, GEAR, MACI, MSSD, CausalMER

SPEC = DataSpec()
TOKENS = DataSpec(tokens=True, vocab_size=130)
THREE = SentimentClassification(3)
EMOTIONS = EmotionDetection()
WEIGHTS = ("main_weight", "text_weight", "divergence_weight")


def wrap(task: Task = THREE, spec: DataSpec = SPEC, **options: Any) -> CLUE:
    torch.manual_seed(0)
    return CLUE(MeanNet(spec, task), **{"lstm_dim": 4, "dim": 8, **options})


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-5)


def split(task: Task = THREE, spec: DataSpec = SPEC, size: int = 60, seed: int = 3) -> Batch:
    """A batch with every class."""
    batch = Batch.random(spec, task, size, seed)
    return batch if batch.target.dim() == 2 else batch.replace(target=torch.arange(size) % task.num_outputs)


def scores_of(model: Model, batch: Batch) -> Scores:
    with torch.no_grad():
        output = model.predict(batch)
    return Scores(output.logits, output.effects, batch.target, batch.index)


class Weighted(Wrapper):
    """Weights each sample, and adds a loss."""

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        yield Step(batch, self.backbone(batch), {"own": torch.tensor(3.0)}, torch.arange(float(len(batch))))


@pytest.mark.parametrize("task", [THREE, EMOTIONS])
def test_every_weight_has_its_terms(task: Task) -> None:
    torch.manual_seed(0)
    weights: dict[str, Any] = dict(zip(WEIGHTS, (0.5, 2.0, 3.0), strict=True))
    model = CLUE(Weighted(MeanNet(SPEC, task)), lstm_dim=4, dim=8, **weights)
    batch = Batch.random(SPEC, task, size=4)
    (step,) = model.steps(batch)
    effects = model.predict(batch).effects
    weight = torch.arange(4.0)

    def ce(name: str) -> Tensor:
        return (weight * task.criterion(effects[name], batch.target)).mean()

    assert isinstance(step.task_weight, Tensor)
    assert step.task_weight.tolist() == [0.0, 0.5, 1.0, 1.5]
    assert step.losses["own"] == 1.5
    close(step.losses["clue/base"], 0.5 * ce("base"))
    close(step.losses["clue/text"], 2 * ce("text"))
    close(step.losses["clue/divergence"], 3 * soft_cross_entropy(effects["plain"], effects["counterfactual"]).mean())
    close(step.output.logits, effects["plain"])


@pytest.mark.parametrize("fusion", ["sum", "hm", "rubi"])
def test_what_trains_what(fusion: Any) -> None:
    batch = Batch.random(SPEC, THREE, size=6)
    for part, weights in {"constant": (0.0, 0.0, 1.0), "text_branch": (0.0, 1.0, 0.0), "": (1.0, 0.0, 0.0)}.items():
        options: dict[str, Any] = dict(zip(WEIGHTS, weights, strict=True))
        model = wrap(fusion=fusion, **options)
        loss_of(model, batch).backward()  # type: ignore[no-untyped-call]
        trained = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        assert trained == ({part} if part else {"text_branch", "backbone"})


def test_the_text_branch_does_not_train_the_words() -> None:
    model = wrap(spec=TOKENS, main_weight=0.0, divergence_weight=0.0)
    loss_of(model, Batch.random(TOKENS, THREE, size=6)).backward()  # type: ignore[no-untyped-call]
    words = model.get_parameter("backbone.text_embedding.weight")
    assert words.grad is None or not words.grad.any()
    assert model.get_parameter("text_branch.encoder.lstm1.weight_ih_l0").grad is not None


def test_every_step_of_the_inner_model_is_rewritten() -> None:
    model = CLUE(TwoStep(MeanNet(SPEC, THREE)))
    steps = list(model.steps(Batch.random(SPEC, THREE)))
    assert model.num_steps == len(steps) == 2
    assert [step.task_weight for step in steps] == [1.0, 0.5]
    assert all("clue/divergence" in step.losses for step in steps)


@pytest.mark.parametrize("selection", ["validation", "deconfounded"])
def test_calibration_chooses_by_its_rule(selection: Any) -> None:
    model = wrap(alpha_selection=selection, fusion="rubi").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # so that the choice matters
    batch = split()
    valid = scores_of(model, batch)
    y, y_cf, t = (valid.effects[name] for name in ("plain", "counterfactual", "text"))
    valid.target = target = (y - 2 * y_cf).argmax(1)  # so that a subtraction helps
    weights = None
    if selection == "deconfounded":
        prior = target.bincount(minlength=3) / len(target)
        weights = deconfounding_weights(t, target, prior, fit_temperature(t, target))
    alpha = choose_tau(y, y_cf, target, weights, ALPHAS)
    model.calibrate(valid)
    assert alpha > 0
    found = model.diagnostics()
    assert found["clue/alpha"] == alpha
    assert found["clue/constant"] == pytest.approx(3)
    assert ("clue/ess" in found) == (selection == "deconfounded")
    close(model.rescore(valid), y - alpha * y_cf)
    close(scores_of(model, batch).logits, y - alpha * y_cf)
    assert model.notes() == []


def test_few_effective_samples_are_told() -> None:
    model = wrap()
    with pytest.warns(UserWarning, match=r"CLUE chose alpha by an effective sample size of \d+\.\d, below 30"):
        model.calibrate(scores_of(model, split(size=12)))
    assert "alpha_selection: fixed is safer" in model.notes()[0]


def test_emotions_have_an_alpha_each() -> None:
    model = wrap(EMOTIONS, alpha_selection="validation").eval()
    batch = split(EMOTIONS)
    valid = scores_of(model, batch)
    model.calibrate(valid)
    y, y_cf = valid.effects["plain"], valid.effects["counterfactual"]
    for place, name in enumerate(EMOTIONS.emotions):
        alpha = choose_tau(y[:, place], y_cf[:, place], batch.target[:, place], None, ALPHAS)
        assert model.diagnostics()[f"clue/alpha_{name}"] == alpha
        close(model.rescore(valid)[:, place], y[:, place] - alpha * y_cf[:, place])


def test_a_fixed_alpha_is_not_calibrated() -> None:
    model = wrap(alpha_selection="fixed", alpha=1.5)
    valid = scores_of(model, split())
    model.calibrate(valid)
    assert model.diagnostics()["clue/alpha"] == 1.5
    close(model.rescore(valid), valid.effects["plain"] - 1.5 * valid.effects["counterfactual"])


def test_oracle_offers_every_alpha_and_says_so() -> None:
    model = wrap(alpha_selection="oracle")
    assert model.label == "CLUE[oracle alpha](MeanNet)"
    assert wrap().label == "CLUE(MeanNet)"
    test = scores_of(model, split())
    model.calibrate(test)
    assert len(model.oracle(test)) == 13
    for alpha, candidate in zip(ALPHAS, model.oracle(test), strict=True):
        close(candidate, test.effects["plain"] - alpha * test.effects["counterfactual"])
    assert torch.equal(test.logits, test.effects["plain"])
    assert "best of 13 for each metric on the evaluated split itself" in model.notes()[0]
    assert wrap().oracle(test) == []


def test_an_alpha_not_chosen_yet_is_told() -> None:
    assert "CLUE's alpha was not chosen as alpha_selection deconfounded asks" in wrap().notes()[0]


def nests() -> list[Any]:
    def clue(model: Model) -> CLUE:
        return CLUE(model, lstm_dim=4, dim=8)

    return [
        pytest.param(lambda net: CausalMER(clue(net), fusion="sum"), id="CausalMER(CLUE)"),
        pytest.param(lambda net: clue(CausalMER(net, fusion="sum")), id="CLUE(CausalMER)"),
        pytest.param(lambda net: clue(MACI(net)), id="CLUE(MACI)"),
        pytest.param(lambda net: clue(CausalMER(MACI(net), fusion="sum")), id="CLUE(CausalMER(MACI))"),
        pytest.param(lambda net: clue(MACI(net, tau_selection="oracle")), id="CLUE(MACI oracle)"),
        pytest.param(lambda net: clue(GEAR(net)), id="CLUE(GEAR)"),
        pytest.param(lambda net: CausalMER(GEAR(net)), id="CausalMER(GEAR)"),
        pytest.param(lambda net: MSSD(clue(net), alpha=0), id="MSSD(CLUE)"),
        pytest.param(lambda net: clue(MSSD(net, alpha=0)), id="CLUE(MSSD)"),
        pytest.param(lambda net: MSSD(GEAR(net), alpha=0), id="MSSD(GEAR)"),
        pytest.param(lambda net: GEAR(MSSD(net, alpha=0)), id="GEAR(MSSD)"),
    ]


@pytest.mark.filterwarnings("ignore:(MACI|CLUE) chose")
@pytest.mark.parametrize("nest", nests())
def test_calibration_through_a_nest(nest: WrapperFactory) -> None:
    torch.manual_seed(0)
    model = nest(MeanNet(TOKENS, THREE)).eval()
    model.prepare([split(spec=TOKENS)])
    batch = split(spec=TOKENS, seed=4)
    valid = scores_of(model, batch)
    model.calibrate(valid)
    after = scores_of(model, batch)
    close(model.rescore(valid), after.logits)
    close(after.effects.get("factual", after.logits), model(batch).logits)
    assert all(candidate.shape == after.logits.shape for candidate in model.oracle(after))
    if any(part.mark for part in model.nest):
        assert len(model.oracle(after)) == 31
    assert torch.isfinite(loss_of(model, batch))


@pytest.mark.parametrize("fusion", ["sum", "hm", "rubi"])
def test_bfloat16_autocast(fusion: Any) -> None:
    model = wrap(fusion=fusion)
    batch = Batch.random(SPEC, THREE, size=4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, loss = model.predict(batch), loss_of(model, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(output.effects[name].dtype == torch.float32 for name in ("plain", "counterfactual", "text"))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_missing_text_is_not_read() -> None:
    model = wrap().eval()
    batch = Batch.random(SPEC, THREE, size=3)
    nothing = Modality(batch.text.x, torch.zeros_like(batch.text.mask))
    other = Modality(batch.text.x + 1, torch.zeros_like(batch.text.mask))
    t = model.predict(batch.replace(text=nothing)).effects["text"]
    close(t, model.predict(batch.replace(text=other)).effects["text"])
    close(t, t[:1].expand_as(t))


SIZES = SyntheticConfig(train=24, valid=16, test=12)


@pytest.mark.filterwarnings("ignore:CLUE chose alpha by an effective sample size")
def test_fit_test_and_checkpoint(tmp_path: Path) -> None:
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"max_epochs": 1, "accelerator": "cpu", "default_root_dir": tmp_path, "enable_checkpointing": False}
    data = SyntheticMER(SIZES, batch_size=8)
    torch.manual_seed(0)
    module = MERModule(MeanNet(data.spec, data.task), wrappers=[CLUE])
    runner = Trainer(**quiet)
    runner.fit(module, datamodule=data)
    assert {"val/clue/alpha", "val/clue/constant", "train/clue/divergence"} <= runner.callback_metrics.keys()
    runner.save_checkpoint(tmp_path / "model.ckpt")
    runner.test(module, data, verbose=False)
    fresh = MERModule(MeanNet(data.spec, data.task), wrappers=[CLUE])
    Trainer(**quiet).test(fresh, data, ckpt_path=tmp_path / "model.ckpt", verbose=False)
    torch.testing.assert_close(fresh.test_scores["iid"].logits, module.test_scores["iid"].logits)


def test_refusals() -> None:
    with pytest.raises(MERError, match="CLUE needs classes, but SentimentRegression has a single output"):
        wrap(SentimentRegression())
    with pytest.raises(
        MERError, match="CLUE takes the direct effect of text off, but MeanNet reads audio, vision only"
    ):
        wrap(spec=DataSpec(modalities=["audio", "vision"]))
    with pytest.raises(MERError, match="CLUE stands twice"):
        CLUE(wrap())
    for outer, needs in ((MACI, "features"), (CUMDF, "hidden sequences and features"), (GEAR, "features")):
        with pytest.raises(MERError, match=rf"computes its scores from (the )?{needs}, so those of CLUE\(MeanNet\)"):
            outer(wrap())
    with pytest.raises(MERError, match="unknown fusion 'mask' of CLUE; choose from sum, hm, rubi"):
        wrap(fusion="mask")
    with pytest.raises(MERError, match="unknown alpha_selection 'best' of CLUE"):
        wrap(alpha_selection="best")
    with pytest.raises(MERError, match="alpha is 0.5, but alpha_selection deconfounded does not use it; set alpha_sel"):
        wrap(alpha=0.5)
    with pytest.raises(MERError, match="lstm_dim of CLUE is 0; give at least 1"):
        wrap(lstm_dim=0)
    for name in WEIGHTS:
        negative: dict[str, Any] = {name: -1}
        with pytest.raises(MERError, match=f"{name} of CLUE is -1; weights are finite and at least 0"):
            wrap(**negative)


def parse(*options: str) -> Any:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--wrappers", type=list[Callable[[Model], Wrapper]])
    return parser.parse_args(["--wrappers+=CLUE", *(f"--wrappers.{option}" for option in options)])


def test_options_from_the_command_line() -> None:
    options = parse("fusion=hm", "alpha_selection=fixed", "alpha=0.5").wrappers[0].init_args
    assert (options.fusion, options.alpha_selection, options.alpha) == ("hm", "fixed", 0.5)
    with pytest.raises(ArgumentError, match="mask"):
        parse("fusion=mask")
