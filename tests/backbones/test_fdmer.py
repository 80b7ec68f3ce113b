from itertools import combinations
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mer_zoo.backbones import FDMER
from mer_zoo.batch import MODALITIES, Batch, DataSpec
from mer_zoo.data.missing.drop import drop
from mer_zoo.errors import MERError
from mer_zoo.functional.moments import difference_loss, independence_criterion
from mer_zoo.task import SentimentRegression

TASK, SPEC = SentimentRegression(), DataSpec()


def make(spec: DataSpec = SPEC, **options: Any) -> FDMER:
    torch.manual_seed(0)
    model = FDMER(spec, TASK, **{"dim": 6, "heads": 2, **options}).eval()
    model.load_state_dict({key: 2 * value for key, value in model.state_dict().items()})
    return model


def criterion(x: Tensor, y: Tensor) -> Tensor:
    """tr(K H L H) / (B - 1)^2, one equation a line."""
    n = len(x)
    distances = [torch.cdist(z, z).square() for z in (x, y)]
    k, kernel = (torch.exp(-distance / distance.mean()) for distance in distances)
    h = torch.eye(n) - 1 / n
    return torch.trace(k @ h @ kernel @ h) / (n - 1) ** 2


def mlp(p: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    inner = (x @ p[f"{name}.fc1.weight"].T + p[f"{name}.fc1.bias"]).relu()
    return inner @ p[f"{name}.fc2.weight"].T + p[f"{name}.fc2.bias"]


def attended(p: dict[str, Tensor], z: Tensor) -> Tensor:
    """Self-attention of (B, 6, 6) with two heads."""
    q, k, v = (
        z @ w.T + b
        for w, b in zip(p["attention.in_proj_weight"].chunk(3), p["attention.in_proj_bias"].chunk(3), strict=True)
    )
    heads = [(q[..., c] @ k[..., c].mT / 3**0.5).softmax(2) @ v[..., c] for c in (slice(0, 3), slice(3, 6))]
    return torch.cat(heads, 2) @ p["attention.out_proj.weight"].T + p["attention.out_proj.bias"]


@pytest.mark.parametrize("disparity", ["hsic", "overlap"])
def test_every_equation(disparity: str) -> None:
    model, batch = (
        make(disparity=disparity, consistency_weight=0.7, discriminator_weight=0.4),
        Batch.random(SPEC, TASK, size=5),
    )
    p = model.state_dict()
    (step,) = model.steps(batch)
    u = [model._utterance(m, batch.modality(m)) for m in MODALITIES]
    c = [mlp(p, "common", x) for x in u]
    s = [mlp(p, f"private.{m}", x) for m, x in zip(MODALITIES, u, strict=True)]
    z = torch.stack([*c, *s], 1)
    features = (z + attended(p, z)).flatten(1)
    torch.testing.assert_close(step.output.features, features, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(step.output.logits, features @ p["head.weight"].T + p["head.bias"], atol=1e-5, rtol=1e-4)
    origin = torch.arange(3).repeat_interleave(5)
    measure = criterion if disparity == "hsic" else difference_loss
    overlaps = [measure(x, y) for x, y in [*zip(c, s, strict=True), *combinations(s, 2)]]
    expected = {
        "consistency": 0.7 * torch.stack([(x - y).square().mean() for x, y in combinations(c, 2)]).mean(),
        "disparity": 0.1 * torch.stack(overlaps).sum(),
        "private": 0.4 * F.cross_entropy(mlp(p, "discriminator", torch.cat(s)), origin),
        "common": 0.4 * F.cross_entropy(mlp(p, "discriminator", torch.cat(c)), origin),
    }
    for name, loss in expected.items():
        torch.testing.assert_close(step.losses[f"fdmer/{name}"], loss, atol=1e-5, rtol=1e-4)


def test_common_vectors_hide_where_they_come_from_and_private_ones_tell_it() -> None:
    gradients = {}
    for reversal in (1.0, 0.0, 2.0):
        model, batch = make(reversal=reversal), Batch.random(SPEC, TASK, size=4)
        (step,) = model.steps(batch)
        torch.autograd.backward(step.losses["fdmer/common"])
        gradients[reversal] = model.common.fc2.weight.grad
        judge = model.discriminator
        assert judge is not None
        assert judge.fc2.weight.grad is not None
    assert gradients[1.0] is not None
    assert gradients[2.0] is not None
    assert gradients[0.0] is not None
    assert not gradients[0.0].any()
    torch.testing.assert_close(gradients[2.0], 2 * gradients[1.0])
    model = make()
    codes = model(batch).aux.common
    assert model.discriminator is not None
    plain = model.weights["common"] * model._recognise(codes, torch.ones(4, 3, dtype=torch.bool), model.discriminator)
    torch.autograd.backward(plain)
    torch.testing.assert_close(model.common.fc2.weight.grad, -gradients[1.0])


def test_a_missing_modality_has_nothing_to_agree_with() -> None:
    model, batch = make(), Batch.random(SPEC, TASK, size=4)
    gone = drop(batch, {"audio": torch.zeros(4, 1, dtype=torch.bool)}, SPEC)
    (step,) = model.steps(gone)
    c = step.output.aux.common
    alone = (c["text"] - c["vision"]).square().mean() / 3
    torch.testing.assert_close(step.losses["fdmer/consistency"], 0.1 * alone)
    both = torch.cat([c["text"], c["vision"]])
    assert model.discriminator is not None
    origin = torch.tensor([0, 0, 0, 0, 2, 2, 2, 2])
    torch.testing.assert_close(step.losses["fdmer/common"], 0.1 * F.cross_entropy(model.discriminator(both), origin))


def test_losses_that_are_off_and_other_forms() -> None:
    batch = Batch.random(SPEC, TASK, size=3)
    (step,) = make(discriminator_weight=0.0, consistency="moments").steps(batch)
    assert sorted(step.losses) == ["fdmer/consistency", "fdmer/disparity"]
    alone = DataSpec(modalities=["text"])
    (step,) = make(alone).steps(batch)
    assert sorted(step.losses) == ["fdmer/disparity"]


def test_independent_codes_have_a_small_criterion() -> None:
    torch.manual_seed(0)
    x, noise = torch.randn(200, 1), torch.randn(200, 1)
    dependent = independence_criterion(x, x.square())
    assert dependent > 10 * independence_criterion(x, noise)
    torch.testing.assert_close(independence_criterion(9 * x, x.square()), dependent)


def test_refusals() -> None:
    with pytest.raises(MERError, match="unknown disparity 'cosine' of FDMER"):
        make(disparity="cosine")
    with pytest.raises(MERError, match="4 heads do not divide a width of 6"):
        make(heads=4)
