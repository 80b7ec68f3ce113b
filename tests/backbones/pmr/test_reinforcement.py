from typing import Any

import pytest
import torch
from golden_cases import golden
from torch import nn

from mer_zoo.backbones.pmr.reinforcement import MessageUpdate, ReinforcementUnit, gated_mix
from mer_zoo.errors import MERError
from mer_zoo.layers.attention import Visibility, visibility

R1 = {
    "self_attn.": "attention.",
    "SA_affline.": "gate_self.",
    "CA_affline.": "gate_cross.",
    "layer_norms.0.": "norm0.",
    "layer_norms.1.": "norm1.",
}


def rename(key: str) -> str:
    for old, new in R1.items():
        key = key.replace(old, new)
    return key


@pytest.mark.parametrize("name", ["pmr_mru_r1_hub_to_modality", "pmr_mru_r1_modality_to_hub"])
def test_third_party_unit(name: str) -> None:
    config, params, inputs, outputs = golden(name)
    unit = ReinforcementUnit(config["d"], config["heads"], "r1").eval()
    unit.load_state_dict({rename(key): value for key, value in params.items()})
    target, source = (inputs[key].transpose(0, 1) for key in ("target", "source"))
    views = [visibility(target, keys, config["attn_mask"]) for keys in (target, source)]
    kept, crossed = unit.branches(target, source, *views)
    out, gate = unit(target, source, *views)
    found = {"self_branch": kept, "cross_branch": crossed, "gate": gate, "out": out}
    for key, value in found.items():
        torch.testing.assert_close(value.transpose(0, 1), outputs[key], atol=1e-5, rtol=1e-4)


def unit_and_inputs(**options: Any) -> tuple[ReinforcementUnit, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return ReinforcementUnit(8, 2, **options).eval(), torch.randn(2, 3, 8), torch.randn(2, 5, 8)


def literal(unit: ReinforcementUnit, target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """The equations, with torch's own attention."""

    def attend(mine: Any, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        theirs = nn.MultiheadAttention(8, 2, batch_first=True)
        theirs.load_state_dict(mine.state_dict())
        found: torch.Tensor = theirs(queries, keys, keys)[0]
        return found

    assert unit.source_norm is not None
    t, s = unit.norm0(target), unit.source_norm(source)
    zx, zs = attend(unit.attention, t, s), attend(unit.self_attention, t, t)
    g = torch.sigmoid(zs @ unit.gate_self.weight.T + zx @ unit.gate_cross.weight.T + unit.gate_cross.bias)
    x = target + g * zs + (1 - g) * zx
    out: torch.Tensor = x + unit.fc2(torch.relu(unit.fc1(unit.norm1(x))))
    return out


def test_separate_unit_is_the_equations() -> None:
    unit, target, source = unit_and_inputs()
    out, _ = unit(target, source, Visibility(), Visibility())
    torch.testing.assert_close(out, literal(unit, target, source))


@pytest.mark.parametrize("options", [{"gate": "cross"}, {"residual": "branches"}, {"residual": "none"}])
def test_each_option_changes_what_comes_out(options: dict[str, Any]) -> None:
    plain, target, source = unit_and_inputs()
    other, *_ = unit_and_inputs(**options)
    other.load_state_dict(plain.state_dict())
    views = (Visibility(), Visibility())
    assert not torch.allclose(plain(target, source, *views)[0], other(target, source, *views)[0])


def test_gate_names_the_branch_that_an_open_gate_lets_through() -> None:
    for gate, open_branch in (("self", 0), ("cross", 1)):
        unit, target, source = unit_and_inputs(gate=gate, residual="none")
        nn.init.constant_(unit.gate_cross.bias, 100.0)
        views = (Visibility(), Visibility())
        out, _ = unit(target, source, *views)
        torch.testing.assert_close(out, unit.position_wise(unit.branches(target, source, *views)[open_branch]))


def test_gated_mix_lies_between_its_ends() -> None:
    kept, crossed = torch.tensor([1.0, 1.0, 1.0]), torch.tensor([-1.0, -1.0, -1.0])
    assert gated_mix(kept, crossed, torch.tensor([1.0, 0.5, 0.0])).tolist() == [1.0, 0.0, -1.0]


@pytest.mark.parametrize("scoring", ["pooled", "full", "mean"])
def test_message_update_is_the_equations(scoring: Any) -> None:
    torch.manual_seed(0)
    update = MessageUpdate(["text", "audio"], 4, scoring, length=3).eval()
    candidates = {"text": torch.randn(2, 3, 4), "audio": torch.randn(2, 3, 4)}
    real = torch.ones(2, 2, dtype=torch.bool)
    hub, alpha = update(candidates, real)
    for i in range(2):
        mu = []
        for name, x in candidates.items():
            vector = x[i].flatten() if scoring == "full" else x[i].mean(0)
            scored = scoring != "mean"
            mu.append(update.score(torch.tanh(update.project[name](vector))) if scored else torch.zeros(1))
        expected = torch.cat(mu).softmax(0)
        torch.testing.assert_close(alpha[i], expected)
        mixed = sum(a * x[i] for a, x in zip(expected, candidates.values(), strict=True))
        torch.testing.assert_close(hub[i], update.position_wise(mixed))


def test_modalities_without_anything_real_get_no_weight() -> None:
    update = MessageUpdate(["text", "audio", "vision"], 4)
    candidates = {name: torch.randn(3, 2, 4) for name in ("text", "audio", "vision")}
    real = torch.tensor([[True, False, True], [True, True, True], [False, False, False]])
    alpha = update(candidates, real)[1]
    assert (alpha > 0).tolist() == [[True, False, True], [True] * 3, [True] * 3]
    torch.testing.assert_close(alpha.sum(1), torch.ones(3))


def test_refusals() -> None:
    for options in ({"unit": "r2"}, {"gate": "both"}, {"residual": "all"}):
        with pytest.raises(MERError, match=f"unknown {next(iter(options))} '.*' of PMR; choose from"):
            ReinforcementUnit(8, 2, **options)  # type: ignore[arg-type]
    with pytest.raises(MERError, match="unknown scoring 'max' of PMR; choose from pooled, mean, full"):
        MessageUpdate(["text"], 4, "max")  # type: ignore[arg-type]
    with pytest.raises(MERError, match="3 heads do not divide a width of 8"):
        ReinforcementUnit(8, 3)
