from typing import Any

import pytest
import torch
from golden_cases import golden, gradients

from mer_zoo.backbones import GLoMo
from mer_zoo.backbones.glomo.experts import MixtureOfExperts
from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.errors import MERError
from mer_zoo.task import SentimentRegression

TASK = SentimentRegression()
SMALL: dict[str, Any] = {"dim": 8, "heads": 2, "depth": 1, "ffn_dim": 16, "fusion_depth": 1}
NAMES = {"text": "t", "audio": "a", "vision": "v"}
CASE = golden("glomo_k2")


def close(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def released(variant: Any = "released") -> tuple[GLoMo, Batch, dict[str, str]]:
    config, given = CASE.config, CASE.inputs
    steps = config["T"]
    dims = (config["TEXT_DIM"], config["ACOUSTIC_DIM"], config["VISUAL_DIM"])
    spec = DataSpec(*dims, steps, steps, steps, tokens=True, vocab_size=120)
    encoder = {"model_type": "bert", **config["bert"]}
    sizes = {"dim": config["d_l"], "heads": config["num_heads"], "depth": config["layers"], "k": config["k"]}
    model = GLoMo(spec, TASK, encoder, **sizes, variant=variant).eval()
    report = load_released(model, CASE.params, "glomo")
    assert report.kept == {}
    assert {key.rpartition(".")[2] for key in report.unused} == {"mean", "std"}
    mask = given["attention_mask"].bool()
    text = Modality(given["input_ids"].long(), mask)
    audio, vision = (Modality(given[name], mask) for name in ("audio", "vision"))
    return model, Batch(text, audio, vision, given["labels"], torch.arange(len(mask))), report.used


def test_the_released_network() -> None:
    model, batch, used = released()
    out = CASE.outputs
    output = model(batch)
    close(output.logits, out["logits"])
    close(output.features, out["joint"])
    for name, letter in NAMES.items():
        close(output.aux.mixtures[name].said, out[f"local_{letter}"])
        close(output.aux.mixtures[name].balance, out[f"balance_{letter}"])
    for scale in ("global", "local"):
        close(output.aux.weights[scale], out[f"attention_{scale}"])
    (balance,) = model.losses(output, batch).values()
    close(balance, out["loss.balance"])
    total = (output.logits.squeeze(1) - batch.target).abs().mean() + balance
    close(total, out["loss.total"])
    torch.autograd.backward(total)
    parameters = dict(model.named_parameters())
    for key, expected in gradients("glomo_k2").items():
        close(parameters[used[key]].grad, expected)


@pytest.mark.parametrize("letter", NAMES.values())
def test_the_mixtures_in_training(letter: str) -> None:
    model, _, _ = released()
    mixture = model.mixtures[{value: key for key, value in NAMES.items()}[letter]].train()
    out = CASE.outputs
    routed = mixture(CASE.inputs[f"moe_{letter}.x"], CASE.inputs[f"moe_{letter}.noise"])
    for name in ("gates", "load", "balance"):
        close(getattr(routed, name), out[f"moe_{letter}.{name}"])
    close(routed.said, out[f"moe_{letter}.y"])


def test_ours_reads_no_padding_and_takes_the_mean_of_experts() -> None:
    model, batch, _ = released("ours")
    assert not model.fixed_length
    bare = model(batch).logits
    assert not torch.allclose(bare, CASE.outputs["logits"], atol=1e-3)
    loud = {name: modality.x + 9 * ~modality.mask[..., None] for name in ("audio", "vision")
            for modality in [batch.modality(name)]}  # fmt: skip
    noisy = batch.replace(**{name: batch.modality(name).replace(x=x) for name, x in loud.items()})
    close(model(noisy).logits, bare)
    mixture = model.mixtures["text"]
    assert isinstance(mixture, MixtureOfExperts)
    said = torch.stack([expert(torch.ones(1, 24)) for expert in mixture.experts], 1)
    routed = mixture(torch.ones(1, 24))
    close(routed.said, (routed.gates[..., None] * said).sum(1))


def test_expected_load_is_the_share_of_new_draws_that_choose_an_expert() -> None:
    torch.manual_seed(0)
    mixture = MixtureOfExperts(4, 4, experts=3, k=2).train()
    torch.nn.init.normal_(mixture.w_gate)
    x, noise = torch.randn(1, 4), torch.zeros(1, 3)
    found = mixture(x, noise).load
    draws = torch.randn(20000)
    for e in range(3):
        others = noise.repeat(20000, 1)
        others[:, e] = draws
        chosen = mixture(x.expand(20000, 4), others).gates[:, e] > 0
        assert found[e].item() == pytest.approx(chosen.float().mean().item(), abs=0.02)


def test_noise_moves_gates_in_training_alone() -> None:
    torch.manual_seed(0)
    mixture = MixtureOfExperts(4, 4, experts=3, k=2)
    x = torch.randn(6, 4)
    assert not torch.equal(mixture(x).gates, mixture(x).gates)
    mixture.eval()
    assert torch.equal(mixture(x).gates, mixture(x).gates)
    still = MixtureOfExperts(4, 4, experts=3, k=2, noise=False)
    assert torch.equal(still(x).gates, still(x).gates)
    assert "w_noise" not in still.state_dict()


def test_every_expert_and_gate_learns_with_noise() -> None:
    torch.manual_seed(0)
    spec = DataSpec()
    model, batch = GLoMo(spec, TASK, **SMALL), Batch.random(spec, TASK, size=16)
    (step,) = model.steps(batch)
    torch.autograd.backward(step.output.logits.sum() + sum(step.losses.values()))
    silent = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert [key for key in silent if not key.startswith("text_")] == []


def test_refusals() -> None:
    with pytest.raises(MERError, match="k of GLoMo is 4, but a sample goes to at least 1 of its 3 experts"):
        GLoMo(DataSpec(), TASK, **SMALL, k=4)
    with pytest.raises(MERError, match="dim of GLoMo is 8 with 3 heads"):
        GLoMo(DataSpec(), TASK, dim=8, heads=3)
    with pytest.raises(MERError, match=r"chunks \[0, 3, 3\]"):
        GLoMo(DataSpec(), TASK, **SMALL, chunks=(0, 3, 3))
    with pytest.raises(MERError, match="unknown variant 'theirs' of GLoMo; choose from ours, released"):
        GLoMo(DataSpec(), TASK, **SMALL, variant="theirs")  # type: ignore[arg-type]
