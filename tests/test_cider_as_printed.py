"""CIDer's equations where its paper and its code differ: each as printed, transcribed literally, and how far apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_zoo import MACI, MSSD, Batch, CIDerNet, DataSpec, SentimentClassification
from mer_zoo.errors import MERError
from mer_zoo.functional.backdoor import backdoor_adjustment
from mer_zoo.functional.distillation import attention_divergence
from mer_zoo.functional.language_bias import bias_words, counterfactual_ids, debias, intervened
from mer_zoo.layers.composite import MCT, MCTLayer
from mer_zoo.layers.sequence import masked_resample
from mer_zoo.scores import Scores

THREE = SentimentClassification(3)
SPEC = DataSpec()
TOKENS = DataSpec(tokens=True, vocab_size=300)
LENGTHS = {"l": 4, "a": 6, "v": 3}


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def ln(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    deviation = x - x.mean(-1, keepdim=True)
    return deviation / (deviation.square().mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


def test_equation_13_normalises_the_residuals() -> None:
    torch.manual_seed(0)
    printed, released = MCTLayer(32, 4, variant="paper"), MCTLayer(32, 4)
    released.load_state_dict(printed.state_dict())
    x = torch.randn(5, 13, 32)
    mca = printed.attention(ln(printed.norm0, x), LENGTHS)[0]
    x1 = mca + ln(printed.norm0, x)
    ffn = printed.fc2(F.relu(printed.fc1(ln(printed.norm1, x1))))
    x2 = ffn + ln(printed.norm1, x1)
    close(printed(x, LENGTHS)[0], x2)
    assert 1 < (printed(x, LENGTHS)[0] - released(x, LENGTHS)[0]).abs().max() < 10


def test_equation_6_has_no_positions() -> None:
    torch.manual_seed(0)
    mct, x = MCT(8, 2, 1, positions=None, variant="paper"), torch.randn(2, 13, 8)
    close(mct(x, LENGTHS)[0], ln(mct.norm, mct.layers[0](x, LENGTHS)[0]))
    positions = {}
    for variant, given in (("paper", None), ("paper", "time"), ("released", None)):
        net: Any = CIDerNet(SPEC, THREE, dim=8, variant=variant, positions=given)  # type: ignore[arg-type]
        positions[variant, given] = net.mct.positions
    assert positions == {("paper", None): None, ("paper", "time"): "time", ("released", None): "time"}


def test_equation_15_adds_nothing() -> None:
    torch.manual_seed(0)
    printed, released = CIDerNet(SPEC, THREE, variant="paper"), CIDerNet(SPEC, THREE)
    released.load_state_dict(printed.state_dict())
    g = torch.randn(50, 96)
    close(printed.joint(g), printed.joint.fc2(F.relu(printed.joint.fc1(g))))
    close(released.joint(g), printed.joint(g) + g)
    assert (released.joint(g) - printed.joint(g)).abs().max() > 3


def distilled(variant: Any) -> tuple[MSSD, Batch, Batch]:
    torch.manual_seed(0)
    model = MSSD(CIDerNet(SPEC, THREE, dim=8), 1.0, 1.0, 1.0, seed=0, variant=variant).eval()
    batch = Batch.random(SPEC, THREE, size=8)
    return model, batch, model.views(batch, SPEC)


def test_equation_17_counts_all_positions() -> None:
    model, batch, view = distilled("paper")
    _, incomplete = model.steps(batch)
    hidden = model(view).hidden
    terms = []
    for name, decoder in model.decoders.items():
        difference = (decoder(hidden[name]) - model(batch).inputs[name]).abs()
        terms.append(torch.where(difference < 1, difference**2 / 2, difference - 1 / 2).mean())
    close(incomplete.losses["mssd/recon"], terms[0] + terms[1] + terms[2])
    released = list(distilled("released")[0].steps(batch))[1].losses["mssd/recon"]
    assert (incomplete.losses["mssd/recon"] - released).abs() > 0.03


def test_equation_18_is_taken_from_the_incomplete_view() -> None:
    generator = torch.Generator().manual_seed(0)
    s_tilde, s = (torch.randn(6, 9, 9, generator=generator).requires_grad_() for _ in range(2))
    p_tilde, p = (x.exp() / x.exp().sum(-1, keepdim=True) for x in (s_tilde, s.detach()))
    expected = (p_tilde * (p_tilde / p).log()).sum(-1).sum(-1)
    found = attention_divergence(s_tilde, s, "paper")
    close(found, expected)
    gradients = [torch.autograd.grad(x.sum(), s_tilde, retain_graph=True)[0] for x in (found, expected)]
    close(*gradients)
    assert torch.autograd.grad(found.sum(), s, allow_unused=True)[0] is None
    assert (found - attention_divergence(s_tilde, s)).abs().mean() > 0.1
    hidden = torch.tensor([[[0.0, -1e9], [0.0, -1e9]]])
    assert attention_divergence(hidden, hidden + 1, "paper").tolist() == [0.0]


def test_equation_18_in_the_loss() -> None:
    model, batch, view = distilled("paper")
    _, incomplete = model.steps(batch)
    p_tilde, p = (model(x).attention.softmax(-1) for x in (view, batch))
    expected = (p_tilde * (p_tilde / p).log()).sum((1, 2)).mean()
    close(incomplete.losses["mssd/attention"], expected)


def test_equation_24_averages_the_classifiers_outputs() -> None:
    generator = torch.Generator().manual_seed(0)
    y, prior = torch.randn(20_000, 3, 3, generator=generator), torch.tensor([0.43, 0.04, 0.53])
    found = backdoor_adjustment(y, prior, "paper")
    close(found, prior[0] * y[:, 0] + prior[1] * y[:, 1] + prior[2] * y[:, 2])
    differing = (found.argmax(-1) != backdoor_adjustment(y, prior).argmax(-1)).double().mean()
    assert 0.02 < differing < 0.3


@pytest.mark.parametrize("tau", [0.3, 0.7, 1.0])
def test_equation_25_subtracts_probabilities(tau: float) -> None:
    generator = torch.Generator().manual_seed(0)
    y, y_cf = (torch.randn(20_000, 3, generator=generator).log_softmax(-1) for _ in range(2))
    p, p_cf = (x.exp() / x.exp().sum(-1, keepdim=True) for x in (y, y_cf))
    found = debias(intervened(y, "paper"), intervened(y_cf, "paper"), tau)
    close(found, p - tau * p_cf)
    released = debias(intervened(y), intervened(y_cf), tau)
    differing = float((found.argmax(-1) != released.argmax(-1)).double().mean())
    assert 0.03 < differing < 0.2


def corpus() -> tuple[Tensor, Tensor]:
    """Words by Zipf's law, each with a leaning of its own, and few neutral samples."""
    generator = torch.Generator().manual_seed(0)
    frequency = 1 / torch.arange(1, 401).double()
    ids = torch.multinomial(frequency, 20_000, replacement=True, generator=generator)
    leaning = 0.25 * torch.randn(400, generator=generator)
    p = torch.stack([0.43 * leaning.exp(), torch.full((400,), 0.04), 0.53 * (-leaning).exp()], 1)
    return ids + 1000, torch.multinomial(p[ids], 1, generator=generator).squeeze(1)


