"""Parameters of sweep files: what each distribution draws, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial

from mer_zoo.cli.sweeps.space import build_parameter
from mer_zoo.errors import MERError

optuna.logging.set_verbosity(optuna.logging.WARNING)


def draws(given: dict[str, Any], count: int = 60) -> list[Any]:
    """Values of so many random trials."""
    parameter = build_parameter("p", given)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [parameter.draw(study.ask()) for _ in range(count)]


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ({"value": 7}, {7}),
        ({"value": "null"}, {"null"}),
        ({"values": [1, 2.5, "three"]}, {1, 2.5, "three"}),
        ({"values": [True, False]}, {True, False}),
        ({"min": 2, "max": 4}, {2, 3, 4}),
        ({"distribution": "q_uniform", "min": 0.0, "max": 0.5, "q": 0.1}, {0.0, 0.1, 0.2, 0.3, 0.4, 0.5}),
        ({"distribution": "q_uniform", "min": 0.05, "max": 0.25, "q": 0.1}, {0.1, 0.2}),
        ({"distribution": "q_uniform", "min": 1, "max": 3}, {1, 2, 3}),
        ({"distribution": "q_log_uniform_values", "min": 16, "max": 64, "q": 16}, {16, 32, 48, 64}),
        ({"distribution": "q_log_uniform", "min": 0.0, "max": 1.0, "q": 1}, {1, 2, 3}),
        ({"distribution": "q_normal", "mu": 0.0, "sigma": 0.5, "q": 1}, {-1, 0, 1}),
    ],
)
def test_discrete_kinds_draw_all_of_their_values_and_no_other(given: dict[str, Any], allowed: set[Any]) -> None:
    found = draws(given)
    assert set(found) == allowed
    assert {type(value) for value in found} == {type(value) for value in allowed}


@pytest.mark.parametrize(
    ("given", "low", "high", "middle"),
    [
        ({"min": 0.0, "max": 1.0}, 0.0, 1.0, 0.5),
        ({"distribution": "uniform", "min": 0, "max": 1}, 0.0, 1.0, 0.5),
        ({"distribution": "log_uniform_values", "min": 1.0e-4, "max": 1.0e-2}, 1e-4, 1e-2, 1e-3),
        ({"distribution": "log_uniform", "min": -2, "max": 2}, math.exp(-2), math.exp(2), 1.0),
        ({"distribution": "normal", "mu": 3.0, "sigma": 0.1}, 2.6, 3.4, 3.0),
        ({"distribution": "log_normal", "mu": 0.0, "sigma": 0.1}, 0.7, 1.4, 1.0),
    ],
)
def test_continuous_kinds_stay_in_range_and_centred(
    given: dict[str, Any], low: float, high: float, middle: float
) -> None:
    found = sorted(draws(given, 200))
    assert low <= found[0] < found[-1] <= high
    assert sum(value < middle for value in found) == pytest.approx(100, abs=25)
    assert all(isinstance(value, float) for value in found)


def test_a_grid_has_no_noise_of_binary_fractions() -> None:
    parameter = build_parameter("p", {"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.1})
    assert [parameter.draw(FixedTrial({"p": 0.1 * step})) for step in (3, 6, 7)] == [0.3, 0.6, 0.7]


def test_samples_are_every_choice_or_both_ends() -> None:
    assert build_parameter("p", {"values": ["a", "b", "c"]}).samples() == ["a", "b", "c"]
    assert build_parameter("p", {"min": 1, "max": 4}).samples() == [1, 4]
    assert build_parameter("p", {"distribution": "log_uniform_values", "min": 1.0, "max": 9.0}).samples() == [1.0, 9.0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (3, "give value, values, or min and max"),
        ({"parameters": {"lr": {"value": 1}}}, "write the option out in dots"),
        ({"distribution": "beta", "a": 1, "b": 2}, "'beta' can't be searched offline"),
        ({"distribution": ["uniform"], "min": 1, "max": 2}, r"\[.uniform.\] can.t be searched offline"),
        ({"distribution": "inv_log_uniform_values", "min": 1, "max": 2}, "'inv_log_uniform_values' can't be searched"),
        ({"values": [1, 2], "probabilities": [0.1, 0.9]}, "'probabilities' means nothing to categorical"),
        ({"min": 1.0}, "uniform needs max"),
        ({"min": 2, "max": 1}, "min 2 is above max 1"),
        ({"min": "1e-4", "max": 1.0}, "min is '1e-4'; give a number .1e-3 is a text"),
        ({"min": 0.0, "max": float("inf")}, "max is inf"),
        ({"distribution": "int_uniform", "min": 1, "max": 2.5}, "int_uniform has integers"),
        ({"distribution": "log_uniform_values", "min": 0.0, "max": 1.0}, "needs a positive one"),
        ({"distribution": "log_uniform", "min": 0.0, "max": 1000.0}, "take log_uniform_values"),
        ({"distribution": "q_uniform", "min": 0.11, "max": 0.19, "q": 0.1}, "no multiple of q 0.1"),
        ({"distribution": "normal", "sigma": 0.0}, "sigma are positive"),
        ({"value": None}, "write the text 'null'"),
        ({"values": []}, "at least one entry"),
        ({"values": "abc"}, "give a list"),
        ({"values": [[1, 3, 3]]}, "write it as a text"),
    ],
)
def test_what_makes_no_range_is_refused_by_name(given: Any, words: str) -> None:
    with pytest.raises(MERError, match=f"^model.p: .*{words}"):
        build_parameter("model.p", given)
