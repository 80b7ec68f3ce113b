"""Mathematics of AGM against the released code's numbers and examples worked by hand."""

from __future__ import annotations

import torch
from golden_cases import golden, gradients
from torch import Tensor
from torch.nn import functional as F

from mer_zoo.functional.gradient_modulation import (
    agm_coefficients,
    enhanced,
    modulated,
    ogm_coefficients,
    ogm_ratios,
    running_mean,
    share_ratios,
)
from mer_zoo.functional.shapley import shapley_values


def toy_logits(params: dict[str, Tensor], text: Tensor, audio: Tensor) -> Tensor:
    """The network of the case; a modality that is taken away is zeros."""
    hidden = F.linear(text.mean(1), params["x.weight"]) + F.linear(audio.mean(1), params["y.weight"], params["y.bias"])
    return F.linear(torch.tanh(hidden), params["proj.weight"], params["proj.bias"])


def agm_loss(
    params: dict[str, Tensor], text: Tensor, audio: Tensor, target: Tensor, running: Tensor
) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """Loss, scores, coefficients and shares of a batch."""
    full = toy_logits(params, text, audio)
    answers = {
        (): torch.zeros_like(full),
        ("text",): toy_logits(params, text, torch.zeros_like(audio)),
        ("audio",): toy_logits(params, torch.zeros_like(text), audio),
        ("text", "audio"): full,
    }
    shares = shapley_values(answers, ["text", "audio"])
    scores = torch.stack([F.cross_entropy(share, target) for share in shares.values()]).detach()
    k = agm_coefficients(scores, running, alpha=1.0, cap=10.0)
    loss = F.cross_entropy(modulated(full, list(shares.values()), k), target, reduction="sum")
    return loss, scores, k, shares


