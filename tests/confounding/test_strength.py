"""The strength of a subtraction by itself; tests of MACI's bias words and of the wrappers do the rest."""

import pytest
import torch

from mer_zoo.confounding.strength import PlainStrength, Selection, Strength, check_strength
from mer_zoo.errors import MERError
from mer_zoo.functional.deconfounding import choose_tau, deconfounding_weights, effective_sample_size, fit_temperature

VALUES = (0.0, 1.0, 2.0)


def chosen(selection: Selection, seed: int = 0) -> tuple[Strength, list[torch.Tensor]]:
    """Two problems of three classes."""
    generator = torch.Generator().manual_seed(seed)
    y, y_cf, bias = (torch.randn(50, 2, 3, generator=generator) for _ in range(3))
    target = torch.randint(3, (50, 2), generator=generator)
    strength = PlainStrength("CLUE", "alpha", (2,), selection, 0.0, VALUES)
    strength.choose(y, y_cf, target, bias, torch.full((2, 3), 1 / 3))
    return strength, [y, y_cf, bias, target]


@pytest.mark.parametrize("seed", range(3))
def test_each_problem_is_chosen_alone(seed: int) -> None:
    plain, (y, y_cf, bias, target) = chosen("validation", seed)
    weighted, _ = chosen("deconfounded", seed)
    for g in range(2):
        y_g, cf_g, bias_g, target_g = (x[:, g] for x in (y, y_cf, bias, target))
        assert plain.tau[g] == choose_tau(y_g, cf_g, target_g, None, VALUES)
        temperature = fit_temperature(bias_g, target_g)
        weights = deconfounding_weights(bias_g, target_g, torch.full((3,), 1 / 3), temperature)
        assert weighted.tau[g] == choose_tau(y_g, cf_g, target_g, weights, VALUES)
        assert float(weighted.ess[g]) == pytest.approx(effective_sample_size(weights), rel=1e-5)
        assert float(weighted.temperature[g]) == pytest.approx(temperature, rel=1e-5)
    assert not plain.ess.any()


def test_a_choice_is_known_by_its_rule() -> None:
    strength, _ = chosen("validation")
    assert strength.is_chosen
    other = PlainStrength("CLUE", "alpha", (2,), "deconfounded", 0.0, VALUES)
    other.load_state_dict(strength.state_dict())
    assert not other.is_chosen
    assert "CLUE's alpha was not chosen as alpha_selection deconfounded asks" in other.notes()[0]
    assert other.mark == ""
    assert list(other.candidates[0]) == list(strength.tau)  # type: ignore[arg-type]


def test_an_oracle_tries_all() -> None:
    oracle = PlainStrength("CLUE", "alpha", (2,), "oracle", 0.0, VALUES)
    assert oracle.mark == "[oracle alpha]"
    assert tuple(oracle.candidates) == VALUES
    assert not oracle.tau_in_use.any()
    assert oracle.diagnostics(["happy", "sad"]) == {}
    assert "the best of 3 for each metric" in oracle.notes()[0]


def test_options() -> None:
    check_strength("CLUE", "alpha", "fixed", 0.5)
    with pytest.raises(MERError, match="alpha of CLUE is nan; give a finite number of at least 0"):
        check_strength("CLUE", "alpha", "fixed", float("nan"))
    with pytest.raises(MERError, match="unknown alpha_selection 'test' of CLUE; choose from deconfounded, validation,"):
        check_strength("CLUE", "alpha", "test", 0.0)
    with pytest.raises(MERError, match="alpha is 0.5, but alpha_selection oracle does not use it"):
        check_strength("CLUE", "alpha", "oracle", 0.5)