@pytest.mark.parametrize("num_classes", [3, 7])
def test_equations_26_and_27_choose_among_the_most_frequent(num_classes: int) -> None:
    ids, classes = corpus()
    classes = classes if num_classes == 3 else (ids * 3 + classes * 2) % 7
    expected = []
    for word, _ in Counter(ids.tolist()).most_common(100):
        n = [int(((ids == word) & (classes == i)).sum()) for i in range(num_classes)]
        mean = sum(n) / num_classes
        if (sum((x - mean) ** 2 for x in n) / num_classes) ** 0.5 / mean >= 0.1:
            expected.append(word)
    found = bias_words(ids, classes, num_classes, variant="paper").ids.tolist()
    assert found == expected


def test_equations_26_and_27_keep_more_of_the_text() -> None:
    ids, classes = corpus()
    printed, released = (bias_words(ids, classes, 3, variant=variant).ids for variant in ("paper", "released"))
    assert len(released) == 100
    assert 40 < torch.isin(printed, released).sum() < 100
    special = (0, 100, 101, 102, 103)
    kept = [(counterfactual_ids(ids, words, special, 103) == ids).double().mean() for words in (printed, released)]
    assert kept[0] > kept[1] + 0.1


def wrapped(**options: Any) -> tuple[MACI, Batch]:
    torch.manual_seed(0)
    model = MACI(CIDerNet(TOKENS, THREE, dim=8), **options)
    batch = Batch.random(TOKENS, THREE, size=16)
    model.prepare([batch])
    return model.eval(), batch


def test_maci_as_printed_is_made_of_its_equations() -> None:
    model, batch = wrapped(variant="paper", tau_selection="fixed", tau=0.7)
    output, heads = model.predict(batch), model.head
    head: Any = heads.get_submodule("heads.0")
    means = {name: heads.get_buffer(f"mean_{name}") for name in ("text", "audio", "vision")}

    def scores(h_m: Tensor, means: Mapping[str, Tensor], prior: Tensor) -> Tensor:
        y = torch.zeros(())
        for i, classifier in enumerate(head.classifiers):
            encoded = [head.encoders[name](mean[i]).expand(len(h_m), -1) for name, mean in means.items()]
            y = y + prior[i] * classifier(torch.cat([h_m, *encoded], 1))
        return y

    y = scores(model.backbone(batch).features, means, heads.prior)
    close(output.effects["factual"], y)
    nll = -(y.softmax(-1)[torch.arange(16), THREE.encode(batch.target)]).log()
    close(THREE.criterion(model(batch).logits, batch.target), nll)
    average = {name: mean.mean(0).expand_as(mean) for name, mean in means.items()}
    views, _ = model.language_bias.views(batch)
    features = [model.backbone(x).features for x in (batch, views[0])]
    p, p_cf = (scores(x, average, torch.full((3,), 1 / 3)).softmax(-1) for x in features)
    close(output.effects["plain"], p)
    close(output.effects["counterfactual"], p_cf)
    close(output.logits, p - 0.7 * p_cf)