def test_agm_follows_the_released_code() -> None:
    case, grads = golden("agm_steps"), gradients("agm_steps")
    params = {name: value.requires_grad_() for name, value in case.params.items()}
    momentum = {name: torch.zeros_like(value) for name, value in params.items()}
    running = torch.zeros(2)
    for step in range(3):
        text, audio, target = (case.inputs[name][step] for name in ("text", "audio", "target"))
        loss, scores, k, shares = agm_loss(params, text, audio, target, running)
        expected = torch.stack([case.outputs[f"AGM.coefficient_{name}"][step] for name in shares])
        torch.testing.assert_close(k, expected, atol=1e-5, rtol=1e-5)
        if step == 0:
            torch.testing.assert_close(shares["text"], case.outputs["m_text"], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(shares["audio"], case.outputs["m_audio"], atol=1e-5, rtol=1e-5)
        running = running_mean(running, torch.tensor(step), scores)
        found = dict(zip(params, torch.autograd.grad(loss, list(params.values())), strict=True))
        if case.outputs["AGM.clipped"][step]:  # to norm 1, by the released condition
            norm = torch.stack([grad.norm() for grad in found.values()]).norm()
            found = {name: grad / (norm + 1e-6) for name, grad in found.items()}
        for name, parameter in params.items():
            torch.testing.assert_close(found[name], grads[f"AGM.step{step}.{name}"], atol=1e-5, rtol=1e-5)
            momentum[name] = 0.9 * momentum[name] + found[name] + 1e-4 * parameter.detach()
            parameter.data -= 0.05 * momentum[name]
    for place, name in enumerate(("text", "audio")):
        torch.testing.assert_close(running[place], case.outputs[f"AGM.running_{name}"], atol=1e-5, rtol=1e-5)
    for name, parameter in params.items():
        torch.testing.assert_close(parameter.detach(), case.outputs[f"AGM.after.{name}"], atol=1e-4, rtol=1e-4)


def test_agm_of_three_by_hand() -> None:
    scores, running = torch.tensor([0.5, 0.8, 1.1]), torch.tensor([0.6, 0.8, 1.0])
    torch.testing.assert_close(share_ratios(scores), torch.tensor([1.5683, 1.0, 0.6376]), atol=1e-4, rtol=0)
    torch.testing.assert_close(share_ratios(running), torch.tensor([1.3499, 1.0, 0.7408]), atol=1e-4, rtol=0)
    found = agm_coefficients(scores, running, alpha=1.0, cap=10.0)
    torch.testing.assert_close(found, torch.tensor([0.8039, 1.0, 1.1087]), atol=2e-4, rtol=0)
    assert (
        agm_coefficients(torch.tensor([9.0, 0.0]), torch.tensor([0.0, 9.0]), 1.0, 2.0).max() == torch.tensor(2.0).exp()
    )


def test_gradients_of_the_passes_of_two_modalities() -> None:
    """(k_a + k_t) / 2, (k_t - k_a) / 2 and (k_a - k_t) / 2 of that of the logits."""
    passes = [torch.randn(2, 3, requires_grad=True) for _ in range(3)]
    answers = dict(zip([("t", "a"), ("t",), ("a",)], passes, strict=True)) | {(): torch.zeros(2, 3)}
    shares = shapley_values(answers, ["t", "a"])
    k_t, k_a = 0.7, 1.9
    logits = modulated(passes[0], list(shares.values()), torch.tensor([k_t, k_a]))
    assert torch.equal(logits, passes[0])
    for found, factor in zip(torch.autograd.grad(logits.sum(), passes), (k_a + k_t, k_t - k_a, k_a - k_t), strict=True):
        torch.testing.assert_close(found, torch.full((2, 3), factor / 2))


def test_shapley_values_are_those_of_balancebenchmark() -> None:
    case = golden("modality_shapley")
    subsets = [(), ("text",), ("audio",), ("vision",), ("text", "audio"), ("text", "vision"), ("audio", "vision")]
    values = dict(zip([*subsets, ("text", "audio", "vision")], case.inputs["value"].unbind(), strict=True))
    found = torch.stack(list(shapley_values(values, ["text", "audio", "vision"]).values()))
    torch.testing.assert_close(found, case.outputs["shapley"], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(found.sum(), case.inputs["value"][-1] - case.inputs["value"][0])


def label_probability(logits: Tensor, target: Tensor) -> Tensor:
    return logits.softmax(1).gather(1, target[:, None]).squeeze(1)


def test_ogm_follows_the_released_code() -> None:
    case, grads = golden("ogm_ge_step"), gradients("ogm_ge_step")
    names = ["audio", "vision"]
    scores = torch.stack([label_probability(case.outputs[f"logits_{m}"], case.inputs["target"]).sum() for m in names])
    torch.testing.assert_close(scores, torch.stack([case.outputs[f"score_{m}"] for m in names]), atol=1e-5, rtol=1e-5)
    k = ogm_coefficients(ogm_ratios(scores), case.config["alpha"])
    torch.testing.assert_close(k, torch.stack([case.outputs[f"coefficient_{m}"] for m in names]), atol=1e-5, rtol=1e-5)
    for name, plain in ((n.removeprefix("Normal."), g) for n, g in grads.items() if n.startswith("Normal.")):
        place = {"audio_net": 0, "visual_net": 1}.get(name.split(".")[0])
        acts = place is not None and plain.dim() == 4  # the code means convolutions alone
        noise = case.inputs[f"noise.{name}"] if acts else None
        for mode, given in {"OGM": None, "OGM_GE": noise}.items():
            found = enhanced(plain, k[place], given) if acts else plain
            torch.testing.assert_close(found, grads[f"{mode}.{name}"], atol=1e-5, rtol=1e-5)


def test_ogm_of_three_is_balancebenchmarks_but_for_its_slips() -> None:
    case, names = golden("ogm_three"), ["text", "audio", "vision"]
    target, alpha = case.inputs["target"], case.config["alpha"]
    logits = [case.inputs[f"logits_{name}"] for name in names]
    scores = torch.stack([label_probability(each, target).sum() for each in logits])
    over = scores[:, None] / (scores + 1e-5)
    slipped = (over.sum(1) - over.diagonal()) / torch.tensor([1.0, 1.0, 2.0])  # the last alone is a mean
    expected = case.outputs["OGM_GE3.coefficient"]
    torch.testing.assert_close(ogm_coefficients(slipped, alpha), expected, atol=1e-5, rtol=1e-5)
    right = torch.stack([(label_probability(each.cos(), target) * (each.argmax(1) == target)).sum() for each in logits])
    found = ogm_coefficients(right / (right.min() + 1e-5), alpha)
    torch.testing.assert_close(found, case.outputs["OGM_GE.coefficient"], atol=1e-5, rtol=1e-5)
    ratios = ogm_ratios(torch.tensor([4.0, 2.0, 2.0]))
    torch.testing.assert_close(ratios, torch.tensor([2.0, 2 / 3, 2 / 3]))
    assert ogm_coefficients(ogm_ratios(torch.tensor([2.0, 2.0])), alpha).tolist() == [1.0, 1.0]
