"""Mathematics of MMPareto against the released code's numbers."""

from __future__ import annotations

import pytest
import torch
from golden_cases import golden, gradients
from torch import Tensor
from torch.nn import functional as F

from mer_zoo.functional.gradient_conflict import cosine, pareto_gradient, pareto_weights


def encoded(params: dict[str, Tensor], net: str, x: Tensor) -> Tensor:
    hidden = torch.tanh(F.linear(x, params[f"{net}.0.weight"], params[f"{net}.0.bias"]))
    return F.linear(hidden, params[f"{net}.2.weight"], params[f"{net}.2.bias"])


@pytest.mark.parametrize("step", range(4))
def test_mmpareto_follows_the_released_code(step: int) -> None:
    case, grads = golden("mmpareto_grads"), gradients("mmpareto_grads")
    params = {name: value.requires_grad_() for name, value in case.params.items()}
    target = case.inputs["target"][step]
    vectors = {
        "audio": encoded(params, "audio_net", case.inputs["audio"][step]),
        "video": encoded(params, "visual_net", case.inputs["vision"][step]),
    }
    heads = {"head": torch.cat(list(vectors.values()), 1), **{f"head_{name}": x for name, x in vectors.items()}}
    losses = {
        head: F.cross_entropy(F.linear(x, params[f"{head}.weight"], params[f"{head}.bias"]), target)
        for head, x in heads.items()
    }
    total = dict(
        zip(
            params,
            torch.autograd.grad(torch.stack(list(losses.values())).sum(), list(params.values()), retain_graph=True),
            strict=True,
        )
    )
    for name, plain in total.items():
        torch.testing.assert_close(plain, grads[f"uniform.step{step}.{name}"], atol=1e-5, rtol=1e-5)
    for place, (modality, net) in enumerate({"audio": "audio_net", "video": "visual_net"}.items()):
        own = {name: parameter for name, parameter in params.items() if name.startswith(net)}
        joint, alone = (
            torch.autograd.grad(losses[head], list(own.values()), retain_graph=True)
            for head in ("head", f"head_{modality}")
        )
        flat = [torch.cat([gradient.flatten() for gradient in each]) for each in (joint, alone)]
        torch.testing.assert_close(cosine(*flat), case.outputs["cosine"][step, place], atol=1e-5, rtol=1e-5)
        weights = pareto_weights(*flat)
        torch.testing.assert_close(weights, case.outputs["k"][step, place], atol=1e-5, rtol=1e-5)
        for name, first, second in zip(own, joint, alone, strict=True):
            found = pareto_gradient(first, second, weights, case.config["gamma"])
            torch.testing.assert_close(found, grads[f"mmpareto.step{step}.{name}"], atol=1e-5, rtol=1e-5)


def test_the_cases_have_agreement_and_conflict() -> None:
    found = golden("mmpareto_grads").outputs["cosine"]
    assert (found > 0).any()
    assert (found < 0).any()


def test_gradients_that_cancel_stay() -> None:
    g = torch.tensor([1.0, -2.0])
    weights = pareto_weights(g, -g)
    torch.testing.assert_close(weights, torch.tensor([0.5, 0.5]))
    assert torch.equal(pareto_gradient(g, -g, weights, 1.5), torch.zeros(2))
    assert pareto_weights(torch.zeros(2), torch.zeros(2)).isfinite().all()
    assert pareto_weights(g, torch.zeros(2)).isfinite().all()
