"""Checks of a constructor's options, with sentences that name the option, its owner and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mer_zoo.errors import MERError

__all__ = ["check_choice", "check_weights"]


def check_choice(owner: str, name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a word that is no choice of an option.

    Args:
        owner: The class whose option it is.
        name: The option.
        value: The word given.
        choices: The words allowed.

    Raises:
        MERError: If the word is not among them.

    Example:
        >>> check_choice("CausalMER", "fusion", "add", ["mask", "sum"])
        Traceback (most recent call last):
        mer_zoo.errors.MERError: unknown fusion 'add' of CausalMER; choose from mask, sum
    """
    if value not in choices:
        raise MERError(f"unknown {name} {value!r} of {owner}; choose from {', '.join(choices)}")


def check_weights(owner: str, weights: Mapping[str, float]) -> None:
    """Refuse weights of losses or effects that are negative or not finite.

    Args:
        owner: The class whose options they are.
        weights: Option to weight.

    Raises:
        MERError: For the first weight out of range.

    Example:
        >>> check_weights("MSSD", {"alpha": -1.0})
        Traceback (most recent call last):
        mer_zoo.errors.MERError: alpha of MSSD is -1.0; weights are finite and at least 0
    """
    for name, weight in weights.items():
        if not math.isfinite(weight) or weight < 0:
            raise MERError(f"{name} of {owner} is {weight}; weights are finite and at least 0")