@pytest.mark.filterwarnings("ignore:MACI chose tau by an effective sample size")
@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("counterfactual", ["text", "text_alone"])
@pytest.mark.parametrize("selection", ["deconfounded", "validation", "oracle", "propensity"])
def test_every_choice_of_tau_works_with_both_variants(selection: str, counterfactual: str, variant: str) -> None:
    model, batch = wrapped(variant=variant, tau_selection=selection, counterfactual=counterfactual)
    with torch.no_grad():
        output = model.predict(batch)
    valid = Scores(output.logits, output.effects, batch.target, batch.index, torch.ones(len(batch)))
    model.calibrate(valid)
    if selection == "oracle":
        assert len(model.oracle(valid)) == 31
    else:
        close(model.rescore(valid), model.predict(batch).logits)
    plain = output.effects["plain"] if variant == "paper" else output.effects["plain"].exp()
    close(plain.sum(-1), torch.ones(len(batch)))


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_no_label_part_is_a_linear_classifier(variant: str) -> None:
    model, batch = wrapped(variant=variant, labels=False, tau_selection="fixed", tau=0.5)
    classifier: Any = model.head.get_submodule("classifier")
    y = classifier(model.backbone(batch).features)
    output = model.predict(batch)
    close(model(batch).logits, y.log_softmax(-1))
    close(output.effects["plain"], y.softmax(-1) if variant == "paper" else y.log_softmax(-1))
    close(output.logits, output.effects["plain"] - 0.5 * output.effects["counterfactual"])
    assert "without its label part" in model.notes()[0]
    assert float(model.head.prior.sum()) == pytest.approx(1)


def test_a_wrapper_that_does_nothing_is_refused_or_says_so() -> None:
    with pytest.raises(MERError, match="MACI debiases neither labels nor language; set one of them to true"):
        MACI(CIDerNet(TOKENS, THREE, dim=8), labels=False, language=False)
    idle = MACI(CIDerNet(SPEC, THREE, dim=8), labels=False)
    idle.prepare([Batch.random(SPEC, THREE, size=4)])
    assert "MACI changed nothing" in idle.notes()[0]


def test_without_wsam_the_text_s_steps_get_means() -> None:
    torch.manual_seed(0)
    net, whole = CIDerNet(SPEC, THREE, dim=8, wsam=False), CIDerNet(SPEC, THREE, dim=8)
    batch = Batch.random(SPEC, THREE, size=4)
    asked: list[Tensor] = []
    net.grus["audio"].register_forward_pre_hook(lambda _, given: asked.append(given[0]))
    output = net(batch)
    close(asked[0], masked_resample(net.project["audio"](batch.audio.x), batch.audio.mask, batch.text.mask))
    assert net.hidden_shape == whole.hidden_shape
    assert output.features.shape == whole(batch).features.shape
    assert not [name for name in net.state_dict() if name.startswith("compress")]


def test_without_mct_the_states_are_pooled_as_they_are() -> None:
    torch.manual_seed(0)
    net, batch = CIDerNet(SPEC, THREE, dim=8, composite=False), Batch.random(SPEC, THREE, size=4)
    states: list[Tensor] = []
    net.grus["text"].register_forward_hook(lambda *given: states.append(given[2][0]))
    output = net(batch)
    close(output.hidden["text"], states[0])
    assert output.attention is None
    assert net.attention_shape is None
    assert MSSD(net).beta == 0
    with pytest.raises(MERError, match="MSSD compares attention maps"):
        MSSD(net, beta=0.1)


@pytest.mark.parametrize("wrapper", [MSSD, MACI])
def test_an_unknown_variant_is_refused(wrapper: Callable[..., Any]) -> None:
    with pytest.raises(MERError, match=r"unknown variant 'printed' of (MSSD|MACI); choose from paper, released"):
        wrapper(CIDerNet(SPEC, THREE), variant="printed")
    with pytest.raises(MERError, match="unknown variant 'printed' of CIDerNet; choose from paper, released"):
        CIDerNet(SPEC, THREE, variant="printed")  # type: ignore[arg-type]
