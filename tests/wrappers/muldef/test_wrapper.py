"""MulDeF around small models: what trains what, biased words, choice of alpha, composition, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from toys import MeanNet, loss_of
from typing_extensions import override

from mer_zoo.batch import Batch, DataSpec, Step
from mer_zoo.errors import MERError
from mer_zoo.functional.counterfactual import divergence
from mer_zoo.functional.deconfounding import ALPHAS, choose_tau, deconfounding_weights, fit_temperature
from mer_zoo.layers.sequence import masked_mean
from mer_zoo.model import Model, Wrapper, WrapperFactory
from mer_zoo.scores import Scores
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task
from mer_zoo.wrappers import CLUE, CUMDF, GEAR, JTT, MACI, MSSD, CausalMER, GroupDRO, MulDeF, PropensityWeighting
from mer_zoo.wrappers.kept_words import TrainTokens, biased_words

SPEC = DataSpec()
TOKENS = DataSpec(tokens=True, vocab_size=130)
THREE = SentimentClassification(3)
EMOTIONS = EmotionDetection()
WEIGHTS = ("base_weight", "branch_weight", "divergence_weight")


def small(model: Model, **options: Any) -> MulDeF:
    return MulDeF(model, **{"heads": 2, "dim": 8, "gru_dim": 4, **options})


def wrap(task: Task = THREE, spec: DataSpec = SPEC, **options: Any) -> MulDeF:
    """Prepared with a split of every class."""
    torch.manual_seed(0)
    model = small(MeanNet(spec, task), **options)
    model.prepare([split(task, spec)])
    return model


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-5)


def split(task: Task = THREE, spec: DataSpec = SPEC, size: int = 60, seed: int = 3) -> Batch:
    batch = Batch.random(spec, task, size, seed)
    batch = batch.replace(raw_text=[f"well this is {'so' if i % 2 else 'not'} bad" for i in range(size)])
    return batch if batch.target.dim() == 2 else batch.replace(target=torch.arange(size) % task.num_outputs)


def scores_of(model: Model, batch: Batch) -> Scores:
    with torch.no_grad():
        output = model.eval().predict(batch)
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
    model = small(Weighted(MeanNet(SPEC, task)), **weights)
    model.prepare([split(task)])
    batch = Batch.random(SPEC, task, size=4)
    (step,) = model.steps(batch)
    effects = model.predict(batch).effects
    assert isinstance(step.task_weight, Tensor)
    assert step.task_weight.tolist() == [0.0, 2.0, 4.0, 6.0]
    assert step.losses["own"] == 1.5
    for name in ("text", "audio", "vision"):
        close(step.losses[f"muldef/{name}"], task.weighted(effects[name], batch.target, step.task_weight).mean())
    kl = divergence(effects["plain"], effects["counterfactual"])
    close(step.losses["muldef/divergence"], 3 * kl.mean())
    close(step.output.logits, effects["plain"])


@pytest.mark.parametrize("fusion", ["sum", "harmonic", "rubi", "fc"])
def test_what_trains_what(fusion: Any) -> None:
    batch = Batch.random(TOKENS, THREE, size=6)
    joined = {"join"} if fusion == "fc" else set()
    everything = {"mediator", "branches", "backbone"} | joined
    for weights, expected in {
        (0.0, 0.0, 1.0): set() if fusion == "fc" else {"constant"},
        (0.0, 1.0, 0.0): everything,
    }.items():
        options: dict[str, Any] = dict(zip(WEIGHTS, weights, strict=True))
        model = wrap(spec=TOKENS, fusion=fusion, **options)
        loss_of(model, batch).backward()  # type: ignore[no-untyped-call]
        trained = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        assert trained == expected
    assert model.untrained_parameters() == (["constant"] if fusion == "fc" else [])


def test_the_expectation_is_that_of_the_training_split() -> None:
    batch, model = split(), wrap()
    for name in SPEC.modalities:
        found = batch.modality(name)
        expected = masked_mean(found.x, found.mask).mean(0)
        close(model.mediator.get_buffer(f"expectation_{name}"), expected)


def test_the_mediator_does_not_read_the_sample_beside_the_mean() -> None:
    """m depends on inputs through the query alone: without rows that differ, other inputs change nothing."""
    model = wrap()
    features = torch.randn(3, model.feature_dim)
    with torch.no_grad():
        model.mediator.mediator.weight.zero_()
        model.mediator.mediator.bias.fill_(1.0)
    m = [model.mediator(features, {k: torch.randn(3, d) for k, d in model.input_dims.items()}) for _ in range(2)]
    close(m[0], m[1])


def test_the_text_branch_reads_biased_words_alone() -> None:
    model, batch = wrap(spec=TOKENS).eval(), split(spec=TOKENS, seed=5)
    kept = set(model.kept_words.words.tolist()) - {-1}
    other = next(word for word in range(104, 130) if word not in kept)
    one, two = sorted(kept)[:2]
    ids = batch.text.x.clone()
    ids[:, 0] = other
    changed = batch.replace(text=batch.text.replace(x=ids))
    ids = ids.clone()
    ids[:, 0] = TOKENS.mask_id
    masked = batch.replace(text=batch.text.replace(x=ids))
    close(model.predict(changed).effects["text"], model.predict(masked).effects["text"])
    pair = []
    for word in (one, two):
        ids = ids.clone()
        ids[:, 0] = word
        pair.append(model.predict(batch.replace(text=batch.text.replace(x=ids))).effects["text"])
    assert not torch.allclose(pair[0], pair[1])


def test_the_released_rule_for_words() -> None:
    ids = torch.tensor([7] * 4 + [8] * 4 + [9] * 3)
    classes = torch.tensor([0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0])[:, None]
    neutral = torch.zeros(11, dtype=torch.bool)
    tokens = TrainTokens(ids, classes, neutral)
    assert biased_words(tokens, 2, "muldef", 1, 0.0, min_count=4).tolist() == [8]  # 7 is even, 9 is rare
    three = tokens._replace(classes=2 * classes)
    assert biased_words(three, 3, "muldef", 1, 0.0, min_count=4).tolist() == [8]  # in none of the neutral class
    neutral[0] = True  # so that 7 is uneven
    assert biased_words(tokens._replace(neutral=neutral), 2, "muldef", 1, 0.0, min_count=4).tolist() == [7, 8]


def test_several_emotions_keep_the_words_of_any() -> None:
    tokens = TrainTokens(torch.tensor([7, 8]), torch.tensor([[0, 0], [0, 1]]), torch.zeros(2, dtype=torch.bool))
    assert biased_words(tokens, 2, "maci", 1, 0.1, 1).tolist() == [7]
    assert biased_words(tokens, 2, "maci", 2, 0.1, 1).tolist() == [7, 8]


def test_without_token_ids_whole_texts_are_read_and_that_is_told() -> None:
    model = wrap(alpha_selection="fixed").eval()
    assert model.notes() == [
        "MulDeF's text branch read whole texts, since there were no token ids by which words could be masked"
    ]
    assert wrap(spec=TOKENS, alpha_selection="fixed").notes() == []


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_only_the_released_variant_reads_padding(variant: Any) -> None:
    model, batch = wrap(variant=variant).eval(), Batch.random(SPEC, THREE, size=4)
    longer = Batch.random(SPEC, THREE, size=4)
    noise = {
        name: longer.modality(name).replace(
            x=torch.where(batch.modality(name).mask[..., None], batch.modality(name).x, 9.0)
        )
        for name in SPEC.modalities
    }
    same = torch.allclose(model.predict(batch).logits, model.predict(batch.replace(**noise)).logits, atol=1e-6)
    assert same == (variant == "paper")
    assert model.fixed_length == (variant == "released")


@pytest.mark.parametrize("selection", ["validation", "deconfounded"])
def test_calibration_chooses_by_its_rule(selection: Any) -> None:
    model = wrap(alpha_selection=selection, fusion="rubi").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)  # so that the choice matters
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
    assert model.diagnostics()["muldef/alpha"] == alpha
    close(model.rescore(valid), y - alpha * y_cf)
    close(scores_of(model, batch).logits, y - alpha * y_cf)


def test_oracle_offers_every_alpha_and_says_so() -> None:
    model = wrap(alpha_selection="oracle")
    assert model.label == "MulDeF[oracle alpha](MeanNet)"
    test = scores_of(model, split())
    for alpha, candidate in zip(ALPHAS, model.oracle(test), strict=True):
        close(candidate, test.effects["plain"] - alpha * test.effects["counterfactual"])
    assert torch.equal(test.logits, test.effects["plain"])
    assert wrap().oracle(test) == []


def test_a_loaded_state_is_what_counts() -> None:
    """What was cached of an own preparation is not kept beside a loaded one."""
    model, other = wrap(spec=TOKENS), wrap(spec=TOKENS)
    batch = split(spec=TOKENS)
    other.kept_words.on.fill_(False)
    before = scores_of(model, batch).effects["text"]
    model.load_state_dict(other.state_dict())
    assert not torch.allclose(scores_of(model, batch).effects["text"], before)


NESTS: dict[str, WrapperFactory] = {
    "MSSD(MulDeF)": lambda net: MSSD(small(net), alpha=0),
    "MulDeF(MSSD)": lambda net: small(MSSD(net, alpha=0)),
    "GroupDRO(MulDeF)": lambda net: GroupDRO(small(net), min_group=1),
    "MulDeF(GroupDRO)": lambda net: small(GroupDRO(net, min_group=1)),
    "JTT(MulDeF)": lambda net: JTT(small(net), epochs=1),
    "MulDeF(JTT)": lambda net: small(JTT(net, epochs=1)),
    "PropensityWeighting(MulDeF)": lambda net: PropensityWeighting(small(net)),
    "MulDeF(PropensityWeighting)": lambda net: small(PropensityWeighting(net)),
}


@pytest.mark.filterwarnings("ignore:.*effective sample size", "ignore:PropensityWeighting")
@pytest.mark.parametrize("nest", NESTS)
def test_calibration_through_a_nest(nest: str) -> None:
    torch.manual_seed(0)
    model = NESTS[nest](MeanNet(TOKENS, THREE)).eval()
    model.prepare([split(spec=TOKENS)])
    batch = split(spec=TOKENS, seed=4)
    valid = scores_of(model, batch)
    model.calibrate(valid)
    after = scores_of(model, batch)
    close(model.rescore(valid), after.logits)
    close(after.effects["factual"], model(batch).logits)
    assert torch.isfinite(loss_of(model, batch))


def test_refusals() -> None:
    net = MeanNet(SPEC, THREE)
    with pytest.raises(MERError, match="MulDeF needs classes, but SentimentRegression has a single output"):
        small(MeanNet(SPEC, SentimentRegression()))
    outer: Any
    for outer in (CausalMER, CLUE):
        with pytest.raises(MERError, match=rf"{outer.__name__} and MulDeF both take what the words alone say off"):
            outer(wrap())
        with pytest.raises(MERError, match=rf"{outer.__name__} and MulDeF both take"):
            outer(MSSD(wrap(), alpha=0))
    for outer, needs in ((MACI, "features"), (CUMDF, "hidden sequences and features"), (GEAR, "features")):
        with pytest.raises(MERError, match=rf"computes its scores from (the )?{needs}, so those of MulDeF\(MeanNet\)"):
            outer(wrap())
    for inner in (CausalMER, CLUE, MACI, GEAR):
        lost = f"MulDeF computes its scores from the features, so those of {inner.__name__}"
        with pytest.raises(MERError, match=lost):
            small(inner(MeanNet(SPEC, THREE)))
    with pytest.raises(MERError, match=r"MulDeF\(MeanNet\) has no expectation of a training split yet; fit it"):
        small(net)(Batch.random(SPEC, THREE))
    with pytest.raises(MERError, match="unknown fusion 'mask' of MulDeF; choose from sum, harmonic, rubi, fc"):
        wrap(fusion="mask")
    with pytest.raises(MERError, match="unknown words 'frequent' of MulDeF; choose from maci, muldef"):
        wrap(words="frequent")
    with pytest.raises(MERError, match="heads of MulDeF is 0; give at least 1"):
        wrap(heads=0)
    with pytest.raises(MERError, match="branch_weight of MulDeF is -1; weights are finite and at least 0"):
        wrap(branch_weight=-1)
    with pytest.raises(MERError, match="alpha is 0.5, but alpha_selection deconfounded does not use it"):
        wrap(alpha=0.5)
