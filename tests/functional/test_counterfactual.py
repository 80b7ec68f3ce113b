"""The formulas against a literal transcription, numbers worked out by hand, and the released code's golden vectors."""

import json
import math
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from mer_zoo.errors import MERError
from mer_zoo.functional.counterfactual import (
    Effects,
    Fusion,
    balance_divergence,
    direct_divergence,
    divergence,
    effects,
    fuse,
    total_direct_effect,
    total_indirect_effect,
)
from mer_zoo.functional.variants import Variant

GOLDEN = Path(__file__).parents[1] / "golden"
FUSIONS: tuple[Fusion, ...] = get_args(Fusion)
RELEASED = {"mask": "mask", "sum": "sum", "harmonic": "hm", "tanh": "tanh"}
LETTERS = {"text": "t", "audio": "a", "vision": "v"}
ONES = dict.fromkeys(LETTERS, 1.0)


def load(stem: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    return load_file(GOLDEN / f"{stem}.safetensors"), json.loads((GOLDEN / f"{stem}.json").read_text())["config"]


def close(actual: Tensor | None, expected: Tensor) -> None:
    assert actual is not None
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


class Leaves:
    """The golden inputs as leaf tensors, so that every gradient can be asked for, and none is a zero."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.y = {name: tensors[f"in.y_{letter}"].clone().requires_grad_() for name, letter in LETTERS.items()}
        self.c = {name: tensors[f"in.c_{letter}"].clone().requires_grad_() for name, letter in LETTERS.items()}
        self.y_m = tensors["in.y_m"].clone().requires_grad_()

    def gradients(self) -> dict[str, Tensor]:
        named = {"y_m": self.y_m}
        named |= {f"y_{letter}": self.y[name] for name, letter in LETTERS.items()}
        named |= {f"c_{letter}": self.c[name] for name, letter in LETTERS.items()}
        return {name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for name, leaf in named.items()}

    def detached_logits(self) -> tuple[dict[str, Tensor], Tensor]:
        return {name: value.detach() for name, value in self.y.items()}, self.y_m.detach()


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize(("kind", "prefix"), [("z", ""), ("x", "ext.")])
def test_released_fusion(fusion: Fusion, kind: str, prefix: str) -> None:
    tensors, _ = load("causalmer_fusion")
    for flags in product("01", repeat=4):
        y_m, *y = (
            tensors[f"in.{kind}_{letter}"] if flag == "1" else tensors["in.constant"].expand(4, 7)
            for letter, flag in zip("mtav", flags, strict=True)
        )
        close(fuse(y, y_m, fusion), tensors[f"out.{RELEASED[fusion]}.{prefix}m{''.join(flags)}"])


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("flags", ["1111", "0100", "0000"])
def test_released_fusion_gradients(fusion: Fusion, flags: str) -> None:
    tensors, _ = load("causalmer_fusion")
    leaves = {name: tensors[f"in.{name}"].clone().requires_grad_() for name in ("z_m", "z_t", "z_a", "z_v", "constant")}
    y_m, *y = (
        leaves[f"z_{letter}"] if flag == "1" else leaves["constant"].expand(4, 7)
        for letter, flag in zip("mtav", flags, strict=True)
    )
    (fuse(y, y_m, fusion) * tensors["in.cot"]).sum().backward()  # type: ignore[no-untyped-call]
    for name, leaf in leaves.items():
        found = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        close(found, tensors[f"grad.{RELEASED[fusion]}.m{flags}.{name}"])


def test_fusions_by_hand() -> None:
    y, y_m = [torch.tensor([math.log(3.0)]), torch.tensor([0.0]), torch.tensor([0.0])], torch.tensor([2.0])
    assert fuse(y, y_m, "mask").item() == pytest.approx(1.5)  # sigmoid(log 3) = 3/4
    assert fuse(y, torch.tensor([0.0]), "sum").item() == pytest.approx(math.log(0.75))
    # 3/4 * 1/2 * 1/2 * 1/2 = 3/32, and (3/32) / (1 + 3/32) = 3/35
    assert fuse(y, torch.tensor([0.0]), "harmonic").item() == pytest.approx(math.log(3 / 35))
    assert fuse(y, y_m, "tanh").item() == pytest.approx(2 + 0.8)  # tanh(log 3) = (3 - 1/3) / (3 + 1/3)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("size", [-1e4, -90.0, 90.0, 1e4])
def test_fusions_stay_finite_and_right_at_the_extremes(fusion: Fusion, size: float) -> None:
    z = torch.full((4,), size, requires_grad=True)
    h = fuse([z, z, z], z, fusion)
    h.sum().backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()
    wide = z.detach().double()
    torch.testing.assert_close(h.detach().double(), fuse([wide, wide, wide], wide, fusion), atol=1e-6, rtol=1e-6)


def test_unknown_fusion() -> None:
    with pytest.raises(MERError, match="unknown fusion 'lm'; choose mask"):
        fuse([torch.zeros(1)], torch.zeros(1), "lm")  # type: ignore[arg-type]


@pytest.mark.parametrize("classes", [2, 7, 8])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_released_effects_and_their_gradients(fusion: Fusion, classes: int) -> None:
    tensors, _ = load(f"causalmer_effects_k{classes}")
    mode = RELEASED[fusion]

    def check(name: str, kind: str, frozen: str) -> None:
        leaves = Leaves(tensors)
        if frozen == "constants":
            found = effects(leaves.y, leaves.y_m, {k: c.detach() for k, c in leaves.c.items()}, fusion, "released")
        else:
            found = effects(*leaves.detached_logits(), leaves.c, fusion, "released")
        value = {
            "factual": found.factual,
            "te": found.te,
            "nde": total_direct_effect(found.nde, ONES),
            "tie": total_indirect_effect(found.te, found.nde, ONES),
            **{f"nde_{LETTERS[k]}": nde for k, nde in found.nde.items()},
        }[kind]
        close(value, tensors[f"out.{mode}.{name}"])
        if f"grad.{mode}.{name}.y_m" in tensors:
            (value * tensors["in.cot"]).sum().backward()  # type: ignore[no-untyped-call]
            for key, gradient in leaves.gradients().items():
                close(gradient, tensors[f"grad.{mode}.{name}.{key}"])

    check("logits_te", "factual", "constants")
    check("logits_causal_mer", "tie", "constants")
    for name in ("te", "nde", "nde_t", "nde_a", "nde_v"):
        check(f"z_{name}", name, "logits")


def released_pieces(found: Effects) -> dict[str, Tensor]:
    te, t, a, v = found.te, *found.nde.values()
    pairs = {"ta": (t, a), "av": (a, v), "vt": (v, t), "t": (te, t), "a": (te, a), "v": (te, v)}
    return {name: divergence(p, q, "released") for name, (p, q) in pairs.items()}


@pytest.mark.parametrize("classes", [1, 2, 7, 8])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_released_loss_pieces_and_gradients(fusion: Fusion, classes: int) -> None:
    tensors, config = load(f"causalmer_loss_k{classes}")
    mode, leaves, labels = RELEASED[fusion], Leaves(tensors), tensors["in.labels"]
    found = effects(*leaves.detached_logits(), leaves.c, fusion, "released")
    kl = direct_divergence(found.te, found.nde, ONES, "released").mean()
    balance = balance_divergence(found.te, found.nde, ONES, "released").mean()
    close(kl, tensors[f"out.{mode}.kl_loss_main"])
    close(kl + balance, tensors[f"out.{mode}.kl_loss"])
    for name, piece in released_pieces(found).items():
        close(piece.mean(), tensors[f"out.{mode}.kl_loss_{name}"])

    def criterion(logits: Tensor) -> Tensor:
        if classes == 1:
            return (logits - labels).abs().mean()
        return F.cross_entropy(logits.view(-1, 2) if classes == 8 else logits, labels)

    task = {"te": fuse(list(leaves.y.values()), leaves.y_m, fusion)}
    task |= {letter: leaves.y[name] for name, letter in LETTERS.items()}
    for name, logits in task.items():
        close(criterion(logits), tensors[f"out.{mode}.{name}_loss"])
    cls_loss = config["alpha"] * torch.stack([criterion(logits) for logits in task.values()]).sum()
    loss = cls_loss + config["beta"] * (kl + balance)
    close(cls_loss, tensors[f"out.{mode}.cls_loss_weighted"])
    close(loss, tensors[f"out.{mode}.loss"])
    loss.backward()
    for key, gradient in leaves.gradients().items():
        close(gradient, tensors[f"grad.{mode}.{key}"])


def h_literal(t: Tensor, a: Tensor, v: Tensor, m: Tensor, fusion: str) -> Tensor:
    s = torch.sigmoid
    product_of_all = s(t) * s(a) * s(v) * s(m)
    return {
        "mask": m * s(t + a + v),
        "sum": torch.log(s(t + a + v + m)),
        "harmonic": torch.log(product_of_all / (1 + product_of_all)),
        "tanh": m + torch.tanh(t) + torch.tanh(a) + torch.tanh(v),
    }[fusion]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_paper_effects_against_a_literal_transcription(fusion: Fusion) -> None:
    torch.manual_seed(0)
    t, a, v, m = torch.randn(4, 5, 4, 2)
    ct, ca, cv = torch.tensor([0.7, -0.4, 0.25])
    star = ct + ca + cv
    none = h_literal(ct, ca, cv, star, fusion)
    found = effects({"text": t, "audio": a, "vision": v}, m, {"text": ct, "audio": ca, "vision": cv}, fusion)
    close(found.te, h_literal(t, a, v, m, fusion) - none)
    close(found.nde["text"], h_literal(t, ca, cv, star, fusion) - none)
    close(found.nde["audio"], h_literal(ct, a, cv, star, fusion) - none)
    close(found.nde["vision"], h_literal(ct, ca, v, star, fusion) - none)
    tie = (
        h_literal(t, a, v, m, fusion)
        - h_literal(t, ca, cv, star, fusion)
        - h_literal(ct, a, cv, star, fusion)
        - h_literal(ct, ca, v, star, fusion)
        + 2 * none
    )
    close(total_indirect_effect(found.te, found.nde, ONES), tie)


def test_paper_effects_by_hand() -> None:
    log3 = torch.tensor([[math.log(3.0), 0.0]])
    y = {"text": log3, "audio": torch.zeros(1, 2), "vision": torch.zeros(1, 2)}
    c = {"text": torch.tensor(1.0), "audio": torch.tensor(1.0), "vision": torch.tensor(-2.0)}
    found = effects(y, torch.tensor([[4.0, 4.0]]), c)  # mask fusion; m* = 0, so every blocked h is 0
    close(found.te, torch.tensor([[3.0, 2.0]]))
    close(total_direct_effect(found.nde, ONES), torch.zeros(1, 2))
    c["vision"] = torch.tensor(-1.0)  # m* = 1, nothing seen: sigmoid(1)
    found = effects(y, torch.tensor([[4.0, 4.0]]), c)
    nothing = 1 / (1 + math.exp(-1))
    close(found.te, torch.tensor([[3.0, 2.0]]) - nothing)
    close(found.nde["text"], torch.tensor([[0.75, 0.5]]) - nothing)  # sigmoid(log 3 + 1 - 1), sigmoid(0)
    close(found.nde["audio"], torch.tensor([[0.5, 0.5]]) - nothing)
    close(found.nde["vision"], torch.tensor([[1.0, 1.0]]) / (1 + math.exp(-2)) - nothing)


def test_effects_of_two_modalities_and_of_one() -> None:
    torch.manual_seed(1)
    t, a, m = torch.randn(3, 4, 3)
    ct, ca = torch.tensor([0.3, -0.9])
    found = effects({"text": t, "audio": a}, m, {"text": ct, "audio": ca}, "sum")
    none = F.logsigmoid(2 * (ct + ca))
    close(found.te, F.logsigmoid(t + a + m) - none)
    close(found.nde["text"], F.logsigmoid(t + ca + ct + ca) - none)
    single = effects({"text": t}, m, {"text": ct}, "tanh")
    close(single.te, m + torch.tanh(t) - ct - torch.tanh(ct))
    close(single.nde["text"], torch.tanh(t) - torch.tanh(ct))


def test_divergence_by_hand_and_per_emotion() -> None:
    p, q = torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2)
    kl = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert divergence(p, q).item() == pytest.approx(kl)
    assert divergence(p, q, "released").item() == pytest.approx(math.log(2))
    two_emotions = torch.stack([p, q], 1), torch.stack([q, q], 1)
    assert divergence(*two_emotions).item() == pytest.approx(kl / 2)
    # over all outputs P = (1/2, 1/6, 1/6, 1/6) and Q is uniform
    assert divergence(*two_emotions, "released").item() == pytest.approx(math.log(4))


@pytest.mark.parametrize("shape", [(5, 3), (5, 4, 2)])
def test_paper_losses_against_a_literal_transcription(shape: tuple[int, ...]) -> None:
    torch.manual_seed(2)
    te, t, a, v = torch.randn(4, *shape)
    nde = {"text": t, "audio": a, "vision": v}

    def kl(p: Tensor, q: Tensor) -> Tensor:
        rows = F.kl_div(q.log_softmax(-1), p.softmax(-1), reduction="none").sum(-1)
        return rows.flatten(1).mean(1) if rows.dim() > 1 else rows

    close(direct_divergence(te, nde, ONES), kl(te, t + a + v))
    close(balance_divergence(te, nde, ONES), kl(t, a) + kl(a, v) + kl(v, t) + kl(te, t) + kl(te, a) + kl(te, v))
    no_audio = {"text": 1.0, "audio": 0.0, "vision": 0.5}
    close(direct_divergence(te, nde, no_audio), kl(te, t + 0.5 * v))
    close(balance_divergence(te, nde, no_audio), kl(v, t) + kl(te, t) + kl(te, v))
    close(total_indirect_effect(te, nde, no_audio), te - t - 0.5 * v)
    text_vision = {"text": t, "vision": v}
    close(balance_divergence(te, text_vision, ONES), kl(v, t) + kl(te, t) + kl(te, v))
    assert balance_divergence(te, nde, dict.fromkeys(nde, 0.0)).tolist() == [0.0] * 5


@pytest.mark.parametrize("variant", get_args(Variant))
def test_tanh_leaves_the_multimodal_logits_less_a_constant(variant: Variant) -> None:
    """So that branches and constants do not matter for what is predicted."""
    generator = torch.Generator().manual_seed(0)
    t, a, v, y_m = (3 * torch.randn(8, 3, generator=generator, dtype=torch.float64) for _ in range(4))
    c = {name: torch.tensor(value, dtype=torch.float64) for name, value in zip("tav", (0.7, -1.2, 2.0), strict=True)}
    found = effects({"t": t, "a": a, "v": v}, y_m, c, "tanh", variant)
    shift = y_m - total_indirect_effect(found.te, found.nde, dict.fromkeys("tav", 1.0))
    close(shift, shift[0, 0].expand(8, 3))
    if variant == "paper":
        close(shift[0, 0], sum(c.values(), torch.zeros((), dtype=torch.float64)))  # m*


def test_harmonic_saturates() -> None:
    y_m = torch.tensor([0.0, 4.0, 8.0], dtype=torch.float64, requires_grad=True)
    fused = fuse([torch.full((3,), 8.0, dtype=torch.float64)] * 3, y_m, "harmonic")
    fused.sum().backward()  # type: ignore[no-untyped-call]
    assert fused.max() < math.log(0.5)
    assert y_m.grad is not None
    assert y_m.grad[0] > 0.3
    assert y_m.grad[1:].max() < 0.01


@pytest.mark.parametrize("variant", get_args(Variant))
def test_tanh_leaves_the_constants_without_a_gradient(variant: Variant) -> None:
    tensors, _ = load("causalmer_effects_k7")
    leaves = Leaves({name: tensor.double() for name, tensor in tensors.items()})
    found = effects(*leaves.detached_logits(), leaves.c, "tanh", variant)
    loss = direct_divergence(found.te, found.nde, ONES, variant) + balance_divergence(
        found.te, found.nde, ONES, variant
    )
    loss.sum().backward()  # type: ignore[no-untyped-call]
    for name, letter in LETTERS.items():
        assert leaves.gradients()[f"c_{letter}"].abs() < 1e-14, name
